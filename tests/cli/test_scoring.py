"""Pairs, questions and requests: values against those of --text, accuracies, and the same however they are computed."""

from __future__ import annotations

import json
import math
from pathlib import Path

from support import INPUT, USAGE, TestCase, checkpoint, main, run

STORIES = Path(__file__).parents[2] / "models/stories-2x3.h5"
CONTEXT = "The cat sat on the "


def argmax(values: list[float]) -> int:
    return values.index(max(values))


class Scoring(TestCase):
    def score(self, kind: str, records: list[dict], *args, name="separate2", ranks=None):
        """The run, and its JSON record's result."""
        record = self.folder / "record.json"
        result = self.succeeds(run("eval", "--checkpoint", name if "/" in str(name) else checkpoint(name), f"--{kind}",
                                   self.prompts(records, kind), "--json", record, *args, ranks=ranks))
        return result, json.loads(record.read_text())["result"]

    def requests(self, records: list[dict], *args, **where) -> list[dict]:
        result, _ = self.score("requests", records, *args, **where)
        return [json.loads(line) for line in result.text.splitlines()]

    def token_values(self, text: str, name="separate2") -> list[float]:
        """Log-probabilities of the text's bytes by the evaluation of texts."""
        csv = self.folder / "tokens.csv"
        self.succeeds(run("eval", "--checkpoint", checkpoint(name), "--text", self.file("text", text), "--per-token", csv))
        return [float(line.split(",")[2]) for line in csv.read_text().splitlines()[1:]]


class Requests(Scoring):
    def test_values_are_those_of_a_text(self):
        """Of a continuation behind its context, of one without context, and of a whole text (the model begins with BOS)."""
        continuation = "\u00fcber the mat"
        values = self.token_values(CONTEXT.strip() + " " + continuation)
        count = len(continuation.encode())
        behind, blanks, alone, whole = self.requests([
            {"id": "a", "context": CONTEXT.strip(), "continuation": " " + continuation},
            {"context": CONTEXT, "continuation": continuation},  # its blank is scored too
            {"context": "", "continuation": CONTEXT + continuation},
            {"id": 9, "text": CONTEXT + continuation, "other": None}])
        self.assertEqual([behind["id"], blanks["id"], alone["id"], whole["id"]], ["a", 2, 3, 9])
        for record, scored in ((behind, count + 1), (blanks, count + 1), (alone, len(values)), (whole, len(values))):
            self.assertEqual(record["tokens"], scored)
            self.assertAlmostEqual(record["log_probability"], math.fsum(values[-scored:]), places=5)
        self.assertFalse(whole["greedy"])

    def test_greedy_or_not(self):
        prompt, story = "One day, a little dog", ("generate", "--checkpoint", STORIES, "--max-tokens", "6", "--prompt")
        text = self.succeeds(run(*story, prompt)).text.removesuffix("\n")
        good, bad, late = self.requests([{"context": prompt, "continuation": text},
                                         {"context": prompt, "continuation": " Zebra" + text},
                                         {"context": prompt, "continuation": text + " Zebra"}], name=STORIES)
        self.assertEqual((good["greedy"], good["tokens"]), (True, 6))
        self.assertEqual((bad["greedy"], late["greedy"]), (False, False))
        self.assertGreater(good["log_probability"], late["log_probability"])

    def test_long_texts_are_cut_into_windows_and_long_contexts_at_their_beginning(self):
        """A window behind the first predicts what a context of the same length would, so that both cuts agree."""
        text, room = "".join(chr(97 + i * i % 26) for i in range(40)), 16
        (whole,) = self.requests([{"text": text}], "--context", str(room))
        parts = self.requests([{"context": text[:at], "continuation": text[at:at + room]} for at in range(0, 40, room)],
                              "--context", str(room))
        self.assertEqual(whole["tokens"], 40)
        self.assertAlmostEqual(whole["log_probability"], sum(part["log_probability"] for part in parts), places=5)
        (longer,) = self.requests([{"text": text}])
        self.assertNotAlmostEqual(whole["log_probability"], longer["log_probability"], places=3)

    def test_the_same_bit_for_bit(self):
        """Neighbours that share a beginning, others that do not, lengths from one token to more than a chunk."""
        endings = ["a", "mat", "mat again", "moon and the stars", "x" * 30, "mat again and again"]
        records = [{"id": f"{c}{i}", "context": c, "continuation": " " + e}
                   for c in ("", "The cat sat on the", "A dog", "The cat sat on a") for i, e in enumerate(endings)]
        records.append({"id": "whole", "text": "The cat sat on the mat, and the dog on the cat."})
        mixed = records[::2] + records[1::2]  # other neighbours
        for name, rank_counts in (("separate2", (2, 4)), ("shared_window4", (2,)), ("window_small", (2,)),
                                  ("sections4", (4,)), ("lag0_window2", (2,)), ("chained2", (2,))):
            result, facts = self.score("requests", records, name=name)
            self.assertGreater(facts["shared_positions"], 100)
            for ranks, order, *args in ((None, records, "--batch", "1"), (None, mixed, "--chunk", "7"),
                                        (None, mixed, "--batch", "3", "--threads", "2"),
                                        *((n, records, "--chunk", "5") for n in rank_counts),
                                        (rank_counts[0], mixed, "--head", "last", "--batch", "16"),
                                        (2, records, "--replicas", "2")):
                with self.subTest(name=name, ranks=ranks, args=args, mixed=order is mixed):
                    other, _ = self.score("requests", order, *args, name=name, ranks=ranks)
                    self.assertEqual(other.records, result.records)

    def test_output_file(self):
        out = self.folder / "out.jsonl"
        records = [{"context": "a", "continuation": "b"}]
        result, _ = self.score("requests", records, "--output", out)
        self.assertEqual(result.stdout, b"")
        self.assertEqual(out.read_text(), self.score("requests", records)[0].text)


