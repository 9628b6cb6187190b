import h5py
import numpy as np
import pytest
import torch

from conftest import sharp_model, small_config
from stagformer_reference.checkpoint import CheckpointError, number_formats, read_checkpoint, write_checkpoint
from stagformer_reference.export import checkpoint_of, model_of
from stagformer_reference.formats import NUMBER_FORMATS, decode, encode

TOLERANCE = {"f32": 0.0, "bf16": 2.0**-8, "q8_0": 0.006, "q4_0": 0.13, "q4_1": 0.08}  # of a block's largest value


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_formats(number_format):
    values = np.random.default_rng(1).standard_normal((9, 64)).astype(np.float32)
    values[0, :32] = 0
    back = decode(encode(values, number_format), number_format)
    largest = np.abs(values).reshape(9, 2, 32).max(-1, keepdims=True)
    error = np.abs(back - values).reshape(9, 2, 32)
    assert (error <= TOLERANCE[number_format] * largest).all() and (back[0, :32] == 0).all()


def test_bf16_rounds_to_nearest_even():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0x7FC00000], np.uint32)
    assert encode(bits.view(np.float32), "bf16").tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80, 0x7FC0]


def test_block_layout():
    values = np.arange(32, dtype=np.float32)[None] - 8
    stored = encode(values / 4, "q4_1")
    assert stored.shape == (1, 20) and stored[0, 4] >> 4 == round(16 * 15 / 31) and stored[0, 4] & 15 == 0
    assert encode(values, "q8_0").shape == (1, 34) and encode(values, "q4_0").shape == (1, 18)
    with pytest.raises(ValueError, match="multiple of 32"):
        encode(values[:, :16], "q8_0")


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("weights", ["separate", "shared"])
@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_round_trip(tmp_path, number_format, weights, split):
    model = sharp_model(small_config(sections={"weights": weights})).float()
    path = tmp_path / "model.h5"
    first = checkpoint_of(model, "sentencepiece", b"\0piece\xff")
    write_checkpoint(path, first, number_format, split)
    second = read_checkpoint(path)
    assert second.config == model.config and second.tokenizer_model == b"\0piece\xff"
    expected = {n: decode(encode(v, f), f) for (n, v), f in
                zip(first.weights.items(), (number_formats(path)[n] for n in first.weights))}
    assert all(np.array_equal(second.weights[n], expected[n]) for n in expected)
    tokens = torch.arange(12)[None]
    if number_format == "f32":
        assert torch.equal(model_of(second)(tokens)[0], model(tokens)[0])


def test_layout_in_the_file(tmp_path):
    path = tmp_path / "model.h5"
    write_checkpoint(path, checkpoint_of(sharp_model(small_config(sections={"weights": "shared"}))), "bf16")
    with h5py.File(path) as file:
        link = file.get("sections/1/layers/0/self_attention", getlink=True)
        assert isinstance(link, h5py.SoftLink) and link.path == "/sections/0/layers/0/self_attention"
        dataset = file["embedding/weight"]
        assert dataset.chunks is None and dataset.dtype == np.uint16 and dataset.id.get_offset() % 4096 == 0
        assert dataset.attrs["xxh3_64"].dtype == np.uint64 and dataset.attrs["number_format"] == "bf16"
        raw = path.read_bytes()[dataset.id.get_offset() :][: dataset.nbytes]
        assert raw == dataset[()].tobytes()


def test_damage_is_found(tmp_path):
    path = tmp_path / "model.h5"
    write_checkpoint(path, checkpoint_of(sharp_model(small_config())))
    with h5py.File(path, "a") as file:
        file["final_norm/weight"][3] = 9.0
    with pytest.raises(CheckpointError, match="final_norm/weight: the checksum"):
        read_checkpoint(path)
    assert read_checkpoint(path, verify=False).weights["final_norm/weight"][3] == 9.0
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(CheckpointError, match="format version 2"):
        read_checkpoint(path)
