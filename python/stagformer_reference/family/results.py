"""results.csv: a line for each finished run, from the JSON files in its folder."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from .cost import cache_bytes
from .runs import Family

PARTS = ("result", "evaluation", "latency")   # of training, of the engine's eval, of its bench


def read_part(folder: Path, part: str) -> dict:
    """The values of FOLDER/PART.json, none when it is not there yet."""
    path = folder / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def collect(family: Family, output: Path) -> list[dict]:
    """Finished runs in the order of the list, all parts in one flat dictionary each."""
    rows = []
    for run in family.runs:
        folder = output / run.folder
        parts = [read_part(folder, part) for part in PARTS]
        if parts[0]:
            rows.append({"name": run.name, "seed": run.seed, "label": run.label})
            growing, kept = cache_bytes(run.model)
            rows[-1] |= {"cache_bytes_a_token": growing, "cache_bytes_of_windows": kept}
            for part in parts:
                rows[-1] |= part
    return rows


def write_results(family: Family, output: Path) -> None:
    """Columns are those that any run has, in the order of their first appearance."""
    rows = collect(family, output)
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["name", "seed"]
    temporary = output / "results.csv.tmp"
    with open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, output / "results.csv")


def read_results(output: Path) -> list[dict]:
    """Lines of results.csv; numbers as numbers, rounds as lists of them, empty fields left out."""
    with open(output / "results.csv", newline="") as file:
        return [{key: _value(key, text) for key, text in line.items() if text != ""} for line in csv.DictReader(file)]


def _value(key: str, text: str):
    if key in ("name", "label"):
        return text
    if key.startswith("rounds_"):
        return [float(part) for part in text.split()]
    try:
        return float(text) if any(c in text for c in ".en") else int(text)
    except ValueError:
        return text
