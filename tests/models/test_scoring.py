"""Questions and pairs on SmolLM2-135M: the log-probabilities that llama.cpp gives the endings, and the same verdicts.

Of the files beside this one; and, where STAGFORMER_DATA names a folder with hellaswag/ and blimp/, of a hundred items of each.
"""

from __future__ import annotations

import json
import lzma
import os
from pathlib import Path

import numpy as np
from engine import LIMIT, ModelTest
from llama_reference import Reference, derived, log_softmax_of, token_ids
from support import main, run

DATA = os.environ.get("STAGFORMER_DATA")  # not part of the project
EXACT = ("--activations", "f32")
CLOSE = 1e-2  # of an ending's log-probability
NEAR_TIE = 2 * CLOSE  # of the two best endings where verdicts may differ
COUNT = 100  # items of each foreign file
BEGINNING = 1  # <|im_start|>, the model's BOS


def own_items(name: str) -> list[dict]:
    return [json.loads(line) for line in (Path(__file__).parent / name).read_text().splitlines()]


def hellaswag(folder: Path) -> list[dict]:
    """Six lines an item: context, number of the right ending, four endings."""
    with lzma.open(folder / "hellaswag/val-first-95pct.txt.xz", "rt") as file:
        lines = [next(file).rstrip("\n") for _ in range(6 * COUNT)]
    return [{"ctx": lines[i], "label": lines[i + 1], "endings": lines[i + 2:i + 6]} for i in range(0, len(lines), 6)]


def blimp(folder: Path) -> list[dict]:
    """Every so many lines one, so that most paradigms have a pair."""
    with lzma.open(folder / "blimp/pairs.tsv.xz", "rt") as file:
        rows = file.read().splitlines()[1:]
    chosen = [row.split("\t") for row in rows[::len(rows) // COUNT][:COUNT]]
    return [{"sentence_good": good, "sentence_bad": bad} for _, _, good, bad in chosen]


class ByHand:
    """The harness's arithmetic on llama.cpp's logits: a context is run once, each ending behind it."""

    def __init__(self, reference: Reference):
        self.reference = reference

    def endings(self, item: dict) -> tuple[list[float], list[str], int]:
        """Log-probabilities of the endings, the endings, the right one's number."""
        if "sentence_good" in item:
            context, endings, label = "", [item["sentence_good"], item["sentence_bad"]], 0
        else:
            context = item.get("context", item.get("ctx"))
            endings, label = item.get("choices", item.get("endings")), int(item["label"])
        return [self.continuation(context, " " + ending) for ending in endings], endings, label

    def continuation(self, context: str, ending: str) -> float:
        if context:
            ids, first = token_ids(self.reference.model, context + ending), len(token_ids(self.reference.model, context))
        else:
            ids, first = [BEGINNING, *token_ids(self.reference.model, ending)], 1
        return float(self.tail(ids, first).sum())

    def tail(self, ids: list[int], first: int) -> np.ndarray:
        """Log-probabilities of the tokens from the first on. What the last call has in common with this one is still there."""
        model = self.reference.model
        held = list(model.input_ids[:model.n_tokens])
        model.n_tokens = next((i for i, (a, b) in enumerate(zip(held, ids)) if a != b), min(len(held), len(ids) - 1))
        model.eval(ids[model.n_tokens:])
        return log_softmax_of(model.scores[first - 1:len(ids) - 1], ids[first:])


class Comparison(ModelTest):
    def compare(self, name: str, kind: str, items: list[dict]) -> None:
        path, per_item, record = self.prompts(items, "items"), self.folder / "per-item.jsonl", self.folder / "record.json"
        checkpoint = self.imported(derived("Q4_1"), "q4_1.h5", "--sections", "2")
        common = ("eval", "--checkpoint", checkpoint, f"--{kind}", path, "--per-item", per_item, "--json", record)
        self.succeeds(run(*common, *EXACT, ranks=2, timeout=LIMIT))
        ours = [json.loads(line) for line in per_item.read_text().splitlines()]
        right, by_hand = {"acc": 0, "acc_norm": 0}, ByHand(Reference(derived("F32", "Q4_1")))
        worst, parted = 0.0, 0
        for item, mine in zip(items, ours, strict=True):
            theirs, endings, label = by_hand.endings(item)
            worst = max(worst, float(np.abs(np.subtract(theirs, mine["log_probabilities"])).max()))
            for verdict, lengths in (("acc", [1] * len(endings)), ("acc_norm", list(map(len, endings)))):
                values = [value / length for value, length in zip(theirs, lengths)]
                correct = max(range(len(values)), key=values.__getitem__) == label
                right[verdict] += correct
                if correct != mine[verdict]:
                    parted += 1
                    best, second = sorted(values)[:-3:-1]
                    self.assertLess(best - second, NEAR_TIE, f"{name}: {item}")
        facts = json.loads(record.read_text())["result"]
        self.succeeds(run(*common, ranks=2, timeout=LIMIT))
        rounded = json.loads(record.read_text())["result"]
        print(f"{name}, {len(items)} items: acc {facts['acc']:.4f}, llama.cpp's {right['acc'] / len(items):.4f}; acc_norm "
              f"{facts['acc_norm']:.4f}, {right['acc_norm'] / len(items):.4f}; {parted} verdicts differ; largest difference of a "
              f"log-probability {worst:.2g}; as they come {rounded['acc']:.4f}, {rounded['acc_norm']:.4f}", flush=True)
        self.assertLess(worst, CLOSE, name)
        self.assertGreater(facts["acc"], 1 / len(ours[0]["log_probabilities"]), "no better than chance")


class OwnItems(Comparison):
    def test_questions(self):
        self.compare("questions", "choices", own_items("questions.jsonl"))

    def test_pairs(self):
        self.compare("pairs", "pairs", own_items("pairs.jsonl"))


if DATA:
    class ForeignItems(Comparison):
        def test_hellaswag(self):
            self.compare("HellaSwag", "choices", hellaswag(Path(DATA)))

        def test_blimp(self):
            self.compare("BLiMP", "pairs", blimp(Path(DATA)))


if __name__ == "__main__":
    main()
