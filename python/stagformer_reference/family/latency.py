"""Times decode steps of a family with `stagformer bench`: latency.json of the first seed of each row.

Settings take turns in rounds, so that all of them see the machine in the same states; a round's ratios are then
comparable although the machine drifts. Speed does not depend on the weights' values.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from ..config import ModelConfig
from .cost import cache_bytes_read, decodes_recurrently
from .engine import Engine, EngineError
from .results import write_results
from .runs import Family, Run, write_json

ROUNDS = 7


def ranks_of(sections: int, cores: int) -> int:
    """The most ranks with a core each that host equally many sections."""
    return max(n for n in range(1, min(sections, cores) + 1) if sections % n == 0)


@dataclass(frozen=True)
class Setting:
    """One way to run a model; the results' columns are named after `name`."""

    name: str
    ranks: int
    threads: int
    flags: tuple[str, ...] = ()


def settings_of(config: ModelConfig, cores: int) -> list[Setting]:
    ranks = ranks_of(config.sections.count, cores)
    result = [Setting("one_rank", 1, 1)]
    if cores > 1:
        result.append(Setting("two_threads", 1, 2))
    if decodes_recurrently(config):
        result.append(Setting("recurrent", 1, 1, ("--decode", "recurrent")))
    if ranks > 1:
        result += [Setting(name, ranks, 1, ("--schedule", name)) for name in ("staggered", "sequential")]
    return result


class Latency:
    """All rows are timed together or, when all have been, none."""

    def __init__(self, family: Family, output: Path, engine: Engine, again: bool = False):
        self.output, self.engine, self.family = output, engine, family
        self.cores = len(os.sched_getaffinity(0))
        first = {run.name: run for run in reversed(family.runs)}   # the first seed of each row
        finished = [run for run in family.runs if first[run.name] is run and self._has(run, "result.json")]
        self.runs = finished if again or not all(self._has(run, "latency.json") for run in finished) else []

    def _has(self, run: Run, name: str) -> bool:
        return (self.output / run.folder / name).exists()

    def run(self) -> int:
        """Number of runs that failed."""
        times: dict[str, dict[str, list[float]]] = {run.folder: {} for run in self.runs}
        failed: set[str] = set()
        begin = time.monotonic()
        for number in range(ROUNDS if self.runs else 0):
            for run in self.runs:
                if run.folder not in failed and not self._time(run, times[run.folder]):
                    failed.add(run.folder)
            print(f"round {number + 1} of {ROUNDS}: {time.monotonic() - begin:.0f} s", flush=True)
        for run in self.runs:
            if run.folder not in failed:
                self._write(run, times[run.folder])
        write_results(self.family, self.output)
        return len(failed)

    def _time(self, run: Run, times: dict[str, list[float]]) -> bool:
        """One point of each setting; false, and told, where one fails."""
        try:
            for setting in settings_of(run.model, self.cores):
                times.setdefault(setting.name, []).append(self._step(run, setting))
        except (EngineError, OSError, KeyError, ValueError) as error:
            print(f"{run.folder}: failed: {error}", flush=True)
            return False
        return True

    def _step(self, run: Run, setting: Setting) -> float:
        """Median milliseconds of a step at the middle of the model's context."""
        half = run.model.max_position_embeddings // 2
        record = self.engine.bench(self.output / run.folder / "model.h5", setting.ranks, setting.threads,
                                   "--prompt-tokens", str(half), "--decode-tokens", str(half // 2), "--batch", "1",
                                   "--repetitions", "20", *setting.flags)
        if any(rank["oversubscribed"] for rank in record["per_rank"]):
            raise EngineError(f"ranks share cores, so the times of {setting.name} mean nothing; see --launch")
        if setting.name == "one_rank":
            self._check_caches(run.model, half + half // 4, record["decode"]["cache_bytes"])
        return record["decode"]["step_ms_median"]

    @staticmethod
    def _check_caches(config: ModelConfig, length: int, found: float) -> None:
        """The engine's count of what a step reads is that of the table, but for the newest position."""
        expected = cache_bytes_read(config, length)
        if abs(found - expected) > 2 * expected / length:
            raise EngineError(f"a step reads {found:.0f} bytes of caches, expected {expected:.0f}")

    def _write(self, run: Run, times: dict[str, list[float]]) -> None:
        """Medians, and the rounds in their order."""
        sections = run.model.sections.count
        values: dict = {"sections": sections, "ranks": ranks_of(sections, self.cores), "cores": self.cores}
        for name, found in times.items():
            values[f"ms_{name}"] = round(statistics.median(found), 6)
            values[f"rounds_{name}"] = " ".join(f"{value:.6f}" for value in found)
        write_json(self.output / run.folder / "latency.json", values)
        line = ", ".join(f"{name} {statistics.median(found):.4f} ms" for name, found in times.items())
        print(f"{run.folder}: {line}", flush=True)
