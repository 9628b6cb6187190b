"""Golden files read without an HDF5 library: their datasets are contiguous, so values can be found by what they look like."""

from __future__ import annotations

import struct

from support import GOLDEN

BOS, LENGTH, PROMPT_TOKENS, NEW_TOKENS = 256, 24, 8, 20  # of every golden file


def content(name: str) -> bytes:
    return (GOLDEN / f"{name}.golden.h5").read_bytes()


def tokens(name: str) -> list[int]:
    """The first row of the dataset `tokens`: BOS and 23 ids."""
    data = content(name)
    for at in range(0, len(data) - 4 * LENGTH, 4):
        if data[at:at + 4] != struct.pack("<i", BOS):
            continue
        row = struct.unpack_from(f"<{LENGTH}i", data, at)
        if all(0 <= token < 300 for token in row) and len(set(row)) > LENGTH // 2:
            return list(row)
    raise AssertionError(f"{name}: no tokens")


def prompt(name: str) -> bytes:
    """The prompt of the greedy continuation as bytes of the byte tokenizer."""
    return bytes(tokens(name)[1:PROMPT_TOKENS])


def holds_row(name: str, ids: list[int]) -> bool:
    """Whether the ids stand in the file one after another, as a row of the dataset `greedy`."""
    return struct.pack(f"<{len(ids)}i", *ids) in content(name)


def holds_log_probabilities(name: str, vocabulary: int, targets: list[int], values: list[float], tolerance: float) -> bool:
    """Whether some place of the file is [position, vocabulary] log-probabilities in which `targets` have these values."""
    data = content(name)
    floats = struct.unpack(f"<{len(data) // 4}f", data[:len(data) // 4 * 4])
    offsets = [position * vocabulary + target for position, target in enumerate(targets)]
    return any(all(abs(floats[base + offset] - value) <= tolerance for offset, value in zip(offsets, values))
               for base in range(len(floats) - offsets[-1] - vocabulary))
