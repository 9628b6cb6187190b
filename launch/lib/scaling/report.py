"""The whole of a study: table.md, table.csv, study.json and pictures in its folder, and its part of a page of the documentation."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
from collections import Counter
from pathlib import Path

from . import plots, table
from .measuring import STEADY
from .study import Study, StudyError

LITTLE = 1.05  # times as fast: what noise may be


def write(study: Study, records: dict[int, dict], folder: Path, command: list[str]) -> tuple[list[dict], list[str], list[Path]]:
    """Rows, problems and pictures; everything is written whatever the problems are."""
    rows, problems = table.rows_of(study, records), table.problems_of(study, records)
    folder.mkdir(parents=True, exist_ok=True)
    keys, lines = table.csv_rows(rows)
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    pictures = plots.draw(study, rows, folder) if rows else []
    text = f"# {plots.report_title(study)}\n\n{study.about}\n\n{body(study, rows, records)}"
    text += "".join(f"\n![{study.title}]({path.name})\n" for path in pictures if path.suffix == ".svg")
    text += "".join(f"\nProblem: {problem}\n" for problem in problems)
    (folder / "table.md").write_text(text)
    (folder / "study.json").write_text(json.dumps({
        "study": study.as_json(), "provenance": provenance(records), "collected_by": command, "problems": problems, "rows": rows},
        indent=1) + "\n")
    return rows, problems, pictures


def provenance(records: dict[int, dict]) -> dict:
    """Of all points: each value of what is known about program and machine, with the number of points it holds for."""
    known: dict[str, Counter] = {}
    for record in records.values():
        for key, value in {**record["provenance"], "place": record["place"]}.items():
            if key not in ("time", "world_size"):
                known.setdefault(key, Counter())[str(value)] += 1
    times = sorted(record["provenance"]["time"] for record in records.values())
    return {**{key: dict(values) for key, values in known.items()}, "first": times[:1], "last": times[-1:],
            "seconds": round(sum(record["seconds"] for record in records.values()), 1),
            "machine_cores": os.cpu_count(), "machine": platform.node(),
            "cores_of_ranks": {str(n): record["runs"]["staggered"]["cores"] for n, record in sorted(records.items())},
            "commands": {str(n): record["commands"] for n, record in sorted(records.items())}}


def body(study: Study, rows: list[dict], records: dict[int, dict]) -> str:
    """Table, what it says, and where it was measured; the same in the study's folder and in the documentation."""
    if not rows:
        return "Nothing is measured yet.\n"
    text = table.markdown(rows, ("point", "tokens", "hosts"))
    return text + "\n" + "".join(f"* {sentence}\n" for sentence in findings(study, rows)) + f"\n{measured_by(records)}\n"


def findings(study: Study, rows: list[dict]) -> list[str]:
    """What the table says, in figures."""
    found = []
    gains = [row for row in rows if row["gain"] is not None and row["ranks"] > 1]
    if gains:
        best, worst = max(gains, key=lambda row: row["gain"]), min(gains, key=lambda row: row["gain"])
        found.append(f"Staggered is {worst['gain']:.2f} ({grid(worst)}) to {best['gain']:.2f} times ({grid(best)}) as fast as the "
                     "same sections one after another.")
        lost = [row for row in gains if row["gain"] < LITTLE]
        if lost:
            found.append(f"It wins less than {100 * LITTLE - 100:.0f} % at " + "; ".join(grid(row) for row in lost) + ".")
    filled = [row for row in rows if row["filled_tokens_per_s"] is not None]
    if filled:
        shares = [(row["tokens_per_s"] / row["filled_tokens_per_s"], row) for row in filled]
        (least, low), (most, high) = min(shares, key=lambda s: s[0]), max(shares, key=lambda s: s[0])
        found.append("A pipeline of an ordinary decoder filled with as many sequences: staggered gives "
                     f"{least:.2f} ({grid(low)}) to {most:.2f} times ({grid(high)}) its tokens/s.")
    if any(row["tensor_parallel_ms"] for row in rows):
        models = [(row["tensor_parallel_ms"] / row["staggered_ms"], row) for row in rows if row["tensor_parallel_ms"]]
        (least, low), (most, high) = min(models, key=lambda s: s[0]), max(models, key=lambda s: s[0])
        found.append(f"Tensor parallelism would take {least:.2f} ({grid(low)}) to {most:.2f} times ({grid(high)}) as long as "
                     "staggered, by the model of `stagformer plan` (not measured).")
    errors = [abs(row[key]) for row in rows for key in ("error_percent", "sequential_error_percent") if row.get(key) is not None]
    if errors:
        inside = sum(error <= 10 for error in errors)
        found.append(f"{inside} of {len(errors)} predictions are within 10 % of what was {study.nature() or 'measured'}; the largest error is "
                     f"{max(errors):.0f} %.")
    repeated = sum(row["repeated_rounds"] for row in rows)
    if repeated:
        found.append(f"{repeated} rounds were run again, since calibrations in front of them and behind them gave predictions more than "
                     f"{100 * STEADY:.0f} % apart: the machine had changed its speed.")
    if study.simulated:
        found.append("Simulated: the engine's own steps in virtual time, over this machine's links with the delay added to each message.")
    elif study.emulated:
        found.append("Emulated: messages are real, computing is slept through; no tokens to compare.")
    else:
        found.append("All schedules and numbers of ranks of a model chose the same tokens.")
    return found


def grid(row: dict) -> str:
    text = f"{row['ranks']} rank{'s' if row['ranks'] > 1 else ''}, batch {row['batch']}"
    text += f", {row['delay_us']:g} us" if row["delay_us"] is not None else ""
    return text + (f", {row['mbit']:g} Mbit/s" if row["mbit"] else "")


def measured_by(records: dict[int, dict]) -> str:
    known = [record["provenance"] for record in records.values()]
    values = {key: ", ".join(sorted({str(one[key]) for one in known})) for key in ("version", "commit", "cpu", "build")}
    mpi = ", ".join(sorted({one["mpi"].split(",")[0] for one in known}))
    places = ", ".join(sorted({record["place"] for record in records.values()}))
    return (f"Measured on {places}: {values['cpu']}, {os.cpu_count()} cores; stagformer {values['version']} ({values['commit']}), "
            f"{values['build']}, {mpi}; {min(one['time'] for one in known)} to {max(one['time'] for one in known)}.")


def fill_page(page: Path, study: Study, text: str, pictures: list[Path], problems: list[str]) -> None:
    """Replaces what stands between the marks of this study; its SVG is copied beside the page."""
    begin, end = f"<!-- study {study.name}: begin -->", f"<!-- study {study.name}: end -->"
    old = page.read_text()
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise StudyError(f"{page} has no lines '{begin}' and '{end}'")
    if problems:
        raise StudyError(f"{page} is left as it is: the study has problems")
    for picture in pictures:
        if picture.suffix == ".svg":
            shutil.copy(picture, page.parent / f"scaling-{study.name}.svg")
            text += f"\n![{study.title}](scaling-{study.name}.svg)\n"
    before, after = old[: old.index(begin) + len(begin)], old[old.index(end):]
    page.write_text(f"{before}\n\n{text}\n{after}")
