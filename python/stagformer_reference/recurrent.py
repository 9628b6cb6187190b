"""What recurrent decoding costs: python -m stagformer_reference.recurrent --checkpoint F.h5 --text F.txt --after 16 64 128

Loss at the positions after each K, exact and recurrent with both kinds of prompt memory, over the same windows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .evaluate import log_probabilities, windows
from .export import load, tokenizer_of


def measure(model, batch: torch.Tensor, after: list[int]) -> list[tuple[int, float, float, float]]:
    """Rows (K, exact, own, previous_pass): mean nats at the ids at positions after K; batch [B,T]."""
    exact = log_probabilities(model, batch)
    rows = []
    for k in after:
        losses = [-exact[:, k:].mean().item()]
        for memory in ("own", "previous_pass"):
            losses.append(-log_probabilities(model, batch, k, memory)[:, k:].mean().item())
        rows.append((k, *losses))
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stagformer_reference.recurrent", description="the cost of recurrent decoding")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--after", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--windows", type=int, default=32, help="at most so many full windows")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    model, checkpoint = load(options.checkpoint)
    ids = tokenizer_of(checkpoint).encode(Path(options.text).read_text(encoding="utf-8"))
    context = options.context or model.config.max_position_embeddings
    full = [w for w in windows(ids, model.config, context) if len(w) == context][: options.windows]
    print(f"| K | exact | own | previous_pass |   ({len(full)} windows of {context} tokens)\n|---|---|---|---|", flush=True)
    for k, *losses in measure(model, torch.tensor(full), options.after):
        print(f"| {k} | " + " | ".join(f"{loss:.4f}" for loss in losses) + " |", flush=True)


if __name__ == "__main__":
    main()
