"""Tokenizers of the trainer: bytes, and SentencePiece BPE with byte fallback."""

from __future__ import annotations

import io
from typing import Iterable

BYTE_BOS, BYTE_EOS = 256, 257


class ByteTokenizer:
    """Ids 0-255 are bytes, 256 begins and 257 ends a document."""

    type = "byte"
    model = None
    vocab_size, bos, eos = 258, BYTE_BOS, BYTE_EOS

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")


class SentencePieceTokenizer:
    """A SentencePiece model held as bytes, as it is embedded in checkpoints."""

    type = "sentencepiece"

    def __init__(self, model: bytes):
        import sentencepiece

        self.model = model
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size = self.processor.vocab_size()
        self.bos, self.eos = self.processor.bos_id(), self.processor.eos_id()

    def encode(self, text: str) -> list[int]:
        return self.processor.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self.processor.decode(ids)


def train_sentencepiece(lines: Iterable[str], vocab_size: int) -> bytes:
    """Train a BPE model on lines of text; ids: 0 unknown, 1 BOS, 2 EOS, then bytes, then pieces."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=vocab_size,
        byte_fallback=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, character_coverage=1.0, max_sentence_length=1 << 16,
        num_threads=1, minloglevel=2,
    )
    return model.getvalue()


def make_tokenizer(kind: str, model: bytes | None = None):
    """`byte`, or `sentencepiece` with the bytes of its .model file."""
    if kind == "byte":
        return ByteTokenizer()
    if kind == "sentencepiece" and model is not None:
        return SentencePieceTokenizer(model)
    raise ValueError(f"no tokenizer of type {kind} here; expected byte or sentencepiece")
