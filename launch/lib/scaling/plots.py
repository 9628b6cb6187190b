"""Pictures of a table: milliseconds a token, and how many times as fast, over what the study varies most."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from .study import AXES, Study
from .table import COLUMNS

HEADINGS = {key: heading for key, heading, _ in COLUMNS} | {"delay_us": "one way between hosts, us", "mbit": "Mbit/s of a host"}
LINES = (("staggered_ms", "staggered", "-"), ("sequential_ms", "sequential", "--"), ("one_rank_ms", "one rank", ":"))
RATIOS = (("gain", "sequential / staggered", "--"), ("speed_up", "one rank / staggered", ":"))


def draw(study: Study, rows: list[dict], folder: Path) -> list[Path]:
    """NAME.svg and NAME.png; nothing where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = study.name  # the same figures, the same file
    import matplotlib.pyplot as pyplot

    figure, (times, ratios) = pyplot.subplots(1, 2, figsize=(10, 4.2))
    axis = study.axis()
    ticks = sorted({row[axis] for row in rows}, key=lambda value: (value is not None, value))
    for number, (name, group) in enumerate(series_of(rows, axis).items()):
        color = f"C{number}"
        group.sort(key=lambda row: ticks.index(row[axis]))
        for key, heading, style in LINES:
            line(times, ticks, axis, group, key, label_of(name, heading), linestyle=style, color=color)
        predicted = [row for row in group if row["predicted_ms"] is not None]
        times.plot([ticks.index(row[axis]) for row in predicted], [row["predicted_ms"] for row in predicted], "x", color="0.3",
                   label="predicted" if number == 0 and predicted else None)
        for key, heading, style in RATIOS:
            line(ratios, ticks, axis, group, key, label_of(name, heading), linestyle=style, color=color)
    ratios.axhline(1, color="0.8", linewidth=1, zorder=0)
    ratios.set_ylabel("times as fast")
    times.set_ylabel("ms a token")
    times.set_yscale("log")
    for panel in (times, ratios):
        panel.set_xlabel(HEADINGS[axis])
        panel.set_xticks(range(len(ticks)), ["as it is" if tick is None else f"{tick:g}" for tick in ticks])
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.suptitle(study.title + (" (emulated)" if study.emulated else ""))
    figure.tight_layout()
    paths = [folder / f"{study.name}.{kind}" for kind in ("svg", "png")]
    figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=150)
    pyplot.close(figure)
    return paths


def series_of(rows: list[dict], axis: str) -> dict[str, list[dict]]:
    """Rows that differ in the x-axis alone, by a name that says in what they differ from the others."""
    others = [other for other in AXES if other != axis and len({row[other] for row in rows}) > 1]
    groups = defaultdict(list)
    for row in rows:
        groups[", ".join(f"{HEADINGS[other]} {row[other]}" for other in others)].append(row)
    return groups


def label_of(series: str, heading: str) -> str:
    return f"{heading} ({series})" if series else heading


def line(panel, ticks: list, axis: str, group: list[dict], key: str, name: str, **style) -> None:
    """Hollow markers where a point is emulated."""
    there = [row for row in group if row.get(key) is not None]
    if not there:
        return
    emulated = any("emulated" in row["label"] for row in there)
    panel.plot([ticks.index(row[axis]) for row in there], [row[key] for row in there], label=name, marker="o",
               markerfacecolor="none" if emulated else None, **style)
