"""Trains one run of a family in its folder and writes result.json when it is complete; started by the driver."""

from __future__ import annotations

import argparse
import csv
import fcntl
import math
import signal
from pathlib import Path

import torch

from .. import train
from ..evaluate import evaluate, windows
from ..export import load, tokenizer_of
from .cost import parameters, sequential_layers, training_flops
from .runs import write_json

STOPPED = 3   # exit code: told to stop before the end, the state is saved


def held_out_windows(checkpoint, text: Path) -> list[list[int]]:
    """The windows of `stagformer eval`; one that predicts nothing is left out."""
    ids = tokenizer_of(checkpoint).encode(text.read_text(encoding="utf-8"))
    config = checkpoint.config
    return [w for w in windows(ids, config, config.max_position_embeddings) if len(w) > 1]


def loss_of(results: list[list[float]], after: int = 0) -> tuple[float, int]:
    """(mean nats, predictions) over what follows the first `after` predictions of each window."""
    values = [value for window in results for value in window[after:]]
    return -math.fsum(values) / len(values), len(values)


def result_of(folder: Path, trainer, held_out: Path) -> dict:
    """Measured on the exported model.h5, whose weights are the trainer's in f32."""
    model, checkpoint = load(folder / "model.h5")
    loss, count = loss_of(evaluate(model, held_out_windows(checkpoint, held_out), batch=16))
    total, inner = parameters(model.config)
    with open(folder / "curve.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return {"parameters": total, "parameters_without_embeddings": inner,
            "sequential_layers": sequential_layers(model.config), "tokens": trainer.tokens,
            "training_flops": training_flops(model.config, trainer.t.context, trainer.tokens),
            "seconds": round(trainer.seconds, 1), "training_loss": float(last["train_loss"]),
            "held_out_tokens": count, "held_out_loss": loss, "held_out_perplexity": math.exp(loss)}


def main(arguments: list[str] | None = None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver asks with SIGTERM
    parser = argparse.ArgumentParser(prog="stagformer_reference.family.one")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--threads", required=True)
    options = parser.parse_args(arguments)
    folder = Path(options.folder)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a trainer that outlived its driver still has it
        trainer = train.main(["--config", str(folder / "run.json"), "--out", str(folder), "--data", options.data,
                              "--threads", options.threads, "--format", "f32"])
        if trainer.tokens < trainer.t.tokens:
            raise SystemExit(STOPPED)
        torch.set_num_threads(int(options.threads))
        write_json(folder / "result.json", result_of(folder, trainer, Path(options.held_out)))


if __name__ == "__main__":
    main()
