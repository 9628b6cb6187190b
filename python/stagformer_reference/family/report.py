"""Tables and picture of a family: the marked parts of FOLDER/results.md, and FOLDER/results.svg.

A part begins with `<!-- generated: NAME -->` and ends with `<!-- end -->`; what stands around the parts is kept. A page that
is not there yet is made of the parts alone.
"""

from __future__ import annotations

import re
import statistics
from pathlib import Path

from ..config import ConfigError
from .claims import claims_table
from .picture import draw
from .results import read_results
from .rows import Row, group, pooled_spread
from .tables import comparisons_table, latency_table, main_table, recurrent_table

PART = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def state_text(rows: list[Row]) -> str:
    """How many runs, which tokens, and whose losses these are."""
    runs = [seed for row in rows for seed in row.seeds]
    text = f"{len(runs)} trained models of {len(rows)} kinds, {statistics.median(r['tokens'] for r in runs) / 1e6:.2f}M tokens each"
    text += f", {runs[0]['held_out_tokens']:,} tokens held out. " if "held_out_tokens" in runs[0] else ". "
    values = [value for row in rows for value in row.values("largest_difference")]
    if len(values) < len(runs):
        return text + (f"Perplexities are the trainer's where the engine has not evaluated a model yet "
                       f"({len(runs) - len(values)} of them).\n")
    return text + (f"Perplexities are the engine's (`stagformer eval`); the trainer's own differ by at most "
                   f"{max(values):.1e}. ± is the standard deviation over seeds.\n")


def spread_text(rows: list[Row]) -> str:
    spread = pooled_spread(rows)
    if spread is None:
        return "No row has several seeds yet.\n"
    seeds = sum(len(row.seeds) for row in rows if len(row.seeds) > 1)
    return (f"Spread over seeds: {spread:.2f} in perplexity ({seeds} models in rows of several seeds). Rows closer than twice "
            f"that, {2 * spread:.2f}, are called equal; where a row has one seed, the difference has to be larger.\n")


def machine_text(rows: list[Row]) -> str:
    """What holds for all times."""
    timed = [row for row in rows if row.first("ms_one_rank")]
    if not timed:
        return "Nothing has been timed yet.\n"
    cores = timed[0].first("cores")
    text = (f"Median of {len(timed[0].first('rounds_one_rank'))} rounds in which all rows took turns, {cores} cores, f32 weights, "
            f"one sequence, in the middle of the context.")
    if any(row.first("ranks") < row.first("sections") for row in timed):
        text += f" A rank has a core of its own, so no row runs on more than {cores} ranks; further sections share ranks."
    return text + "\n"


def parts_of(rows: list[Row]) -> dict[str, str]:
    recurrent = [row for row in rows if row.recurrent_after()]
    base = next((row for row in rows if row.name == "decoder-12"), rows[0])
    return {
        "state": state_text(rows),
        "main": main_table(rows),
        "claims": claims_table(rows),
        "spread": spread_text(rows),
        "comparisons": comparisons_table(rows),
        "machine": machine_text(rows),
        "latency": latency_table(rows, base),
        "recurrent": "\n".join(f"{row.label}:\n\n{recurrent_table(row)}" for row in recurrent) or "None.\n",
        "picture": "![Perplexity against latency](results.svg)\n",
    }


def fill(page: str, parts: dict[str, str], where: str) -> str:
    """The page with its parts made anew; each part has to be in it, and no other."""
    found = PART.findall(page)
    if sorted(found) != sorted(parts):
        wrong = set(found) ^ set(parts) or {name for name in found if found.count(name) > 1}
        raise ConfigError(f"{where}: generated part {sorted(wrong)[0]} is missing, unknown or there twice")
    return PART.sub(lambda match: marked(match[1], parts[match[1]]), page)


def marked(name: str, text: str) -> str:
    return f"<!-- generated: {name} -->\n\n{text}\n<!-- end -->"


def write_report(output: Path, folder: Path) -> None:
    rows = group(read_results(output))
    if not rows:
        raise ConfigError(f"{output / 'results.csv'} has no finished run")
    folder.mkdir(parents=True, exist_ok=True)
    page, parts = folder / "results.md", parts_of(rows)
    if page.exists():
        text = fill(page.read_text(encoding="utf-8"), parts, str(page))
    else:
        text = "\n\n".join(marked(name, part) for name, part in parts.items()) + "\n"
    page.write_text(text, encoding="utf-8")
    draw(rows, folder / "results.svg")
