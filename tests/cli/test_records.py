"""What a run leaves behind: the log, the JSON record, the trace."""

import json
import unittest

from support import TestCase, checkpoint, run

GENERATE = ("generate", "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--max-tokens", "8", "--ignore-eos")


class Records(TestCase):
    def test_json(self):
        path = self.folder / "run.json"
        for ranks in (1, 2, 4):
            result = self.succeeds(run(*GENERATE, "--json", path, "--seed", "3", ranks=ranks))
            record = json.loads(path.read_text())
            self.assertEqual((record["program"], record["world_size"], record["settings"]["seed"]), ("stagformer", ranks, 3))
            self.assertEqual([rank["rank"] for rank in record["ranks"]], list(range(ranks)))
            for rank in record["ranks"]:
                phases = rank["times"]["phases_s"]
                self.assertTrue(all(seconds >= 0 for seconds in phases.values()), phases)
                self.assertGreater(rank["weight_bytes"], 0)
                # the phases of a rank are all of its time
                self.assertAlmostEqual(sum(phases.values()), rank["times"]["seconds"], delta=0.05 + 0.5 * sum(phases.values()))
            self.assertEqual(record["result"]["generated_tokens"], 8)
            self.assertEqual(record["result"]["completion"]["text"] + "\n", result.text)
            self.assertIn("separate2.h5", record["command"])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["run.json"])

    def test_json_of_eval(self):
        path = self.folder / "run.json"
        result = self.succeeds(run("eval", "--checkpoint", checkpoint("separate2"), "--text", self.file("text", "abcdef"),
                                   "--json", path, ranks=2))
        record = json.loads(path.read_text())
        self.assertEqual(record["result"]["tokens"], 6)
        self.assertEqual(f"{record['result']['perplexity']:.6f}\n", result.text)

    def test_trace(self):
        """All ranks, on one clock, complete events in microseconds."""
        path = self.folder / "trace.json"
        for ranks in (2, 4):
            self.succeeds(run(*GENERATE, "--trace", path, "--delay-section", "0:5", ranks=ranks))
            trace = json.loads(path.read_text())
            spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
            self.assertEqual({span["pid"] for span in spans}, set(range(ranks)) if ranks == 2 else {span["pid"] for span in spans})
            self.assertGreaterEqual(min(span["ts"] for span in spans), 0)
            self.assertTrue(all(span["dur"] >= 0 and span["name"] for span in spans))
            self.assertLess(max(span["ts"] + span["dur"] for span in spans), 60e6)

    def test_log(self):
        log = self.succeeds(run(*GENERATE, ranks=2)).stderr
        for words in ("checkpoint ", "grid: 2 rank(s), 1 replica(s) of 2 rank(s), 1 section(s) a rank", "schedule staggered",
                      "wait memory %", "tokens/s", "command: "):
            self.assertIn(words, log)
        self.assertEqual(self.succeeds(run(*GENERATE, "--log-level", "off")).stderr, "")
        warnings = self.succeeds(run(*GENERATE, "--threads", "64", "--log-level", "warning")).stderr
        self.assertIn("share core", warnings)
        self.assertNotIn("grid", warnings)


if __name__ == "__main__":
    unittest.main()
