"""The library beside the program: the same tokens and log-probabilities on any number of ranks, failures told on all of them."""

from __future__ import annotations

import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))

import damage  # noqa: E402
from support import TestCase, checkpoint, launch, main, run, run_command  # noqa: E402

LIBRARY_RUN = os.environ["STAGFORMER_LIBRARY_RUN"]
PROMPTS = ["One", "A prompt that is longer", "xyz", "the fourth of them"]
STORY = "Once upon a time there was a text that fills more than one window, as it goes on and on."


def library(*words, ranks: int | None = None):
    return run_command(launch(["env", LIBRARY_RUN, *words], ranks=ranks))


class Same(TestCase):
    def generated(self, model: Path, temperature: str) -> list[str]:
        prompts = self.prompts([{"prompt": text} for text in PROMPTS])
        result = self.succeeds(run("generate", "--checkpoint", model, "--prompts", prompts, "--max-tokens", "9",
                                   "--temperature", temperature))
        records = [result.records[str(number)] for number in range(1, len(PROMPTS) + 1)]
        return [" ".join([*map(str, r["token_ids"]), r["finish_reason"]]) for r in records]

    def test_tokens(self):
        for name in ("separate2", "format_q8_0"):
            for temperature in ("0", "0.8"):
                expected = self.generated(checkpoint(name), temperature)
                for ranks in (None, 2, 4):
                    with self.subTest(name=name, temperature=temperature, ranks=ranks):
                        result = self.succeeds(library(checkpoint(name), "generate", "9", temperature, *PROMPTS,
                                                       ranks=ranks))
                        self.assertEqual(result.text.splitlines(), expected)

    def test_log_probabilities(self):
        table = self.folder / "table.csv"
        for window in ("64", "16"):
            self.succeeds(run("eval", "--checkpoint", checkpoint("separate2"), "--text", self.file("text", STORY),
                              "--context", window, "--per-token", table))
            expected = [line.partition(",")[2] for line in table.read_text().splitlines()[1:]]
            for ranks in (None, 2, 4):
                with self.subTest(window=window, ranks=ranks):
                    result = self.succeeds(library(checkpoint("separate2"), "score", window, STORY, ranks=ranks))
                    self.assertEqual(result.text.splitlines(), expected)

    def test_values_that_are_not_finite(self):
        damaged = damage.put_values(self.copy("separate2"), 3e38)
        for ranks in (None, 2, 4):
            with self.subTest(ranks=ranks):
                lines = self.succeeds(library(damaged, "not-finite", ranks=ranks)).text.splitlines()
                self.assertEqual(len(lines), (ranks or 1) * 10)
                for kind in ("score", "generate"):
                    told = [line for line in lines if line.startswith(kind)]
                    self.assertEqual(len(told), 2 * (ranks or 1))
                    self.assertTrue(all("not finite" in line for line in told), told)
                self.assertEqual(sum(line.startswith("error: ") for line in lines), 6 * (ranks or 1))

    def test_a_rank_that_never_calls(self):
        lines = self.succeeds(library(checkpoint("separate2"), "stuck", ranks=2)).text.splitlines()
        self.assertRegex(lines[0], "waited 1 s for .* from rank 1")
        self.assertIn("an earlier call of this model failed", lines[1])


if __name__ == "__main__":
    main()
