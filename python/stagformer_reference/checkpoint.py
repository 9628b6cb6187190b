"""Reads and writes checkpoints (HDF5, format version 1). numpy and h5py only; xxhash adds the checksums where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable

import h5py
import numpy as np

from . import __version__
from .config import ModelConfig
from .formats import BLOCK_BYTES, decode, encode
from .schema import shared_groups, weight_shapes

try:
    import xxhash
except ImportError:
    xxhash = None

FORMAT_VERSION = 1
ALIGNMENT = 4096  # bytes; datasets at least this large begin at a multiple of it


class CheckpointError(ValueError):
    """A file that is no usable checkpoint; the message names file and dataset."""


@dataclass
class Checkpoint:
    """A configuration, its weights as float32 arrays by path (`weight_shapes`), and the tokenizer."""

    config: ModelConfig
    weights: dict[str, np.ndarray]
    tokenizer_type: str = "byte"
    tokenizer_model: bytes | None = None
    source: str = ""
    created: str = ""


def write_checkpoint(path: str | Path, checkpoint: Checkpoint, number_format: str | Callable[[str], str] = "f32",
                     split: bool = False) -> None:
    """Write `path`; with `split` each section goes to its own file NAME.section-S.h5 beside it.

    `number_format` is one for all linear weights, embedding and head, or a function of the weight's path.
    """
    path = Path(path)
    choose = number_format if callable(number_format) else lambda _: number_format
    _check_shapes(path, checkpoint)
    with _create(path) as root:
        _write_header(root, checkpoint)
        _write_tokenizer(root, checkpoint)
        sections = _open_sections(root, path, checkpoint.config.sections.count, split)
        for name, values in checkpoint.weights.items():
            group, inner = _place(root, sections, name)
            _write_weight(group, inner, values, choose(name) if values.ndim == 2 else "f32")
        _link_shared(sections, path, checkpoint.config, split)
        if split:
            for section in sections:
                section.file.close()


def read_checkpoint(path: str | Path, verify: bool = True) -> Checkpoint:
    """Read and check a checkpoint; `verify` also compares the checksums that are there."""
    path = Path(path)
    with h5py.File(path, "r") as root:
        if _text(root.attrs.get("format")) != "stagformer":
            raise CheckpointError(f"{path}: no stagformer checkpoint")
        version = int(root.attrs.get("format_version", 0))
        if not 1 <= version <= FORMAT_VERSION:
            raise CheckpointError(f"{path}: format version {version}, this reader knows {FORMAT_VERSION}")
        config = ModelConfig.from_json(_text(root.attrs["config"]))
        weights = {name: _read_weight(root, name, shape, verify) for name, shape in weight_shapes(config).items()}
        tokenizer = root["tokenizer"]
        model = tokenizer["model"][()].tobytes() if "model" in tokenizer else None
        return Checkpoint(config, weights, _text(tokenizer.attrs["type"]), model,
                          _text(root.attrs.get("source")), _text(root.attrs.get("created")))


def number_formats(path: str | Path) -> dict[str, str]:
    """The number format of every weight of a checkpoint."""
    with h5py.File(path, "r") as root:
        config = ModelConfig.from_json(_text(root.attrs["config"]))
        return {name: _text(root[name].attrs.get("number_format", "f32")) for name in weight_shapes(config)}


def _check_shapes(path: Path, checkpoint: Checkpoint) -> None:
    expected = weight_shapes(checkpoint.config)
    found = {name: tuple(values.shape) for name, values in checkpoint.weights.items()}
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise CheckpointError(f"{path}: {name}: expected shape {expected.get(name)}, found {found.get(name)}")


def _create(path: Path) -> h5py.File:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_alignment(ALIGNMENT, ALIGNMENT)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return h5py.File(h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, fapl=access))


def _write_header(root: h5py.File, checkpoint: Checkpoint) -> None:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    root.attrs["format"] = "stagformer"
    root.attrs["format_version"] = np.int32(FORMAT_VERSION)
    root.attrs["config"] = checkpoint.config.to_json()
    root.attrs["writer"] = f"stagformer_reference {__version__}"
    root.attrs["created"] = checkpoint.created or now
    root.attrs["source"] = checkpoint.source


def _write_tokenizer(root: h5py.File, checkpoint: Checkpoint) -> None:
    group = root.create_group("tokenizer")
    group.attrs["type"] = checkpoint.tokenizer_type
    if checkpoint.tokenizer_model is not None:
        _write_dataset(group, "model", np.frombuffer(checkpoint.tokenizer_model, np.uint8))


def _section_file(path: Path, section: int) -> str:
    return f"{path.stem}.section-{section}.h5"


def _open_sections(root: h5py.File, path: Path, count: int, split: bool) -> list[h5py.Group]:
    """The group that holds `layers` of each section: in the root file, or the root of the section's own file."""
    parent = root.create_group("sections")
    if not split:
        return [parent.create_group(str(s)) for s in range(count)]
    groups = []
    for s in range(count):
        parent[str(s)] = h5py.ExternalLink(_section_file(path, s), "/")
        groups.append(_create(path.with_name(_section_file(path, s))))
    return groups


