"""Runs the program as a user does: helpers for the tests of this folder. Python's standard library only.

The environment says what to run (CMakeLists.txt sets it): STAGFORMER_PROGRAM, STAGFORMER_LIBRARY, STAGFORMER_GOLDEN_DIR,
STAGFORMER_MPIEXEC with STAGFORMER_MPIEXEC_FLAGS and STAGFORMER_MPIEXEC_NUMPROC_FLAG, STAGFORMER_OTHER_MPIEXEC (the launcher
of another MPI; may be empty). STAGFORMER_TEST_PATIENCE multiplies every time limit, for machines that are busy; STAGFORMER_TEST_JOBS
tests of a file run at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROGRAM = os.environ.get("STAGFORMER_PROGRAM", "stagformer")
LIBRARY = os.environ.get("STAGFORMER_LIBRARY", "")
GOLDEN = Path(os.environ.get("STAGFORMER_GOLDEN_DIR", Path(__file__).parent.parent / "golden"))
MPIEXEC = os.environ.get("STAGFORMER_MPIEXEC", "mpiexec")
MPIEXEC_FLAGS = os.environ.get("STAGFORMER_MPIEXEC_FLAGS", "").split()
NUMPROC_FLAG = os.environ.get("STAGFORMER_MPIEXEC_NUMPROC_FLAG", "-n")
OTHER_MPIEXEC = os.environ.get("STAGFORMER_OTHER_MPIEXEC", "")
PATIENCE = float(os.environ.get("STAGFORMER_TEST_PATIENCE", "1"))
JOBS = int(os.environ.get("STAGFORMER_TEST_JOBS", "4"))

USAGE, CONFIG, CHECKPOINT, COMMUNICATION, INPUT, MEMORY, INTERRUPTED, NUMERIC = 2, 3, 4, 5, 6, 7, 8, 9
ERROR = "stagformer: error: "
SECONDS = 20 * PATIENCE  # what "within seconds" means where a failure is awaited
HANG = 60 * PATIENCE  # a run that takes longer is taken for hung


@dataclass
class Run:
    """A run that has ended."""

    command: list
    code: int
    stdout: bytes
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """stdout, which must be valid UTF-8."""
        return self.stdout.decode("utf-8")

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if "stagformer: error" in line]

    @property
    def records(self) -> dict:
        """JSONL results on stdout by id."""
        return by_id(self.text)

    def __str__(self) -> str:
        words = " ".join(os.fsdecode(word) for word in self.command)
        return f"{words}\n-> code {self.code} after {self.seconds:.1f} s\nstdout: {self.stdout!r}\nstderr:\n{self.stderr}"


def by_id(jsonl: str) -> dict:
    """Results by id; ids 1 and "1" are two. A line that is no object or an id that stands twice is an error."""
    records = {}
    for line in jsonl.splitlines():
        record = json.loads(line)
        key = json.dumps(record["id"])
        if key in records:
            raise AssertionError(f"id {key} stands twice in {jsonl}")
        records[key] = record
    return records


def environment(extra: dict | None = None) -> dict:
    """The test's own environment without what would change a run, one thread a rank unless `extra` says otherwise (several
    threads that wait for each other are slow where tests share cores)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STAGFORMER_")}
    return kept | {"OMP_NUM_THREADS": "1"} | (extra or {})


def launch(*apps: list, ranks: int | None = None) -> list:
    """A command line: one program by itself, under the launcher on `ranks` ranks, or several programs as one job of one
    rank each; one that begins with "env" names its program itself."""
    programs = [[str_of(word) for word in (app if app[:1] == ["env"] else [PROGRAM, *app])] for app in apps]
    if len(programs) == 1 and ranks is None:
        return programs[0]
    command = [MPIEXEC, *MPIEXEC_FLAGS]
    for number, program in enumerate(programs):
        command += ([":"] if number else []) + [NUMPROC_FLAG, str(ranks or 1), *program]
    return command


def is_open_mpi() -> bool:
    return b"Open" in subprocess.run([MPIEXEC, "--version"], capture_output=True).stdout


def str_of(word):
    return word if isinstance(word, bytes) else str(word)


