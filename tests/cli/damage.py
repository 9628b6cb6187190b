"""Damages checkpoints, mostly by plain byte edits."""

from __future__ import annotations

import struct
from pathlib import Path

PAGE = 4096


def weight_offset(content: bytes) -> int:
    """Offset of the first page that holds nothing but float32 weights of ordinary size."""
    for at in range(0, len(content) - PAGE + 1, PAGE):
        values = struct.unpack_from("<1024f", content, at)
        if all(1e-7 < abs(value) < 1e3 for value in values):
            return at
    raise AssertionError("no page of weights")


def flip_bit(path: Path, offset: int | None = None) -> Path:
    """Flips one bit in the middle of a weight: the value stays finite."""
    content = bytearray(path.read_bytes())
    at = (weight_offset(content) + 402 if offset is None else offset) % len(content)
    content[at] ^= 0x10
    path.write_bytes(content)
    return path


def put_value(path: Path, value: float) -> Path:
    """A page of weights becomes this value."""
    content = bytearray(path.read_bytes())
    at = weight_offset(content)
    content[at:at + PAGE] = struct.pack("<f", value) * (PAGE // 4)
    path.write_bytes(content)
    return path


def truncate(path: Path, size: int) -> Path:
    """Keeps the first `size` bytes; a negative size counts from the end."""
    path.write_bytes(path.read_bytes()[:size])
    return path


def replace(path: Path, old: bytes, new: bytes) -> Path:
    """Replaces the only place where `old` stands by something of the same length."""
    content = path.read_bytes()
    if content.count(old) != 1 or len(old) != len(new):
        raise AssertionError(f"{old!r} stands {content.count(old)} times in {path}; {new!r}")
    path.write_bytes(content.replace(old, new))
    return path


def set_attribute(path: Path, name: str, value: int) -> Path:
    """Sets a root attribute; its checksum in the file makes that HDF5's business."""
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    return path
