"""What was measured, on disk: FOLDER/points.jsonl has a line a point, FOLDER/point-K.jsonl the one of a job that measured it
alone. A line is written at once and synced, so that a killed study has whole points only."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .study import Study, StudyError


def append(path: Path, record: dict) -> None:
    """One whole line; a piece of one that an earlier kill has left behind is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
    if path.exists() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        line = b"\n" + line
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path, study: Study) -> dict[int, dict]:
    """Points by number; the last line of a point counts."""
    found: dict[int, dict] = {}
    for path in (*sorted(folder.glob("point-*.jsonl")), folder / "points.jsonl"):
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:  # cut short by a kill: the point is measured again
                continue
            if record["study"] != study.identity():
                raise StudyError(f"{path} holds points of another study than {study.name} is now: give another --output")
            found[record["point"]] = record
    return found
