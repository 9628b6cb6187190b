"""Tokenizers of the trainer: bytes, SentencePiece BPE with byte fallback, and Hugging Face's tokenizer.json.

`bos` and `eos` begin and end a document of the training text; a tokenizer without either has None there.
"""

from __future__ import annotations

import io
import json
from typing import Iterable

from .config import ConfigError

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


class HuggingFaceTokenizer:
    """A tokenizer.json held as bytes, as it is embedded in checkpoints. It does not say which ids begin and end documents."""

    type = "huggingface"

    def __init__(self, model: bytes, bos: int | None, eos: int | None):
        try:
            import tokenizers
        except ImportError:
            raise ConfigError("this checkpoint's tokenizer is a tokenizer.json: pip install tokenizers") from None
        self.model = model
        self.tokenizer = tokenizers.Tokenizer.from_str(completed(model))
        self.vocab_size = self.tokenizer.get_vocab_size()
        self.bos, self.eos = bos, eos

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)


def completed(model: bytes) -> str:
    """The JSON with the fields of a byte-level decoder that `tokenizers` asks for although decoding does not use them."""
    values = json.loads(model)
    decoder = values.get("decoder")
    if decoder and decoder.get("type") == "ByteLevel":
        values["decoder"] = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False} | decoder
    return json.dumps(values)


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


def make_tokenizer(kind: str, model: bytes | None = None, bos: int | None = None, eos: int | None = None):
    """`byte`; `sentencepiece` or `huggingface` with the bytes of its file, the latter with the ids around documents."""
    if kind == "byte":
        return ByteTokenizer()
    if kind == "sentencepiece" and model is not None:
        return SentencePieceTokenizer(model)
    if kind == "huggingface" and model is not None:
        return HuggingFaceTokenizer(model, bos, eos)
    raise ValueError(f"no tokenizer of type {kind} here; expected byte, sentencepiece or huggingface")


FILES = {"sentencepiece": "tokenizer.model", "huggingface": "tokenizer.json"}   # in a trainer's folder
