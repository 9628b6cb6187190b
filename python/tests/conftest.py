"""Shared by the tests: small configurations and models with weights large enough that mistakes show."""

import pytest
import torch

from stagformer_reference.config import ModelConfig
from stagformer_reference.golden import sharp_weights
from stagformer_reference.model import StagFormer

torch.set_num_threads(1)


def small_config(cross: dict | None = None, **changes) -> ModelConfig:
    sections = {"count": 2, "layers_per_section": 2, "cross_attention": cross or {}} | changes.pop("sections", {})
    values = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
              "vocab_size": 263, "max_position_embeddings": 64, "bos_token_id": 256, "eos_token_id": 257,
              "sections": sections}
    return ModelConfig.from_dict(values | changes)


def sharp_model(config: ModelConfig, seed: int = 1) -> StagFormer:
    """A float64 model with random weights, W_o of cross-attention included."""
    model = StagFormer(config).double().eval()
    sharp_weights(model, torch.Generator().manual_seed(seed))
    return model


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 256, (2, 20), generator=torch.Generator().manual_seed(7))
