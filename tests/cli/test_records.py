"""What a run leaves behind: the log, the JSON record, notes, the trace and its picture."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from pathlib import Path

from support import TestCase, checkpoint, main, run

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

    def test_log(self):
        log = self.succeeds(run(*GENERATE, ranks=2)).stderr
        for words in ("checkpoint ", "grid: 2 rank(s), 1 replica(s) of 2 rank(s), 1 section(s) a rank", "schedule staggered",
                      "wait memory %", "tokens/s", "command: "):
            self.assertIn(words, log)
        self.assertEqual(self.succeeds(run(*GENERATE, "--log-level", "off")).stderr, "")
        warnings = self.succeeds(run(*GENERATE, "--threads", "64", "--log-level", "warning")).stderr
        self.assertIn("share core", warnings)
        self.assertNotIn("grid", warnings)


# Message -> the spans in which it may leave, and in which it is taken.
ENDS = {"hidden states": ({"send outputs of section"}, {"wait for memory of section", "wait for input of section"}),
        "z": ({"make z", "wait for z"}, {"wait for z"}),
        "candidates": ({"candidates"}, {"wait for candidates"}),
        "token": ({"tell token", "wait for token"}, {"wait for token"})}


class Trace:
    """A trace file: spans by rank, messages as (start, end)."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text())
        self.error = max(content["otherData"]["clock_error_us"])
        self.dropped = content["otherData"]["dropped"]
        self.spans = defaultdict(list)
        ends = defaultdict(dict)
        for event in content["traceEvents"]:
            if event["ph"] == "X":
                self.spans[event["pid"]].append(event)
            elif event["ph"] in "sf":
                assert event["ph"] not in ends[event["id"]], event
                ends[event["id"]][event["ph"]] = event
        self.messages = [(pair["s"], pair["f"]) for pair in ends.values()]  # a KeyError where an end is missing

    def around(self, event: dict, kinds: set) -> list[dict]:
        """Spans of these kinds, of the event's rank and pass, that hold it."""
        return [span for span in self.spans[event["pid"]] if span["cat"] in kinds and span["args"]["pass"] == event["args"]["pass"]
                and span["ts"] <= event["ts"] <= span["ts"] + span["dur"]]

    def count(self, rank: int, kind: str) -> int:
        return sum(span["cat"] == kind for span in self.spans[rank])


