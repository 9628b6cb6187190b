import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stagformer_reference.checkpoint import read_checkpoint
from stagformer_reference.export import model_of, tokenizer_of
from stagformer_reference.llama2c import HEADER, halves, main

D, F, LAYERS, HEADS, KV, CONTEXT = 16, 24, 3, 4, 2, 32
PIECES = (["<unk>", "\n<s>\n", "\n</s>\n"] + [f"<0x{n:02X}>" for n in range(256)] + [" a", "ab", " ", "a", "b", "c"])


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(1)
    a, vocabulary = D // HEADS, len(PIECES)
    sizes = [vocabulary * D, LAYERS * D, LAYERS * D * D, LAYERS * KV * a * D, LAYERS * KV * a * D, LAYERS * D * D,
             LAYERS * D, LAYERS * F * D, LAYERS * D * F, LAYERS * F * D, D, CONTEXT * a]
    values = random.standard_normal(sum(sizes)).astype("<f4")
    (tmp_path / "m.bin").write_bytes(HEADER.pack(D, F, LAYERS, HEADS, KV, vocabulary, CONTEXT) + values.tobytes())
    table = b"".join(struct.pack("<fi", -float(n), len(p.encode())) + p.encode() for n, p in enumerate(PIECES))
    (tmp_path / "t.bin").write_bytes(struct.pack("<i", 8) + table)
    return tmp_path


def convert(files, *more):
    main(["--model", str(files / "m.bin"), "--tokenizer", str(files / "t.bin"), "--output", str(files / "m.h5"), *more])
    return read_checkpoint(files / "m.h5")


def test_halves():
    rows = np.arange(8)[:, None]
    assert halves(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_any_number_of_sections_gives_the_same(files):
    tokens = torch.arange(3, 23)[None]
    whole = model_of(convert(files))(tokens)[0]
    parts = model_of(convert(files, "--sections", "2"))
    assert parts.config.sections.layers_per_section == [2, 1] and torch.equal(parts(tokens)[0], whole)


def test_tokenizer(files):
    tokenizer = tokenizer_of(convert(files))
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos) == (len(PIECES), 1, 2)
    assert tokenizer.encode("ab") == [PIECES.index(" a"), PIECES.index("b")]
    assert tokenizer.encode("c\n") == [PIECES.index(" "), PIECES.index("c"), 3 + 10]
    assert tokenizer.decode(tokenizer.encode(" a  bc\n")) == " a  bc\n"


def test_needs_neither_torch_nor_sentencepiece(files):
    """The converter runs where only numpy and h5py are installed."""
    blocked = "import sys\nfor name in ('torch', 'sentencepiece', 'xxhash'): sys.modules[name] = None\n"
    run = "from stagformer_reference.llama2c import main\nmain(sys.argv[1:])\n"
    arguments = ["--model", str(files / "m.bin"), "--tokenizer", str(files / "t.bin"), "--output", str(files / "m.h5")]
    subprocess.run([sys.executable, "-c", blocked + run, *arguments], check=True, cwd=Path(__file__).parents[1])
    assert read_checkpoint(files / "m.h5").config.num_key_value_heads == KV
