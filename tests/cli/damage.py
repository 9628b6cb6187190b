"""Damages checkpoints by plain byte edits, without an HDF5 library."""

from __future__ import annotations

import struct
from pathlib import Path

PAGE = 4096
MASK = 0xFFFFFFFF


def weight_offset(content: bytes, last: bool = False) -> int:
    """Offset of the first (last) page that holds nothing but float32 weights of ordinary size."""
    pages = range(0, len(content) - PAGE + 1, PAGE)
    for at in reversed(pages) if last else pages:
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


def put_values(path: Path, value: float) -> Path:
    """A page of weights gets this value."""
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


def set_integer_attribute(path: Path, name: str, value: int) -> Path:
    """Sets an int32 attribute: in the file its name is followed by datatype (12 bytes), dataspace (4 bytes), value; the block
    of the object header that it stands in ends with a checksum."""
    content = bytearray(path.read_bytes())
    name_at = content.index(name.encode() + b"\0")
    datatype = b"\x10\x08\x00\x00\x04\x00\x00\x00\x00\x00\x20\x00"
    at = content.index(datatype + b"\x02\x00\x00\x00", name_at, name_at + len(name) + 25) + 16
    begin = max(content.rfind(b"OHDR", 0, name_at), content.rfind(b"OCHK", 0, name_at))
    end = next(end for end in range(at + 4, len(content) - 4)
               if content[end:end + 4] == struct.pack("<I", lookup3(content[begin:end])))
    struct.pack_into("<i", content, at, value)
    struct.pack_into("<I", content, end, lookup3(content[begin:end]))
    path.write_bytes(content)
    return path


def lookup3(data: bytes) -> int:
    """Bob Jenkins' hash, HDF5's checksum of metadata."""
    def rotate(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (32 - bits))) & MASK

    a = b = c = (0xDEADBEEF + len(data)) & MASK
    blocks = max(0, (len(data) - 1) // 12)
    for x, y, z in struct.iter_unpack("<3I", bytes(data[:12 * blocks])):
        a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
        for bits in (4, 6, 8, 16, 19, 4):
            a, b, c = b, (c + b) & MASK, ((a - c) & MASK) ^ rotate(c, bits)
    x, y, z = struct.unpack("<3I", bytes(data[12 * blocks:]).ljust(12, b"\0"))
    a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
    for bits in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, ((c ^ b) - rotate(b, bits)) & MASK, a
    return b
