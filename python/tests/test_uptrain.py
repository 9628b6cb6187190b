import json

import pytest
import torch

from stagformer_reference.config import ConfigError, ModelConfig
from stagformer_reference.export import checkpoint_of, export
from stagformer_reference.model import StagFormer
from stagformer_reference.tokenizer import make_tokenizer
from stagformer_reference.train import main
from stagformer_reference.uptrain import start_from

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 258,
         "max_position_embeddings": 64, "bos_token_id": 256, "eos_token_id": 257}
TOKENS = torch.arange(40).reshape(2, 20) * 5 % 250


def model_with(**sections) -> StagFormer:
    torch.manual_seed(3)
    return StagFormer(ModelConfig.from_dict(SHAPE | {"sections": sections})).eval()


def decoder(layers: int) -> StagFormer:
    """Weights large enough that every layer shows in the output."""
    model = model_with(count=1, layers_per_section=layers)
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            torch.manual_seed(100 + n)
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_chained_sections_are_the_decoder():
    old = decoder(5)
    new = model_with(count=3, layers_per_section=[2, 2, 1], links="chained")
    start_from(new, checkpoint_of(old))
    torch.testing.assert_close(new(TOKENS)[0], old(TOKENS)[0])


@torch.no_grad()
def test_staggered_sections_begin_as_their_layers_alone():
    old = decoder(4)
    new = model_with(count=2, layers_per_section=2)
    start_from(new, checkpoint_of(old))
    outputs = new(TOKENS)[1]
    embedded = old.embed(TOKENS)
    for s, layers in enumerate((old.sections[0].layers[:2], old.sections[0].layers[2:])):
        part = decoder(4).sections[0]
        part.layers = torch.nn.ModuleList(layers)
        torch.testing.assert_close(outputs[s], part.extend(part.new_cache(), embedded))
    assert not torch.allclose(outputs[0], outputs[1])


@torch.no_grad()
def test_shared_sections_take_the_same_layers_and_cross_attention_starts_at_zero():
    old = decoder(2)
    new = model_with(count=3, layers_per_section=2, weights="shared")
    with torch.no_grad():
        for name, parameter in new.named_parameters():
            if name.endswith("cross_attention.o.weight"):
                parameter.fill_(1)
    start_from(new, checkpoint_of(old))
    logits, outputs = new(TOKENS)
    torch.testing.assert_close(logits, old(TOKENS)[0])
    torch.testing.assert_close(outputs[0], outputs[2])


@pytest.mark.parametrize("sections, shape, message", [
    ({"count": 2, "layers_per_section": 3}, {}, "room for 6 layers, the decoder to start from has 4"),
    ({"count": 2, "layers_per_section": 2}, {"intermediate_size": 96}, "intermediate_size is 96"),
])
def test_a_decoder_that_does_not_fit_is_refused(sections, shape, message):
    new = StagFormer(ModelConfig.from_dict(SHAPE | shape | {"sections": sections}))
    with pytest.raises(ConfigError, match=message):
        start_from(new, checkpoint_of(decoder(4)))


def test_only_a_decoder_is_taken():
    with pytest.raises(ConfigError, match="has 2 sections"):
        start_from(model_with(count=2, layers_per_section=2), checkpoint_of(model_with(count=2, layers_per_section=2)))


def test_the_trainer_goes_on_from_a_decoder(tmp_path):
    story = "The cat sat on the mat. The dog ran to the cat and said hello. "
    (tmp_path / "story.txt").write_text("".join(f"{story * (n % 3 + 1)}{n}\n<|endoftext|>\n" for n in range(40)))

    def run(out: str, sections: dict, tokens: int, *flags: str):
        training = {"tokens": tokens, "context": 64, "batch": 4, "learning_rate": 5e-3, "warmup_tokens": 256,
                    "validate_every_tokens": 5120}
        file = tmp_path / f"{out}.json"
        file.write_text(json.dumps({"model": SHAPE | {"sections": sections}, "training": training,
                                    "data": [{"path": "story.txt", "holdout_every": 10}]}))
        return main(["--config", str(file), "--out", str(tmp_path / out), "--data", str(tmp_path), "--threads", "1",
                     "--format", "f32", *flags])

    run("decoder", {"count": 1, "layers_per_section": 2}, 20480)
    staggered = {"count": 2, "layers_per_section": 1}
    started = run("started", staggered, 2560, "--start-from", str(tmp_path / "decoder" / "model.h5"))
    scratch = run("scratch", staggered, 2560)
    assert started.validate()["story.txt"] < scratch.validate()["story.txt"] - 0.5


def test_the_decoders_tokenizer_is_kept(tmp_path):
    path = tmp_path / "decoder.h5"
    export(path, decoder(2), make_tokenizer("byte"), "f32", "test")
    (tmp_path / "story.txt").write_text("Once upon a time there was a cat.\n<|endoftext|>\n" * 30)
    file = tmp_path / "run.json"
    file.write_text(json.dumps({
        "model": SHAPE | {"sections": {"count": 2, "layers_per_section": 1}}, "data": [{"path": "story.txt"}],
        "training": {"tokens": 512, "context": 32, "batch": 4, "tokenizer": "sentencepiece", "tokenizer_pieces": 300}}))
    trainer = main(["--config", str(file), "--out", str(tmp_path / "out"), "--data", str(tmp_path), "--threads", "1",
                    "--start-from", str(path)])
    assert trainer.tokenizer.type == "byte"
