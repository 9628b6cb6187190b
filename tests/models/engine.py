"""What the tests of this folder ask of the program: import, token ids, log-probabilities, greedy continuations."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from support import TestCase, run  # noqa: E402

LIMIT = 900  # seconds for one run of a real model on a busy machine
CACHE = Path(os.environ.get("STAGFORMER_MODELS_CACHE", "/tmp/stagformer-models"))


class ModelTest(TestCase):
    """A test that runs imported models."""

    def imported(self, source: Path | str, name: str, *flags: str) -> Path:
        target = self.folder / name
        self.succeeds(run("import", "--input", source, "--output", target, *flags, timeout=LIMIT))
        return target

    def scored(self, checkpoint: Path, text: str, *flags: str, ranks: int | None = None) -> list[tuple[int, float]]:
        """(token id, log-probability) of every token but the first. The text is one window."""
        table = self.folder / "scored.csv"
        self.succeeds(run("eval", "--checkpoint", checkpoint, "--text", self.file("scored.txt", text), "--per-token", table, *flags,
                          ranks=ranks, timeout=LIMIT))
        with table.open() as lines:
            rows = list(csv.DictReader(lines))
        self.assertEqual([int(row["position"]) for row in rows], list(range(1, len(rows) + 1)), "more than one window")
        return [(int(row["token_id"]), float(row["log_probability"])) for row in rows]

    def greedy(self, checkpoint: Path, prompts: list[str], tokens: int, *flags: str) -> list[list[int]]:
        records = self.prompts([{"id": i, "prompt": prompt, "ignore_eos": True} for i, prompt in enumerate(prompts)])
        done = self.succeeds(run("generate", "--checkpoint", checkpoint, "--prompts", records, "--max-tokens", tokens, *flags,
                                 timeout=LIMIT))
        return [done.records[json.dumps(i)]["token_ids"] for i in range(len(prompts))]
