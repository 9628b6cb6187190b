"""Rows of a study's table, from its records: pure arithmetic, and what must not be."""

from __future__ import annotations

import statistics
from collections import defaultdict

from .study import FILLED, ONE_RANK, SEQUENTIAL, STAGGERED, WEAK, Study

# Key, heading, digits behind the point.
COLUMNS = (
    ("point", "point", 0), ("ranks", "ranks", 0), ("hosts", "hosts", 0), ("threads", "threads", 0), ("batch", "batch", 0),
    ("delay_us", "link us", 0), ("mbit", "link Mbit/s", 0),
    ("staggered_ms", "staggered ms", 3), ("sequential_ms", "sequential ms", 3), ("one_rank_ms", "one rank ms", 3),
    ("gain", "sequential / staggered", 2), ("speed_up", "one rank / staggered", 2), ("efficiency_percent", "efficiency %", 0),
    ("against_first", "against the fewest ranks", 2),
    ("spread_percent", "spread %", 0), ("tokens_per_s", "staggered tokens/s", 0), ("filled_tokens_per_s", "filled tokens/s", 0),
    ("filled_ms", "filled ms", 3), ("filled_groups", "groups", 0),
    ("predicted_ms", "predicted ms", 3), ("error_percent", "error %", 1), ("predicted_sequential_ms", "predicted sequential ms", 3),
    ("sequential_error_percent", "its error %", 1), ("tensor_parallel_ms", "tensor-parallel ms (model)", 3),
    ("label", "", 0), ("tokens", "tokens", 0))
ALWAYS = ("point", "ranks", "staggered_ms", "tokens")


def middle(record: dict, run: str, key: str = "step_ms") -> float | None:
    """The median of a run's rounds."""
    values = record["runs"].get(run, {}).get(key)
    return statistics.median(values) if values else None


def ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def row(study: Study, record: dict) -> dict:
    parameters, runs, predicted = record["parameters"], record["runs"], record["predicted"] or {}
    staggered = middle(record, STAGGERED)
    alone = parameters["ranks"] == 1  # where all schedules are one
    sequential = staggered if alone else middle(record, SEQUENTIAL)
    one_rank = staggered if alone else middle(record, ONE_RANK)
    steps = runs[STAGGERED]["step_ms"]
    speed_up = ratio(one_rank, staggered)
    values = {**parameters, "point": parameters["number"], "hosts": runs[STAGGERED]["hosts"], "staggered_ms": staggered,
              "sequential_ms": sequential, "one_rank_ms": one_rank, "gain": ratio(sequential, staggered), "speed_up": speed_up,
              "efficiency_percent": 100 * speed_up / parameters["ranks"] if speed_up else None,
              "spread_percent": 100 * (max(steps) - min(steps)) / staggered if len(steps) > 1 else None,
              "tokens_per_s": middle(record, STAGGERED, "tokens_per_s"),
              "filled_tokens_per_s": middle(record, FILLED, "tokens_per_s"), "filled_ms": middle(record, FILLED),
              "filled_groups": runs.get(FILLED, {}).get("groups"),
              "label": label(record), "repeated_rounds": record.get("repeated_rounds", 0),
              "tokens": "-" if record["nature"] else " ".join(runs[STAGGERED]["tokens"])}
    return values | by_rounds(record.get("predicted_rounds", []), runs, None if alone else SEQUENTIAL) | {
        "tensor_parallel_ms": 1e3 * predicted["tensor_parallel_s"] if "tensor_parallel_s" in predicted else None}


def by_rounds(predicted: list[dict], runs: dict, sequential: str | None) -> dict:
    """Medians of the rounds' predictions, and of by how much they are above what was measured in the same round."""
    def medians(name: str, key: str, run: str, error: str) -> dict:
        expected = [1e3 * one[key] for one in predicted if key in one]
        if not expected:
            return {name: None, error: None}
        errors = [100 * (ms / measured - 1) for ms, measured in zip(expected, runs[run]["step_ms"])]
        return {name: statistics.median(expected), error: statistics.median(errors)}
    found = medians("predicted_ms", "staggered_s", STAGGERED, "error_percent")
    if sequential in runs:
        found |= medians("predicted_sequential_ms", "sequential_s", sequential, "sequential_error_percent")
    return found


def label(record: dict) -> str:
    words = [record["nature"]] if record["nature"] else []
    if not words and (record["crowded"] or any(run["cores_shared"] for run in record["runs"].values())):
        words.append("cores shared")
    return ", ".join(words)


def add_first(study: Study, rows: list[dict]) -> None:
    """Against the fewest ranks with all else equal: strong, how many times as fast; weak, the share of the speed that is
    kept."""
    series = defaultdict(list)
    for one in rows:
        series[(one["threads"], one["batch"], one["delay_us"], one["mbit"])].append(one)
    for group in series.values():
        first = min(group, key=lambda one: one["ranks"])
        for one in group:
            one["against_first"] = ratio(first["staggered_ms"], one["staggered_ms"]) if len(group) > 1 else None
            if study.kind == WEAK:
                one["efficiency_percent"] = 100 * one["against_first"] if one["against_first"] else None


def rows_of(study: Study, records: dict[int, dict]) -> list[dict]:
    rows = [row(study, records[number]) for number in sorted(records)]
    add_first(study, rows)
    return rows


def problems_of(study: Study, records: dict[int, dict]) -> list[str]:
    """Points that are missing, runs that are, and tokens that differ where they must not."""
    problems = [f"point {point.number} ({point}) has no result" for point in study.points() if point.number not in records]
    chosen: dict[tuple, tuple[str, str]] = {}
    points = {point.number: point for point in study.points()}
    for number, record in sorted(records.items()):
        if number not in points:
            problems.append(f"point {number} is none of the study's {len(points)}")
            continue
        if record["nature"]:
            continue  # tokens mean nothing
        for run, values in record["runs"].items():
            where = f"point {number} ({run})"
            # A filled pipeline is the ordinary decoder, another model, unless it is a checkpoint's.
            key = (run == FILLED and not study.checkpoint, *study.model_key(points[number]))
            for tokens in values["tokens"]:
                first = chosen.setdefault(key, (tokens, where))
                if first[0] != tokens:
                    problems.append(f"{where}: other tokens ({tokens}) than {first[1]} chose ({first[0]})")
    return problems


def shown_columns(rows: list[dict]) -> list[tuple[str, str, int]]:
    """Those that hold anything."""
    return [column for column in COLUMNS if column[0] in ALWAYS or any(one.get(column[0]) not in (None, "") for one in rows)]


def shown(value: object, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}" if isinstance(value, (int, float)) else str(value)


def markdown(rows: list[dict], without: tuple[str, ...] = ()) -> str:
    columns = [column for column in shown_columns(rows) if column[0] not in without]
    lines = ["| " + " | ".join(heading for _, heading, _ in columns) + " |",
             "|" + "|".join("---:" if key not in ("label", "tokens") else "---" for key, _, _ in columns) + "|"]
    lines += ["| " + " | ".join(shown(one.get(key), digits) for key, _, digits in columns) + " |" for one in rows]
    return "\n".join(lines) + "\n"


def csv_rows(rows: list[dict]) -> tuple[list[str], list[dict]]:
    """All columns, whatever they hold, with full digits."""
    keys = [key for key, _, _ in COLUMNS]
    return keys, [{key: "" if one.get(key) is None else one[key] for key in keys} for one in rows]
