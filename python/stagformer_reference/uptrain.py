"""A StagFormer that starts from an ordinary decoder (up-training).

The decoder's layers are dealt to the sections in order; with shared weights all sections take the same layers.
Cross-attention begins with an output of zero, so that a section first computes what its layers alone make of its
input: the first section what the decoder's first layers did, a staggered one its layers on the embedding. What the
layers lost in that way, and what cross-attention can give back, is left to training.
"""

from __future__ import annotations

import torch

from .checkpoint import Checkpoint
from .config import ConfigError, ModelConfig
from .export import model_of
from .model import StagFormer

SAME = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
        "hidden_act", "attention_bias", "qk_norm", "tie_word_embeddings", "rope_theta", "rope_scaling", "rms_norm_eps", "embedding_scale",
        "bos_token_id", "eos_token_ids", "add_bos")


def dealt_layers(target: ModelConfig, layers: int) -> list[tuple[int, int]]:
    """(section, layer) in the target of each of the decoder's layers."""
    sections = target.sections
    own = range(1) if sections.weights == "shared" else range(sections.count)
    places = [(s, n) for s in own for n in range(sections.layers_per_section[s])]
    if len(places) != layers:
        raise ConfigError(f"the model has room for {len(places)} layers, the decoder to start from has {layers}")
    return places


def check_fits(target: ModelConfig, source: ModelConfig) -> None:
    """ConfigError unless the source is one section whose layers have the target's shapes."""
    if source.sections.count != 1:
        raise ConfigError(f"the checkpoint to start from has {source.sections.count} sections; a decoder has one")
    for name in SAME:
        ours, theirs = getattr(target, name), getattr(source, name)
        if ours != theirs:
            raise ConfigError(f"{name} is {ours} in the run file but {theirs} in the checkpoint to start from")


@torch.no_grad()
def start_from(model: StagFormer, decoder: Checkpoint) -> None:
    """Give `model` the decoder's weights, and cross-attention an output of zero."""
    check_fits(model.config, decoder.config)
    old = dict(model_of(decoder).named_parameters())
    places = dealt_layers(model.config, decoder.config.sections.layers_per_section[0])
    taken = {f"sections.{s}.layers.{n}": f"sections.0.layers.{i}" for i, (s, n) in enumerate(places)}
    for name, parameter in model.named_parameters():
        layer = ".".join(name.split(".")[:4])
        if ".cross_attention." in name:
            if name.endswith(".o.weight"):
                parameter.zero_()
        elif layer in taken:
            parameter.copy_(old[name.replace(layer, taken[layer], 1)])
        elif name in old:
            parameter.copy_(old[name])
