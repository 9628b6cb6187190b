#!/usr/bin/env python3
"""Hosts on one machine: network namespaces n1, n2, ... behind a bridge, each with a hostname, an address, /dev/shm and
/etc/hosts of its own, so that ranks on two of them can only meet over the network, which can be cut.

By hand, for a look around (the hosts live as long as the command, which runs on n1):

    python3 tests/cluster/namespace_hosts.py 4 launch/run --hosts HOSTS -- generate ...     HOSTS is replaced by a file
    python3 tests/cluster/namespace_hosts.py 2 --delay-us 200 --mbit 1000 launch/run --hosts HOSTS -- ...

With a delay or a rate the bridge is a program, delay_switch.cpp: each frame arrives so much later, and a host sends no more
than so many Mbit a second. Needs root, iproute2 and util-linux. Nothing outside of the namespaces is touched. Python's
standard library only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUBNET = "10.77.0"
DELAY_SWITCH = Path(os.environ.get("STAGFORMER_DELAY_SWITCH")
                    or Path(__file__).resolve().parents[2] / "build/release/bin/stagformer-delay-switch")
ENTER = ("--net", "--uts", "--ipc", "--mount")
HOLD = """set -e
hostname "$1"
mount -t tmpfs tmpfs /dev/shm
mount --bind "$2/etc-hosts" /etc/hosts
ip link set lo up
: >"$2/ready-$1"
exec sleep infinity
"""
# Stands in for ssh: the launchers call it with a host and a command line.
AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1 && shift
[ -e "FOLDER/ready-$host" ] || { echo "no route to host $host" >&2; exit 255; }
exec taskset --cpu-list "$(cat "FOLDER/cores-$host")" \\
  nsenter --target "$(cat "FOLDER/pid-$host")" --net --uts --ipc --mount -- /bin/sh -c "cd '$PWD' && $*"
"""