class Traces(TestCase):
    def trace(self, name: str, ranks: int, *arguments: str) -> Trace:
        path = self.folder / "trace.json"
        self.succeeds(run("generate", "--checkpoint", checkpoint(name), *GENERATE[3:], *arguments, "--trace", path, ranks=ranks))
        return Trace(path)

    def check(self, trace: Trace, ranks: int, replica: int) -> Counter:
        """What holds in every trace; messages by kind."""
        self.assertEqual(set(trace.spans), set(range(ranks)))
        self.assertEqual(sum(trace.dropped), 0)
        for rank, spans in trace.spans.items():
            self.nests(spans)
            self.assertEqual([span["ts"] for span in spans], sorted(span["ts"] for span in spans), rank)
            self.assertGreaterEqual(spans[0]["ts"], 0)
        for start, end in trace.messages:
            self.assertEqual((start["name"], start["args"], end["bp"]), (end["name"], end["args"], "e"))
            self.assertNotEqual(start["pid"], end["pid"])
            self.assertEqual(start["pid"] // replica, end["pid"] // replica)
            self.assertGreaterEqual(end["ts"], start["ts"] - 2 * trace.error - 0.001, (start, end))
            leaving, taking = ENDS[start["name"]]
            self.assertTrue(trace.around(start, leaving), start)
            self.assertTrue(trace.around(end, taking), end)
            if start["name"] == "hidden states":
                self.assertEqual(end["pid"], start["pid"] + 1)
        return Counter(start["name"] for start, _ in trace.messages)

    def nests(self, spans: list[dict]) -> None:
        """Each span lies inside or outside of every other, outer ones first."""
        open_ends = []
        for span in spans:
            begin, end = round(span["ts"] * 1000), round((span["ts"] + span["dur"]) * 1000)
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            self.assertLessEqual(end, open_ends[-1] if open_ends else end, span)
            open_ends.append(end)

    def test_sliced_head(self):
        for name, ranks in (("separate2", 2), ("sections4", 4), ("chained2", 2), ("sections3_linear", 3)):
            with self.subTest(name=name):
                trace = self.trace(name, ranks, "--head", "sliced", "--delay-section", "0:5")
                found = self.check(trace, ranks, ranks)
                passes, read_outs = trace.count(0, "section"), trace.count(0, "read-out")
                self.assertEqual(read_outs, 8)
                self.assertEqual(found, {"hidden states": passes * (ranks - 1), "z": read_outs * (ranks - 1),
                                         "candidates": read_outs * (ranks - 1)})

    def test_whole_head(self):
        trace = self.trace("sections4", 4, "--head", "last")
        self.assertEqual(self.check(trace, 4, 4), {"hidden states": trace.count(0, "section") * 3, "token": 8 * 3})

    def test_sequential(self):
        trace = self.trace("sections4", 2, "--schedule", "sequential", "--head", "sliced")
        self.assertEqual(self.check(trace, 2, 2)["hidden states"], trace.count(0, "section") // 2)

    def test_guesses(self):
        trace = self.trace("separate2", 2, "--draft", "2")
        self.assertEqual(set(self.check(trace, 2, 2)), {"hidden states", "token"})

    def test_replicas(self):
        """Passes of the same number in two replicas: no message goes from one to the other."""
        prompts = self.prompts([{"prompt": "a"}, {"prompt": "b"}])
        path = self.folder / "trace.json"
        self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--prompts", prompts, "--max-tokens", "5",
                          "--ignore-eos", "--head", "sliced", "--trace", path, ranks=4))
        trace = Trace(path)
        self.assertEqual(self.check(trace, 4, 2)["z"], 2 * 5)

    def picture(self, *arguments: object) -> subprocess.CompletedProcess:
        script = Path(__file__).parents[2] / "launch" / "trace-picture"
        return subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True)

    def test_picture(self):
        path, picture = self.folder / "trace.json", self.folder / "steps.svg"
        self.trace("sections4", 4, "--head", "sliced", "--delay-section", "1:5")
        result = self.picture(path, path, "--output", picture, "--steps", "3", "--title", "A & B")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        root = ElementTree.parse(picture).getroot()
        svg = "{http://www.w3.org/2000/svg}"
        words = [node.text for node in root.iter(f"{svg}text")]
        self.assertTrue({"A & B", "trace", "rank 3", "hidden states", "z", "candidates"} <= set(words), words)
        notes = [node.text for node in root.iter(f"{svg}title")]
        for kind, least in (("hidden states, rank 0 to 1", 2), ("z, rank", 2 * 2 * 3), ("candidates, rank", 2 * 2 * 3),
                            ("section 1, pass", 2 * 2), ("head, pass", 2 * 2 * 4)):  # of three steps two at least
            self.assertGreaterEqual(sum(note.startswith(kind) for note in notes), least, (kind, notes))
        for node in root.iter(f"{svg}rect"):
            if node.get("x"):
                self.assertLessEqual(float(node.get("x")) + float(node.get("width")), 1080)

    def test_no_picture(self):
        picture = self.folder / "x.svg"
        for content in ("", "{}", '{"traceEvents": 3}', '{"traceEvents": []}'):
            result = self.picture(self.file("bad", content), "--output", picture)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, r"^launch/trace-picture: error: .*bad: .*\n$")
        self.trace("separate2", 2)
        result = self.picture(self.folder / "trace.json", "--output", picture, "--steps", "100")
        self.assertIn("not so many decode steps", result.stderr)
        self.assertFalse(picture.exists())


class Notes(TestCase):
    def record(self, *arguments: str, ranks: int) -> tuple[list[str], str]:
        path = self.folder / "run.json"
        result = self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), *arguments, "--json", path, ranks=ranks))
        return json.loads(path.read_text())["notes"], result.stderr

    def test_a_short_run(self):
        notes, log = self.record(*GENERATE[3:], ranks=2)
        self.assertEqual(notes, [])
        self.assertNotIn("note: ", log)

    def test_more_threads_than_cores(self):
        """Half of a rank's time goes by waiting for the other, which sleeps."""
        arguments = ("--prompt", "hello", "--max-tokens", "50", "--ignore-eos", "--delay-section", "1:50")
        notes, log = self.record(*arguments, "--threads", str(len(os.sched_getaffinity(0)) + 1), ranks=2)
        self.assertEqual(len(notes), 1, notes)
        self.assertIn("more threads than cores", notes[0])
        self.assertIn(f"note: {notes[0]}", log)


if __name__ == "__main__":
    main()
