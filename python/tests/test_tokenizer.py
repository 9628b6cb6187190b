import json
import sys

import pytest
import tokenizers
import torch

from stagformer_reference.checkpoint import read_checkpoint, write_checkpoint
from stagformer_reference.config import ConfigError, ModelConfig
from stagformer_reference.data import Corpus
from stagformer_reference.export import checkpoint_of, tokenizer_of
from stagformer_reference.export import main as export_main
from stagformer_reference.model import StagFormer
from stagformer_reference.tokenizer import HuggingFaceTokenizer, make_tokenizer
from stagformer_reference.train import Trainer, main

STORY = "The cat sat on the mat. Zoë ran to the cat and said \"hello\" 12 times."


def tokenizer_json() -> bytes:
    """A small byte-level BPE whose template puts <s> in front, and whose decoder has no more than its type."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["<end>", "<s>"], show_progress=False,
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator([STORY], trainer)
    bpe.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    values = json.loads(bpe.to_str())
    values["decoder"] = {"type": "ByteLevel"}
    return json.dumps(values).encode()


MODEL = tokenizer_json()
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 300,
         "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": [0], "add_bos": False}


def test_tokenizer_json():
    tokenizer = make_tokenizer("huggingface", MODEL, None, 0)
    ids = tokenizer.encode(STORY)
    assert tokenizer.decode(ids) == STORY and len(ids) < len(STORY.encode()) and 1 not in ids
    assert tokenizer.vocab_size <= 300 and tokenizer.encode("") == [] and tokenizer.encode("<end>") == [0]


def test_ids_around_documents():
    """BOS where the configuration has it in front of prompts; an id that is not there is not written."""
    def ids(bos, eos):
        return Corpus(HuggingFaceTokenizer(MODEL, bos, eos), ["a", "b"]).tokens.tolist()

    a, b = (HuggingFaceTokenizer(MODEL, None, None).encode(text)[0] for text in "ab")
    assert ids(None, 0) == [a, 0, b, 0] and ids(1, 0) == [1, a, 0, 1, b, 0] and ids(None, None) == [a, b]
    for add_bos, bos in ((False, None), (True, 1)):
        config = ModelConfig.from_dict(SHAPE | {"add_bos": add_bos, "sections": {"count": 1, "layers_per_section": 1}})
        tokenizer = tokenizer_of(checkpoint_of(StagFormer(config), "huggingface", MODEL))
        assert (tokenizer.bos, tokenizer.eos) == (bos, 0)


def test_large_ids_are_kept():
    class Large:
        vocab_size, bos, eos = 128_000, None, 127_999

        def encode(self, text):
            return [127_000]

    assert Corpus(Large(), ["a"]).tokens.tolist() == [127_000, 127_999]


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match="pip install tokenizers"):
        make_tokenizer("huggingface", MODEL, None, 0)


def test_training_goes_on_with_it(tmp_path):
    torch.manual_seed(2)
    decoder = StagFormer(ModelConfig.from_dict(SHAPE | {"sections": {"count": 1, "layers_per_section": 2}}))
    write_checkpoint(tmp_path / "decoder.h5", checkpoint_of(decoder, "huggingface", MODEL))
    (tmp_path / "story.txt").write_text(f"{STORY}\n<|endoftext|>\n" * 40)
    run = tmp_path / "run.json"

    def train(**shape) -> Trainer:
        run.write_text(json.dumps({
            "model": SHAPE | shape | {"sections": {"count": 2, "layers_per_section": 1}},
            "data": [{"path": "story.txt", "holdout_every": 10}],
            "training": {"tokens": 5120, "context": 32, "batch": 4, "learning_rate": 5e-3, "warmup_tokens": 128}}))
        return main(["--config", str(run), "--out", str(tmp_path / "out"), "--data", str(tmp_path), "--threads", "1",
                     "--start-from", str(tmp_path / "decoder.h5"), "--format", "f32"])

    trainer = train()
    assert trainer.validate()["story.txt"] < 3.0
    # no id is left out as a BOS would be
    ids = torch.tensor([[5, 1, 6, 1]])
    logits = trainer.model.eval()(ids[:, :-1])[0]
    expected = -logits.log_softmax(-1)[0, range(3), [1, 6, 1]].mean()
    assert trainer.loss(trainer.model, ids).item() == pytest.approx(expected.item(), rel=1e-5)

    exported = read_checkpoint(tmp_path / "out" / "model.h5")
    export_main(["--state", str(tmp_path / "out"), "--output", str(tmp_path / "again.h5"), "--format", "f32"])
    again = read_checkpoint(tmp_path / "again.h5")
    for checkpoint in (exported, again):
        assert checkpoint.tokenizer_type == "huggingface" and checkpoint.tokenizer_model == MODEL
        assert checkpoint.config.sections.count == 2 and checkpoint.config.add_bos is False
    for change in ({"add_bos": True}, {"eos_token_id": [2]}, {"rope_scaling": {"type": "linear", "factor": 2.0}}):
        with pytest.raises(ConfigError, match=next(iter(change)).split("_token")[0]):
            train(**change)
