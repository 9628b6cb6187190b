"""launch/run over hosts that share nothing but a network: the same text, and an end in seconds where a host or rank is lost."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "cli"))

from namespace_hosts import NamespaceHosts
from support import COMMUNICATION, PATIENCE, PROGRAM, Job, Run, TestCase, checkpoint, is_open_mpi, main, run

LAUNCH = Path(__file__).parents[2] / "launch" / "run"
LIMIT = 60 * PATIENCE  # "in seconds", the launcher's own waiting included


class HostsCase(TestCase):
    def hosts(self, count: int) -> NamespaceHosts:
        hosts = NamespaceHosts(count)
        hosts.__enter__()
        self.addCleanup(hosts.__exit__)
        return hosts

    def start(self, hosts: NamespaceHosts, *arguments: object) -> Job:
        """generate, one rank a host, started on n1; the hosts share the machine's cores, so that nothing is bound."""
        command = hosts.command("n1", LAUNCH, "--hosts", hosts.hosts_file(), "--interface", "eth0", "--bind", "none", "--threads",
                                "1", "--patience", "3", "--", "generate", *arguments)
        job = Job(command, env={**hosts.environment, "STAGFORMER_PROGRAM": PROGRAM, "OMPI_MCA_mpi_yield_when_idle": "1"})
        self.addCleanup(job.__exit__)
        return job


class Text(HostsCase):
    def same_text(self, name: str, count: int) -> None:
        arguments = ("--checkpoint", checkpoint(name), "--prompt", "Once upon", "--max-tokens", "30", "--ignore-eos",
                     "--temperature", "1", "--seed", "4", "--token-ids")
        expected = self.succeeds(run("generate", *arguments))
        hosts = self.hosts(count)
        before = hosts.received_bytes(hosts.names[-1])
        result = self.succeeds(self.start(hosts, *arguments).wait())
        self.assertEqual(result.stdout, expected.stdout, result)
        for rank, host in enumerate(hosts.names):
            self.assertRegex(result.stderr, rf"\b{rank} +{host}\b")
        # A state of 32 values a step, at the least, has come over the wire.
        self.assertGreater(hosts.received_bytes(hosts.names[-1]) - before, 30 * 32 * 4)

    def test_two_hosts(self):
        self.same_text("separate2", 2)

    def test_four_hosts(self):
        self.same_text("sections4", 4)


class Lost(HostsCase):
    """A job of two hosts in which something happens to n2."""

    def lose(self, loss, *arguments: str) -> tuple[Run, NamespaceHosts]:
        hosts = self.hosts(2)
        job = self.start(hosts, "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--ignore-eos", "--max-tokens", "50",
                         "--token-ids", "--delay-section", "0:300", *arguments)
        job.wait_for(job.stdout, "first token")
        begin = time.monotonic()
        loss(hosts)
        result = job.wait(LIMIT)
        self.assertNotEqual(result.code, 0, result)
        self.assertLess(time.monotonic() - begin, LIMIT, result)
        return result, hosts

    def nothing_is_left(self, hosts: NamespaceHosts) -> None:
        """No rank goes on where nobody can reach it."""
        end = time.monotonic() + LIMIT
        while left := [pid for name in hosts.names for pid in hosts.processes(name) if self.is_rank(pid)]:
            self.assertLess(time.monotonic(), end, left)
            time.sleep(0.1)

    @staticmethod
    def is_rank(pid: int) -> bool:
        return os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(PROGRAM)

    def a_rank(self, hosts: NamespaceHosts) -> int:
        return next(pid for pid in hosts.processes("n2") if self.is_rank(pid))

    def says(self, result: Run, *words: str) -> None:
        """One line of the program names the cause."""
        self.assertEqual(len(result.errors), 1, result)
        for word in words:
            self.assertIn(word, result.errors[0], result)

    def names_a_loss(self, result: Run) -> None:
        """Where no rank can say it, launch/run does, in one line behind the launcher's many."""
        self.assertEqual(len(re.findall("^launch/run: error: .*a host is lost", result.stderr, re.MULTILINE)), 1, result)

    def test_a_cable_is_pulled(self):
        result, hosts = self.lose(lambda hosts: hosts.cut("n2"), "--stall-timeout", "2")
        self.assertEqual(result.code, COMMUNICATION, result)
        self.says(result, "rank 0 on host n1: waited 2 s for", "from rank 1 on host n2 at step")
        self.nothing_is_left(hosts)

    def test_a_cable_is_pulled_in_the_prompt(self):
        hosts = self.hosts(2)
        job = self.start(hosts, "--checkpoint", checkpoint("separate2"), "--prompt", "a prompt that takes nine seconds", "--chunk", "1",
                         "--max-tokens", "3", "--delay-section", "0:300", "--stall-timeout", "2")
        job.wait_for(lambda: "weights" in job.stderr(), "table of ranks")
        hosts.cut("n2")
        result = job.wait(LIMIT)
        self.assertEqual((result.code, result.stdout), (COMMUNICATION, b""), result)
        self.says(result, "rank 0 on host n1: waited 2 s for", "from rank 1 on host n2 at step")
        self.nothing_is_left(hosts)

    def test_the_power_fails(self):
        result, hosts = self.lose(lambda hosts: hosts.power_off("n2"), "--stall-timeout", "2")
        if is_open_mpi():
            self.names_a_loss(result)
        else:  # MPICH goes on until the stall timeout
            self.says(result, "rank 0 on host n1: waited 2 s for", "from rank 1 on host n2 at step")
        self.nothing_is_left(hosts)

    def test_a_rank_is_killed(self):
        result, hosts = self.lose(lambda hosts: os.kill(self.a_rank(hosts), signal.SIGKILL))
        self.names_a_loss(result)
        self.nothing_is_left(hosts)

    def test_a_rank_is_stopped(self):
        result, hosts = self.lose(lambda hosts: os.kill(self.a_rank(hosts), signal.SIGSTOP), "--stall-timeout", "2")
        self.assertEqual(result.code, COMMUNICATION, result)
        self.says(result, "rank 0 on host n1: waited 2 s for", "from rank 1 on host n2 at step")
        self.nothing_is_left(hosts)

    def test_a_host_that_cannot_be_reached(self):
        hosts = self.hosts(2)
        hosts.power_off("n2")
        (hosts.folder / "ready-n2").unlink()
        result = self.start(hosts, "--checkpoint", checkpoint("separate2"), "--prompt", "hello").wait(LIMIT)
        self.assertNotEqual(result.code, 0, result)
        self.assertIn("no route to host n2", result.stderr)
        self.names_a_loss(result)


if __name__ == "__main__":
    main()
