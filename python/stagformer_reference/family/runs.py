"""The list of a family: a base run file, and rows that change its model, in blocks of rows with the same seeds.

{"base": RUN FILE, "recurrent_after": [K, ...], "blocks": [{"seeds": [...], "rows": [{"name", "label", "model"}, ...]}, ...]}
Runs go block by block and, inside a block, seed by seed, so an interrupted family has whole sets of rows.
"""

from __future__ import annotations

import copy
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..config import ConfigError, ModelConfig


@dataclass(frozen=True)
class Run:
    """One training: a row with one seed. `values` is its run file."""

    name: str
    label: str
    seed: int
    values: dict

    @property
    def folder(self) -> str:
        return f"{self.name}-seed{self.seed}"

    @property
    def model(self) -> ModelConfig:
        return ModelConfig.from_dict(self.values["model"])


@dataclass(frozen=True)
class Family:
    """Runs in the order in which they are trained; positions after which decoding is tried recurrently."""

    runs: list[Run]
    recurrent_after: list[int]

    @staticmethod
    def read(path: str | Path) -> "Family":
        """A list with a mistake in any run is refused as a whole."""
        values = json.loads(Path(path).read_text())
        try:
            _only(values, {"base", "recurrent_after", "blocks"})
            runs = [run for block in values["blocks"] for run in _runs_of(block, values["base"])]
            after = values.get("recurrent_after", [])
        except KeyError as error:
            raise ConfigError(f"{path}: {error} is missing") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        folders = [run.folder for run in runs]
        for folder in folders:
            if folders.count(folder) > 1:
                raise ConfigError(f"{path}: {folder} is there twice")
        return Family(runs, after)


def _only(values: dict, known: set[str]) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {key}")


def _runs_of(block: dict, base: dict) -> list[Run]:
    _only(block, {"seeds", "rows"})
    return [_make_run(row, seed, base) for seed in block["seeds"] for row in block["rows"]]


def _make_run(row: dict, seed: int, base: dict) -> Run:
    from ..train import RunConfig  # brings torch, which the report does not need

    _only(row, {"name", "label", "model"})
    name = row["name"]
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise ConfigError(f"name {name!r} must be letters, digits, dots and dashes")
    values = merge(base, {"model": row["model"], "training": {"seed": seed}})
    RunConfig.from_dict(values, name)
    return Run(name, row.get("label", name), seed, values)


def merge(base: dict, changes: dict) -> dict:
    """A copy of `base` with `changes`; objects are merged key by key, everything else is replaced."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def write_json(path: Path, values: dict) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(temporary, path)
