"""From results.csv to report.md and quality-latency.svg."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from .results import read_results

LATENCIES = ("ms_one_rank", "ms_staggered", "ms_sequential")
CHANCE = {"blimp": 0.5, "hellaswag": 0.25}


@dataclass
class Row:
    """The finished seeds of one row; a missing column is None."""

    name: str
    label: str
    seeds: list[dict] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        return [seed[key] for seed in self.seeds if key in seed]

    def first(self, key: str):
        return next(iter(self.values(key)), None)

    def mean(self, key: str) -> float | None:
        values = self.values(key)
        return statistics.mean(values) if values else None

    def spread(self, key: str) -> float | None:
        """Sample standard deviation over seeds, None for fewer than two."""
        values = self.values(key)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def measured(self) -> str:
        """The engine's loss where all seeds have been evaluated, else the trainer's."""
        return "engine_loss" if len(self.values("engine_loss")) == len(self.seeds) else "held_out_loss"

    def perplexities(self) -> list[float]:
        return [math.exp(loss) for loss in self.values(self.measured)]


def group(lines: list[dict]) -> list[Row]:
    rows: dict[str, Row] = {}
    for line in lines:
        rows.setdefault(line["name"], Row(line["name"], line["label"])).seeds.append(line)
    return list(rows.values())


def with_spread(values: list[float], digits: int) -> str:
    """`mean ± standard deviation`, without the latter for a single value."""
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def task_text(row: Row, task: str) -> str:
    """Per cent right; `chance` when within two standard errors of guessing."""
    mean, items = row.mean(task), row.first(f"{task}_items")
    if mean is None or items is None:
        return ""
    chance = CHANCE[task]
    if mean < chance + 2 * math.sqrt(chance * (1 - chance) / items):
        return "chance"
    return f"{100 * mean:.1f}"


def latency_text(row: Row, key: str) -> str:
    value = row.first(key)
    if value is None:
        return ""
    crowded = key != "ms_one_rank" and row.first("more_ranks_than_cores") == "True"
    return f"{value:.3f}" + (" *" if crowded else "")


def table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def main_table(rows: list[Row]) -> str:
    columns = {
        "model": lambda r: r.label,
        "seeds": lambda r: str(len(r.seeds)),
        "parameters, M (without embeddings)":
            lambda r: f"{r.first('parameters') / 1e6:.2f} ({r.first('parameters_without_embeddings') / 1e6:.2f})",
        "layers in sequence": lambda r: str(r.first("sequential_layers")),
        "tokens, M": lambda r: f"{r.first('tokens') / 1e6:.2f}",
        "training, TFLOP": lambda r: f"{r.first('training_flops') / 1e12:.1f}",
        "training loss": lambda r: with_spread(r.values("training_loss"), 3),
        "held-out loss": lambda r: with_spread(r.values(r.measured), 4),
        "perplexity": lambda r: with_spread(r.perplexities(), 2),
        "BLiMP, %": lambda r: task_text(r, "blimp"),
        "HellaSwag, %": lambda r: task_text(r, "hellaswag"),
        "ms a token, 1 rank": lambda r: latency_text(r, "ms_one_rank"),
        "p ranks, staggered": lambda r: latency_text(r, "ms_staggered"),
        "p ranks, sequential": lambda r: latency_text(r, "ms_sequential"),
    }
    cells = {title: [make(row) for row in rows] for title, make in columns.items()}
    titles = [title for title, column in cells.items() if any(column)]
    return table(titles, [[cells[title][n] for title in titles] for n in range(len(rows))])


def after_of(row: Row) -> list[int]:
    """The K at which the row was decoded recurrently."""
    return sorted({int(key.rsplit("_", 1)[1]) for seed in row.seeds for key in seed if key.startswith("exact_after_")})


def recurrent_table(row: Row) -> str:
    lines = []
    for k in after_of(row):
        keys = [f"exact_after_{k}", f"recurrent_after_{k}_own", f"recurrent_after_{k}_previous_pass"]
        lines.append([str(k), *(with_spread(row.values(key), 4) for key in keys)])
    return table(["K", "exact", "recurrent, `own`", "recurrent, `previous_pass`"], lines)


def differences_text(rows: list[Row]) -> str:
    values = [value for row in rows for value in row.values("largest_difference")]
    if not values:
        return "Losses are the trainer's: the engine has not evaluated these checkpoints yet."
    return (f"Losses are the engine's (`stagformer eval`), nats a token; the trainer's own differ by at most "
            f"{max(values):.1e} over {len(values)} checkpoints. ± is the standard deviation over seeds.")


def report_text(rows: list[Row]) -> str:
    parts = ["# The family\n", differences_text(rows) + "\n", main_table(rows)]
    if any(row.first("more_ranks_than_cores") == "True" for row in rows):
        parts.append("\\* more ranks than cores: the ranks took turns, so this says nothing about p ranks.\n")
    for row in rows:
        if after_of(row):
            parts += [f"## Recurrent decoding: {row.label}\n",
                      "Loss of what follows the first K positions of a window, which run all passes.\n",
                      recurrent_table(row)]
    parts += ["## Quality and latency\n", "![Perplexity against latency](quality-latency.svg)\n"]
    return "\n".join(parts)


def points(rows: list[Row]) -> tuple[str, list[tuple[str, str, float, list[float]]]]:
    """(axis, points as (kind, label, x, perplexities)); x is milliseconds, or layers where nothing was timed."""
    result = []
    if not any(row.first(key) for row in rows for key in LATENCIES):
        return "layers in sequence", [("", r.label, r.first("sequential_layers"), r.perplexities()) for r in rows]
    for row in rows:
        crowded = row.first("more_ranks_than_cores") == "True"
        kinds = {"one rank": "ms_one_rank"} | ({} if crowded else {"p ranks, staggered": "ms_staggered"})
        result += [(kind, row.label, row.first(key), row.perplexities()) for kind, key in kinds.items() if row.first(key)]
        if row.first("ms_one_rank_recurrent") and after_of(row):
            k = after_of(row)[0]
            losses = [math.exp(loss) for loss in row.values(f"recurrent_{k}_previous_pass")]
            result.append(("one rank, recurrent", row.label, row.first("ms_one_rank_recurrent"), losses))
    return "milliseconds a token", result


def plot(rows: list[Row], path: Path) -> None:
    """Perplexity with its range over seeds against latency, a number a row and a marker a kind of run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "stagformer"  # the same file from the same table
    axis, found = points(rows)
    numbers = {row.label: n for n, row in enumerate(rows, 1)}
    figure, axes = pyplot.subplots(figsize=(8.5, 7))
    for marker, kind in zip("osD^", dict.fromkeys(kind for kind, *_ in found)):
        own = [point for point in found if point[0] == kind]
        middle = [statistics.mean(values) for *_, values in own]
        low = [m - min(values) for m, (*_, values) in zip(middle, own)]
        high = [max(values) - m for m, (*_, values) in zip(middle, own)]
        axes.errorbar([x for _, _, x, _ in own], middle, (low, high), fmt=marker, capsize=2, label=kind or None)
        for (_, label, x, _), y in zip(own, middle):
            axes.annotate(str(numbers[label]), (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set_xlabel(axis)
    axes.set_ylabel("held-out perplexity")
    axes.grid(alpha=0.3)
    handles, titles = axes.get_legend_handles_labels()
    blank = [matplotlib.lines.Line2D([], [], linestyle="")] * len(rows)
    figure.legend(handles + blank, titles + [f"{n}  {label}" for label, n in numbers.items()], loc="lower center",
                  ncols=2, fontsize=7, handlelength=1.2)
    figure.tight_layout(rect=(0, 0.25, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def write_report(output: Path, folder: Path) -> None:
    rows = group(read_results(output))
    if not rows:
        raise SystemExit(f"{output / 'results.csv'} has no finished run")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report_text(rows), encoding="utf-8")
    plot(rows, folder / "quality-latency.svg")