def is_possible() -> bool:
    """Root, the tools, and a kernel that lets us make namespaces with links."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("ip", "nsenter", "taskset", "unshare")):
        return False
    probe = "mount -t tmpfs tmpfs /dev/shm && ip link add type veth && ip link add type bridge"
    return subprocess.run(["unshare", *ENTER, "sh", "-c", probe], capture_output=True).returncode == 0


def can_delay() -> bool:
    """The switch is built, and the kernel gives it TAP devices."""
    if not (is_possible() and os.access(DELAY_SWITCH, os.X_OK)):
        return False
    return subprocess.run(["unshare", "--net", "ip", "tuntap", "add", "probe0", "mode", "tap"], capture_output=True).returncode == 0


class NamespaceHosts:
    """`count` hosts n1, n2, ... A context: its end kills everything that runs on them, and they are gone.
    A frame takes `delay_us` from host to host; a host sends at most `mbit` Mbit/s (0: no limit). `cores_a_host`: what runs on
    a host stays on so many cores of its own, else all hosts share all cores."""

    def __init__(self, count: int, delay_us: float = 0, mbit: float = 0, cores_a_host: int | None = None) -> None:
        self.names = [f"n{i}" for i in range(1, count + 1)]
        self.cores_a_host = cores_a_host
        self.delay_us, self.mbit = delay_us, mbit
        self._holders: dict[str, subprocess.Popen] = {}
        self._delay_switch: subprocess.Popen | None = None

    def __enter__(self) -> NamespaceHosts:
        self.folder = Path(tempfile.mkdtemp(prefix="hosts-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        lines = ["127.0.0.1 localhost", *(f"{self.address(name)} {name}" for name in self.names)]
        (self.folder / "etc-hosts").write_text("\n".join(lines) + "\n")
        self.agent.write_text(AGENT.replace("FOLDER", str(self.folder)))
        self.agent.chmod(0o755)
        for name in ("switch", *self.names):
            self._hold(name)
        if self.delay_us or self.mbit:
            self._start_delay_switch()
        else:
            self.on("switch", "ip", "link", "add", "bridge0", "type", "bridge")
            self.on("switch", "ip", "link", "set", "bridge0", "up")
        for name in self.names:
            self._plug(name)

    def _start_delay_switch(self) -> None:
        if not os.access(DELAY_SWITCH, os.X_OK):
            raise OSError(f"no {DELAY_SWITCH}: ninja -C build/release stagformer_delay_switch, or set STAGFORMER_DELAY_SWITCH")
        ports = [f"port-{name}" for name in self.names]
        command = self.command("switch", DELAY_SWITCH, f"{self.delay_us:g}", f"{self.mbit:g}", *ports)
        self._delay_switch = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self._delay_switch.stdout.readline() != "ready\n":
            raise OSError("the delaying switch did not start")

    def _cores(self, name: str) -> str:
        all_cores = sorted(os.sched_getaffinity(0))
        if self.cores_a_host and name in self.names:
            first = self.names.index(name) * self.cores_a_host
            all_cores = all_cores[first : first + self.cores_a_host]
            if len(all_cores) < self.cores_a_host:
                raise OSError(f"too few cores for {len(self.names)} hosts of {self.cores_a_host}")
        return ",".join(map(str, all_cores))

    def _hold(self, name: str) -> None:
        """Makes the namespaces of a host and an idle process that keeps them."""
        command = ["unshare", *ENTER, "--propagation", "private", "sh", "-c", HOLD, "hold", name, str(self.folder)]
        self._holders[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        (self.folder / f"pid-{name}").write_text(str(self._holders[name].pid))
        (self.folder / f"cores-{name}").write_text(self._cores(name))
        end = time.monotonic() + 20
        while not (self.folder / f"ready-{name}").exists():
            if self._holders[name].poll() is not None or time.monotonic() > end:
                raise OSError(f"host {name} did not start")
            time.sleep(0.01)

    def _plug(self, name: str) -> None:
        pid = str(self._holders[name].pid)
        if self._delay_switch:
            self.on("switch", "ip", "link", "set", f"port-{name}", "netns", pid, "name", "eth0")
        else:
            self.on("switch", "ip", "link", "add", f"port-{name}", "type", "veth", "peer", "name", "eth0", "netns", pid)
            self.on("switch", "ip", "link", "set", f"port-{name}", "master", "bridge0", "up")
        self.on(name, "ip", "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        self.on(name, "ip", "link", "set", "eth0", "up")

    @staticmethod
    def address(name: str) -> str:
        return f"{SUBNET}.{name.removeprefix('n')}"

    @property
    def agent(self) -> Path:
        return self.folder / "agent"

    @property
    def environment(self) -> dict:
        """What makes Open MPI and MPICH start their daemons on these hosts; inside a host nothing is known of Slurm."""
        return {"OMPI_MCA_plm_rsh_agent": str(self.agent), "OMPI_MCA_plm": "rsh", "PRTE_MCA_plm_ssh_agent": str(self.agent),
                "HYDRA_LAUNCHER_EXEC": str(self.agent), "HYDRA_LAUNCHER": "ssh", "HYDRA_RMK": "user"}

    def hosts_file(self, slots: int = 1) -> Path:
        path = self.folder / "hosts"
        path.write_text("".join(f"{name} slots={slots}\n" for name in self.names))
        return path

    def command(self, name: str, *command: object) -> list[str]:
        """A command line that runs `command` on a host, in the present folder."""
        words = [str(word) for word in command]
        holder = str(self._holders[name].pid)
        return ["taskset", "--cpu-list", self._cores(name), "nsenter", "--target", holder, *ENTER, "--", "sh", "-c",
                'cd "$0" && exec "$@"', os.getcwd(), *words]

    def on(self, name: str, *command: object) -> str:
        return subprocess.run(self.command(name, *command), check=True, capture_output=True, text=True).stdout

    def processes(self, name: str) -> list[int]:
        """What runs on a host, without the process that holds it."""
        holder = self._holders[name].pid
        network = os.readlink(f"/proc/{holder}/ns/net")
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if int(entry) != holder and os.readlink(f"/proc/{entry}/ns/net") == network:
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def received_bytes(self, name: str) -> int:
        """Over the network since the host is up."""
        counters = self.on(name, "cat", "/proc/net/dev").split("eth0:")[1]
        return int(counters.split()[0])

    def cut(self, name: str) -> None:
        """Pulls the cable: packets vanish, and nobody is told."""
        self.on(name, "ip", "link", "set", "eth0", "down")

    def power_off(self, name: str) -> None:
        """Everything on the host is gone without a word."""
        self.cut(name)
        self._kill(name)

    def _kill(self, name: str) -> None:
        for pid in self.processes(name):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def __exit__(self, *_: object) -> None:
        for name, holder in self._holders.items():
            if holder.poll() is None:
                self._kill(name)
            holder.kill()
            holder.wait()
        if self._delay_switch:  # it ran in the namespace of a holder
            self._delay_switch.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> int:
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    parser = argparse.ArgumentParser(usage=__doc__, allow_abbrev=False)
    parser.add_argument("--delay-us", type=float, default=0)
    parser.add_argument("--mbit", type=float, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args(sys.argv[2:])  # REMAINDER would take the options too if it were not the only positional
    if not arguments.command:
        sys.exit(__doc__)
    with NamespaceHosts(int(sys.argv[1]), arguments.delay_us, arguments.mbit) as hosts:
        words = [str(hosts.hosts_file()) if word == "HOSTS" else word for word in arguments.command]
        return subprocess.run(hosts.command("n1", *words), env={**os.environ, **hosts.environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
