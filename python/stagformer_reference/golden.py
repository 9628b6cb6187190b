"""Golden files: python -m stagformer_reference.golden --out tests/golden

For each case NAME.h5 is an ordinary checkpoint with sharp random weights, and NAME.golden.h5 holds what the reference
computes from the stored (dequantised) weights in float64. twins/ holds what slightly wrong models would compute:
a test that accepts those proves nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .config import ModelConfig
from .decode import recurrent_forward
from .export import checkpoint_of, model_of
from .golden_cases import Case, golden_cases
from .model import StagFormer

SEQUENCES, POSITIONS = 2, 24
RECURRENT_AFTER = 10
GREEDY_PROMPT, GREEDY_TOKENS = 8, 20
LEAST_GAP = 0.05      # nats between the best and the second token at every greedy step
CREATED = "2025-01-01T00:00:00Z"


def sharp_weights(model: StagFormer, random: torch.Generator) -> None:
    """Random weights that keep the residual stream at O(1) to O(10) and give clear-cut choices."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            normal = torch.randn(p.shape, generator=random, dtype=torch.float64)
            if name == "embedding.weight":
                values = 0.5 * normal / model.config.embedding_scale
            elif p.dim() == 2:
                values = normal * 1.3 / p.shape[1] ** 0.5
            elif name.endswith("norm.weight"):
                values = (2.0 if name.startswith("final") else 1.0) + 0.2 * normal
            elif name.endswith("coefficients"):
                values = 1.0 + 0.3 * normal
            else:  # biases
                values = 0.5 * normal
            p.copy_(values)
        if model.head is not None:
            model.head.weight.mul_(2.0)
        elif model.config.embedding_scale != 1.0:
            model.final_norm.weight.mul_(model.config.embedding_scale)


def random_tokens(config: ModelConfig, random: torch.Generator) -> Tensor:
    """[B,T] ids that begin with BOS and hold no other special id."""
    tokens = torch.randint(0, 256, (SEQUENCES, POSITIONS), generator=random)
    tokens[:, 0] = config.bos_token_id
    return tokens


@torch.no_grad()
def greedy(model: StagFormer, prompt: Tensor) -> tuple[Tensor, float]:
    """Greedy continuation [B,n] of prompt [B,m], and the smallest gap between the two best logits."""
    tokens, least = prompt, float("inf")
    for _ in range(GREEDY_TOKENS):
        best = model(tokens)[0][:, -1].topk(2)
        least = min(least, float((best.values[:, 0] - best.values[:, 1]).min()))
        tokens = torch.cat([tokens, best.indices[:, :1]], 1)
    return tokens[:, prompt.shape[1] :], least


@torch.no_grad()
def results(model: StagFormer, tokens: Tensor) -> dict[str, np.ndarray]:
    """Section outputs [p,B,T,d] and log-probabilities [B,T,V], computed in the model's type, kept as float32."""
    logits, outputs = model(tokens)
    values = {"section_outputs": torch.stack(outputs), "log_probabilities": logits.log_softmax(-1)}
    try:
        model.config.refuse_recurrent()
    except ValueError:
        pass
    else:
        for memory in ("own", "previous_pass"):
            logits = recurrent_forward(model, tokens, RECURRENT_AFTER, memory)
            values[f"recurrent_{memory}_log_probabilities"] = logits.log_softmax(-1)
    return {name: value.numpy().astype(np.float32) for name, value in values.items()}


