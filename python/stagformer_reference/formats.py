"""Number formats of checkpoint datasets: f32, bf16, and blocks of 32 values as in GGUF (q8_0, q4_0, q4_1). numpy only."""

from __future__ import annotations

import numpy as np

BLOCK = 32
BLOCK_BYTES = {"q8_0": 34, "q4_0": 18, "q4_1": 20}
NUMBER_FORMATS = ("f32", "bf16", *BLOCK_BYTES)


def encode(values: np.ndarray, number_format: str) -> np.ndarray:
    """float32 values to the stored array; block formats need rows of a multiple of 32 values."""
    values = np.ascontiguousarray(values, "<f4")
    if number_format == "f32":
        return values
    if number_format == "bf16":
        return _encode_bf16(values)
    if number_format not in BLOCK_BYTES:
        raise ValueError(f"unknown number format {number_format}")
    if values.ndim != 2 or values.shape[1] % BLOCK:
        raise ValueError(f"{number_format} needs rows of a multiple of {BLOCK} values, found shape {values.shape}")
    rows, columns = values.shape
    blocks = values.reshape(-1, BLOCK)
    encoder = {"q8_0": _encode_q8_0, "q4_0": _encode_q4_0, "q4_1": _encode_q4_1}[number_format]
    return encoder(blocks).reshape(rows, columns // BLOCK * BLOCK_BYTES[number_format])


def decode(stored: np.ndarray, number_format: str) -> np.ndarray:
    """The stored array back to float32 values."""
    if number_format == "f32":
        return np.asarray(stored, np.float32)
    if number_format == "bf16":
        return (np.asarray(stored, np.uint32) << 16).view(np.float32)
    if number_format not in BLOCK_BYTES:
        raise ValueError(f"unknown number format {number_format}")
    rows = stored.shape[0]
    blocks = np.ascontiguousarray(stored, np.uint8).reshape(-1, BLOCK_BYTES[number_format])
    decoder = {"q8_0": _decode_q8_0, "q4_0": _decode_q4_0, "q4_1": _decode_q4_1}[number_format]
    return decoder(blocks).reshape(rows, -1)


def _encode_bf16(values: np.ndarray) -> np.ndarray:
    """Upper half of each float32, rounded to nearest, ties to even; NaN stays NaN."""
    bits = values.view("<u4")
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    nan = (bits >> 16) | np.uint32(0x40)
    return np.where(np.isnan(values), nan, rounded).astype("<u2")


def _inverse(scale: np.ndarray) -> np.ndarray:
    """1/scale, zero where the scale is zero; float32."""
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)


def _half_bytes(values: np.ndarray) -> np.ndarray:
    """float32 [n,1] -> the bytes of float16, uint8 [n,2]."""
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


def _half_at(blocks: np.ndarray, offset: int) -> np.ndarray:
    """The float16 at a byte offset of every block, as float32 [n,1]."""
    return np.ascontiguousarray(blocks[:, offset : offset + 2]).view("<f2").astype(np.float32)


def _encode_q8_0(blocks: np.ndarray) -> np.ndarray:
    scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    scaled = blocks * _inverse(scale)
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))  # halves away from zero
    return np.hstack([_half_bytes(scale), rounded.astype(np.int8).view(np.uint8)])


def _decode_q8_0(blocks: np.ndarray) -> np.ndarray:
    return _half_at(blocks, 0) * np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32)


def _pack_nibbles(nibbles: np.ndarray) -> np.ndarray:
    """uint8 [n,32] of 0..15 -> [n,16]; values 0-15 in the low halves, 16-31 in the high ones."""
    return nibbles[:, :16] | (nibbles[:, 16:] << 4)


def _unpack_nibbles(packed: np.ndarray) -> np.ndarray:
    return np.hstack([packed & 15, packed >> 4]).astype(np.float32)


def _encode_q4_0(blocks: np.ndarray) -> np.ndarray:
    """The value of largest magnitude becomes exactly -8 steps."""
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    scale = extreme / np.float32(-8)
    nibbles = np.minimum(15, np.floor(blocks * _inverse(scale) + np.float32(8.5))).astype(np.uint8)
    return np.hstack([_half_bytes(scale), _pack_nibbles(nibbles)])


def _decode_q4_0(blocks: np.ndarray) -> np.ndarray:
    return _half_at(blocks, 0) * (_unpack_nibbles(blocks[:, 2:]) - np.float32(8))


def _encode_q4_1(blocks: np.ndarray) -> np.ndarray:
    least = blocks.min(1, keepdims=True)
    scale = (blocks.max(1, keepdims=True) - least) / np.float32(15)
    nibbles = np.minimum(15, np.floor((blocks - least) * _inverse(scale) + np.float32(0.5))).astype(np.uint8)
    return np.hstack([_half_bytes(scale), _half_bytes(least), _pack_nibbles(nibbles)])


def _decode_q4_1(blocks: np.ndarray) -> np.ndarray:
    return _half_at(blocks, 0) * _unpack_nibbles(blocks[:, 4:]) + _half_at(blocks, 2)
