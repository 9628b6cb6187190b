"""Many prompts: complete results, the same text however they are run, and what is said meanwhile."""

import json
import os
import re
import subprocess

from support import HANG, MEMORY, TestCase, by_id, checkpoint, environment, launch, main, run

LINES = [
    {"prompt": "first"},
    {"id": "two", "prompt": "the second, a longer one, in several chunks", "max_tokens": 9},
    {"id": -3, "prompt": "", "temperature": 2.0, "seed": 7},
    {"id": "2", "prompt": "third", "temperature": 1, "top_k": 5, "top_p": 0.9, "min_p": 0.01, "max_tokens": 12},
    {"prompt": "fifth \u00e4\u4e16\U0001f600", "stop": ["\ufffd"], "max_tokens": 15},
    {"prompt": "first", "temperature": 5.0},
    {"prompt": "first", "temperature": 5.0},
    {"id": 1000000007, "prompt": "x" * 62, "max_tokens": 1},
    {"prompt": "too long " * 10},
]


class Batch(TestCase):
    def setUp(self):
        super().setUp()
        self.lines = self.prompts(LINES)

    def generate(self, *args, name="separate2", ranks=None):
        return self.succeeds(run("generate", "--checkpoint", checkpoint(name), "--prompts", self.lines, "--max-tokens", "6",
                                 "--ignore-eos", *args, ranks=ranks))

    def test_results(self):
        records = self.generate().records
        self.assertEqual(sorted(records), sorted(["1", '"two"', "-3", '"2"', "5", "6", "7", "1000000007", "9"]))
        for record in records.values():
            self.assertEqual(set(record) - {"error"}, {"id", "text", "token_ids", "finish_reason", "prompt_tokens"})
        reasons = {key: record["finish_reason"] for key, record in records.items()}
        self.assertEqual(reasons.pop("9"), "error")
        self.assertIn(reasons.pop("5"), ("length", "stop"))
        self.assertEqual(set(reasons.values()), {"length"})
        self.assertEqual([len(records[key]["token_ids"]) for key in ("1", '"two"', '"2"', "1000000007")], [6, 9, 12, 1])
        self.assertEqual(records["5"]["prompt_tokens"], 1 + len("fifth ".encode()) + 2 + 3 + 4)
        self.assertNotEqual(records["6"]["token_ids"], records["7"]["token_ids"])  # the place in the input counts

    def test_a_line_is_what_the_prompt_alone_would_be(self):
        records = self.generate(ranks=2).records
        alone = self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--prompt", LINES[1]["prompt"],
                                  "--max-tokens", "9", "--ignore-eos", "--token-ids", ranks=2))
        self.assertEqual([int(word) for word in alone.text.split()], records['"two"']["token_ids"])

    def test_the_same_however_it_is_run(self):
        whole = self.generate().records
        for ranks, *args in ((None, "--batch", "1"), (None, "--batch", "3", "--chunk", "2"), (None, "--threads", "2"), (2,),
                             (2, "--batch", "1"), (2, "--batch", "3", "--chunk", "1"), (2, "--head", "sliced"),
                             (2, "--schedule", "sequential", "--head", "last"), (4,), (4, "--batch", "1"),
                             (2, "--replicas", "2"), (3, "--replicas", "3")):
            with self.subTest(ranks=ranks, args=args):
                self.assertEqual(self.generate(*args, ranks=ranks).records, whole)

    def test_four_sections(self):
        whole = self.generate(name="sections4").records
        for ranks, *args in ((4, "--batch", "3"), (4, "--replicas", "2"), (2, "--chunk", "3")):
            self.assertEqual(self.generate(*args, name="sections4", ranks=ranks).records, whole)

    def test_prompts_that_begin_alike(self):
        beginning = "Once upon a time there was "
        self.lines = self.prompts([{"prompt": beginning + ending} for ending in ("a dog", "a fox", "a cat and", "one of")])
        whole = self.generate("--no-prefix-sharing", "--log-probabilities")
        self.assertNotIn("begin as others", whole.stderr)
        for ranks, *args in ((None, "--batch", "1"), (2,), (2, "--chunk", "5"), (4, "--replicas", "2")):
            shared = self.generate("--log-probabilities", *args, ranks=ranks)
            self.assertEqual(shared.records, whole.records)
            found = re.search(r"(\d+) more prompt tokens were there already", shared.stderr)
            alike = (3 if "--replicas" not in args else 1) * (1 + len(beginning))  # of replica 0, BOS included
            self.assertGreaterEqual(int(found[1]), alike)

    def test_sequences_wait_for_memory(self):
        whole = self.generate("--batch", "9").records
        refused = run("generate", "--checkpoint", checkpoint("separate2"), "--prompts", self.lines, "--memory-limit", "1000")
        self.fails(refused, MEMORY, "caches of 1 sequences")
        least = float(re.search(r"the plan needs ([\d.]+) KiB", refused.stderr)[1])
        for ranks, *args in ((None,), (2,), (2, "--replicas", "2")):
            few = self.generate("--batch", "9", "--memory-limit", str(int(1.2 * 1024 * least)), *args, ranks=ranks)
            self.assertEqual(few.records, whole)
            found = re.search(r"memory holds the caches of (\d) sequence\(s\) of (\d+) positions at a time, not of (\d)",
                              few.stderr)
            self.assertLess(int(found[1]), int(found[3]))

    def test_output_file(self):
        whole = self.generate(ranks=2)
        output = self.folder / "results.jsonl"
        for ranks in (2, 4):
            self.assertEqual(self.generate("--output", output, ranks=ranks).stdout, b"")
            self.assertEqual(by_id(output.read_text()), whole.records)
            for path in self.folder.glob("results.jsonl*"):
                path.unlink()

    def test_log_probabilities(self):
        records = self.generate("--log-probabilities", ranks=2).records
        for key, record in records.items():
            self.assertEqual(len(record["log_probabilities"]), len(record["token_ids"]))
            self.assertTrue(all(value <= 0 for value in record["log_probabilities"]))
        self.assertEqual(records, self.generate("--log-probabilities").records)

    def test_streams_of_results(self):
        """More results than a batch, from several replicas, each once."""
        self.lines = self.prompts([{"id": f"line {i}", "prompt": "word " * (i % 7), "max_tokens": 1 + i % 5}
                                   for i in range(60)])
        whole = self.generate().records
        self.assertEqual(len(whole), 60)
        self.assertEqual(self.generate("--batch", "4", ranks=4).records, whole)

    def test_replicas_with_long_and_short_prompts(self):
        """Dealt in turn, every long prompt would be replica 0's."""
        self.lines = self.prompts([{"prompt": f"prompt {i}", "max_tokens": 2 if i % 2 else 40, "temperature": 1}
                                   for i in range(24)])
        whole = self.generate().records
        path = self.folder / "run.json"
        for ranks, *args in ((2, "--replicas", "2"), (4,), (3, "--replicas", "3")):
            result = self.generate("--batch", "2", "--delay-section", "0:8", "--json", path, *args, ranks=ranks)
            self.assertEqual(result.records, whole)
            record = json.loads(path.read_text())["result"]
            self.assertEqual((record["results"], record["result_tokens"]), (24, 12 * 42))
            self.assertLess(record["generated_tokens"], 12 * 42 * 0.8)  # replica 0