def descendants(root: int) -> list[int]:
    """Processes below `root`, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


class Job:
    """A run under way. Use it as a context: whatever is left of the job at the end is killed."""

    def __init__(self, command: list, env: dict | None = None, stdin=subprocess.DEVNULL, stdout=None):
        self.command = command
        self._stdout = tempfile.TemporaryFile()
        self._stderr = tempfile.TemporaryFile()
        self.begin = time.monotonic()
        self.process = subprocess.Popen(command, env=environment(env), stdin=stdin, stdout=stdout or self._stdout,
                                        stderr=self._stderr)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self._kill()
        self._stdout.close()
        self._stderr.close()

    def _kill(self) -> None:
        for pid in [*descendants(self.process.pid), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def stdout(self) -> bytes:
        return os.pread(self._stdout.fileno(), 1 << 30, 0)

    def stderr(self) -> str:
        return os.pread(self._stderr.fileno(), 1 << 30, 0).decode("utf-8", "replace")

    def wait(self, limit: float = HANG) -> Run:
        """Waits for the end; a job that is not through after `limit` seconds fails the test."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(f"hung for {limit} s: {self.finished(-1)}") from None
        return self.finished(code)

    def finished(self, code: int) -> Run:
        return Run(self.command, code, self.stdout(), self.stderr(), time.monotonic() - self.begin)

    def wait_for(self, condition, what: str) -> None:
        """Waits until something can be seen from outside, while the job still runs."""
        end = time.monotonic() + HANG
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"ended before {what}: {self.finished(self.process.returncode)}")
            if time.monotonic() > end:
                raise AssertionError(f"no {what}: {self.finished(-1)}")
            time.sleep(0.02)

    def rank(self, number: int) -> int:
        """The process of a rank, or of a program that was started by itself."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            try:
                if os.path.realpath(f"/proc/{pid}/exe") != os.path.realpath(PROGRAM):
                    continue
                values = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(value in (b"OMPI_COMM_WORLD_RANK=%d" % number, b"PMI_RANK=%d" % number) for value in values):
                return pid
            if pid == self.process.pid and number == 0:
                return pid
        raise AssertionError(f"no rank {number} below {self.process.pid}")


def run(*args, ranks: int | None = None, env: dict | None = None, timeout: float = HANG, stdout=None) -> Run:
    """Runs the program with `args` to its end: by itself, or on `ranks` ranks."""
    return run_command(launch(list(args), ranks=ranks), env, timeout, stdout)


def run_command(command: list, env: dict | None = None, timeout: float = HANG, stdout=None) -> Run:
    with Job(command, env, stdout=stdout) as job:
        return job.wait(timeout)


def checkpoint(name: str) -> str:
    return str(GOLDEN / f"{name}.h5")


class TestCase(unittest.TestCase):
    """A test with a temporary folder of its own."""

    maxDiff = None

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="stagformer-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def copy(self, name: str, to: str | None = None) -> Path:
        """A copy of a golden checkpoint that may be damaged."""
        return Path(shutil.copy(checkpoint(name), self.folder / (to or f"{name}.h5")))

    def prompts(self, records: list[dict], name: str = "prompts.jsonl") -> str:
        return self.file(name, "".join(json.dumps(record) + "\n" for record in records))

    def succeeds(self, result: Run) -> Run:
        """Success says nothing on stderr that looks like an error."""
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.errors, [], result)
        return result

    def fails(self, result: Run, code: int | tuple, *words: str, stdout: bytes | None = b"", limit: float = SECONDS) -> Run:
        """A failure: one line that holds `words`, the documented code, nothing on stdout, quickly, no noise of a library."""
        self.assertIn(result.code, code if isinstance(code, tuple) else (code,), result)
        self.assertEqual(len(result.errors), 1, result)
        self.assertTrue(result.errors[0].startswith(ERROR), result)
        for word in words:
            self.assertIn(word, result.errors[0], result)
        for noise in ("HDF5-DIAG", "terminate called", "what():", "Segmentation"):
            self.assertNotIn(noise, result.stderr, result)
        if stdout is not None:
            self.assertEqual(result.stdout, stdout, result)
        self.assertLess(result.seconds, limit, result)
        return result


def at_once(work, items) -> list:
    """work(item) for all items, a few at a time, in their order; the first failure is raised."""
    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(work, items))


def main() -> None:
    """Runs the calling file's tests, or those named on its command line (CLASS.TEST), a few at a time: most of a run is the
    launcher's waiting."""
    module = sys.modules["__main__"]
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames(sys.argv[1:], module) if sys.argv[1:] else loader.loadTestsFromModule(module)
    failed = 0
    with ThreadPoolExecutor(JOBS) as pool:
        for case, result, seconds in pool.map(run_case, cases_of(suite)):
            problems = result.failures + result.errors
            failed += bool(problems)
            print(f"{'FAILED' if problems else 'passed'} {case.id()} ({seconds:.1f} s)", flush=True)
            for test, text in problems:
                print(f"{test}\n{text}", flush=True)
    sys.exit(f"{failed} tests failed" if failed else 0)


def cases_of(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    return [case for part in suite for case in (cases_of(part) if isinstance(part, unittest.TestSuite) else [part])]


def run_case(case: unittest.TestCase) -> tuple:
    result, begin = unittest.TestResult(), time.monotonic()
    case.run(result)
    return case, result, time.monotonic() - begin
