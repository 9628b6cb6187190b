"""Training text: corpora of documents, weighted by progress, cut into windows that mostly begin at a document's start."""

from __future__ import annotations

import lzma
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

END = "<|endoftext|>"


@dataclass
class CorpusConfig:
    """One file of documents. Its share of the windows moves from `weight_start` to `weight_end` over the run.

    `chunk_characters` > 0 cuts long documents (books) at paragraph ends into pieces of about that length.
    Every `holdout_every`-th document is kept for validation (0: none).
    """

    path: str
    weight_start: float = 1.0
    weight_end: float = 1.0
    chunk_characters: int = 0
    holdout_every: int = 40


def data_folder(argument: str | None) -> Path:
    """The folder of `--data`, else of the environment variable STAGFORMER_DATA."""
    folder = argument or os.environ.get("STAGFORMER_DATA")
    if not folder:
        raise SystemExit("name the data folder with --data or STAGFORMER_DATA")
    return Path(folder)


def read_documents(path: Path) -> list[str]:
    """Documents of a text file (.xz or plain); each ends with a line that holds only <|endoftext|>."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        text = file.read()
    return [part.strip("\n") for part in text.split(f"\n{END}\n") if part.strip()]


def split_document(text: str, characters: int) -> list[str]:
    """Cut at blank lines into pieces of at least `characters` (0: not at all); the order is kept."""
    if not characters:
        return [text]
    pieces, current = [], []
    size = 0
    for paragraph in text.split("\n\n"):
        current.append(paragraph)
        size += len(paragraph) + 2
        if size >= characters:
            pieces.append("\n\n".join(current))
            current, size = [], 0
    return pieces + (["\n\n".join(current)] if current else [])


def split_holdout(documents: list[str], every: int) -> tuple[list[str], list[str]]:
    """(training, held-out) documents."""
    if not every:
        return documents, []
    held = documents[every // 2 :: every]
    return [d for n, d in enumerate(documents) if n % every != every // 2], held


class Corpus:
    """Documents as one flat array of ids; each begins with BOS and a whole one ends with EOS, where the tokenizer has them."""

    def __init__(self, tokenizer, documents: list[str], chunk_characters: int = 0):
        pieces = []
        kind = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        begin, last = ([] if id is None else [id] for id in (tokenizer.bos, tokenizer.eos))
        for document in documents:
            chunks = split_document(document, chunk_characters)
            for n, chunk in enumerate(chunks):
                end = last if n == len(chunks) - 1 else []
                pieces.append(np.array(begin + tokenizer.encode(chunk) + end, kind))
        self.lengths = np.array([len(p) for p in pieces], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)
        self.tokens = np.concatenate(pieces)

    def window(self, random: np.random.Generator, length: int, at_start: float) -> np.ndarray:
        """`length` ids: a document from its start (probability `at_start`) or from anywhere, then further ones."""
        parts, missing = [], length
        while missing > 0:
            # uniform over tokens, so a long document is taken more often
            n = int(np.searchsorted(self.starts, random.integers(len(self.tokens)), side="right")) - 1
            inside = not parts and random.random() >= at_start
            skip = int(random.integers(self.lengths[n])) if inside else 0
            part = self.tokens[self.starts[n] + skip : self.starts[n] + self.lengths[n]][:missing]
            parts.append(part)
            missing -= len(part)
        return np.concatenate(parts)


class Mixture:
    """Windows drawn from several corpora; batches depend only on (seed, rank, step) and the progress."""

    def __init__(self, corpora: list[tuple[CorpusConfig, Corpus]], context: int, at_start: float, seed: int):
        self.corpora, self.context, self.at_start, self.seed = corpora, context, at_start, seed

    def batch(self, size: int, rank: int, step: int, progress: float) -> np.ndarray:
        """ids [size, context + 1], int64; progress runs from 0 to 1."""
        random = np.random.default_rng([self.seed, rank, step])
        weights = np.array([c.weight_start + (c.weight_end - c.weight_start) * progress for c, _ in self.corpora])
        chosen = random.choice(len(weights), size, p=weights / weights.sum())
        windows = [self.corpora[n][1].window(random, self.context + 1, self.at_start) for n in chosen]
        return np.stack(windows).astype(np.int64)


def validation_windows(corpus: Corpus, context: int, most: int) -> np.ndarray:
    """The corpus in order, cut into at most `most` windows of context + 1 ids."""
    count = min(most, len(corpus.tokens) // (context + 1))
    return corpus.tokens[: count * (context + 1)].reshape(count, context + 1).astype(np.int64)