def write_golden(path: Path, config: ModelConfig, seed: int, tokens: Tensor, values: dict[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["seed"] = np.int64(seed)
        file.attrs["config"] = config.to_json()
        file.attrs["torch_version"] = str(torch.__version__)
        file.create_dataset("tokens", data=tokens.numpy().astype(np.int32))
        for name, value in values.items():
            dataset = file.create_dataset(name, data=value)
            if name.startswith("recurrent_"):
                dataset.attrs["recurrent_after"] = np.int32(RECURRENT_AFTER)


def find_seed(case: Case, out: Path, first: int) -> tuple[int, Checkpoint, Tensor, Tensor, float]:
    """The first seed whose stored weights decode clearly and variedly, without BOS and EOS."""
    for seed in range(first, first + 2000):
        random = torch.Generator().manual_seed(seed)
        model = StagFormer(case.config)
        sharp_weights(model, random)
        tokens = random_tokens(case.config, random)
        checkpoint = checkpoint_of(model, source=f"golden case {case.name}, seed {seed}")
        checkpoint.created = CREATED
        write_checkpoint(out / f"{case.name}.h5", checkpoint, case.number_format, case.split)
        stored = read_checkpoint(out / f"{case.name}.h5")
        continuation, gap = greedy(model_of(stored, torch.float64), tokens[:, :GREEDY_PROMPT])
        varied = min(len(set(row.tolist())) for row in continuation) >= GREEDY_TOKENS // 3
        special = torch.isin(continuation, torch.tensor([case.config.bos_token_id, case.config.eos_token_id])).any()
        if gap >= LEAST_GAP and varied and not special:
            return seed, stored, tokens, continuation, gap
    raise RuntimeError(f"no seed gives clear-cut choices for {case.name}")


def make_case(case: Case, out: Path, first_seed: int) -> None:
    seed, stored, tokens, continuation, gap = find_seed(case, out, first_seed)
    model = model_of(stored, torch.float64)
    values = results(model, tokens)
    exact = values["log_probabilities"]
    write_golden(out / f"{case.name}.golden.h5", case.config, seed, tokens,
                 values | {"greedy": continuation.numpy().astype(np.int32)})
    with h5py.File(out / f"{case.name}.golden.h5", "a") as file:
        file["greedy"].attrs["prompt_tokens"] = np.int32(GREEDY_PROMPT)
        file["greedy"].attrs["least_gap"] = gap
    print(f"{case.name}: seed {seed}, least gap {gap:.3f}, largest output {np.abs(values['section_outputs']).max():.1f}")
    for what in case.twins:
        twin = results(make_twin(model_of(stored, torch.float64), what), tokens)
        difference = np.abs(twin["log_probabilities"] - exact).max()
        assert difference > 0.1, f"{case.name}: the twin {what} is too close"
        write_golden(out / "twins" / f"{case.name}.twin-{what}.golden.h5", case.config, seed, tokens, twin)
        print(f"  twin {what}: differs by up to {difference:.2f}")


def make_twin(model: StagFormer, what: str) -> StagFormer:
    """Make one of the mistakes that an engine could make."""
    layers = [layer for section in model.sections for layer in section.layers]
    if what == "memory-shifted":
        for layer in layers:
            layer.lag = 2
    elif what == "lag-0":
        for layer in layers:
            layer.lag = 0
    elif what in ("window-plus-1", "window-minus-1"):
        for layer in layers:
            layer.window += 1 if what == "window-plus-1" else -1
    elif what == "sections-swapped":
        order = list(model.sections)
        _swap_cross_free(order)
        model.sections = torch.nn.ModuleList(order)
    elif what == "rope-interleaved":
        for layer in layers:
            layer.self_attention.rope.rotate = _interleaved(layer.self_attention.rope)
    elif what == "no-memory":
        for layer in layers:
            layer.cross_attention = None
    else:
        raise ValueError(what)
    return model


def _swap_cross_free(sections: list) -> None:
    """Swap two sections of the same kind: the last one and the nearest before it that has (or lacks) cross-attention too."""
    last = sections[-1]
    kind = last.layers[0].cross_attention is None
    other = max(n for n, s in enumerate(sections[:-1]) if (s.layers[0].cross_attention is None) == kind)
    sections[-1], sections[other] = sections[other], last


def _interleaved(rope):
    """Rotation of neighbouring channel pairs (2n, 2n+1): the other convention."""

    def rotate(x: Tensor, first: int) -> Tensor:
        positions = torch.arange(first, first + x.shape[-2], dtype=torch.float64)
        angles = torch.outer(positions, rope.frequencies).to(x.dtype)
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = (even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos())
        return torch.stack(turned, -1).flatten(-2)

    return rotate


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stagformer_reference.golden", description="write the golden files")
    parser.add_argument("--out", required=True, help="folder, usually tests/golden")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--only", nargs="*", help="names of cases")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    out = Path(options.out)
    (out / "twins").mkdir(parents=True, exist_ok=True)
    for case in golden_cases():
        if not options.only or case.name in options.only:
            make_case(case, out, options.seed)


if __name__ == "__main__":
    main()
