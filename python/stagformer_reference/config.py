"""The model configuration: every key with its default, from and to JSON.

Names follow Hugging Face's `config.json` of a Llama model where they exist there. Letters used below:
V vocab_size, d hidden_size, f intermediate_size, H num_attention_heads, G num_key_value_heads, a head_dim,
p sections.count, h sections.layers_per_section, w sections.cross_attention.window.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field

STAGGERED, CHAINED = "staggered", "chained"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key."""


@dataclass
class CrossAttentionConfig:
    """How a staggered section reads the outputs of the section before it."""

    enabled: bool = True
    layers: str | list[int] = "all"
    window: int | None = None
    lag: int = 1
    rope: bool = True
    memory_norm: bool = True


@dataclass
class RecurrentConfig:
    """Memory at the prompt's positions when decoding runs the last pass alone."""

    prompt_memory: str = "previous_pass"


@dataclass
class SectionsConfig:
    """p sections; `layers_per_section` and `links` are kept as lists of p and p-1 values."""

    layers_per_section: list[int]
    count: int = 1
    weights: str = "separate"
    links: list[str] = field(default_factory=list)
    readout: str = "last"
    cross_attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)


@dataclass
class ModelConfig:
    """A checked configuration; build it with `ModelConfig.from_dict` or `from_json`."""

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int
    sections: SectionsConfig
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: dict | None = None
    hidden_act: str = "silu"
    tie_word_embeddings: bool = True
    attention_bias: bool = False
    qk_norm: bool = False
    embedding_scale: float = 1.0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    add_bos: bool = False

    @staticmethod
    def from_json(text: str) -> "ModelConfig":
        """Parse JSON text; a malformed text is a ConfigError too."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from None
        return ModelConfig.from_dict(values)

    @staticmethod
    def from_dict(values: dict) -> "ModelConfig":
        """Check every key and fill in the defaults."""
        keys = _Keys(values, "")
        config = _read_model(keys)
        keys.refuse_unknown()
        return config

    def to_dict(self) -> dict:
        """Every key with its value; keys without a value (no BOS, no EOS) are left out."""
        values = asdict(self)
        return {k: v for k, v in values.items() if v is not None or k == "rope_scaling"}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @property
    def eos_token_ids(self) -> list[int]:
        """The end-of-sequence ids as a list, empty when there is none."""
        if self.eos_token_id is None:
            return []
        return self.eos_token_id if isinstance(self.eos_token_id, list) else [self.eos_token_id]

    def staggered(self, section: int) -> bool:
        """True when `section` (from 0) starts from the token's embedding although it is not the first."""
        return section > 0 and self.sections.links[section - 1] == STAGGERED

    def has_memory(self, section: int) -> bool:
        """True when `section` has cross-attention to the section before it."""
        return self.staggered(section) and self.sections.cross_attention.enabled

    def has_cross_attention(self, section: int, layer: int) -> bool:
        layers = self.sections.cross_attention.layers
        return self.has_memory(section) and (layers == "all" or layer in layers)

    def refuse_recurrent(self) -> None:
        """Raise ConfigError unless recurrent decoding is defined for this model."""
        sections = self.sections
        cross = sections.cross_attention
        reasons = [
            (sections.weights == "shared", "shared weights"),
            (sections.count >= 2, "at least two sections"),
            (all(link == STAGGERED for link in sections.links), "staggered links"),
            (cross.lag == 1, "lag 1"),
            (cross.enabled, "cross-attention"),
            (sections.readout == "last", 'the read-out "last"'),
        ]
        for holds, what in reasons:
            if not holds:
                raise ConfigError(f"recurrent decoding needs {what}")


