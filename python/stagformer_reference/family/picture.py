"""Perplexity against latency as a picture."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from .rows import Row

# what names begin with: colour and legend; the first that fits counts
KINDS = [("decoder", "#444444", "ordinary decoders"), ("shared", "#c1272d", "2 sections, shared weights"),
         ("window", "#2a7f9e", "2 sections, windows"), ("separate-2", "#0b4f8a", "2 sections, separate weights"),
         ("separate", "#4a8f29", "3, 4 and 6 sections"), ("", "#b8860b", "without staggering, or without memory")]


@dataclass
class Point:
    """A row where it is fastest, and on one rank where that is slower. x in milliseconds, or layers where nothing was timed."""

    row: Row
    x: float
    one_rank: float
    label: str

    @property
    def y(self) -> float:
        return self.row.perplexity()

    @property
    def colour(self) -> str:
        return kind_of(self.row)[1]


def kind_of(row: Row) -> tuple[str, str, str]:
    return next(kind for kind in KINDS if row.name.startswith(kind[0]))


def points_of(rows: list[Row]) -> tuple[str, list[Point]]:
    """(title of the axis, points)"""
    if not any(row.first("ms_one_rank") for row in rows):
        return "layers in sequence", [Point(r, r.first("sequential_layers"), r.first("sequential_layers"), r.label)
                                      for r in rows]
    result = []
    for row in rows:
        alone, together = row.first("ms_one_rank"), row.first("ms_staggered")
        if alone:
            ranks = f", {row.first('ranks')} ranks" if together else ", 1 rank"
            result.append(Point(row, together or alone, alone, row.label + ranks))
    return "milliseconds a token, a thread each rank", result


def label_heights(heights: list[float], least: float) -> list[float]:
    """Places for labels near `heights`, in the same order and at least `least` apart: groups that touch are spread
    about their mean."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    groups: list[list[int]] = []
    for n in order:
        groups.append([n])
        while len(groups) > 1 and _overlap(groups[-2], groups[-1], heights, least):
            groups[-2:] = [groups[-2] + groups[-1]]
    result = [0.0] * len(heights)
    for group in groups:
        for n, height in zip(group, _spread(group, heights, least)):
            result[n] = height
    return result


def _spread(group: list[int], heights: list[float], least: float) -> list[float]:
    middle = statistics.mean(heights[n] for n in group)
    return [middle + least * (k - (len(group) - 1) / 2) for k in range(len(group))]


def _overlap(low: list[int], high: list[int], heights: list[float], least: float) -> bool:
    return _spread(high, heights, least)[0] - _spread(low, heights, least)[-1] < least


def draw(rows: list[Row], path: Path) -> None:
    """Filled: where a row is fastest, with its range over seeds; hollow: the same on one rank."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "stagformer"  # the same file from the same table
    axis, points = points_of(rows)
    figure, axes = pyplot.subplots(figsize=(9.5, 6.2), facecolor="white")
    for point in points:
        _draw_point(axes, point)
    axes.set_xlabel(axis)
    axes.set_ylabel("held-out perplexity (lower is better)")
    axes.grid(alpha=0.25)
    axes.margins(x=0.06, y=0.07)
    _label(axes, points)
    _legend(figure, points)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _draw_point(axes, point: Point) -> None:
    values = point.row.perplexities()
    bars = [[point.y - min(values)], [max(values) - point.y]] if len(values) > 1 else None
    if point.one_rank != point.x:
        axes.plot([point.x, point.one_rank], [point.y] * 2, ":", color=point.colour, linewidth=1, zorder=2)
        axes.plot([point.one_rank], [point.y], "o", color=point.colour, markerfacecolor="white", markersize=5, zorder=3)
    axes.errorbar([point.x], [point.y], bars, fmt="o", color=point.colour, markersize=6, capsize=3, zorder=4)


def _label(axes, points: list[Point]) -> None:
    """Labels in a column beside the axes, a thin line from each point."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    width = right - axes.get_xlim()[0]
    heights = label_heights([point.y for point in points], 0.043 * (high - low))
    for point, height in zip(points, heights):
        axes.plot([point.x, right, right + 0.03 * width], [point.y, height, height], color=point.colour, linewidth=0.5,
                  alpha=0.45, clip_on=False, zorder=1)
        axes.text(right + 0.035 * width, height, point.label, fontsize=8.5, va="center", color=point.colour)
    axes.set_xlim(right - width, right)
    axes.set_ylim(low, high)


def _legend(figure, points: list[Point]) -> None:
    from matplotlib.lines import Line2D

    kinds = dict.fromkeys(kind_of(point.row)[1:] for point in points)
    marks = [Line2D([], [], marker="o", linestyle="", color=colour, label=title) for colour, title in kinds]
    marks.append(Line2D([], [], marker="o", linestyle=":", color="#444444", markerfacecolor="white",
                        label="the same on one rank"))
    figure.legend(handles=marks, loc="lower center", ncols=3, fontsize=8.5, frameon=False)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.subplots_adjust(right=0.69)
