"""Rotary positions in Hugging Face's Llama convention: channel n of a head turns together with channel n + a/2."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import ModelConfig


def inverse_frequencies(c: ModelConfig) -> Tensor:
    """Angle per position of each channel pair, shape [a/2], float64, with `rope_scaling` applied."""
    pairs = torch.arange(0, c.head_dim, 2, dtype=torch.float64) / c.head_dim
    frequencies = c.rope_theta ** -pairs
    scaling = c.rope_scaling
    if scaling is None:
        return frequencies
    if scaling["rope_type"] == "linear":
        return frequencies / scaling["factor"]
    return _llama3(frequencies, scaling)


def _llama3(frequencies: Tensor, scaling: dict) -> Tensor:
    """Long waves are stretched by `factor`, short ones kept, those between blended (as in Llama 3.1)."""
    old_context = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    waves = 2 * math.pi / frequencies
    blend = ((old_context / waves - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - blend) * frequencies / scaling["factor"] + blend * frequencies


class Rope:
    """Cosine and sine tables, made once a type; angles are computed in float64."""

    def __init__(self, c: ModelConfig):
        self.frequencies = inverse_frequencies(c)
        self.positions = c.max_position_embeddings
        self.tables: dict = {}

    def _table(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        key = (dtype, device)
        if key not in self.tables:
            angles = torch.outer(torch.arange(self.positions, dtype=torch.float64), self.frequencies)
            angles = torch.cat([angles, angles], -1)
            sine = torch.sin(angles)
            sine[:, : sine.shape[1] // 2] *= -1
            self.tables[key] = (torch.cos(angles).to(device, dtype), sine.to(device, dtype))
        return self.tables[key]

    def rotate(self, x: Tensor, first: int) -> Tensor:
        """x [..., T, a] at positions first.. -> the same shape."""
        exact = torch.float64 if x.dtype == torch.float64 else torch.float32
        cosine, sine = self._table(exact, x.device)
        length = x.shape[-2]
        swapped = x.roll(x.shape[-1] // 2, -1)
        return (x * cosine[first : first + length] + swapped * sine[first : first + length]).to(x.dtype)
