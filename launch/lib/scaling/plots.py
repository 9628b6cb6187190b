"""Pictures of a table: milliseconds a token, and how many times as fast, over what the study varies most."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from .study import AXES, Study
from .table import COLUMNS

HEADINGS = {key: heading for key, heading, _ in COLUMNS} | {"delay_us": "one way between hosts, us", "mbit": "Mbit/s of a host"}
UNITS = {"ranks": "{} ranks", "threads": "{} threads", "batch": "batch {}", "delay_us": "{} us", "mbit": "{} Mbit/s"}
# Key, name, line style ("": marks alone).
LINES = (("staggered_ms", "staggered", "-"), ("sequential_ms", "sequential", "--"), ("one_rank_ms", "one rank", ":"),
         ("predicted_ms", "predicted", ""), ("predicted_sequential_ms", "", ""))
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
    import matplotlib.ticker

    figure, (times, ratios) = pyplot.subplots(1, 2, figsize=(10, 4.2))
    axis = study.axis()
    ticks = sorted({row[axis] for row in rows}, key=lambda value: (value is not None, value))
    for number, group in enumerate(series_of(rows, axis).values()):
        group.sort(key=lambda row: ticks.index(row[axis]))
        for panel, lines in ((times, LINES), (ratios, RATIOS)):
            for key, _, style in lines:
                line(panel, ticks, axis, group, key, style, f"C{number}")
    ratios.axhline(1, color="0.8", linewidth=1, zorder=0)
    ratios.set_ylabel("times as fast")
    times.set_ylabel("ms a token")
    times.set_yscale("log")
    times.yaxis.set_major_formatter("{x:g}")
    times.yaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2, 3, 5)))
    times.yaxis.set_minor_formatter("{x:g}")
    for panel, lines in ((times, LINES), (ratios, RATIOS)):
        panel.set_xlabel(HEADINGS[axis])
        panel.set_xticks(range(len(ticks)), ["as it is" if tick is None else f"{tick:g}" for tick in ticks])
        panel.grid(alpha=0.3)
        legend(panel, lines, rows, axis)
    figure.suptitle(report_title(study))
    figure.tight_layout()
    paths = [folder / f"{study.name}.{kind}" for kind in ("svg", "png")]
    figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=150)
    pyplot.close(figure)
    return paths


def report_title(study: Study) -> str:
    return study.title + (f" ({study.nature()})" if study.nature() else "")


def series_of(rows: list[dict], axis: str) -> dict[str, list[dict]]:
    """Rows that differ in the x-axis alone, by a name that says in what they differ from the others."""
    others = [other for other in AXES if other != axis and len({row[other] for row in rows}) > 1]
    groups = defaultdict(list)
    for row in rows:
        groups[", ".join(UNITS[other].format(row[other]) for other in others)].append(row)
    return groups


def line(panel, ticks: list, axis: str, group: list[dict], key: str, style: str, color: str) -> None:
    """Hollow markers where a point is emulated; predictions are marks without a line."""
    there = [row for row in group if row.get(key) is not None]
    emulated = any("emulated" in row["label"] for row in there)
    panel.plot([ticks.index(row[axis]) for row in there], [row[key] for row in there], linestyle=style or "none",
               color=color, marker="o" if style else "x", markerfacecolor="none" if emulated else None,
               zorder=2 if style else 3)


def legend(panel, lines: tuple, rows: list[dict], axis: str) -> None:
    """Line styles in grey for what is drawn, colours for the series."""
    from matplotlib.lines import Line2D

    entries = [Line2D([], [], color="0.3", linestyle=style or "none", marker="" if style else "x", label=heading)
               for key, heading, style in lines if heading and any(row.get(key) is not None for row in rows)]
    names = list(series_of(rows, axis))
    entries += [Line2D([], [], color=f"C{number}", linewidth=4, label=name) for number, name in enumerate(names) if len(names) > 1]
    panel.legend(handles=entries, fontsize="small")
