"""Measures finished runs with the engine and compares it with the trainer: evaluation.json of each run."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ..checkpoint import read_checkpoint, write_checkpoint
from ..evaluate import evaluate
from ..export import load, tokenizer_of
from .cost import decodes_recurrently
from .engine import Engine, EngineError
from .one import held_out_windows, loss_of
from .results import read_part, write_results
from .runs import Family, Run, write_json
from .tasks import blimp, hellaswag, read_blimp, read_hellaswag
from .training import HELD_OUT

TOLERANCE = 1e-3   # of perplexities
MEMORIES = ("own", "previous_pass")
BLIMP_PAIRS, HELLASWAG_ITEMS = 100, 1000   # pairs of each paradigm; items


class Evaluation:
    """Losses of one family. `tasks`: folder that holds blimp/ and hellaswag/, or none."""

    def __init__(self, family: Family, output: Path, engine: Engine, tasks: Path | None, again: bool = False):
        self.family, self.output, self.engine, self.again = family, output, engine, again
        self.text = output / HELD_OUT
        self.pairs = read_blimp(tasks / "blimp" / "pairs.tsv.xz", BLIMP_PAIRS) if tasks else []
        self.items = read_hellaswag(tasks / "hellaswag" / "val-first-95pct.txt.xz", HELLASWAG_ITEMS) if tasks else []

    def run(self) -> int:
        """Number of runs that failed or on which engine and trainer disagree."""
        return each_run(self.family, self.output, "evaluation", self._measure, self.again)

    def _measure(self, run: Run, folder: Path) -> tuple[dict, str]:
        path, trainer = folder / "model.h5", read_part(folder, "result")
        exact = self.engine.log_probabilities(path, self.text)
        loss, count = loss_of(exact)
        if count != trainer["held_out_tokens"]:
            raise EngineError(f"predicts {count} tokens, the trainer {trainer['held_out_tokens']}")
        values = {"engine_loss": loss, "engine_perplexity": math.exp(loss),
                  "largest_difference": abs(math.exp(loss) - trainer["held_out_perplexity"])}
        model, checkpoint = load(path)
        if self.family.recurrent_after and decodes_recurrently(run.model):
            self._recurrent(values, path, model, checkpoint, exact)
        difference = values["largest_difference"]
        if not difference <= TOLERANCE:
            raise EngineError(f"perplexity {math.exp(loss):.4f} differs from the trainer's by up to {difference:.1e}")
        values |= self._tasks(model, tokenizer_of(checkpoint))
        return values, f"perplexity {math.exp(loss):.4f}, the trainer's differs by {difference:.1e}"

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
                values["largest_difference"] = max(values["largest_difference"], abs(math.exp(whole) - math.exp(own)))

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


def each_run(family: Family, output: Path, part: str, measure: Callable[[Run, Path], tuple[dict, str]],
             again: bool) -> int:
    """Measure finished runs that have no such part yet, or all; a failure is told and does not stop the others."""
    failures = 0
    for run in family.runs:
        folder = output / run.folder
        if not (folder / "result.json").exists() or ((folder / f"{part}.json").exists() and not again):
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
