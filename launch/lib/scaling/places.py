"""Where ranks run: each place turns a program's words into a command line for so many ranks and threads."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from .study import Point, Study, StudyError

LAUNCH = Path(__file__).resolve().parents[2]
FIXTURE = LAUNCH.parent / "tests" / "cluster"
THIS_MACHINE = "this machine"
LIMIT_S = 900  # of one run; a run that takes longer is taken for hung


@dataclass
class Place:
    """launch/run with these options, or another launcher."""

    options: list[str] = field(default_factory=list)  # of launch/run
    launcher: list[str] = field(default_factory=list)  # in place of launch/run, such as srun with its options
    environment: dict = field(default_factory=dict)
    label: str = THIS_MACHINE
    crowded: bool = False  # hosts share cores, which the program cannot see

    def command(self, program: str, ranks: int, threads: int, words: list[str]) -> list[str]:
        if self.launcher:
            return [*self.launcher, "-n", str(ranks), program, *words]
        return [str(LAUNCH / "run"), *self.options, "-n", str(ranks), "--threads", str(threads), "--", *words]

    def run(self, program: str, ranks: int, threads: int, words: list[str]) -> tuple[str, str]:
        """stdout, and the launcher's own command line where launch/run says it."""
        command = self.command(program, ranks, threads, words)
        environment = {**os.environ, **self.environment, "STAGFORMER_PROGRAM": program, "OMP_NUM_THREADS": str(threads),
                       "SRUN_CPUS_PER_TASK": str(threads)}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
                                  stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise StudyError(f"no end after {LIMIT_S} s: {' '.join(command)}") from error
        except OSError as error:
            raise StudyError(str(error)) from error
        if done.returncode:
            raise StudyError(f"{reason_in(done.stderr)} (code {done.returncode}: {' '.join(words)}, {ranks} rank(s))")
        printed = [line[2:] for line in done.stderr.splitlines() if line.startswith("+ ")]
        return done.stdout, printed[0] if printed else " ".join(command)


def reason_in(text: str) -> str:
    """The line of stderr that says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line]
    return (errors or lines or ["it said nothing"])[0].strip()


@dataclass
class Places:
    """Makes the place of each point."""

    place: Place
    namespaces: bool = False

    def on_one_machine(self) -> bool:
        return self.namespaces or self.place.label == THIS_MACHINE

    @contextmanager
    def of(self, point: Point, study: Study, hosts: int = 0) -> Iterator[Place]:
        """`hosts`: as many of them, else one a rank. Hosts in namespaces live as long as the context."""
        if not self.namespaces:
            yield self.place
            return
        fixture = load_fixture()
        count = hosts or point.ranks
        cores = os.cpu_count() or 1
        crowded = study.emulated or count * point.threads > cores
        with fixture.NamespaceHosts(count, point.delay_us or 0, point.mbit or 0,
                                    cores_a_host=None if crowded else point.threads) as made:
            yield NamespacePlace(made, crowded)


class NamespacePlace(Place):
    """A rank a host; the command is started on the first one. A single rank needs no network."""

    def __init__(self, hosts: object, crowded: bool) -> None:
        environment = dict(hosts.environment)
        if crowded:  # ranks that wait must leave the core to those that do not
            environment["OMPI_MCA_mpi_yield_when_idle"] = "1"
        super().__init__(environment=environment, label="hosts in network namespaces")
        self._hosts = hosts
        self.crowded = crowded

    def command(self, program: str, ranks: int, threads: int, words: list[str]) -> list[str]:
        options = ["--hosts", str(self._hosts.hosts_file()), "--interface", "eth0"] if ranks > 1 else []
        self.options = [*options, "--bind", "none"]
        return self._hosts.command("n1", *super().command(program, ranks, threads, words))


def load_fixture():
    """The hosts of the tests, which a clone has and an installation has not."""
    if not (FIXTURE / "namespace_hosts.py").exists():
        raise StudyError(f"--namespaces needs {FIXTURE}/namespace_hosts.py, of a clone")
    sys.path.append(str(FIXTURE))
    import namespace_hosts  # noqa: PLC0415

    return namespace_hosts
