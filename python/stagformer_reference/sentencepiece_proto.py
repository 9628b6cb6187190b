"""Writes a SentencePiece .model file (protobuf ModelProto) by hand, so that importers need no protobuf package."""

from __future__ import annotations

import struct

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
BPE = 2
SPACE = "\u2581"  # how SentencePiece writes a blank inside pieces


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes, as protobuf asks
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(int(value))


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _piece(text: str, score: float, kind: int) -> bytes:
    return _bytes(1, text.encode()) + _float(2, score) + _integer(3, kind)


def _trainer(size: int) -> bytes:
    """TrainerSpec: BPE with byte fallback; ids 0 unknown, 1 BOS, 2 EOS, no padding."""
    return (_integer(3, BPE) + _integer(4, size) + _integer(35, True) + _integer(40, 0) + _integer(41, 1)
            + _integer(42, 2) + _integer(43, -1) + _bytes(45, b"<unk>") + _bytes(46, b"<s>") + _bytes(47, b"</s>"))


def _normalizer() -> bytes:
    """NormalizerSpec: identity, a blank before the text, blanks kept as they are."""
    return _bytes(1, b"identity") + _integer(3, True) + _integer(4, False) + _integer(5, True)


def bpe_model(pieces: list[tuple[str, float]]) -> bytes:
    """A BPE model from (text, score) in the order of the ids; `<0xXX>` are byte pieces, the first three are special."""
    special = {0: ("<unk>", UNKNOWN), 1: ("<s>", CONTROL), 2: ("</s>", CONTROL)}
    encoded = b""
    for number, (text, score) in enumerate(pieces):
        is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
        text, kind = special.get(number, (text.replace(" ", SPACE), BYTE if is_byte else NORMAL))
        encoded += _bytes(1, _piece(text, score, kind))
    return encoded + _bytes(2, _trainer(len(pieces))) + _bytes(3, _normalizer())