class Accuracy(Scoring):
    QUESTIONS = [{"id": "first", "ctx": "The cat sat on", "endings": ["a mat", "\u00fc\u00fc\u00fc", "the very long moon"],
                  "label": "1"},
                 {"context": "", "choices": ["yes", "no"], "label": 0},
                 {"query": "Some", "choices": ["thing", "body", "where", "how"], "gold": 3}]

    def test_questions(self):
        """Verdicts and standard errors from the log-probabilities that --requests gives."""
        per_item = self.folder / "items.jsonl"
        result, facts = self.score("choices", self.QUESTIONS, "--per-item", per_item)
        items = [json.loads(line) for line in per_item.read_text().splitlines()]
        right = {"acc": 0, "acc_norm": 0, "acc_bytes": 0}
        for question, item, label in zip(self.QUESTIONS, items, (1, 0, 3)):
            choices = question.get("endings") or question["choices"]
            context = question.get("ctx", question.get("query", question.get("context")))
            scores = [r["log_probability"]
                      for r in self.requests([{"context": context, "continuation": " " + choice} for choice in choices])]
            self.assertEqual(item["log_probabilities"], scores)
            self.assertEqual(item["label"], label)
            for name, length in (("acc", lambda _: 1), ("acc_norm", len), ("acc_bytes", lambda text: len(text.encode()))):
                best = argmax([score / length(choice) for score, choice in zip(scores, choices)])
                self.assertEqual(item[name], best == label, (name, item))
                right[name] += best == label
        self.assertEqual([item["id"] for item in items], ["first", 2, 3])
        lines = [line.split() for line in result.text.splitlines()]
        self.assertEqual([name for name, *_ in lines], list(right))
        for name, mean, _, error in lines:
            p = right[name] / 3
            self.assertAlmostEqual(facts[name], p)
            self.assertAlmostEqual(facts[f"{name}_stderr"], math.sqrt(p * (1 - p) / 2))
            self.assertEqual((mean, error), (f"{p:.4f}", f"{math.sqrt(p * (1 - p) / 2):.4f}"))

    def test_what_stands_between(self):
        per_item = self.folder / "items.jsonl"
        self.score("choices", self.QUESTIONS[:1], "--per-item", per_item, "--delimiter", "=")
        (request, *_) = self.requests([{"context": "The cat sat on", "continuation": "=a mat"}])
        self.assertEqual(json.loads(per_item.read_text())["log_probabilities"][0], request["log_probability"])

    def test_pairs(self):
        """The good sentence is the likelier one; the same file with good and bad exchanged gives the other verdicts."""
        pairs = [{"sentence_good": a, "sentence_bad": b, "UID": "x"} for a, b in
                 (("The dog runs.", "The dog run."), ("Two cats sleep.", "Two cats sleeps."), ("She saw him.", "Her saw him."))]
        turned = [{"sentence_good": p["sentence_bad"], "sentence_bad": p["sentence_good"]} for p in pairs]
        per_item = self.folder / "items.jsonl"

        def verdicts(records, **where):
            self.score("pairs", records, "--per-item", per_item, name=STORIES, **where)
            return [json.loads(line) for line in per_item.read_text().splitlines()]

        items = verdicts(pairs)
        self.assertEqual(items, verdicts(pairs, ranks=2))
        for item, other in zip(items, verdicts(turned)):
            self.assertEqual(item["log_probabilities"], other["log_probabilities"][::-1])
            self.assertNotEqual(item["acc"], other["acc"])
            self.assertEqual(item["acc"], item["log_probabilities"][0] > item["log_probabilities"][1])
        self.assertTrue(any(item["acc"] for item in items))
        same = [{"sentence_good": "Same.", "sentence_bad": "Same."}]
        self.assertTrue(verdicts(same)[0]["acc"])  # of equals the first wins


