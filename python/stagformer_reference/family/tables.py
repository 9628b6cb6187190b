"""Markdown tables of a family: costs and quality, recurrent decoding, latency, comparisons."""

from __future__ import annotations

import math
import statistics

from .rows import Row, compare, with_spread

CHANCE = {"blimp": 0.5, "hellaswag": 0.25}
MEMORIES = ("own", "previous_pass")


def table(head: list[str], lines: list[list[str]], words: int = 1) -> str:
    """The first `words` columns are text, the others numbers."""
    rows = [head, ["---"] * words + ["---:"] * (len(head) - words), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def columns_table(rows: list[Row], columns: dict) -> str:
    """A line a row; columns (title: function of a row) without any entry are left out."""
    cells = {title: [make(row) for row in rows] for title, make in columns.items()}
    titles = [title for title, column in cells.items() if any(column)]
    return table(titles, [[cells[title][n] or "-" for title in titles] for n in range(len(rows))])


def task_text(row: Row, task: str) -> str:
    """Per cent right; `chance` when the mean over seeds is within two standard errors of guessing.

    Seeds answer the same items, so more of them make no smaller error.
    """
    values, items = row.values(task), row.first(f"{task}_items")
    if not values:
        return ""
    chance = CHANCE[task]
    if statistics.mean(values) < chance + 2 * math.sqrt(chance * (1 - chance) / items):
        return "chance"
    return f"{100 * statistics.mean(values):.1f}"


def milliseconds(row: Row, name: str) -> str:
    value = row.first(f"ms_{name}")
    return "" if value is None else f"{value:.4f}"


def cache_text(row: Row) -> str:
    """Bytes that a token adds, and what windows keep at most."""
    growing, kept = row.first("cache_bytes_a_token"), row.first("cache_bytes_of_windows")
    if growing is None:
        return ""
    return f"{growing:,}" + (f" (+ {kept:,} in all)" if kept else "")


def ranks_text(row: Row, name: str) -> str:
    text = milliseconds(row, name)
    return f"{text} ({row.first('ranks')})" if text else ""


def main_table(rows: list[Row]) -> str:
    return columns_table(rows, {
        "model": lambda r: r.label,
        "seeds": lambda r: str(len(r.seeds)),
        "parameters, M (without embeddings)":
            lambda r: f"{r.first('parameters') / 1e6:.2f} ({r.first('parameters_without_embeddings') / 1e6:.2f})",
        "layers in sequence": lambda r: str(r.first("sequential_layers")),
        "training, TFLOP": lambda r: f"{r.first('training_flops') / 1e12:.1f}",
        "perplexity": lambda r: with_spread(r.perplexities(), 2),
        "BLiMP, %": lambda r: task_text(r, "blimp"),
        "HellaSwag, %": lambda r: task_text(r, "hellaswag"),
        "cache, bytes a token": cache_text,
        "ms a token, 1 rank": lambda r: milliseconds(r, "one_rank"),
        "sequential (ranks)": lambda r: ranks_text(r, "sequential"),
        "staggered (ranks)": lambda r: ranks_text(r, "staggered"),
    })


def ratio_text(values: list[float]) -> str:
    """Median and range over rounds."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else ""


def latency_table(rows: list[Row], base: Row) -> str:
    """Ratios are of times taken in the same round; `base` is the row that is compared with."""
    fastest = {row.name: "staggered" if row.first("ms_staggered") else "one_rank" for row in rows}
    timed = [row for row in rows if row.first("ms_one_rank")]
    return columns_table(timed, {
        "model": lambda r: r.label,
        "1 rank": lambda r: milliseconds(r, "one_rank"),
        "1 rank, 2 threads": lambda r: milliseconds(r, "two_threads"),
        "1 rank, recurrent": lambda r: milliseconds(r, "recurrent"),
        "ranks": lambda r: str(r.first("ranks")) if r.first("ms_staggered") else "",
        "sequential": lambda r: milliseconds(r, "sequential"),
        "staggered": lambda r: milliseconds(r, "staggered"),
        "staggered / sequential": lambda r: ratio_text(r.ratios("staggered", "sequential")),
        f"fewest ms / {base.label}": lambda r: ratio_text(r.ratios(fastest[r.name], "one_rank", base)),
    })


def recurrent_table(row: Row) -> str:
    """Perplexities of what follows K positions; the cost is a mean of each seed's own."""
    lines = []
    for k in row.recurrent_after():
        exact = [math.exp(v) for v in row.values(f"exact_after_{k}")]
        cells = [str(k), with_spread(exact, 2)]
        for memory in MEMORIES:
            values = [math.exp(v) for v in row.values(f"recurrent_after_{k}_{memory}")]
            costs = [100 * (a / b - 1) for a, b in zip(values, exact)]
            cells += [with_spread(values, 2), with_spread(costs, 2)]
        lines.append(cells)
    head = ["K", "exact"]
    for memory in MEMORIES:
        head += [f"recurrent, `{memory}`", "more, %"]
    return table(head, lines)


PAIRS = [("decoder-6", "decoder-12"), ("separate-2x6", "decoder-12"), ("separate-2x6", "decoder-6"),
         ("shared-2x6", "decoder-12"), ("shared-2x6", "decoder-6"), ("shared-2x6", "separate-2x6"),
         ("window-1", "separate-2x6"), ("window-16", "separate-2x6"), ("window-128", "separate-2x6"),
         ("lag-0", "separate-2x6"), ("no-cross", "separate-2x6"), ("looped-2x6", "decoder-12"),
         ("looped-2x6", "shared-2x6"), ("separate-3x4", "separate-2x6"), ("separate-3x4-linear", "separate-3x4"),
         ("separate-4x3", "separate-2x6"), ("separate-4x3-linear", "separate-4x3"),
         ("separate-6x2", "separate-2x6"), ("separate-6x2-linear", "separate-6x2")]


def comparisons_table(rows: list[Row]) -> str:
    """The pairs of PAIRS that are there, with what counts as a difference."""
    found = [c for c in (compare(rows, *pair) for pair in PAIRS) if c]
    return table(["model", "beside", "perplexity, difference", "by seed", "counts from", "the first is"],
                 [[c.row.label, c.other.label, f"{c.difference:+.2f}", ", ".join(f"{d:+.1f}" for d in c.by_seed()),
                   f"{c.threshold:.2f}", c.verdict] for c in found], words=2)
