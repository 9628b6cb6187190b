"""One prompt: the same bytes on stdout for every way to run it, and the reference's tokens."""

import golden
from support import TestCase, checkpoint, main, run


def greedy(name, *args, ranks=None, prompt=None, env=None):
    return run("generate", "--checkpoint", checkpoint(name), "--prompt", golden.prompt(name) if prompt is None else prompt,
               "--max-tokens", str(golden.NEW_TOKENS), "--ignore-eos", *args, ranks=ranks, env=env)


def text_of(ids) -> str:
    """What the byte tokenizer makes of ids: those from 256 on have no bytes."""
    return bytes(token for token in ids if token < 256).decode("utf-8", "replace")


class Golden(TestCase):
    def test_greedy_tokens_are_those_of_the_reference(self):
        for name, ranks in (("decoder1", None), ("separate2", 2), ("shared2", 2), ("sections4", 4), ("sections4", 2),
                            ("mixed4", 2), ("sections3_linear", 3), ("format_q8_0", 2), ("format_mixed", 2),
                            ("split_shared3", 3), ("gelu_scale", None), ("window_small", 2)):
            with self.subTest(name=name, ranks=ranks):
                result = self.succeeds(greedy(name, "--token-ids", ranks=ranks))
                self.assertRegex(result.text, r"\A\d+( \d+){19}\n\Z")
                ids = [int(word) for word in result.text.split()]
                self.assertTrue(golden.holds_row(name, ids), ids)
                self.assertFalse(golden.holds_row(name, [*ids[:-1], ids[-1] + 1]))  # the comparison can fail


class SameBytes(TestCase):
    def test_two_sections(self):
        prompt = "a prompt that is cut into several chunks"
        whole = self.succeeds(greedy("separate2", "--token-ids", prompt=prompt)).stdout
        for ranks, *args in ((None, "--threads", "2"), (None, "--chunk", "1"), (None, "--schedule", "sequential"),
                             (2,), (2, "--threads", "2"), (2, "--schedule", "sequential"), (2, "--head", "last"),
                             (2, "--head", "sliced"), (2, "--chunk", "1"), (2, "--chunk", "3", "--batch", "3"),
                             (2, "--chunk", "3", "--schedule", "sequential", "--head", "sliced"), (4,)):
            with self.subTest(ranks=ranks, args=args):
                result = self.succeeds(greedy("separate2", "--token-ids", *args, ranks=ranks, prompt=prompt))
                self.assertEqual(result.stdout, whole)

    def test_number_of_threads(self):
        """The flag wins over OMP_NUM_THREADS, which wins over the rank's share of the cores."""
        for args, variable, source in ((("--threads", "1"), "2", "--threads"), ((), "2", "OMP_NUM_THREADS"),
                                       ((), "", "usable cores divided by the ranks")):
            result = self.succeeds(greedy("separate2", *args, env={"OMP_NUM_THREADS": variable}))
            self.assertIn(f"threads from {source}", result.stderr)

    def test_four_sections_sampled(self):
        sampling = ("--temperature", "1.5", "--top-p", "0.95", "--top-k", "100", "--seed", "11")
        whole = self.succeeds(greedy("sections4", "--token-ids", *sampling))
        for ranks, *args in ((2,), (4,), (4, "--head", "sliced", "--threads", "2"), (4, "--head", "last", "--chunk", "2"),
                             (2, "--schedule", "sequential")):
            self.assertEqual(self.succeeds(greedy("sections4", "--token-ids", *sampling, *args, ranks=ranks)).stdout,
                             whole.stdout)
        other = [*sampling[:-1], "12"]
        self.assertNotEqual(self.succeeds(greedy("sections4", "--token-ids", *other)).stdout, whole.stdout)

    def test_pure_sampling_and_a_wide_nucleus(self):
        """Exchanges of few and of nearly all candidates."""
        for sampling in (("--temperature", "3"), ("--temperature", "50", "--top-p", "0.999"),
                         ("--temperature", "2", "--min-p", "0.01")):
            whole = self.succeeds(greedy("sections4", "--token-ids", *sampling)).stdout
            self.assertEqual(self.succeeds(greedy("sections4", "--token-ids", *sampling, "--head", "sliced",
                                                  ranks=4)).stdout, whole)

    def test_recurrent_decoding(self):
        whole = self.succeeds(greedy("shared2", "--token-ids", "--decode", "recurrent"))
        for ranks, *args in ((2,), (2, "--chunk", "3", "--head", "sliced")):
            self.assertEqual(self.succeeds(greedy("shared2", "--token-ids", "--decode", "recurrent", *args,
                                                  ranks=ranks)).stdout, whole.stdout)
        self.assertNotEqual(whole.stdout, self.succeeds(greedy("shared2", "--token-ids")).stdout)

    def test_drafts(self):
        for name, *sampling in (("separate2",), ("separate2", "--temperature", "1.2", "--seed", "3"), ("shared2",),
                                ("sections4", "--temperature", "0.7")):
            whole = self.succeeds(greedy(name, "--token-ids", *sampling))
            self.assertNotIn("guessed", whole.stderr)
            for ranks, *args in ((None, "--draft", "1"), (2, "--draft", "3"), (2, "--draft", "30", "--schedule", "sequential")):
                with self.subTest(name=name, sampling=sampling, ranks=ranks, args=args):
                    result = self.succeeds(greedy(name, "--token-ids", *sampling, *args, ranks=ranks))
                    self.assertEqual(result.stdout, whole.stdout)
                    self.assertRegex(result.stderr, r"\d+ of \d+ guessed tokens were right")

    def test_cross_check_of_the_products(self):
        self.assertEqual(self.succeeds(greedy("separate2", "--kernels", "blas", ranks=2)).stdout,
                         self.succeeds(greedy("separate2")).stdout)


