"""Measures finished runs with the engine and compares it with the trainer: evaluation.json and latency.json of each run."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ..checkpoint import read_checkpoint, write_checkpoint
from ..config import ConfigError, ModelConfig
from ..evaluate import evaluate
from ..export import load, tokenizer_of
from .engine import Engine, EngineError
from .one import held_out_windows, loss_of
from .results import read_part, write_results
from .runs import Family, Run, write_json
from .tasks import blimp, hellaswag, read_blimp, read_hellaswag
from .training import HELD_OUT

TOLERANCE = 1e-3   # nats a token, so also the relative difference of perplexities
MEMORIES = ("own", "previous_pass")
BLIMP_PAIRS, HELLASWAG_ITEMS = 15, 400


def decodes_recurrently(config: ModelConfig) -> bool:
    try:
        config.refuse_recurrent()
    except ConfigError:
        return False
    return True


class Evaluation:
    """Losses of one family. `tasks`: folder that holds blimp/ and hellaswag/, or none."""

    def __init__(self, family: Family, output: Path, engine: Engine, tasks: Path | None):
        self.family, self.output, self.engine = family, output, engine
        self.text = output / HELD_OUT
        self.pairs = read_blimp(tasks / "blimp" / "pairs.tsv.xz", BLIMP_PAIRS) if tasks else []
        self.items = read_hellaswag(tasks / "hellaswag" / "val-first-95pct.txt.xz", HELLASWAG_ITEMS) if tasks else []

    def run(self) -> int:
        """Number of runs that failed or on which engine and trainer disagree."""
        return each_run(self.family, self.output, "evaluation", self._measure)

    def _measure(self, run: Run, folder: Path) -> tuple[dict, str]:
        path, trainer = folder / "model.h5", read_part(folder, "result")
        exact = self.engine.log_probabilities(path, self.text)
        loss, count = loss_of(exact)
        if count != trainer["held_out_tokens"]:
            raise EngineError(f"predicts {count} tokens, the trainer {trainer['held_out_tokens']}")
        values = {"engine_loss": loss, "engine_perplexity": math.exp(loss),
                  "largest_difference": abs(loss - trainer["held_out_loss"])}
        model, checkpoint = load(path)
        if self.family.recurrent_after and decodes_recurrently(run.model):
            self._recurrent(values, path, model, checkpoint, exact)
        values |= self._tasks(model, tokenizer_of(checkpoint))
        if not values["largest_difference"] <= TOLERANCE:
            raise EngineError(f"differs from the trainer by {values['largest_difference']:.2e} nats a token")
        return values, f"perplexity {math.exp(loss):.4f}, difference {values['largest_difference']:.1e} nats"

    def _recurrent(self, values: dict, path: Path, model, checkpoint, exact: list[list[float]]) -> None:
        """Adds the losses of what follows the first K positions of each window, exact and with either prompt memory."""
        parts = held_out_windows(checkpoint, self.text)
        for k in self.family.recurrent_after:
            values[f"exact_after_{k}"] = loss_of(exact, k)[0]
            for memory in MEMORIES:
                scores = self._recurrent_scores(path, k, memory)
                whole = loss_of(scores)[0]
                own = loss_of(evaluate(model, parts, k, memory, batch=64))[0]
                values[f"recurrent_{k}_{memory}"] = whole
                values[f"recurrent_after_{k}_{memory}"] = loss_of(scores, k)[0]
                values["largest_difference"] = max(values["largest_difference"], abs(whole - own))

    def _recurrent_scores(self, path: Path, k: int, memory: str) -> list[list[float]]:
        """The engine takes the kind of prompt memory from the checkpoint, so a copy is written that asks for it."""
        checkpoint = read_checkpoint(path)
        recurrent = replace(checkpoint.config.sections.recurrent, prompt_memory=memory)
        sections = replace(checkpoint.config.sections, recurrent=recurrent)
        checkpoint.config = replace(checkpoint.config, sections=sections)
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder) / "model.h5", checkpoint)
            return self.engine.log_probabilities(Path(folder) / "model.h5", self.text, k)

    def _tasks(self, model, tokenizer) -> dict:
        if not self.pairs:
            return {}
        with torch.no_grad():
            return {"blimp": blimp(model, tokenizer, self.pairs), "blimp_items": len(self.pairs),
                    "hellaswag": hellaswag(model, tokenizer, self.items), "hellaswag_items": len(self.items)}


class Latency:
    """Milliseconds of a decode step, by the first seed of each row; speed does not depend on the weights' values."""

    def __init__(self, family: Family, output: Path, engine: Engine):
        self.family, self.output, self.engine = family, output, engine
        self.seen: set[str] = set()

    def run(self) -> int:
        """Number of runs that failed."""
        return each_run(self.family, self.output, "latency", self._measure, self._is_first)

    def _is_first(self, run: Run) -> bool:
        first = run.name not in self.seen
        self.seen.add(run.name)
        return first

    def _measure(self, run: Run, folder: Path) -> tuple[dict, str]:
        config, path = run.model, folder / "model.h5"
        tokens = config.max_position_embeddings // 2
        flags = ["--prompt-tokens", str(tokens), "--decode-tokens", str(tokens // 2), "--batch", "1"]
        ranks = config.sections.count
        values: dict = {"ranks": ranks, "ms_one_rank": self._step(path, 1, flags)[0]}
        if decodes_recurrently(config):
            values["ms_one_rank_recurrent"] = self._step(path, 1, [*flags, "--decode", "recurrent"])[0]
        if ranks > 1:
            for schedule in ("staggered", "sequential"):
                step, crowded = self._step(path, ranks, [*flags, "--schedule", schedule])
                values |= {f"ms_{schedule}": step, "more_ranks_than_cores": crowded}
        return values, ", ".join(f"{key} {value:.3f}" for key, value in values.items() if key.startswith("ms_"))

    def _step(self, path: Path, ranks: int, flags: list[str]) -> tuple[float, bool]:
        """(median milliseconds, do ranks share cores)"""
        record = self.engine.bench(path, ranks, *flags)
        return record["decode"]["step_ms_median"], any(rank["oversubscribed"] for rank in record["per_rank"])


def each_run(family: Family, output: Path, part: str, measure: Callable[[Run, Path], tuple[dict, str]],
             wanted: Callable[[Run], bool] = lambda run: True) -> int:
    """Measure finished runs that have no such part yet; a failure is told and does not stop the others."""
    failures = 0
    for run in family.runs:
        folder = output / run.folder
        if not (folder / "result.json").exists() or not wanted(run) or (folder / f"{part}.json").exists():
            continue
        try:
            values, line = measure(run, folder)
            write_json(folder / f"{part}.json", values)
            print(f"{run.folder}: {line}", flush=True)
        except (EngineError, OSError, KeyError, ValueError) as error:
            failures += 1
            print(f"{run.folder}: failed: {error}", flush=True)
        write_results(family, output)
    return failures
