#!/usr/bin/env python3
"""A real Slurm on one machine: munged, slurmctld and a slurmd for each of some made-up nodes, in a temporary folder.

By hand, for a look around (the cluster lives as long as the command):

    python3 tests/cluster/local_slurm.py bash        then sinfo, sbatch, srun, ...

Needs the packages slurm-wlm and munge; only the user who started it can use it. Python's standard library only.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
START_LIMIT = 60  # seconds until all nodes answer
KILL_WAIT = 5  # seconds that Slurm leaves a job between SIGTERM and SIGKILL
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def is_installed() -> bool:
    return all(shutil.which(name, path=PATH) for name in (*DAEMONS, "sbatch"))


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for base in range(20011 + os.getpid() % 500 * 20, 32000, count):
        sockets = []
        try:
            for port in range(base, base + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("", port))
            return base
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise OSError(f"no {count} free ports in a row")


def die_with_parent() -> None:
    """For a daemon: SIGKILL when the test is gone, however it went (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class LocalSlurm:
    """A cluster of `nodes` nodes n1, n2, ... that claim `cpus` CPUs each, whatever the machine has. A context: nothing of
    it is left at its end, jobs included."""

    def __init__(self, nodes: int = 4, cpus: int = 2) -> None:
        self.nodes = [f"n{i}" for i in range(1, nodes + 1)]
        self.cpus = cpus
        self._children: list[subprocess.Popen] = []

    def __enter__(self) -> LocalSlurm:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: a socket's path ends at 107 characters
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        for name in ("munge", "state", "log", *(f"{kind}/{node}" for kind in ("spool", "tmp") for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        self.folder.chmod(0o755)
        (self.folder / "slurm.conf").write_text(self._configuration())
        (self.folder / "cgroup.conf").write_text("IgnoreSystemd=yes\nConstrainCores=no\nConstrainRAMSpace=no\n")
        munge = self.folder / "munge"
        self._daemon("munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
                     f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        self._until(lambda: (munge / "socket").exists(), "munged")
        self._daemon("slurmctld", "-D")
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-N", node)
        self._until(lambda: self._idle() == len(self.nodes), f"{len(self.nodes)} idle nodes")

    def _configuration(self) -> str:
        """One machine plays all nodes, so each has a port and folders of its own, and nothing is confined by cgroups."""
        base, host, user = free_ports(len(self.nodes) + 1), socket.gethostname(), os.popen("id -un").read().strip()
        text = f"""ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={base}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A job that is requeued may start again once its credential has expired.
AuthInfo=socket={self.folder}/munge/socket,cred_expire=5
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool/%n
# srun --mpi=pmix makes a folder here that is named by the job: nodes must not share it.
TmpFS={self.folder}/tmp/%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd-%n.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# Nodes claim CPUs that the machine may not have.
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_min_interval=0,sched_interval=2,batch_sched_delay=0
MpiDefault=pmix
ReturnToService=2
JobRequeue=1
KillWait={KILL_WAIT}
MinJobAge=600
SwitchType=switch/none
"""
        for number, node in enumerate(self.nodes, 1):
            text += (f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={base + number} CPUs={self.cpus} "
                     "RealMemory=2048 State=UNKNOWN\n")
        return text + "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"

    @property
    def environment(self) -> dict:
        """What clients need, and what Open MPI needs where several nodes are one machine: each would bind its first rank to
        core 0, and their files of shared memory would have the same names. The fence: docs/clusters.md."""
        return {"PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf"), "SLURM_PMIX_FENCE": "ring",
                "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
                "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_btl": "tcp,self", "OMPI_MCA_btl_tcp_if_include": "lo"}

    def run(self, *command: object, **options) -> str:
        """A client command's stdout."""
        result = subprocess.run([str(word) for word in command], env={**os.environ, **self.environment, **options.pop("env", {})},
                                capture_output=True, text=True, timeout=60, **options)
        if result.returncode:
            raise AssertionError(f"{command} -> {result.returncode}: {result.stderr}")
        return result.stdout

    def submit(self, *arguments: object, env: dict | None = None) -> str:
        """The number of the job."""
        return self.run("sbatch", "--parsable", *arguments, env=env or {}).strip()

    def job(self, number: str) -> dict:
        """Slurm's fields of a job, such as JobState, ExitCode, Restarts."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, number: str, limit: float = 60) -> dict:
        """Waits for the end of a job, or of all jobs of an array."""
        self._until(lambda: not self.run("squeue", "--noheader", "--jobs", number), f"end of job {number}", limit)
        return self.job(number)

    def _idle(self) -> int:
        command = ["sinfo", "--noheader", "--Node", "--format=%T"]
        result = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        return result.stdout.split().count("idle")

    def _daemon(self, name: str, *arguments: str) -> None:
        with open(self.folder / "log" / "output", "ab") as output:
            self._children.append(subprocess.Popen([shutil.which(name, path=PATH), *arguments], stdin=subprocess.DEVNULL,
                                                   stdout=output, stderr=output, preexec_fn=die_with_parent,
                                                   env={**os.environ, **self.environment}))

    def _until(self, condition, what: str, limit: float = START_LIMIT) -> None:
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"no {what} after {limit} s\n{self.logs()}")
            time.sleep(0.05)

    def logs(self) -> str:
        """The last lines of every daemon."""
        files = sorted((self.folder / "log").iterdir())
        return "\n".join(f"== {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-8:]) for file in files)

    def left(self) -> list[int]:
        """Processes of this cluster, ranks included: all inherited its SLURM_CONF."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                is_other = entry.name.isdigit() and int(entry.name) != os.getpid()
                if is_other and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def __exit__(self, *_: object) -> None:
        while pids := [pid for pid in self.left() if not is_zombie(pid)]:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for child in self._children:
                child.poll()
            time.sleep(0.02)
        for child in self._children:
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def main() -> int:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with LocalSlurm() as slurm:
        print(f"{len(slurm.nodes)} nodes up; logs in {slurm.folder}/log", file=sys.stderr)
        return subprocess.run(sys.argv[1:], env={**os.environ, **slurm.environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
