"""Text from a checkpoint: python -m stagformer_reference.sample --checkpoint F.h5 --prompt TEXT [--temperature 0.8]"""

from __future__ import annotations

import argparse

import torch

from .decode import generate
from .export import load, tokenizer_of


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stagformer_reference.sample", description="continue a prompt")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, checkpoint = load(options.checkpoint)
    tokenizer = tokenizer_of(checkpoint)
    start = [model.config.bos_token_id] if model.config.add_bos else []
    ids = start + tokenizer.encode(options.prompt)
    new = generate(model, ids, options.max_tokens, options.temperature, options.top_k, options.seed)
    print(tokenizer.decode(ids[len(start):] + new))


if __name__ == "__main__":
    main()
