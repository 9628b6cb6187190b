"""StagFormer in plain PyTorch (Cutler et al., "StagFormer: Time Staggering Decoder-only Transformers", arXiv 2501.15665).

Parameter names follow the checkpoint's paths, with dots for slashes: `sections.1.layers.0.cross_attention.q.weight`.
Shapes: B sequences, T query positions, S key positions, V vocabulary, d width, f feed-forward width,
H query heads, G key/value heads, a head width, p sections. Positions count from 0 here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import CHAINED, ModelConfig
from .rope import Rope


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, shape [..., d]."""

    def __init__(self, d: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


def attend(q: Tensor, k: Tensor, v: Tensor, first: int, lag: int, window: int | None) -> Tensor:
    """Attention of queries at positions first.. over keys at positions 0.., where lag <= i - j < lag + window.

    q [B,H,T,a], k and v [B,G,S,a]; returns [B,H,T,a], zero where a query has no key at all.
    """
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    i = torch.arange(first, first + q.shape[2], device=q.device)[:, None]
    distance = i - torch.arange(k.shape[2], device=q.device)[None, :]
    unseen = distance < lag
    if window is not None:
        unseen |= distance >= lag + window
    nothing = unseen.all(-1, keepdim=True)  # such a row sees everything, then counts as zero: no NaN, no NaN gradient
    bias = torch.zeros_like(unseen, dtype=q.dtype).masked_fill(unseen & ~nothing, -torch.inf)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias
    return (torch.softmax(scores, -1) @ v).masked_fill(nothing, 0.0)


class Attention(nn.Module):
    """Projections of self- or cross-attention; `norm` is applied to the query's input only."""

    def __init__(self, c: ModelConfig, rope: Rope | None):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.q = nn.Linear(c.hidden_size, self.heads * self.head_dim, bias=c.attention_bias)
        self.k = nn.Linear(c.hidden_size, self.kv_heads * self.head_dim, bias=c.attention_bias)
        self.v = nn.Linear(c.hidden_size, self.kv_heads * self.head_dim, bias=c.attention_bias)
        self.o = nn.Linear(self.heads * self.head_dim, c.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.head_dim, c.rms_norm_eps) if c.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, c.rms_norm_eps) if c.qk_norm else None
        self.rope = rope

    def query(self, x: Tensor, first: int) -> Tensor:
        """x [B,T,d], already normed, at positions first.. -> [B,H,T,a]."""
        q = self.q(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        q = self.q_norm(q) if self.q_norm else q
        return self.rope.rotate(q, first) if self.rope else q

    def keys_values(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """x [B,S,d], already normed, at positions first.. -> k and v [B,G,S,a]."""
        k = self.k(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(k) if self.k_norm else k
        v = self.v(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        return (self.rope.rotate(k, first) if self.rope else k), v

    def output(self, x: Tensor) -> Tensor:
        """x [B,H,T,a] -> [B,T,d]."""
        return self.o(x.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """down(act(gate(x)) * up(x)) with its norm before it."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.gate = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)
        self.gelu = c.hidden_act == "gelu_tanh"

    def forward(self, u: Tensor) -> Tensor:
        x = self.norm(u)
        gate = self.gate(x)
        activated = F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)
        return self.down(activated * self.up(x))


class Layer(nn.Module):
    """One layer; `shared` is the layer whose self-attention and feed-forward it takes over."""

    def __init__(self, c: ModelConfig, rope: Rope, has_cross: bool, shared: "Layer | None"):
        super().__init__()
        self.self_attention = shared.self_attention if shared else Attention(c, rope)
        cross = c.sections.cross_attention
        self.cross_attention = Attention(c, rope if cross.rope else None) if has_cross else None
        self.feed_forward = shared.feed_forward if shared else FeedForward(c)
        self.lag, self.window = cross.lag, cross.window


class Cache:
    """Keys and values of one section: one (k, v) pair [B,G,S,a] a layer, for itself and for its memory."""

    def __init__(self, layers: int):
        self.own: list = [None] * layers
        self.memory: list = [None] * layers
        self.length = 0          # positions in `own`
        self.memory_length = 0   # positions in `memory`


def _append(pair, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return (k, v) if pair is None else (torch.cat([pair[0], k], 2), torch.cat([pair[1], v], 2))


class Section(nn.Module):
    """A stack of layers; a staggered one reads the memory that was given to its cache."""

    def __init__(self, c: ModelConfig, number: int, rope: Rope, shared: "Section | None"):
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(c, rope, c.has_cross_attention(number, n), shared.layers[n] if shared else None)
            for n in range(c.sections.layers_per_section[number])
        )
        needs_norm = c.has_memory(number) and c.sections.cross_attention.memory_norm
        self.memory_norm = RMSNorm(c.hidden_size, c.rms_norm_eps) if needs_norm else None
        self.dropout = 0.0

    def new_cache(self) -> Cache:
        return Cache(len(self.layers))

    def remember(self, cache: Cache, y: Tensor) -> None:
        """Project the upstream outputs y [B,S,d] at the next S positions into the cache."""
        x = self.memory_norm(y) if self.memory_norm is not None else y
        for n, layer in enumerate(self.layers):
            if layer.cross_attention is not None:
                k, v = layer.cross_attention.keys_values(x, cache.memory_length)
                cache.memory[n] = _append(cache.memory[n], k, v)
        cache.memory_length += y.shape[1]

    def extend(self, cache: Cache, u: Tensor) -> Tensor:
        """Run u [B,T,d] at the cache's next T positions through all layers; returns y [B,T,d]."""
        first = cache.length
        for n, layer in enumerate(self.layers):
            u = u + self._drop(self._self_attention(cache, n, layer, u, first))
            if layer.cross_attention is not None and cache.memory[n] is not None:
                u = u + self._drop(self._cross_attention(cache, n, layer, u, first))
            u = u + self._drop(layer.feed_forward(u))
        cache.length += u.shape[1]
        return u

    def _self_attention(self, cache: Cache, n: int, layer: Layer, u: Tensor, first: int) -> Tensor:
        attention = layer.self_attention
        x = attention.norm(u)
        cache.own[n] = _append(cache.own[n], *attention.keys_values(x, first))
        return attention.output(attend(attention.query(x, first), *cache.own[n], first, 0, None))

    def _cross_attention(self, cache: Cache, n: int, layer: Layer, u: Tensor, first: int) -> Tensor:
        attention = layer.cross_attention
        q = attention.query(attention.norm(u), first)
        return attention.output(attend(q, *cache.memory[n], first, layer.lag, layer.window))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Embedding(nn.Module):
    """Rows [V,d] looked up by token."""

    def __init__(self, vocabulary: int, d: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, d))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.weight)


class Readout(nn.Module):
    """Learned coefficients c [p] of the linear combination of all sections' outputs."""

    def __init__(self, sections: int):
        super().__init__()
        self.coefficients = nn.Parameter(torch.full((sections,), 1.0 / sections))


class StagFormer(nn.Module):
    """The whole model: embedding, p sections, read-out."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        c = self.config = config
        self.embedding = Embedding(c.vocab_size, c.hidden_size)
        rope = Rope(c)
        sections: list[Section] = []
        for s in range(c.sections.count):
            shared = sections[0] if s > 0 and c.sections.weights == "shared" else None
            sections.append(Section(c, s, rope, shared))
        self.sections = nn.ModuleList(sections)
        self.final_norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.head = None if c.tie_word_embeddings else nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self.readout = Readout(c.sections.count) if c.sections.readout == "linear_combination" else None
        self.initialise()

    def initialise(self) -> None:
        """Normal weights, smaller where they write to the residual stream; W_o of cross-attention is zero."""
        depth = sum(self.config.sections.layers_per_section)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if residual else 0.02)
            if name.endswith("cross_attention.o.weight"):
                nn.init.zeros_(parameter)
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def set_dropout(self, rate: float) -> None:
        """Dropout on every residual branch while training; 0 switches it off."""
        for section in self.sections:
            section.dropout = rate

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [B,T] -> [B,T,d]."""
        return self.embedding(tokens) * self.config.embedding_scale

    def logits(self, outputs: list[Tensor]) -> Tensor:
        """Section outputs y^s, p times [B,T,d] -> logits [B,T,V]."""
        y = outputs[-1]
        if self.readout is not None:
            y = sum(c * y for c, y in zip(self.readout.coefficients, outputs))
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.final_norm(y), weight)

    def section_input(self, s: int, embedded: Tensor, outputs: list[Tensor]) -> Tensor:
        """Where section s starts from: the embedding, or the section before it when the link is chained."""
        chained = s > 0 and self.config.sections.links[s - 1] == CHAINED
        return outputs[s - 1] if chained else embedded

    def run_sections(self, embedded: Tensor, caches: list[Cache]) -> list[Tensor]:
        """One section after another over embedded [B,T,d]; fills the caches and returns every y^s."""
        outputs: list[Tensor] = []
        for s, (section, cache) in enumerate(zip(self.sections, caches)):
            if self.config.has_memory(s):
                section.remember(cache, outputs[s - 1])
            outputs.append(section.extend(cache, self.section_input(s, embedded, outputs)))
        return outputs

    def new_caches(self) -> list[Cache]:
        return [section.new_cache() for section in self.sections]

    def forward(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """tokens [B,T] -> logits [B,T,V] and the section outputs, p times [B,T,d]."""
        outputs = self.run_sections(self.embed(tokens), self.new_caches())
        return self.logits(outputs), outputs

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())
