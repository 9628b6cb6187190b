#!/usr/bin/env python3
"""Merges the records of a scaling study, FOLDER/point-*.jsonl, into FOLDER/table.csv and FOLDER/table.md.

usage: collect.py [--points scaling-points.txt] FOLDER

Speed-up and efficiency are against the fewest ranks of the same model, weights, threads and batch. Results that differ where
they must not (the digest of the chosen tokens is the same for every number of ranks) and points that are missing are errors,
exit code 1; the table is written all the same. Python's standard library only.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

COLUMNS = ("point", "ranks", "threads", "batch", "weights", "prompt_tokens_per_s", "decode_tokens_per_s", "step_ms",
           "speed_up", "efficiency_percent", "hosts", "tokens")


def row(point: int, record: dict) -> dict:
    decode = record["decode"]
    return {"point": point, "ranks": record["ranks"], "threads": record["threads"], "batch": record["batch"],
            "weights": record["weights"], "prompt_tokens_per_s": record["prefill"]["tokens_per_s"]["median"],
            "decode_tokens_per_s": decode["tokens_per_s"]["median"], "step_ms": decode["step_ms_median"],
            "hosts": len({rank["host"] for rank in record["per_rank"]}), "tokens": decode["token_digest"],
            # What two rows must share to be compared, and what to choose the same tokens.
            "work": (record["model"].get("file"), json.dumps(record["model"], sort_keys=True), record["weights"], record["batch"],
                     record["prompt_tokens"], record["decode_tokens"], record["depth"])}


def read_rows(folder: Path) -> list[dict]:
    rows = []
    for path in sorted(folder.glob("point-*.jsonl"), key=number_of):
        rows += [row(number_of(path), json.loads(line)) for line in path.read_text().splitlines()]
    return rows


def number_of(path: Path) -> int:
    return int(path.stem.removeprefix("point-"))


def compare(rows: list[dict]) -> list[str]:
    """Adds speed-up and efficiency; returns what must not be."""
    problems = []
    for one in rows:
        same_work = [other for other in rows if other["work"] == one["work"]]
        if any(other["tokens"] != one["tokens"] for other in same_work):
            problems.append(f"point {one['point']}: other tokens ({one['tokens']}) than another number of ranks chose")
        base = min((other for other in same_work if other["threads"] == one["threads"]), key=lambda other: other["ranks"])
        one["speed_up"] = one["decode_tokens_per_s"] / base["decode_tokens_per_s"]
        one["efficiency_percent"] = 100 * one["speed_up"] * base["ranks"] / one["ranks"]
    return problems


def missing(points: Path, rows: list[dict]) -> list[str]:
    lines = [line for line in points.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = {one["point"] for one in rows}
    return [f"point {number} ({line}) has no result" for number, line in enumerate(lines, 1) if number not in found]


def shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=Path, help="the study's points, to find those that are missing")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    rows = read_rows(arguments.folder)
    problems = compare(rows) + (missing(arguments.points, rows) if arguments.points else [])
    with open(arguments.folder / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(shown(one[name]) for name in COLUMNS) + " |" for one in rows]
    table = "\n".join(lines) + "\n"
    (arguments.folder / "table.md").write_text(table)
    print(table, end="")
    for problem in problems:
        print(f"collect: error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