class Refusals(Scoring):
    def refused(self, kind, line, *words, ranks=None, args=()):
        path = self.file("items.jsonl", b'\n{"context": "a", "continuation": "b", "choices": ["a", "b"], "label": 0, '
                         b'"sentence_good": "a", "sentence_bad": "b"}\n' + (line if isinstance(line, bytes) else line.encode()))
        self.fails(run("eval", "--checkpoint", checkpoint("separate2"), f"--{kind}", path, *args, ranks=ranks), INPUT,
                   "items.jsonl, line 3", *words)

    def test_lines_are_named(self):
        self.refused("requests", "{", "JSON")
        self.refused("requests", b'{"text": "\xff"}', "JSON", ranks=2)
        self.refused("requests", "[1]", "JSON")
        self.refused("requests", '{"context": "a"}', "continuation")
        self.refused("requests", '{"continuation": "a"}', "context")
        self.refused("requests", '{"id": 1.5, "text": "a"}', "id")
        self.refused("requests", '{"text": "a", "context": "b"}', "text")
        self.refused("requests", '{"context": 1, "continuation": "a"}', "context", "string")
        self.refused("requests", '{"context": "a", "continuation": ""}', "adds no token")
        self.refused("requests", json.dumps({"context": "a", "continuation": "x" * 65}), "65 tokens", "64", ranks=2)
        self.refused("requests", json.dumps({"context": "a", "continuation": "x" * 9}), "9 tokens", args=("--context", "8"))
        self.refused("choices", '{"context": "a", "choices": ["a"], "label": 0}', "choices")
        self.refused("choices", '{"context": "a", "choices": ["a", ""], "label": 0}', "choices")
        self.refused("choices", '{"context": "a", "choices": ["a", "b"], "label": 2}', "label", "0 to 1")
        self.refused("choices", '{"context": "a", "choices": ["a", "b"], "label": "-1"}', "label")
        self.refused("choices", '{"context": "a", "choices": ["a", "b"], "label": "1x"}', "label")
        self.refused("choices", '{"context": "a", "choices": ["a", "b"]}', "label")
        self.refused("choices", '{"choices": ["a", "b"], "label": 0}', '"context" or "ctx"')
        self.refused("pairs", '{"sentence_good": "a"}', "sentence_bad", ranks=2)

    def test_flags(self):
        path, evaluate = self.file("x", ""), ("eval", "--checkpoint", checkpoint("separate2"))
        self.fails(run(*evaluate), USAGE, "--text", "--requests")
        self.fails(run(*evaluate, "--text", path, "--pairs", path), USAGE, "no two")
        self.fails(run(*evaluate, "--pairs", path, "--output", path), USAGE, "--output")
        self.fails(run(*evaluate, "--requests", path, "--per-item", path), USAGE, "--per-item")
        self.fails(run(*evaluate, "--requests", path, "--per-token", path), USAGE, "--per-token")
        self.fails(run(*evaluate, "--requests", path, "--delimiter", "-"), USAGE, "--delimiter")
        self.fails(run(*evaluate, "--requests", path, "--decode", "recurrent"), USAGE, "recurrent")
        self.fails(run(*evaluate, "--requests", path), INPUT, "no items")
        self.fails(run(*evaluate, "--requests", path, "--context", "65", ranks=2), INPUT, "context of 64")
        self.fails(run(*evaluate, "--requests", self.folder / "none"), INPUT, "No such file")
        good = self.file("good", '{"text": "a"}')
        self.fails(run(*evaluate, "--requests", good, "--output", self.folder / "no/where"), INPUT, "cannot write")


if __name__ == "__main__":
    main()
