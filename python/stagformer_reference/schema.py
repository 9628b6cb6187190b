"""Which datasets a checkpoint of a given configuration holds, their shapes, and which groups are shared."""

from __future__ import annotations

from .config import ModelConfig


def weight_shapes(c: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Path without the leading slash -> shape; a shared weight is listed once, under section 0."""
    d = c.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"embedding/weight": (c.vocab_size, d)}
    for s, layers in enumerate(c.sections.layers_per_section):
        for n in range(layers):
            _layer(shapes, c, s, n)
        if c.has_memory(s) and c.sections.cross_attention.memory_norm:
            shapes[f"sections/{s}/memory_norm/weight"] = (d,)
    shapes["final_norm/weight"] = (d,)
    if not c.tie_word_embeddings:
        shapes["head/weight"] = (c.vocab_size, d)
    if c.sections.readout == "linear_combination":
        shapes["readout/coefficients"] = (c.sections.count,)
    return shapes


def shared_groups(c: ModelConfig) -> list[tuple[int, str]]:
    """(section, group inside the section) of every group that stands for section 0's group of the same name."""
    if c.sections.weights != "shared":
        return []
    layers = range(c.sections.layers_per_section[0])
    return [(s, f"layers/{n}/{block}") for s in range(1, c.sections.count) for n in layers
            for block in ("self_attention", "feed_forward")]


def _layer(shapes: dict, c: ModelConfig, s: int, n: int) -> None:
    path, d, f = f"sections/{s}/layers/{n}", c.hidden_size, c.intermediate_size
    own = s == 0 or c.sections.weights == "separate"
    if own:
        _attention(shapes, c, f"{path}/self_attention")
    if c.has_cross_attention(s, n):
        _attention(shapes, c, f"{path}/cross_attention")
    if own:
        shapes[f"{path}/feed_forward/norm/weight"] = (d,)
        shapes[f"{path}/feed_forward/gate/weight"] = (f, d)
        shapes[f"{path}/feed_forward/up/weight"] = (f, d)
        shapes[f"{path}/feed_forward/down/weight"] = (d, f)


def _attention(shapes: dict, c: ModelConfig, path: str) -> None:
    d, queries, keys = c.hidden_size, c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    shapes[f"{path}/norm/weight"] = (d,)
    for name, rows in (("q", queries), ("k", keys), ("v", keys)):
        shapes[f"{path}/{name}/weight"] = (rows, d)
        if c.attention_bias:
            shapes[f"{path}/{name}/bias"] = (rows,)
    shapes[f"{path}/o/weight"] = (d, queries)
    if c.qk_norm:
        shapes[f"{path}/q_norm/weight"] = shapes[f"{path}/k_norm/weight"] = (c.head_dim,)
