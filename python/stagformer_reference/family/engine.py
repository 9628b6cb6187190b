"""The C++ program as a measuring device: losses by `stagformer eval`, times by `stagformer bench`."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import tempfile
from pathlib import Path


class EngineError(RuntimeError):
    """The program ended with an error; the message has its own."""


class Engine:
    """`launch` is put in front for several ranks; {ranks} in it becomes their number."""

    def __init__(self, program: str, threads: int, launch: str = "mpirun -n {ranks}"):
        self.program, self.threads, self.launch = program, threads, launch

    def run(self, arguments: list[str], ranks: int = 1, threads: int | None = None) -> str:
        """What the program writes to stdout."""
        before = shlex.split(self.launch.format(ranks=ranks)) if ranks > 1 else []
        command = [*before, self.program, *arguments, "--threads", str(threads or self.threads)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise EngineError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def log_probabilities(self, checkpoint: Path, text: Path, recurrent_after: int | None = None) -> list[list[float]]:
        """Windows of log-probabilities, all but a window's first id."""
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "table.csv"
            arguments = ["eval", "--checkpoint", str(checkpoint), "--text", str(text), "--per-token", str(table),
                         "--log-level", "warning", "--batch", "32"]
            if recurrent_after is not None:
                arguments += ["--decode", "recurrent", "--recurrent-after", str(recurrent_after)]
            self.run(arguments)
            return read_per_token(table)

    def bench(self, checkpoint: Path, ranks: int, threads: int, *flags: str) -> dict:
        """The record of one point."""
        output = self.run(["bench", "--checkpoint", str(checkpoint), "--format", "jsonl", "--log-level", "warning", *flags],
                          ranks, threads)
        return json.loads(output.splitlines()[-1])


def read_per_token(path: Path) -> list[list[float]]:
    """A window begins where the position does not rise."""
    result: list[list[float]] = []
    last = None
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            position = int(row["position"])
            if last is None or position <= last:
                result.append([])
            result[-1].append(float(row["log_probability"]))
            last = position
    return result
