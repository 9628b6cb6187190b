"""What the StagFormer paper (arXiv 2501.15665) claims beside what a family shows; rows by their names in configs/family.json."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from .rows import Comparison, Row, compare
from .tables import ratio_text, table

NOT_YET = ("not measured yet", "-")
WORDS = {"better": "agrees", "equal": "cannot be told apart here", "worse": "does not agree"}
USABLE = 5.0   # per cent of perplexity that recurrent decoding may cost


class Claims:
    """Each method: (what was seen, does it agree)."""

    def __init__(self, rows: list[Row]):
        self.rows = {row.name: row for row in rows}

    def compare(self, name: str, other: str) -> Comparison | None:
        return compare(list(self.rows.values()), name, other)

    def separate(self) -> tuple[str, str]:
        found = self.compare("separate-2x6", "decoder-12")
        return (beside(found), WORDS[found.verdict]) if found else NOT_YET

    def shared(self) -> tuple[str, str]:
        depths = self.compare("decoder-12", "decoder-6")
        deep, flat = self.compare("shared-2x6", "decoder-12"), self.compare("shared-2x6", "decoder-6")
        if not (depths and deep and flat):
            return NOT_YET
        seen = (f"{deep.row.perplexity():.2f}; 12 layers {deep.other.perplexity():.2f}, 6 layers "
                f"{flat.other.perplexity():.2f}, {depths.verdict}")
        if depths.verdict == "equal":
            better = deep.verdict == flat.verdict == "better"
            return seen, "better than both" if better else "cannot be told: the decoders are equal"
        between = deep.verdict != "better" and flat.verdict != "worse"
        return seen, "agrees" if between else "does not agree"

    def time(self) -> tuple[str, str]:
        row, deep = self.rows.get("separate-2x6"), self.rows.get("decoder-12")
        ratios = row.ratios("staggered", "sequential") if row else []
        if not ratios:
            return NOT_YET
        saved = 100 * (1 - statistics.median(ratios))
        seen = f"{saved:.0f} % less than the same model as an ordinary pipeline on 2 ranks"
        against = row.ratios("staggered", "one_rank", deep) if deep else []
        if against:
            seen += f"; {ratio_text(against)} of the time of the 12-layer decoder on one rank"
        return seen, "agrees" if 25 <= saved <= 50 else "less" if saved < 25 else "more"

    def windows(self) -> tuple[str, str]:
        found = [c for c in (self.compare(f"window-{w}", "separate-2x6") for w in (128, 16)) if c]
        if not found:
            return NOT_YET
        verdicts = {WORDS[c.verdict] for c in found}
        return "; ".join(map(beside, found)), verdicts.pop() if len(verdicts) == 1 else "mixed"

    def recurrent(self) -> tuple[str, str]:
        row = self.rows.get("shared-2x6")
        if not row or not row.recurrent_after():
            return NOT_YET
        costs = {k: recurrent_cost(row, k) for k in row.recurrent_after()}
        seen = "perplexity " + ", ".join(f"{cost:+.1f} % after {k} positions" for k, cost in costs.items())
        return seen, "agrees" if max(costs.values()) < USABLE else "does not agree"

    def linear(self) -> tuple[str, str]:
        found = [c for c in (self.compare(f"separate-{n}-linear", f"separate-{n}") for n in ("3x4", "4x3", "6x2")) if c]
        if not found:
            return NOT_YET
        verdicts = {WORDS[c.verdict] for c in found}
        return "; ".join(map(beside, found)), verdicts.pop() if len(verdicts) == 1 else "mixed"

    def cache(self) -> tuple[str, str]:
        row, deep = self.rows.get("separate-2x6"), self.rows.get("decoder-12")
        if not row or not deep or not row.first("cache_bytes_a_token") or not deep.first("cache_bytes_a_token"):
            return NOT_YET
        growth = 100 * (row.first("cache_bytes_a_token") / deep.first("cache_bytes_a_token") - 1)
        return f"+{growth:.0f} %", "agrees" if round(growth) == 50 else "does not agree"


CLAIMS: list[tuple[str, Callable[[Claims], tuple[str, str]]]] = [
    ("p = 2, separate weights: better perplexity than the decoder of 2 h layers", Claims.separate),
    ("p = 2, shared weights: between the decoders of h and 2 h layers", Claims.shared),
    ("p = 2: 33 % less time a decode step (50 % would be ideal)", Claims.time),
    ("windows (512 and 128 of 1,024 positions): slightly better than unbounded", Claims.windows),
    ("shared weights can be decoded recurrently", Claims.recurrent),
    ("p > 2: the linear combination brings quality back", Claims.linear),
    ("p = 2: caches grow by 50 %", Claims.cache),
]


def beside(c: Comparison) -> str:
    """Both rows, and the mean difference over the seeds that both have."""
    return f"{c.row.label} beside {c.other.label}: {c.difference:+.2f}, {c.verdict}"


def recurrent_cost(row: Row, k: int) -> float:
    """Per cent of perplexity with the default prompt memory, mean over seeds."""
    pairs = zip(row.values(f"recurrent_after_{k}_previous_pass"), row.values(f"exact_after_{k}"))
    return statistics.mean(100 * (math.exp(a - b) - 1) for a, b in pairs)


def claims_table(rows: list[Row]) -> str:
    claims = Claims(rows)
    return table(["the paper", "seen here", "verdict"], [[claim, *judge(claims)] for claim, judge in CLAIMS], words=3)
