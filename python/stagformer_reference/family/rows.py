"""The rows of a family's tables: finished seeds of one name, their means and spreads."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    """The finished seeds of one row; a missing column is None."""

    name: str
    label: str
    seeds: list[dict] = field(default_factory=list)

    def values(self, key: str) -> list:
        return [seed[key] for seed in self.seeds if key in seed]

    def first(self, key: str):
        return next(iter(self.values(key)), None)

    @property
    def measured(self) -> str:
        """The engine's loss where all seeds have been evaluated, else the trainer's."""
        return "engine_loss" if len(self.values("engine_loss")) == len(self.seeds) else "held_out_loss"

    def perplexities(self) -> list[float]:
        return [math.exp(loss) for loss in self.values(self.measured)]

    def by_seed(self) -> dict[int, float]:
        return {seed["seed"]: math.exp(seed[self.measured]) for seed in self.seeds}

    def perplexity(self) -> float:
        return statistics.mean(self.perplexities())

    def recurrent_after(self) -> list[int]:
        """The K at which the row was decoded recurrently."""
        return sorted({int(key.rsplit("_", 1)[1]) for seed in self.seeds for key in seed if key.startswith("exact_after_")})

    def ratios(self, above: str, below: str, other: Row | None = None) -> list[float]:
        """A round's time of one setting over that of another, which is this row's or another's; empty where not timed."""
        over, under = self.first(f"rounds_{above}"), (other or self).first(f"rounds_{below}")
        return [a / b for a, b in zip(over, under)] if over and under else []


def group(lines: list[dict]) -> list[Row]:
    rows: dict[str, Row] = {}
    for line in lines:
        rows.setdefault(line["name"], Row(line["name"], line["label"])).seeds.append(line)
    return list(rows.values())


def pooled_spread(rows: list[Row]) -> float | None:
    """Standard deviation of perplexity over seeds, from all rows with several."""
    variances = [statistics.variance(row.perplexities()) for row in rows if len(row.seeds) > 1]
    return math.sqrt(statistics.mean(variances)) if variances else None


def with_spread(values: list[float], digits: int) -> str:
    """`mean ± standard deviation`, without the latter for a single value."""
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


@dataclass(frozen=True)
class Comparison:
    """Perplexity of one row beside that of another, seed by seed: a seed draws the same text for all rows."""

    row: Row
    other: Row
    spread: float

    def by_seed(self) -> list[float]:
        mine, theirs = self.row.by_seed(), self.other.by_seed()
        return [mine[seed] - theirs[seed] for seed in mine if seed in theirs]

    @property
    def difference(self) -> float:
        return statistics.mean(self.by_seed())

    @property
    def threshold(self) -> float:
        """Twice the spread, more where the difference rests on one seed."""
        return 2 * self.spread * max(1.0, math.sqrt(2 / len(self.by_seed())))

    @property
    def verdict(self) -> str:
        if abs(self.difference) < self.threshold:
            return "equal"
        return "better" if self.difference < 0 else "worse"


def compare(rows: list[Row], name: str, other: str) -> Comparison | None:
    """None where a row is missing, where no seed has both, or where no spread is known."""
    named, spread = {row.name: row for row in rows}, pooled_spread(rows)
    if spread is None or name not in named or other not in named:
        return None
    result = Comparison(named[name], named[other], spread)
    return result if result.by_seed() else None
