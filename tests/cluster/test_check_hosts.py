"""launch/check-hosts over hosts of which one may have another program or checkpoint than the rest."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "cli"))

from namespace_hosts import NamespaceHosts
from support import PROGRAM, Run, TestCase, checkpoint, main, run_command

TOOL = Path(__file__).parents[2] / "launch" / "check-hosts"
loader = SourceFileLoader("check_hosts", str(TOOL))
check_hosts = module_from_spec(spec_from_loader("check_hosts", loader))
loader.exec_module(check_hosts)


class Hosts(TestCase):
    """Two hosts; mounts of one are not seen by the other, so that a file can be another one there."""

    def setUp(self) -> None:
        super().setUp()
        self.hosts = NamespaceHosts(2)
        self.hosts.__enter__()
        self.addCleanup(self.hosts.__exit__)

    def check(self) -> Run:
        command = self.hosts.command("n1", TOOL, "--hosts", self.hosts.hosts_file(), "--interface", "eth0", "--bind", "none",
                                     "--shared-cores", "--checkpoint", checkpoint("separate2"))
        return run_command(command, {**self.hosts.environment, "STAGFORMER_PROGRAM": PROGRAM})

    def hides(self, path: str, content: bytes) -> None:
        """On n2 `path` is a file of its own."""
        other = Path(self.file("other", content))
        other.chmod(0o755)
        self.hosts.on("n2", "mount", "--bind", other, path)

    def names(self, result: Run, *lines: str) -> None:
        found = [line.removeprefix("launch/check-hosts: error: ") for line in result.stderr.splitlines()]
        self.assertEqual((result.code, len(found)), (1, len(lines)), result)
        for line, beginning in zip(found, lines):
            self.assertTrue(line.startswith(beginning), result)

    def test_hosts_that_are_alike(self):
        result = self.check()
        self.assertEqual((result.code, result.stderr), (0, ""), result)
        self.assertRegex(result.text, r"\nn1 .* eth0 .*\nn2 .* eth0 ")
        self.assertRegex(result.text, r"\n0-1 +n1 - n2 +[\d.]+ +[\d.]+ +(up to \d+ KiB|no: needs polling) +[-+]0\.\d+\n")

    def test_another_build(self):
        self.hides(PROGRAM, Path(PROGRAM).read_bytes() + b"one byte more")
        self.names(self.check(), "n2: build ")

    def test_no_program(self):
        self.hides(PROGRAM, b"")
        self.names(self.check(), f"n2: {PROGRAM} is missing or does not start", "the links were not measured")

    def test_another_checkpoint_of_the_same_size(self):
        content = bytearray(Path(checkpoint("separate2")).read_bytes())
        content[-1] ^= 1
        self.hides(checkpoint("separate2"), bytes(content))
        self.names(self.check(), f"n2: {checkpoint('separate2')} has {len(content)} bytes, digest ")


class Judgement(TestCase):
    def links(self, **last: float) -> list[dict]:
        usual = {"latency_us": 10.0, "gb_per_s": 1.0, "overlap_bytes": 4096, "clock_s": 0.0}
        links = [{"from": i, "to": i + 1, "from_host": f"n{i}", "to_host": f"n{i + 1}", **usual} for i in range(4)]
        links[-1].update(last)
        return links

    def test_links(self):
        self.assertEqual(check_hosts.judge_links(self.links()), [])
        self.assertEqual(check_hosts.judge_links(self.links(latency_us=30, gb_per_s=0.3, clock_s=-0.9)), [])
        for change in ({"latency_us": 50.0}, {"gb_per_s": 0.2}):
            (problem,) = check_hosts.judge_links(self.links(**change))
            self.assertTrue(problem.startswith("ranks 3 and 4 (n3, n4): "), problem)
        self.assertEqual(check_hosts.judge_links(self.links(clock_s=-1.5)), ["n4: its clock is -1.500 s off that of rank 0"])

    def test_too_few_links_to_compare(self):
        self.assertEqual(check_hosts.judge_links(self.links(latency_us=1000)[2:]), [])

    def test_networks_that_differ(self):
        usual = {"version": "v", "build": "b", "checkpoint_bytes": "1", "checkpoint_digest": "d", "network": "ib0"}
        facts = [{"host": "n1", **usual}, {"host": "n2", **usual, "network": "docker0"}]
        (problem,) = check_hosts.judge_facts(facts, "program", "file")
        self.assertEqual(problem, "n2: reaches the others over docker0, n1 over ib0: give --interface")


if __name__ == "__main__":
    main()
