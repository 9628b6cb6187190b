"""What a model costs by its configuration: parameters, operations of training, layers in sequence, bytes of caches."""

from __future__ import annotations

from math import prod

from ..config import CHAINED, ConfigError, ModelConfig
from ..schema import weight_shapes


def parameters(c: ModelConfig) -> tuple[int, int]:
    """(all, without embedding and head); shared weights count once."""
    shapes = weight_shapes(c)
    vocabulary = sum(prod(shapes[name]) for name in ("embedding/weight", "head/weight") if name in shapes)
    total = sum(prod(shape) for shape in shapes.values())
    return total, total - vocabulary


def forward_flops(c: ModelConfig, context: int) -> float:
    """Operations a token, two a multiply-add: products of all passes, head and attention, mean over a window.

    Causal attention counts the positions it sees, not those that a masked product computes as well.
    """
    cross = c.sections.cross_attention
    d, width, kv = c.hidden_size, c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    projections = 2 * d * (2 * width + 2 * kv)
    own = 4 * width * (context + 1) / 2
    window = cross.window or context
    memory = 4 * width * sum(min(i + 1 - cross.lag, window) for i in range(context)) / context
    total = 2.0 * c.vocab_size * d
    for s, layers in enumerate(c.sections.layers_per_section):
        crossing = sum(c.has_cross_attention(s, n) for n in range(layers))
        total += layers * (projections + own + 6 * d * c.intermediate_size) + crossing * (projections + memory)
    return total


def training_flops(c: ModelConfig, context: int, tokens: int) -> float:
    """Forward and, twice as much, backward."""
    return 3 * tokens * forward_flops(c, context)


def sequential_layers(c: ModelConfig) -> int:
    """Layers that one token has to pass one after another when every section has a rank of its own."""
    late = c.sections.cross_attention.lag == 1 or not c.sections.cross_attention.enabled
    longest = current = c.sections.layers_per_section[0]
    for link, layers in zip(c.sections.links, c.sections.layers_per_section[1:]):
        waits = link == CHAINED or not late
        current = current + layers if waits else layers
        longest = max(longest, current)
    return longest


def cache_bytes(c: ModelConfig) -> tuple[int, int]:
    """(bytes that each further token of a sequence adds to the f32 caches, bytes that windows keep at most)."""
    position = 2 * 4 * c.num_key_value_heads * c.head_dim
    cross = c.sections.cross_attention
    crossing = sum(c.has_cross_attention(s, n) for s, layers in enumerate(c.sections.layers_per_section)
                   for n in range(layers))
    own = position * sum(c.sections.layers_per_section)
    if cross.window is None:
        return own + position * crossing, 0
    kept = position // 2 if cross.window == 1 else position * cross.window   # of one position only the value is used
    return own, kept * crossing


def cache_bytes_read(c: ModelConfig, length: int) -> float:
    """What a decode step reads of the caches, about, when `length` positions are in them."""
    growing, kept = cache_bytes(c)
    window = c.sections.cross_attention.window or length
    return growing * length + kept * min(1.0, length / window)


def decodes_recurrently(c: ModelConfig) -> bool:
    try:
        c.refuse_recurrent()
    except ConfigError:
        return False
    return True
