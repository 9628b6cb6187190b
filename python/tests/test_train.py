import json

import pytest
import torch

from stagformer_reference.config import ConfigError
from stagformer_reference.evaluate import main as evaluate_main
from stagformer_reference.export import load
from stagformer_reference.model import StagFormer
from stagformer_reference.train import RunConfig, main

STORY = "The cat sat on the mat. The dog ran to the cat and said hello. "


def run_file(folder, tokens: int, **training):
    """A byte-level run of 64-token windows."""
    text = "".join(f"{STORY * (n % 3 + 1)}{n}\n<|endoftext|>\n" for n in range(40))
    (folder / "story.txt").write_text(text)
    run = {
        "model": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 258,
                  "max_position_embeddings": 64, "bos_token_id": 256, "eos_token_id": 257,
                  "sections": {"count": 2, "layers_per_section": 1}},
        "data": [{"path": "story.txt", "holdout_every": 10}],
        "training": {"tokens": tokens, "context": 64, "batch": 4, "learning_rate": 5e-3, "warmup_tokens": 1000,
                     "dropout": 0.1, "validate_every_tokens": 5120} | training,
    }
    path = folder / "run.json"
    path.write_text(json.dumps(run))
    return str(path)


def train(folder, out: str, config: str):
    return main(["--config", config, "--out", str(folder / out), "--data", str(folder), "--threads", "1"])


def test_training_learns_and_resumes_exactly(tmp_path):
    config = run_file(tmp_path, 20480)
    whole = train(tmp_path, "whole", config)
    assert whole.tokens == 20480 and whole.validate()["story.txt"] < 4.0

    # the same run, stopped in its middle and started again
    stopped = run_to(tmp_path, config, 40)
    assert stopped.step == 40
    resumed = train(tmp_path, "parts", config)
    assert resumed.step == whole.step
    for a, b in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(a, b)
    model, checkpoint = load(tmp_path / "parts" / "model.h5")
    assert checkpoint.tokenizer_type == "byte" and model.config == whole.run.model


def run_to(folder, config: str, steps: int):
    """Train until `steps`, then ask to stop as a signal would."""
    from stagformer_reference import train as module

    class Stopping(module.Trainer):
        def train_step(self, model):
            loss = super().train_step(model)
            self.stop = self.step >= steps
            return loss

    original, module.Trainer = module.Trainer, Stopping
    try:
        return train(folder, "parts", config)
    finally:
        module.Trainer = original


def test_cross_attention_learns_at_its_own_rate(tmp_path):
    """One Adam step moves each weight by its learning rate, cross-attention by a tenth of it."""
    config = run_file(tmp_path, 256, cross_attention_rate=0.1, dropout=0.0, weight_decay=0.0, warmup_tokens=1)
    trainer = train(tmp_path, "out", config)
    assert trainer.step == 1
    torch.manual_seed(trainer.t.seed)
    start = dict(StagFormer(trainer.run.model).named_parameters())
    moved = {name: (p - start[name]).abs().max().item() for name, p in trainer.model.named_parameters()}
    assert moved["sections.1.layers.0.cross_attention.o.weight"] == pytest.approx(5e-4, rel=1e-3)
    assert moved["sections.1.layers.0.self_attention.o.weight"] == pytest.approx(5e-3, rel=1e-3)


def test_run_file_errors(tmp_path):
    with pytest.raises(ConfigError, match="speed"):
        RunConfig.read(run_file(tmp_path, 100, speed=1))


def test_evaluate(tmp_path):
    train(tmp_path, "out", run_file(tmp_path, 2560))
    (tmp_path / "text.txt").write_text(STORY)
    table = tmp_path / "table.csv"
    loss = evaluate_main(["--checkpoint", str(tmp_path / "out" / "model.h5"), "--text", str(tmp_path / "text.txt"),
                          "--context", "17", "--per-token", str(table)])
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert rows[0] == ["position", "token_id", "log_probability"] and len(rows) - 1 == len(STORY)
    assert [int(r[1]) for r in rows[1:]] == list(STORY.encode()) and max(int(r[0]) for r in rows[1:]) == 16
    assert abs(sum(float(r[2]) for r in rows[1:]) / len(STORY) + loss) < 1e-6
