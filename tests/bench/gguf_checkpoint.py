"""A Llama model from GGUF as a checkpoint of one section, for comparing speeds:
python tests/bench/gguf_checkpoint.py MODEL.gguf MODEL.h5

Every matrix keeps its number format. The tokenizer is left out (bytes stand in for it), so prompts are token ids.
Needs `gguf` and `h5py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))
from stagformer_reference.checkpoint import Checkpoint, write_checkpoint  # noqa: E402
from stagformer_reference.config import ModelConfig  # noqa: E402
from stagformer_reference.llama2c import halves  # noqa: E402

FORMATS = {"F32": "f32", "BF16": "bf16", "Q8_0": "q8_0", "Q4_0": "q4_0", "Q4_1": "q4_1"}
MATRICES = {
    "attn_q": "self_attention/q", "attn_k": "self_attention/k", "attn_v": "self_attention/v",
    "attn_output": "self_attention/o", "attn_norm": "self_attention/norm", "ffn_norm": "feed_forward/norm",
    "ffn_gate": "feed_forward/gate", "ffn_up": "feed_forward/up", "ffn_down": "feed_forward/down",
}
WHOLE = {"token_embd": "embedding/weight", "output_norm": "final_norm/weight", "output": "head/weight"}


def field(reader: GGUFReader, name: str):
    return reader.fields["llama." + name].contents()


def read_config(reader: GGUFReader, vocabulary: int, tied: bool) -> ModelConfig:
    layers, heads = field(reader, "block_count"), field(reader, "attention.head_count")
    return ModelConfig.from_dict({
        "hidden_size": field(reader, "embedding_length"),
        "intermediate_size": field(reader, "feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": field(reader, "attention.head_count_kv"),
        "head_dim": field(reader, "embedding_length") // heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": field(reader, "context_length"),
        "rms_norm_eps": float(field(reader, "attention.layer_norm_rms_epsilon")),
        "rope_theta": float(field(reader, "rope.freq_base")),
        "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": tied,
        "sections": {"count": 1, "layers_per_section": layers},
    })


def checkpoint_name(tensor: str) -> str:
    """Our path of a tensor: blk.3.attn_q.weight -> sections/0/layers/3/self_attention/q/weight."""
    parts = tensor.split(".")
    if parts[0] in WHOLE:
        return WHOLE[parts[0]]
    return f"sections/0/layers/{parts[1]}/{MATRICES[parts[2]]}/weight"


def convert(source: str, target: str) -> None:
    reader = GGUFReader(source)
    weights, formats = {}, {}
    names = [t.name for t in reader.tensors]
    for tensor in reader.tensors:
        values = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        heads = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}
        for part, key in heads.items():
            if f".{part}." in tensor.name:
                values = halves(values, field(reader, key))
        name = checkpoint_name(tensor.name)
        weights[name], formats[name] = values, FORMATS[tensor.tensor_type.name]
    config = read_config(reader, weights["embedding/weight"].shape[0], "output.weight" not in names)
    write_checkpoint(target, Checkpoint(config, weights, source="speed comparison"), formats.__getitem__)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target)
