"""Converts llama2.c models: python -m stagformer_reference.llama2c --model M.bin --tokenizer T.bin --output M.h5

Reads version 0 of the format (seven int32, then float32 weights). numpy and h5py only.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

import numpy as np

from .checkpoint import Checkpoint, write_checkpoint
from .config import ModelConfig
from .formats import NUMBER_FORMATS
from .sentencepiece_proto import bpe_model

HEADER = struct.Struct("<7i")  # d, f, layers, H, G, V (negative: own head), longest context


class _Weights:
    """Takes float32 arrays one after another from the file's bytes."""

    def __init__(self, data: bytes, offset: int):
        self.values = np.frombuffer(data, "<f4", offset=offset)
        self.used = 0

    def take(self, *shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        if self.used + count > len(self.values):
            raise SystemExit("the model file is too short for its header")
        part = self.values[self.used : self.used + count].reshape(shape)
        self.used += count
        return part


def read_tokenizer(path: Path, size: int) -> bytes:
    """The tokenizer.bin of a model with `size` tokens as a SentencePiece model."""
    data, offset, pieces = path.read_bytes(), 4, []
    for _ in range(size):
        score, length = struct.unpack_from("<fi", data, offset)
        offset += 8
        pieces.append((data[offset : offset + length].decode(), score))
        offset += length
    return bpe_model(pieces)


def split_layers(layers: int, sections: int) -> list[int]:
    """Layers a section, the first ones taking what is left over."""
    if not 1 <= sections <= layers:
        raise SystemExit(f"--sections must be from 1 to {layers}")
    return [layers // sections + (s < layers % sections) for s in range(sections)]


def halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows [heads * a, d] from RoPE on neighbouring pairs to RoPE on two halves."""
    return rows.reshape(heads, -1, 2, rows.shape[-1]).transpose(0, 2, 1, 3).reshape(rows.shape)


def read_model(path: Path, sections: int) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """Configuration and weights; the layers are cut into chained sections."""
    data = path.read_bytes()
    d, f, layers, heads, kv_heads, vocabulary, context = HEADER.unpack_from(data)
    tied, vocabulary, a = vocabulary > 0, abs(vocabulary), d // heads
    config = ModelConfig.from_dict({
        "hidden_size": d, "intermediate_size": f, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary, "max_position_embeddings": context, "bos_token_id": 1, "eos_token_id": 2,
        "tie_word_embeddings": tied,
        "sections": {"count": sections, "layers_per_section": split_layers(layers, sections), "links": "chained"},
    })
    take = _Weights(data, HEADER.size).take
    weights = {"embedding/weight": take(vocabulary, d)}
    stacks = {
        "self_attention/norm": take(layers, d),
        "self_attention/q": take(layers, heads * a, d),
        "self_attention/k": take(layers, kv_heads * a, d),
        "self_attention/v": take(layers, kv_heads * a, d),
        "self_attention/o": take(layers, d, heads * a),
        "feed_forward/norm": take(layers, d),
        "feed_forward/gate": take(layers, f, d),
        "feed_forward/down": take(layers, d, f),
        "feed_forward/up": take(layers, f, d),
    }
    weights["final_norm/weight"] = take(d)
    take(2, context, a // 2)  # RoPE tables
    if not tied:
        weights["head/weight"] = take(vocabulary, d)
    places = [(s, n) for s, count in enumerate(config.sections.layers_per_section) for n in range(count)]
    for layer, (s, n) in enumerate(places):
        for name, stack in stacks.items():
            values = stack[layer]
            if name in ("self_attention/q", "self_attention/k"):
                values = halves(values, values.shape[0] // a)
            weights[f"sections/{s}/layers/{n}/{name}/weight"] = values
    return config, weights


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stagformer_reference.llama2c", description="llama2.c model to checkpoint")
    parser.add_argument("--model", required=True, help="model file, llama2.c version 0")
    parser.add_argument("--tokenizer", required=True, help="tokenizer file in llama2.c's format")
    parser.add_argument("--output", required=True)
    parser.add_argument("--sections", type=int, default=1, help="cut the layers into this many chained sections")
    parser.add_argument("--format", default="f32", choices=NUMBER_FORMATS)
    options = parser.parse_args(arguments)
    config, weights = read_model(Path(options.model), options.sections)
    tokenizer = read_tokenizer(Path(options.tokenizer), config.vocab_size)
    checkpoint = Checkpoint(config, weights, "sentencepiece", tokenizer, f"llama2.c {Path(options.model).name}")
    write_checkpoint(options.output, checkpoint, options.format)


if __name__ == "__main__":
    main()