class Progress(TestCase):
    def setUp(self):
        super().setUp()
        path = self.prompts([{"prompt": f"prompt {i}", "max_tokens": 20} for i in range(10)])
        self.command = ["generate", "--checkpoint", checkpoint("separate2"), "--prompts", path, "--ignore-eos", "--batch", "1"]

    def test_in_a_log(self):
        result = self.succeeds(run(*self.command, "--delay-section", "0:60", ranks=4))
        lines = [line for line in result.stderr.splitlines() if "to go" in line]
        self.assertTrue(lines, result)
        for line in lines:
            self.assertRegex(line, r"^\[[\d:]+\] \[info\] \d+ of 10 results, \d+\.\d tokens/s, (about|at most) \d+ s to go$")
        self.assertRegex(result.stderr, r"10 results of 200 tokens in \d+\.\d s \(\d+\.\d tokens/s\)")
        self.assertNotIn("\r", result.stderr)

    def on_terminal(self, *args, stdout=subprocess.DEVNULL, launcher=None) -> list[str]:
        """The lines that a terminal shows in the end, and all that was shown before."""
        master, slave = os.openpty()
        command = [*launcher, *self.command, *args] if launcher else launch([*self.command, *args])
        with subprocess.Popen(command, env=environment({"TERM": "xterm"}), stdin=subprocess.DEVNULL,
                              stdout=slave if stdout is None else stdout, stderr=slave) as process:
            os.close(slave)
            written = b""
            while True:
                try:
                    block = os.read(master, 65536)
                except OSError:  # the other end is closed
                    break
                if not block:
                    break
                written += block
            self.assertEqual(process.wait(HANG), 0, written)
        os.close(master)
        self.frames = re.findall(r"\r([^\r\n]+to go)\x1b\[K", written.decode())
        return [self.rendered(line) for line in written.decode().replace("\r\n", "\n").split("\n")]

    @staticmethod
    def rendered(line: str) -> str:
        """What is left of a line in which \r goes back to its beginning and ESC [K clears the rest."""
        shown, column = [], 0
        for part in re.findall(r"\x1b\[K|\r|[^\r\x1b]", line):
            if part == "\r":
                column = 0
            elif part == "\x1b[K":
                del shown[column:]
            else:
                shown[column:column + 1] = part
                column += 1
        return "".join(shown)

    def test_on_a_terminal(self):
        screen = self.on_terminal("--delay-section", "0:10")
        self.assertGreater(len(set(self.frames)), 3)
        self.assertRegex(self.frames[-1], r"^\d of 10 results, \d+\.\d tokens/s, about \d+ s to go$")
        self.assertFalse([line for line in screen if "to go" in line], screen)
        for line in screen:
            self.assertRegex(line, r"^(\[[\d:]+\] \[\w+\] .*)?$")

    def test_results_on_the_same_terminal(self):
        screen = self.on_terminal("--delay-section", "0:10", stdout=None)
        self.assertGreater(len(set(self.frames)), 3)
        self.assertEqual(len(by_id("\n".join(line for line in screen if line.startswith("{")))), 10)
        self.assertFalse([line for line in screen if "to go" in line], screen)

    def test_under_mpirun(self):
        """Ranks see a pipe; launch/run tells them of the terminal."""
        run_script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../launch/run")
        screen = self.on_terminal("--delay-section", "0:20", launcher=[run_script, "-n", "2", "--bind", "none", "--"])
        self.assertGreater(len(set(self.frames)), 3, screen)
        self.assertFalse([line for line in screen if "to go" in line], screen)

    def test_not_where_the_log_is_off(self):
        self.assertEqual([line for line in self.on_terminal("--delay-section", "0:2", "--log-level", "warning") if line], [])


if __name__ == "__main__":
    main()
