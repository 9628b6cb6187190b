"""Log-probabilities of a text: python -m stagformer_reference.evaluate --checkpoint F.h5 --text F.txt [--per-token F.csv]

Windows, CSV columns and perplexity are those of `stagformer eval`, for comparison with it.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import torch
from torch import Tensor

from .config import ConfigError, ModelConfig
from .decode import recurrent_forward
from .export import load, tokenizer_of
from .model import StagFormer


def windows(ids: list[int], config: ModelConfig, context: int) -> list[list[int]]:
    """Independent windows of at most `context` ids, each begun by BOS where the model asks for it."""
    start = [config.bos_token_id] if config.add_bos else []
    step = context - len(start)
    if not 2 <= context <= config.max_position_embeddings:
        raise ConfigError(f"the context must be from 2 to {config.max_position_embeddings}")
    return [start + ids[n : n + step] for n in range(0, len(ids), step)]


@torch.no_grad()
def log_probabilities(model: StagFormer, batch: Tensor, recurrent_after: int | None = None,
                      prompt_memory: str | None = None) -> Tensor:
    """batch [B,T] -> natural log-probability [B,T-1] of every id but the first."""
    if recurrent_after is None:
        logits = model(batch)[0]
    else:
        logits = recurrent_forward(model, batch, recurrent_after, prompt_memory)
    values = logits[:, :-1].log_softmax(-1)
    return values.gather(-1, batch[:, 1:, None])[..., 0]


def evaluate(model: StagFormer, parts: list[list[int]], recurrent_after: int | None = None,
             prompt_memory: str | None = None, batch: int = 8) -> list[list[float]]:
    """Log-probabilities of each window's ids but the first; equally long windows are computed together."""
    results: list[list[float]] = []
    begin = 0
    while begin < len(parts):
        end = begin + 1
        while end < min(len(parts), begin + batch) and len(parts[end]) == len(parts[begin]):
            end += 1
        values = log_probabilities(model, torch.tensor(parts[begin:end]), recurrent_after, prompt_memory)
        results += values.tolist()
        begin = end
    return results


def write_per_token(path: str, parts: list[list[int]], results: list[list[float]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["position", "token_id", "log_probability"])
        for part, values in zip(parts, results):
            for position, value in enumerate(values, 1):
                writer.writerow([position, part[position], f"{value:.9g}"])


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(prog="stagformer_reference.evaluate", description="perplexity of a text")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--context", type=int, default=0, help="tokens a window (default: the model's maximum)")
    parser.add_argument("--per-token", help="CSV with one line for each predicted token")
    parser.add_argument("--recurrent-after", type=int, help="run the last pass alone after this many positions")
    parser.add_argument("--prompt-memory", choices=("own", "previous_pass"), help="default: the configuration's")
    parser.add_argument("--double", action="store_true", help="compute in float64")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    model, checkpoint = load(options.checkpoint, torch.float64 if options.double else torch.float32)
    ids = tokenizer_of(checkpoint).encode(Path(options.text).read_text(encoding="utf-8"))
    parts = windows(ids, model.config, options.context or model.config.max_position_embeddings)
    results = evaluate(model, parts, options.recurrent_after, options.prompt_memory)
    if options.per_token:
        write_per_token(options.per_token, parts, results)
    values = [v for window in results for v in window]
    mean = -math.fsum(values) / len(values)
    print(f"tokens {len(values)} loss {mean:.6f} perplexity {math.exp(mean):.6f}")
    return mean


if __name__ == "__main__":
    main()