def _place(root: h5py.File, sections: list[h5py.Group], name: str) -> tuple[h5py.Group, str]:
    """(group, path inside it) of a weight's path."""
    if not name.startswith("sections/"):
        return root, name
    _, section, inner = name.split("/", 2)
    return sections[int(section)], inner


def _link_shared(sections: list[h5py.Group], path: Path, config: ModelConfig, split: bool) -> None:
    for s, group in shared_groups(config):
        if split:
            sections[s][group] = h5py.ExternalLink(_section_file(path, 0), f"/{group}")
        else:
            sections[s][group] = h5py.SoftLink(f"/sections/0/{group}")


def _write_weight(group: h5py.Group, name: str, values: np.ndarray, number_format: str) -> None:
    dataset = _write_dataset(group, name, encode(values, number_format))
    dataset.attrs["number_format"] = number_format
    if number_format in BLOCK_BYTES:
        dataset.attrs["shape"] = np.array(values.shape, np.int64)


def _write_dataset(group: h5py.Group, name: str, stored: np.ndarray) -> h5py.Dataset:
    """Contiguous and allocated at once, so that its file offset can be asked for and read from directly."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    parents, _, leaf = name.rpartition("/")
    parent = group.require_group(parents) if parents else group
    space = h5py.h5s.create_simple(stored.shape)
    kind = h5py.h5t.py_create(stored.dtype)
    dataset = h5py.Dataset(h5py.h5d.create(parent.id, leaf.encode(), kind, space, dcpl=layout))
    dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(stored))
    if xxhash is not None:
        dataset.attrs["xxh3_64"] = np.uint64(xxhash.xxh3_64_intdigest(stored.tobytes()))
    return dataset


def _read_weight(root: h5py.File, name: str, shape: tuple[int, ...], verify: bool) -> np.ndarray:
    where = f"{root.filename}: {name}"
    if name not in root:
        raise CheckpointError(f"{where} is missing")
    dataset = root[name]
    if dataset.dtype.byteorder == ">":
        raise CheckpointError(f"{where} is big-endian")
    stored = dataset[()]
    number_format = _text(dataset.attrs.get("number_format", "f32"))
    if verify and xxhash is not None and "xxh3_64" in dataset.attrs:
        if xxhash.xxh3_64_intdigest(stored.tobytes()) != int(dataset.attrs["xxh3_64"]):
            raise CheckpointError(f"{where}: the checksum does not match")
    values = decode(stored, number_format)
    if values.shape != shape:
        raise CheckpointError(f"{where}: expected shape {shape}, found {values.shape}")
    return values


def _text(value) -> str:
    """A string attribute, fixed- or variable-length; empty when absent."""
    if value is None:
        return ""
    return value.decode().rstrip("\0") if isinstance(value, bytes) else str(value)
