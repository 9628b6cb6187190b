"""The configurations of the golden files: one small model for every variant that the engine must run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

from .config import ModelConfig


@dataclass
class Case:
    """One golden model: its configuration, number formats and, for shared weights, whether recurrent decoding is recorded."""

    name: str
    config: ModelConfig
    number_format: str | Callable[[str], str] = "f32"
    split: bool = False
    twins: list[str] = field(default_factory=list)


def _config(count: int = 2, layers=2, cross: dict | None = None, links=None, weights: str = "separate",
            readout: str = "last", **model) -> ModelConfig:
    sections = {"count": count, "layers_per_section": layers, "weights": weights, "readout": readout,
                "cross_attention": cross or {}}
    if links is not None:
        sections["links"] = links
    values = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
              "vocab_size": 272, "max_position_embeddings": 64, "rope_theta": 1000.0,
              "bos_token_id": 256, "eos_token_id": 257, "sections": sections}
    return ModelConfig.from_dict(values | model)


def _mixed_format(path: str) -> str:
    """Every format in one file, chosen by the weight's place."""
    rules = (("embedding", "q8_0"), ("cross_attention/k", "f32"), ("cross_attention", "bf16"),
             ("self_attention/v", "q4_1"), ("self_attention", "q8_0"), ("feed_forward/down", "q4_0"))
    return next((number_format for part, number_format in rules if part in path), "bf16")


def golden_cases() -> list[Case]:
    """All cases; the odd vocabulary 263 is no multiple of any block of rows, 64 positions are the context."""
    llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}
    mixed = ["staggered", "chained", "staggered"]
    wide = {"hidden_size": 64, "intermediate_size": 96}
    return [
        Case("decoder1", _config(count=1, layers=3, vocab_size=263)),
        Case("separate2", _config(), twins=["memory-shifted", "lag-0", "rope-interleaved", "no-memory"]),
        Case("shared2", _config(weights="shared")),
        Case("window_large", _config(cross={"window": 16}), twins=["window-plus-1"]),
        Case("window_small", _config(cross={"window": 3}), twins=["window-plus-1", "window-minus-1"]),
        Case("window1", _config(cross={"window": 1}), twins=["window-plus-1"]),
        Case("shared_window4", _config(weights="shared", cross={"window": 4})),
        Case("shared_window1", _config(weights="shared", cross={"window": 1})),
        Case("lag0", _config(cross={"lag": 0})),
        Case("lag0_window2", _config(cross={"lag": 0, "window": 2}), twins=["window-plus-1"]),
        Case("window1_lag0", _config(cross={"lag": 0, "window": 1})),
        Case("no_cross", _config(cross={"enabled": False})),
        Case("chained2", _config(links="chained")),
        Case("mixed4", _config(count=4, layers=1, links=mixed), twins=["sections-swapped"]),
        Case("sections3_linear", _config(count=3, layers=1, readout="linear_combination", vocab_size=263),
             twins=["sections-swapped"]),
        Case("sections4", _config(count=4, layers=1), twins=["memory-shifted", "sections-swapped"]),
        Case("sections6_uneven", _config(count=6, layers=[2, 1, 3, 1, 2, 1])),
        Case("shared3", _config(count=3, weights="shared")),
        Case("shared4_linear", _config(count=4, layers=1, weights="shared", readout="linear_combination")),
        Case("looped", _config(count=3, weights="shared", links="chained")),
        Case("shared_mixed3", _config(count=3, weights="shared", links=["staggered", "chained"])),
        Case("gqa", _config(num_attention_heads=8, num_key_value_heads=1, head_dim=8)),
        Case("untied", _config(tie_word_embeddings=False, vocab_size=263)),
        Case("gelu_scale", _config(hidden_act="gelu_tanh", embedding_scale=5.5, head_dim=16, attention_bias=True,
                                   num_attention_heads=3, num_key_value_heads=3, hidden_size=48, vocab_size=263)),
        Case("qk_norm", _config(qk_norm=True, head_dim=16)),
        Case("decoder_qk_norm", _config(count=1, qk_norm=True)),
        Case("shared_qk_norm", _config(count=3, layers=1, qk_norm=True, weights="shared", cross={"rope": False})),
        Case("cross_layers", _config(layers=3, cross={"layers": [1]})),
        Case("no_memory_norm", _config(cross={"memory_norm": False})),
        Case("no_cross_rope", _config(cross={"rope": False})),
        Case("rope_linear", _config(rope_scaling={"rope_type": "linear", "factor": 4.0})),
        Case("rope_llama3", _config(rope_scaling=llama3, head_dim=16)),
        Case("format_bf16", _config(layers=1, **wide, vocab_size=263), number_format="bf16"),
        Case("format_q8_0", _config(layers=1, **wide), number_format="q8_0"),
        Case("format_q4_0", _config(layers=1, **wide, vocab_size=263), number_format="q4_0"),
        Case("format_q4_1", _config(layers=1, **wide, tie_word_embeddings=False), number_format="q4_1"),
        Case("format_mixed", _config(weights="shared", **wide), number_format=_mixed_format),
        Case("split2", _config(), split=True),
        Case("split_shared3", _config(count=3, layers=1, weights="shared", vocab_size=288), number_format="bf16", split=True),
    ]
