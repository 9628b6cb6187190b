"""BLiMP and HellaSwag by log-probability: the share of items whose right text is the likeliest.

BLiMP (pairs.tsv): field, paradigm, good and bad sentence, tab-separated, one header line. HellaSwag: six lines an
item: context, number of the right ending, four endings. Both from `--tasks FOLDER`, .xz files.
"""

from __future__ import annotations

import csv
import lzma
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from ..model import StagFormer


def read_blimp(path: Path, pairs: int) -> list[tuple[str, str]]:
    """The first `pairs` (good, bad) of every paradigm."""
    taken: Counter = Counter()
    result = []
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            taken[row["paradigm"]] += 1
            if taken[row["paradigm"]] <= pairs:
                result.append((row["sentence_good"].strip(), row["sentence_bad"].strip()))
    return result


def read_hellaswag(path: Path, items: int) -> list[tuple[str, int, list[str]]]:
    """(context, right ending, endings) of `items` items spread evenly over the file."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    lines = lines[: len(lines) // 6 * 6]
    every = max(1, len(lines) // 6 // items)
    return [(lines[n], int(lines[n + 1]), lines[n + 2 : n + 6]) for n in range(0, len(lines), 6 * every)][:items]


@torch.no_grad()
def scores(model: StagFormer, texts: list[list[int]], batch: int = 64) -> list[Tensor]:
    """Log-probabilities of each text's ids but the first; texts of similar length are computed together."""
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    result: list[Tensor] = [torch.empty(0)] * len(texts)
    for begin in range(0, len(order), batch):
        part = order[begin : begin + batch]
        longest = max(len(texts[n]) for n in part)
        ids = torch.tensor([texts[n] + [0] * (longest - len(texts[n])) for n in part])
        values = model(ids)[0][:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        for row, n in enumerate(part):
            result[n] = values[row, : len(texts[n]) - 1]
    return result


def blimp(model: StagFormer, tokenizer, pairs: list[tuple[str, str]]) -> float:
    """Share of pairs whose good sentence has the higher log-probability."""
    texts = [[tokenizer.bos] + tokenizer.encode(text) for pair in pairs for text in pair]
    sums = [float(values.sum()) for values in scores(model, texts)]
    return sum(sums[n] > sums[n + 1] for n in range(0, len(sums), 2)) / len(pairs)


def hellaswag(model: StagFormer, tokenizer, items: list[tuple[str, int, list[str]]]) -> float:
    """Share of items whose right ending has the highest log-probability a character.

    What precedes the model's context is cut off at the front.
    """
    most = model.config.max_position_embeddings
    texts, begins = [], []
    for context, _, endings in items:
        start = tokenizer.encode(context)
        for ending in endings:
            ids = tokenizer.encode(context + " " + ending)
            same = next((n for n, (a, b) in enumerate(zip(start, ids)) if a != b), min(len(start), len(ids)))
            cut = max(0, len(ids) + 1 - most)
            texts.append([tokenizer.bos] + ids[cut:])
            begins.append(max(0, same - cut))
    values = scores(model, texts)
    right = 0
    for n, (_, answer, endings) in enumerate(items):
        means = [float(values[4 * n + e][begins[4 * n + e] :].sum()) / len(endings[e]) for e in range(4)]
        right += max(range(4), key=means.__getitem__) == answer
    return right / len(items)
