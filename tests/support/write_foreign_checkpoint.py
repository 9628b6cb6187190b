"""Writes small checkpoints as a stranger would: from docs/checkpoint-format.md alone, with h5py and numpy.

usage: write_foreign_checkpoint.py FOLDER [PAGE]

Value number i of every matrix is ((37 i + 11) mod 101 - 50) / 64, so that a reader can tell what it should find. With
PAGE, docs/checkpoint-format.md, the page's own example is run in FOLDER as well.
"""

import json
import os
import re
import sys

import h5py
import numpy as np

V, D, F, H, G, A = 258, 64, 96, 4, 2, 16


def config(**sections):
    return {"vocab_size": V, "hidden_size": D, "intermediate_size": F, "num_attention_heads": H,
            "num_key_value_heads": G, "max_position_embeddings": 128, "bos_token_id": 256, "eos_token_id": [257],
            "sections": {"count": 2, "layers_per_section": 2, **sections}}


def values(rows, columns):
    i = np.arange(rows * columns, dtype=np.int64)
    return (((37 * i + 11) % 101 - 50) / 64).astype("<f4").reshape(rows, columns)


def bf16(x):
    bits = x.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def half_bytes(x):
    return x.astype("<f2").view(np.uint8).reshape(len(x), 2)


def nibbles(n):
    n = n.astype(np.uint8)
    return n[:, :16] | (n[:, 16:] << 4)


def q8_0(x):
    scale = np.abs(x).max(axis=1, keepdims=True) / 127
    q = np.rint(x / np.where(scale == 0, 1, scale)).astype(np.int8)
    return np.hstack([half_bytes(scale), q.view(np.uint8)])


def q4_0(x):
    scale = np.abs(x).max(axis=1, keepdims=True) / 7
    n = np.clip(np.rint(x / np.where(scale == 0, 1, scale)) + 8, 0, 15)
    return np.hstack([half_bytes(scale), nibbles(n)])


def q4_1(x):
    least = x.min(axis=1, keepdims=True)
    scale = (x.max(axis=1, keepdims=True) - least) / 15
    n = np.clip(np.rint((x - least) / np.where(scale == 0, 1, scale)), 0, 15)
    return np.hstack([half_bytes(scale), half_bytes(least), nibbles(n)])


BLOCKS = {"q8_0": q8_0, "q4_0": q4_0, "q4_1": q4_1}


class Writer:
    """One way of writing: `formats` are taken in turn, `text` makes strings, `name` is how datasets are created."""

    def __init__(self, formats, text=str):
        self.formats, self.text, self.count = formats, text, 0

    def matrix(self, group, name, rows, columns):
        number_format = self.formats[self.count % len(self.formats)]
        self.count += 1
        x = values(rows, columns)
        if number_format == "f32":
            group.create_dataset(name, data=x)  # no attribute: f32
            return
        if number_format == "bf16":
            dataset = group.create_dataset(name, data=bf16(x))
        else:
            blocks = BLOCKS[number_format](x.reshape(-1, 32))
            dataset = group.create_dataset(name, data=blocks.reshape(rows, -1))
            dataset.attrs["shape"] = [rows, columns]
        dataset.attrs["number_format"] = self.text(number_format)

    def vector(self, group, name, size):
        group.create_dataset(name, data=1 + values(1, size)[0] / 8)

    def attention(self, group):
        self.vector(group, "norm/weight", D)
        self.matrix(group, "q/weight", H * A, D)
        self.matrix(group, "k/weight", G * A, D)
        self.matrix(group, "v/weight", G * A, D)
        self.matrix(group, "o/weight", D, H * A)

    def feed_forward(self, group):
        self.vector(group, "norm/weight", D)
        self.matrix(group, "gate/weight", F, D)
        self.matrix(group, "up/weight", F, D)
        self.matrix(group, "down/weight", D, F)

    def section(self, group, number, link=None):
        """`link(block)` makes the link of a shared block; None: the section has its own weights."""
        for layer in range(2):
            at = group.create_group(f"layers/{layer}")
            for block, write in (("self_attention", self.attention), ("feed_forward", self.feed_forward)):
                if link and number > 0:
                    at[block] = link(f"layers/{layer}/{block}")
                else:
                    write(at.create_group(block))
            if number > 0:
                self.attention(at.create_group("cross_attention"))
        if number > 0:
            self.vector(group, "memory_norm/weight", D)

    def root(self, file, configuration):
        file.attrs["format"] = self.text("stagformer")
        file.attrs["format_version"] = np.int32(1)
        file.attrs["config"] = self.text(json.dumps(configuration))
        file.attrs["source"] = self.text("a stranger")
        file.create_group("tokenizer").attrs["type"] = self.text("byte")
        self.matrix(file, "embedding/weight", V, D)
        self.vector(file, "final_norm/weight", D)


def write_one(path, writer, userblock=0):
    with h5py.File(path, "w", userblock_size=userblock) as file:
        writer.root(file, config())
        for s in range(2):
            writer.section(file.create_group(f"sections/{s}"), s)


def write_shared(path, writer):
    with h5py.File(path, "w") as file:
        writer.root(file, config(weights="shared"))
        for s in range(2):
            writer.section(file.create_group(f"sections/{s}"), s, lambda at: h5py.SoftLink(f"/sections/0/{at}"))


def write_split(folder, name, writer):
    files = [f"{name}.section-{s}.h5" for s in range(2)]
    with h5py.File(os.path.join(folder, f"{name}.h5"), "w") as file:
        writer.root(file, config(weights="shared"))
        for s in range(2):
            file[f"sections/{s}"] = h5py.ExternalLink(files[s], "/")
    for s in range(2):
        with h5py.File(os.path.join(folder, files[s]), "w") as file:
            writer.section(file, s, lambda at: h5py.ExternalLink(files[0], f"/{at}"))


def run_example(folder, page):
    with open(page, encoding="utf-8") as text:
        code = re.search(r"```python\n(.*?)```", text.read(), re.DOTALL).group(1)
    os.chdir(folder)
    exec(compile(code, page, "exec"), {})


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    write_one(os.path.join(folder, "variable-strings.h5"), Writer(["f32"]))
    write_one(os.path.join(folder, "fixed-strings.h5"), Writer(["bf16"], np.bytes_))
    write_one(os.path.join(folder, "user-block.h5"), Writer(["f32", "bf16"]), userblock=1024)
    for number_format in BLOCKS:
        write_one(os.path.join(folder, f"{number_format}.h5"), Writer([number_format]))
    write_one(os.path.join(folder, "mixed.h5"), Writer(["q4_0", "f32", "q8_0", "bf16", "q4_1"]))
    write_shared(os.path.join(folder, "shared.h5"), Writer(["q8_0"], np.bytes_))
    write_split(folder, "split", Writer(["q4_1", "f32"]))
    if len(sys.argv) > 2:
        run_example(folder, os.path.abspath(sys.argv[2]))


if __name__ == "__main__":
    main()