class _Keys:
    """One JSON object whose keys are taken one by one; what is left at the end is unknown."""

    _required = object()

    def __init__(self, values, path: str):
        if not isinstance(values, dict):
            raise ConfigError(f"{path.rstrip('.') or 'the configuration'} must be a JSON object, found {values!r}")
        self.values = dict(values)
        self.path = path

    def take(self, key: str, default=_required):
        if key in self.values:
            return self.values.pop(key)
        if default is self._required:
            raise ConfigError(f"{self.path}{key} is missing")
        return default

    def fail(self, key: str, expected: str, found):
        raise ConfigError(f"{self.path}{key} must be {expected}, found {found!r}")

    def integer(self, key: str, default=_required, least: int = 1):
        value = self.take(key, default)
        if not _is_integer(value) or value < least:
            self.fail(key, f"an integer of at least {least}", value)
        return value

    def number(self, key: str, default=_required, above: float | None = None):
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.fail(key, "a finite number", value)
        if above is not None and value <= above:
            self.fail(key, f"a number above {above:g}", value)
        return float(value)

    def boolean(self, key: str, default: bool):
        value = self.take(key, default)
        if not isinstance(value, bool):
            self.fail(key, "true or false", value)
        return value

    def choice(self, key: str, options: tuple[str, ...], default: str):
        value = self.take(key, default)
        if value not in options:
            self.fail(key, "one of " + ", ".join(options), value)
        return value

    def child(self, key: str) -> "_Keys":
        return _Keys(self.take(key, {}), f"{self.path}{key}.")

    def refuse_unknown(self) -> None:
        for key in self.values:
            raise ConfigError(f"unknown key {self.path}{key}")