class Text(TestCase):
    def setUp(self):
        super().setUp()
        self.ids = [int(word) for word in self.succeeds(greedy("separate2", "--token-ids")).text.split()]

    def test_bytes_that_are_no_utf8_are_shown_as_replacement_characters(self):
        for ranks in (None, 2):
            text = self.succeeds(greedy("separate2", ranks=ranks)).text
            self.assertEqual(text, text_of(self.ids) + "\n")
            self.assertIn("\ufffd", text)

    def test_stop_strings(self):
        text = text_of(self.ids)
        self.assertTrue(text.startswith("zJ}"), text)
        for stops, shown, count in ((["J}"], "z", 3), (["zJ}"], "", 3), (["}"], "zJ", 3), (["J"], "z", 2), (["zz", "J}"], "z", 3),
                                    (["J}", "}"], "z", 3), ([text[2:5]], "zJ", 5)):
            with self.subTest(stops=stops):
                args = [word for stop in stops for word in ("--stop", stop)]
                self.assertEqual(self.succeeds(greedy("separate2", *args)).text, shown + "\n")
                ids = self.succeeds(greedy("separate2", *args, "--token-ids")).text.split()
                self.assertEqual([int(word) for word in ids], self.ids[:count])

    def test_what_only_begins_like_a_stop_string_is_shown(self):
        args = ("--stop", "JJ", "--stop", "[z,J]", "--stop", "}x", "--stop", text_of(self.ids) + "more")
        for ranks in (None, 2):
            self.assertEqual(self.succeeds(greedy("separate2", *args, ranks=ranks)).text, text_of(self.ids) + "\n")

    def test_end_of_text(self):
        """Sampled until some seed meets EOS (257): without --ignore-eos the ids end before it."""
        for seed in range(60):
            args = ("--temperature", "8", "--seed", str(seed), "--token-ids")
            ids = self.succeeds(greedy("separate2", *args)).text.split()
            if "257" in ids:
                break
        else:
            self.fail("no seed gives EOS")
        short = run("generate", "--checkpoint", checkpoint("separate2"), "--prompt", golden.prompt("separate2"),
                    "--max-tokens", "20", *args, ranks=2)
        self.assertEqual(self.succeeds(short).text.split(), ids[:ids.index("257")])

    def test_one_token(self):
        result = run("generate", "--checkpoint", checkpoint("separate2"), "--prompt", "", "--max-tokens", "1", "--ignore-eos",
                     "--token-ids", ranks=2)
        self.assertRegex(self.succeeds(result).text, r"\A\d+\n\Z")


if __name__ == "__main__":
    main()
