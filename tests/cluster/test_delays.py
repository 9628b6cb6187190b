"""Hosts far apart: what the delaying switch adds to a message, in what order it hands on, and the same text over it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "cli"))

from namespace_hosts import DELAY_SWITCH, NamespaceHosts, can_delay
from support import PATIENCE, PROGRAM, Job, TestCase, checkpoint, main, run, run_command

LAUNCH = Path(__file__).parents[2] / "launch" / "run"
DELAY_US = 3000  # far above what a busy machine adds
# Sends numbered datagrams back; stops at an empty one.
ECHO = """
import socket
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("0.0.0.0", 9000))
print("ready", flush=True)
while True:
    data, sender = line.recvfrom(65536)
    line.sendto(data, sender)
"""
# One datagram at a time, then 200 at once: round trips in us, then the order in which those came back.
ASK = """
import socket, sys, time
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(20)
line.connect((sys.argv[1], 9000))
for i in range(22):
    begin = time.perf_counter()
    line.send(b"x" * int(sys.argv[2]))
    line.recv(65536)
    if i > 1:
        print((time.perf_counter() - begin) * 1e6)
for i in range(200):
    line.send(b"%d" % i)
print(" ".join(line.recv(100).decode() for i in range(200)))
"""


class DelayCase(TestCase):
    def hosts(self, count: int, **link: float) -> NamespaceHosts:
        self.assertTrue(can_delay(), f"no {DELAY_SWITCH} or no TAP devices")
        hosts = NamespaceHosts(count, **link)
        hosts.__enter__()
        self.addCleanup(hosts.__exit__)
        return hosts

    def round_trips_us(self, hosts: NamespaceHosts, bytes_sent: int = 100) -> tuple[list[float], list[str]]:
        """Round trips of single datagrams, and the order in which 200 sent at once came back."""
        echo = subprocess.Popen(hosts.command("n2", sys.executable, "-c", ECHO), stdout=subprocess.PIPE, text=True)
        self.addCleanup(echo.communicate)
        self.addCleanup(echo.kill)
        self.assertEqual(echo.stdout.readline(), "ready\n")
        *times, order = hosts.on("n1", sys.executable, "-c", ASK, hosts.address("n2"), bytes_sent).splitlines()
        return [float(value) for value in times], order.split()


class Switch(DelayCase):
    def test_a_message_takes_the_delay_and_little_more(self):
        times, order = self.round_trips_us(self.hosts(2, delay_us=DELAY_US))
        self.assertGreaterEqual(min(times), 2 * DELAY_US)
        self.assertLess(min(times), 2 * DELAY_US + 2000 * PATIENCE)
        self.assertEqual(order, [str(i) for i in range(200)])

    def test_a_rate_takes_its_time(self):
        """10000 bytes at 10 Mbit/s are 8 ms on the wire, twice for a round trip."""
        times, _ = self.round_trips_us(self.hosts(2, mbit=10), 10000)
        self.assertGreaterEqual(min(times), 16000)
        self.assertLess(min(times), 16000 + 6000 * PATIENCE)

    def test_what_is_refused(self):
        for words in (["1000"], ["fast", "0", "p1"], ["-1", "0", "p1"], ["5", "1e9", "p1"]):
            result = subprocess.run([DELAY_SWITCH, *words], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stdout), (1, ""), words)
            self.assertRegex(result.stderr, r"\Adelay-switch: error: [^\n]*\n\Z")

    def test_nothing_is_left(self):
        hosts = NamespaceHosts(2, delay_us=DELAY_US)
        with hosts:
            switch = hosts.processes("switch")
            self.assertEqual(len(switch), 1)
        end = time.monotonic() + 10
        while Path(f"/proc/{switch[0]}").exists():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        self.assertFalse(hosts.folder.exists())


class Text(DelayCase):
    def test_the_same_text_later(self):
        """A step of two hosts cannot be shorter than a message."""
        tokens = 10
        arguments = ("--checkpoint", checkpoint("separate2"), "--prompt", "Once upon", "--max-tokens", tokens, "--ignore-eos",
                     "--temperature", "1", "--seed", "4", "--token-ids")
        expected = self.succeeds(run("generate", *arguments))
        record = self.folder / "record.json"
        hosts = self.hosts(2, delay_us=DELAY_US)
        command = hosts.command("n1", LAUNCH, "--hosts", hosts.hosts_file(), "--interface", "eth0", "--bind", "none", "--threads",
                                "1", "--", "generate", *arguments, "--json", record)
        with Job(command, env={**hosts.environment, "STAGFORMER_PROGRAM": PROGRAM, "OMPI_MCA_mpi_yield_when_idle": "1"}) as job:
            result = self.succeeds(job.wait())
        self.assertEqual(result.stdout, expected.stdout, result)
        self.assertGreater(json.loads(record.read_text())["result"]["decode_s"], (tokens - 2) * DELAY_US * 1e-6)

    def test_a_study_over_them(self):
        """launch/scaling-study: the tokens of both links agree, and each step takes the delay that its row says."""
        self.file("model.json", json.dumps({"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 512,
                                            "max_position_embeddings": 64}))
        study = self.file("far.json", json.dumps({
            "title": "far", "kind": "strong", "model": "model.json", "layers": 2, "ranks": [2], "delay_us": [0, DELAY_US],
            "predict": False, "prompt_tokens": 4, "decode_tokens": 8, "repetitions": 1, "rounds": 1}))
        command = [str(LAUNCH.parent / "scaling-study"), study, "--output", str(self.folder / "out"), "--namespaces"]
        self.succeeds(run_command(command, {"STAGFORMER_PROGRAM": PROGRAM, "STAGFORMER_DELAY_SWITCH": str(DELAY_SWITCH)}))
        near, far = csv.DictReader((self.folder / "out" / "table.csv").read_text().splitlines())
        self.assertEqual((near["hosts"], near["delay_us"], far["delay_us"]), ("2", "0", str(DELAY_US)))
        self.assertEqual(near["tokens"], far["tokens"])
        self.assertGreater(float(far["staggered_ms"]), 0.75 * DELAY_US / 1000)
        self.assertGreater(float(far["sequential_ms"]), 1.5 * DELAY_US / 1000)  # there and back


if __name__ == "__main__":
    main()
