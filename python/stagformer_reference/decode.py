"""Step-by-step decoding: the staggered schedule itself, and recurrent decoding of shared-weight models."""

from __future__ import annotations

import torch
from torch import Tensor

from .model import StagFormer


@torch.no_grad()
def staggered_forward(model: StagFormer, tokens: Tensor) -> Tensor:
    """tokens [B,T] -> logits [B,T,V], one position a step, every section at position i reading memory up to i-1.

    What section s-1 computes in a step reaches section s only after the step, as in the distributed engine.
    Chained links and lag 0 read the same step's output, so those sections wait for it.
    """
    caches = model.new_caches()
    late = model.config.sections.cross_attention.lag == 1
    steps = []
    for i in range(tokens.shape[1]):
        embedded = model.embed(tokens[:, i : i + 1])
        outputs: list[Tensor] = []
        for s, section in enumerate(model.sections):
            if model.config.has_memory(s) and not late:
                section.remember(caches[s], outputs[s - 1])
            outputs.append(section.extend(caches[s], model.section_input(s, embedded, outputs)))
        for s, section in enumerate(model.sections):
            if model.config.has_memory(s) and late:
                section.remember(caches[s], outputs[s - 1])
        steps.append(model.logits(outputs))
    return torch.cat(steps, 1)


@torch.no_grad()
def recurrent_forward(model: StagFormer, tokens: Tensor, recurrent_after: int, prompt_memory: str | None = None) -> Tensor:
    """tokens [B,T] -> logits [B,T,V]; the first `recurrent_after` positions run all passes, the others the last one.

    The last pass's memory is `prompt_memory` (`previous_pass`: y^(p-1), `own`: y^p) at the first positions and its own
    outputs y^p afterwards.
    """
    model.config.refuse_recurrent()
    prompt_memory = prompt_memory or model.config.sections.recurrent.prompt_memory
    recurrent_after = min(recurrent_after, tokens.shape[1])
    last = model.sections[-1]
    caches = model.new_caches()
    embedded = model.embed(tokens)
    outputs = model.run_sections(embedded[:, :recurrent_after], caches)
    steps = [model.logits(outputs)] if recurrent_after else []
    cache = caches[-1]
    if prompt_memory == "own":
        _replace_memory(last, cache, outputs[-1])
    for i in range(recurrent_after, tokens.shape[1]):
        y = last.extend(cache, embedded[:, i : i + 1])
        last.remember(cache, y)
        steps.append(model.logits([y]))
    return torch.cat(steps, 1)


def _replace_memory(section, cache, y: Tensor) -> None:
    """Forget the section's memory and take y [B,S,d] at positions 0.. instead."""
    cache.memory = [None] * len(cache.memory)
    cache.memory_length = 0
    section.remember(cache, y)


@torch.no_grad()
def generate(model: StagFormer, tokens: list[int], max_tokens: int, temperature: float = 0.0,
             top_k: int = 0, seed: int = 0) -> list[int]:
    """Continue one sequence; returns the new ids, without the end-of-sequence token."""
    random = torch.Generator().manual_seed(seed)
    caches = model.new_caches()
    step, new = torch.tensor([tokens]), []
    stops = model.config.eos_token_ids
    while len(new) < max_tokens and len(tokens) + len(new) < model.config.max_position_embeddings:
        logits = model.logits(model.run_sections(model.embed(step), caches))[0, -1].float()
        token = _choose(logits, temperature, top_k, random)
        if token in stops:
            break
        new.append(token)
        step = torch.tensor([[token]])
    return new


def _choose(logits: Tensor, temperature: float, top_k: int, random: torch.Generator) -> int:
    """logits [V] -> a token id; temperature 0 takes the largest."""
    if temperature <= 0:
        return int(logits.argmax())
    if top_k:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=random))