def _is_integer(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_model(keys: _Keys) -> ModelConfig:
    d = keys.integer("hidden_size")
    heads = keys.integer("num_attention_heads")
    kv_heads = keys.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        keys.fail("num_key_value_heads", f"a divisor of num_attention_heads = {heads}", kv_heads)
    vocabulary = keys.integer("vocab_size")
    positions = keys.integer("max_position_embeddings")
    bos = keys.take("bos_token_id", None)
    config = ModelConfig(
        hidden_size=d,
        intermediate_size=keys.integer("intermediate_size"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        head_dim=_read_head_dim(keys, d, heads),
        rms_norm_eps=keys.number("rms_norm_eps", 1e-5, above=0),
        rope_theta=keys.number("rope_theta", 10000.0, above=0),
        rope_scaling=_read_rope_scaling(keys),
        hidden_act=keys.choice("hidden_act", ("silu", "gelu_tanh"), "silu"),
        tie_word_embeddings=keys.boolean("tie_word_embeddings", True),
        attention_bias=keys.boolean("attention_bias", False),
        qk_norm=keys.boolean("qk_norm", False),
        embedding_scale=keys.number("embedding_scale", 1.0),
        bos_token_id=bos,
        eos_token_id=keys.take("eos_token_id", None),
        add_bos=keys.boolean("add_bos", bos is not None),
        sections=_read_sections(keys.child("sections")),
    )
    _check_token_ids(keys, config)
    return config


def _read_head_dim(keys: _Keys, d: int, heads: int) -> int:
    if "head_dim" not in keys.values and d % heads:
        raise ConfigError(f"head_dim is missing and hidden_size = {d} is no multiple of num_attention_heads = {heads}")
    head_dim = keys.integer("head_dim", d // heads)
    if head_dim % 2:
        keys.fail("head_dim", "even", head_dim)
    return head_dim


def _read_rope_scaling(keys: _Keys) -> dict | None:
    """Hugging Face's object: `rope_type` (or `type`) and `factor`, for llama3 three more."""
    value = keys.take("rope_scaling", None)
    if value is None:
        return None
    inner = _Keys(value, "rope_scaling.")
    name = "rope_type" if "rope_type" in inner.values else "type"
    kind = inner.take(name)
    if kind not in ("linear", "llama3"):
        inner.fail(name, "one of linear, llama3", kind)
    scaling = {"rope_type": kind, "factor": inner.number("factor", above=0)}
    if kind == "llama3":
        scaling["low_freq_factor"] = inner.number("low_freq_factor", above=0)
        scaling["high_freq_factor"] = inner.number("high_freq_factor", above=0)
        scaling["original_max_position_embeddings"] = inner.integer("original_max_position_embeddings")
        if scaling["high_freq_factor"] <= scaling["low_freq_factor"]:
            inner.fail("high_freq_factor", "above low_freq_factor", scaling["high_freq_factor"])
    inner.values.pop("type", None)
    inner.refuse_unknown()
    return scaling


def _check_token_ids(keys: _Keys, config: ModelConfig) -> None:
    ids = {"bos_token_id": [] if config.bos_token_id is None else [config.bos_token_id],
           "eos_token_id": config.eos_token_ids}
    for key, values in ids.items():
        for value in values:
            if not _is_integer(value) or not 0 <= value < config.vocab_size:
                keys.fail(key, f"a token id from 0 to {config.vocab_size - 1}", value)
    if config.add_bos and config.bos_token_id is None:
        raise ConfigError("add_bos is true but bos_token_id is missing")


def _read_sections(keys: _Keys) -> SectionsConfig:
    count = keys.integer("count", 1)
    layers = _read_layers(keys, count)
    links = _read_links(keys, count)
    weights = keys.choice("weights", ("separate", "shared"), "separate")
    if weights == "shared" and len(set(layers)) > 1:
        keys.fail("layers_per_section", "equal for all sections when weights are shared", layers)
    readout = keys.choice("readout", ("last", "linear_combination"), "last")
    staggered_layers = [layers[s + 1] for s, link in enumerate(links) if link == STAGGERED]
    cross = _read_cross_attention(keys.child("cross_attention"), max(staggered_layers, default=max(layers)))
    recurrent = keys.child("recurrent")
    memory = recurrent.choice("prompt_memory", ("own", "previous_pass"), RecurrentConfig().prompt_memory)
    recurrent.refuse_unknown()
    keys.refuse_unknown()
    return SectionsConfig(layers, count, weights, links, readout, cross, RecurrentConfig(memory))


def _read_layers(keys: _Keys, count: int) -> list[int]:
    value = keys.take("layers_per_section")
    layers = value if isinstance(value, list) else [value] * count
    if not all(_is_integer(n) and n >= 1 for n in layers) or len(layers) != count:
        keys.fail("layers_per_section", f"an integer of at least 1 or a list of {count} of them", value)
    return list(layers)


def _read_links(keys: _Keys, count: int) -> list[str]:
    value = keys.take("links", STAGGERED)
    links = value if isinstance(value, list) else [value] * (count - 1)
    valid = all(link in (STAGGERED, CHAINED) for link in (value if isinstance(value, list) else [value]))
    if not valid or len(links) != count - 1:
        keys.fail("links", f"staggered, chained or a list of {count - 1} of them", value)
    return list(links)


def _read_cross_attention(keys: _Keys, most_layers: int) -> CrossAttentionConfig:
    enabled = keys.boolean("enabled", True)
    layers = keys.take("layers", "all")
    if layers != "all":
        valid = isinstance(layers, list) and all(_is_integer(n) and 0 <= n < most_layers for n in layers)
        if not valid or len(set(layers)) != len(layers) or not layers:
            keys.fail("layers", f'"all" or a list of different layer numbers from 0 to {most_layers - 1}', layers)
    window = keys.take("window", None)
    if window is not None and (not _is_integer(window) or window < 1):
        keys.fail("window", "null or an integer of at least 1", window)
    lag = keys.take("lag", 1)
    if not _is_integer(lag) or lag not in (0, 1):
        keys.fail("lag", "0 or 1", lag)
    config = CrossAttentionConfig(enabled, layers, window, lag, keys.boolean("rope", True),
                                  keys.boolean("memory_norm", True))
    keys.refuse_unknown()
    return config
