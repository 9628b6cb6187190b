"""Perplexity: its value, the per-token file, and both the same however they are computed."""

import math
from pathlib import Path

import golden
from support import TestCase, checkpoint, main, run

TEXT = "A text that is scored: it has to be longer than a few windows, with \u00fcmlauts, and\nseveral lines.\n" * 2
STORIES = Path(__file__).parents[2] / "models/stories-2x3.h5"
HEADER = "position,token_id,log_probability"


class Eval(TestCase):
    def evaluate(self, *args, name="separate2", text=TEXT, ranks=None):
        """stdout and the per-token file."""
        csv = self.folder / "tokens.csv"
        result = self.succeeds(run("eval", "--checkpoint", checkpoint(name), "--text", self.file("text", text), "--per-token",
                                   csv, *args, ranks=ranks))
        return result.text, csv.read_text()

    @staticmethod
    def rows(csv):
        header, *lines = csv.splitlines()
        assert header == HEADER, header
        return [(int(position), int(token), float(value)) for position, token, value in (line.split(",") for line in lines)]

    def test_windows(self):
        """Each begins with BOS at position 0, which counts among the context and is not predicted."""
        data = TEXT.encode()
        for context in (2, 10, 64):
            text, csv = self.evaluate("--context", str(context))
            rows = self.rows(csv)
            self.assertEqual([token for _, token, _ in rows], list(data))
            self.assertEqual([position for position, _, _ in rows], [1 + i % (context - 1) for i in range(len(data))])
            self.assertRegex(text, r"\A\d+\.\d+\n\Z")
            mean = sum(value for _, _, value in rows) / len(rows)
            self.assertAlmostEqual(float(text) / math.exp(-mean), 1, places=6)
        self.assertEqual(self.evaluate("--context", "64"), self.evaluate())  # the model's context is the default

    def test_values_are_those_of_the_reference(self):
        for name, vocabulary, ranks in (("separate2", 272, 2), ("sections4", 272, 4), ("decoder1", 263, None)):
            tokens = golden.tokens(name)
            count = next((i for i, token in enumerate(tokens[1:], 1) if token > 255), len(tokens))
            self.assertGreater(count, 10)
            _, csv = self.evaluate(name=name, text=bytes(tokens[1:count]), ranks=ranks)
            values = [value for _, _, value in self.rows(csv)]
            self.assertTrue(golden.holds_log_probabilities(name, vocabulary, tokens[1:count], values, 2e-4), values)
            self.assertFalse(golden.holds_log_probabilities(name, vocabulary, tokens[1:count],
                                                            [*values[:-1], values[-1] + 1e-3], 2e-4))

    def test_contexts_of_several_chunks_of_attention(self):
        """The shipped model's 512 positions, which threads share in pieces where rows are few."""
        text = "".join(f"Once upon a time, Tom had {n} red balls. He gave {n % 7} of them to his friend.\n" for n in range(40))
        csv = self.folder / "long.csv"

        def evaluate(*args, ranks=None):
            self.succeeds(run("eval", "--checkpoint", STORIES, "--text", self.file("long", text), "--per-token", csv, *args,
                              ranks=ranks))
            return csv.read_text()

        whole = evaluate("--threads", "1")
        self.assertGreater(max(position for position, _, _ in self.rows(whole)), 500)
        for ranks, *args in ((None, "--threads", "3", "--chunk", "1"), (None, "--threads", "2", "--chunk", "37"),
                             (2, "--threads", "2", "--chunk", "5")):
            with self.subTest(ranks=ranks, args=args):
                self.assertEqual(evaluate(*args, ranks=ranks), whole)
        self.assertNotEqual(evaluate("--cache", "bf16"), whole)

    def test_the_same_bit_for_bit(self):
        whole = self.evaluate("--context", "16")
        for ranks, *args in ((None, "--chunk", "1"), (None, "--threads", "2", "--chunk", "5"), (2,), (2, "--chunk", "3"),
                             (2, "--schedule", "sequential"), (2, "--head", "last"), (2, "--head", "sliced"), (4,),
                             (2, "--replicas", "2")):
            with self.subTest(ranks=ranks, args=args):
                self.assertEqual(self.evaluate("--context", "16", *args, ranks=ranks), whole)
        four = self.evaluate("--context", "16", name="sections4")
        for ranks, *args in ((4,), (4, "--replicas", "2", "--chunk", "4"), (2,)):
            self.assertEqual(self.evaluate("--context", "16", *args, name="sections4", ranks=ranks), four)

    def test_recurrent_decoding(self):
        recurrent = ("--decode", "recurrent", "--context", "16")
        exact = self.evaluate("--context", "16", name="shared2")
        whole = self.evaluate(*recurrent, "--recurrent-after", "4", name="shared2")
        for ranks, *args in ((2,), (2, "--batch", "1"), (2, "--chunk", "3", "--head", "sliced"), (4,)):
            with self.subTest(ranks=ranks, args=args):
                self.assertEqual(self.evaluate(*recurrent, "--recurrent-after", "4", *args, name="shared2", ranks=ranks),
                                 whole)
        self.assertEqual(self.evaluate(*recurrent, "--recurrent-after", "16", name="shared2"), exact)
        self.assertNotEqual(whole[0], exact[0])
        for mine, other in zip(self.rows(whole[1]), self.rows(exact[1])):
            self.assertEqual(mine[:2], other[:2])
            if mine[0] <= 4:  # what follows from positions 0 to 3, which ran all passes
                self.assertEqual(mine, other)

    def test_short_texts(self):
        """One byte is one prediction; a last window of one token is one too, since BOS stands before it."""
        self.assertEqual(len(self.rows(self.evaluate(text="a", ranks=2)[1])), 1)
        self.assertEqual(len(self.rows(self.evaluate("--context", "3", text="abcde", ranks=4)[1])), 5)


if __name__ == "__main__":
    main()
