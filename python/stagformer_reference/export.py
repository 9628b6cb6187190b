"""Between PyTorch models and checkpoints: python -m stagformer_reference.export --state DIR --output FILE.h5"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .config import ModelConfig
from .model import StagFormer
from .tokenizer import FILES, make_tokenizer


def checkpoint_of(model: StagFormer, tokenizer_type: str = "byte", tokenizer_model: bytes | None = None,
                  source: str = "") -> Checkpoint:
    """The model's weights under the checkpoint's paths; shared weights appear once."""
    weights = {name.replace(".", "/"): value.detach().cpu().float().numpy()
               for name, value in model.named_parameters()}
    return Checkpoint(model.config, weights, tokenizer_type, tokenizer_model, source)


def export(path: str | Path, model: StagFormer, tokenizer, number_format: str, source: str) -> None:
    """Write the model with its tokenizer embedded."""
    checkpoint = checkpoint_of(model, tokenizer.type, tokenizer.model, source)
    write_checkpoint(path, checkpoint, number_format)


def model_of(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> StagFormer:
    """A PyTorch model with the checkpoint's (dequantised) weights."""
    model = StagFormer(checkpoint.config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(checkpoint.weights[name.replace(".", "/")].copy()))
    return model.to(dtype).eval()


def load(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[StagFormer, Checkpoint]:
    """Read a checkpoint file as a PyTorch model."""
    checkpoint = read_checkpoint(path)
    return model_of(checkpoint, dtype), checkpoint


def tokenizer_of(checkpoint: Checkpoint):
    """A tokenizer.json's documents begin with BOS where the model's prompts do."""
    config = checkpoint.config
    bos = config.bos_token_id if config.add_bos else None
    eos = next(iter(config.eos_token_ids), None)
    return make_tokenizer(checkpoint.tokenizer_type, checkpoint.tokenizer_model, bos, eos)


def tokenizer_in(folder: Path) -> tuple[str, bytes | None]:
    """(type, bytes) of what the trainer keeps in its folder; bytes need no file."""
    for kind, name in FILES.items():
        if (folder / name).exists():
            return kind, (folder / name).read_bytes()
    return "byte", None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stagformer_reference.export", description="write a trainer's state as a checkpoint")
    parser.add_argument("--state", required=True, help="the trainer's --out folder")
    parser.add_argument("--output", required=True)
    parser.add_argument("--format", default="bf16", help="f32, bf16, q8_0, q4_0 or q4_1")
    parser.add_argument("--split", action="store_true", help="one file a section")
    parser.add_argument("--source", default="", help="text of the attribute `source`")
    options = parser.parse_args(arguments)
    folder = Path(options.state)
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    model = StagFormer(ModelConfig.from_dict(state["config"]))
    model.load_state_dict(state["model"])
    kind, data = tokenizer_in(folder)
    write_checkpoint(options.output, checkpoint_of(model, kind, data, options.source), options.format, options.split)


if __name__ == "__main__":
    main()
