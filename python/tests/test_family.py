import json
import math
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stagformer_reference.config import ConfigError
from stagformer_reference.evaluate import evaluate
from stagformer_reference.evaluate import main as evaluate_main
from stagformer_reference.export import load
from stagformer_reference.family.__main__ import main
from stagformer_reference.family.cost import cache_bytes, cache_bytes_read, forward_flops, parameters, sequential_layers
from stagformer_reference.family.engine import read_per_token
from stagformer_reference.family.one import held_out_windows
from stagformer_reference.family.results import read_results
from stagformer_reference.family.runs import Family
from stagformer_reference.family.tasks import blimp, hellaswag
from stagformer_reference.model import StagFormer
from stagformer_reference.tokenizer import ByteTokenizer

from conftest import sharp_model, small_config
from test_train import run_file

PACKAGE = Path(__file__).parents[1]


def write_list(folder: Path, tokens: int, rows: list[dict], seeds=(1,)) -> str:
    base = json.loads(Path(run_file(folder, tokens, save_every_minutes=0.001)).read_text())
    path = folder / "list.json"
    path.write_text(json.dumps({"base": base, "recurrent_after": [5], "blocks": [{"seeds": list(seeds), "rows": rows}]}))
    return str(path)


DECODER = {"name": "decoder", "model": {"sections": {"count": 1, "layers_per_section": 2}}}
SHARED = {"name": "shared", "label": "two passes", "model": {"sections": {"weights": "shared"}}}
# refused only when the trainer compares the tokenizer with it
BROKEN = {"name": "broken", "model": {"vocab_size": 250, "bos_token_id": 1, "eos_token_id": 2}}


def arguments(folder: Path, path: str, output: str) -> list[str]:
    return ["--list", path, "--output", str(folder / output), "--data", str(folder), "--threads", "1"]


def train(folder: Path, path: str, output: str, *more: str) -> None:
    main(arguments(folder, path, output) + list(more))


def start(folder: Path, path: str, output: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "stagformer_reference.family", *arguments(folder, path, output)]
    return subprocess.Popen(command, cwd=PACKAGE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.01)


def weights(folder: Path, run: str) -> list:
    return [p.tolist() for p in load(folder / run / "model.h5")[0].parameters()]


def test_interrupted_family_goes_on_and_ends_the_same(tmp_path):
    path = write_list(tmp_path, 25600, [DECODER, SHARED])
    train(tmp_path, path, "whole")

    process = start(tmp_path, path, "parts")
    wait_for(tmp_path / "parts" / "decoder-seed1" / "state.pt")
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 8 and "decoder-seed1: stopped" in text, text
    assert not (tmp_path / "parts" / "decoder-seed1" / "result.json").exists()
    assert not (tmp_path / "parts" / "shared-seed1").exists()

    train(tmp_path, path, "parts")
    assert "resumed at step" in (tmp_path / "parts" / "decoder-seed1" / "log").read_text()
    for run in ("decoder-seed1", "shared-seed1"):
        assert weights(tmp_path / "whole", run) == weights(tmp_path / "parts", run)
    whole, parts = read_results(tmp_path / "whole"), read_results(tmp_path / "parts")
    assert [row["name"] for row in parts] == ["decoder", "shared"] and parts[1]["label"] == "two passes"
    assert all(row["tokens"] == 25600 and row["seed"] == 1 for row in parts)
    assert [row["held_out_loss"] for row in whole] == [row["held_out_loss"] for row in parts]


def test_finished_runs_are_kept_and_another_list_is_refused(tmp_path):
    path = write_list(tmp_path, 2560, [DECODER])
    train(tmp_path, path, "out")
    model = tmp_path / "out" / "decoder-seed1" / "model.h5"
    before = model.stat().st_mtime_ns
    train(tmp_path, write_list(tmp_path, 2560, [DECODER], seeds=(1, 2)), "out", "--jobs", "2")
    assert model.stat().st_mtime_ns == before
    assert [row["seed"] for row in read_results(tmp_path / "out")] == [1, 2]
    assert weights(tmp_path / "out", "decoder-seed1") != weights(tmp_path / "out", "decoder-seed2")
    with pytest.raises(SystemExit, match="differs from the list"):
        train(tmp_path, write_list(tmp_path, 5120, [DECODER]), "out")


def test_held_out_loss_is_that_of_evaluate(tmp_path):
    train(tmp_path, write_list(tmp_path, 2560, [SHARED]), "out")
    row = read_results(tmp_path / "out")[0]
    loss = evaluate_main(["--checkpoint", str(tmp_path / "out" / "shared-seed1" / "model.h5"),
                          "--text", str(tmp_path / "out" / "held-out.txt")])
    assert abs(loss - row["held_out_loss"]) < 1e-5
    held_out = (tmp_path / "out" / "held-out.txt").read_text()
    documents = (tmp_path / "story.txt").read_text().split("\n<|endoftext|>\n")
    assert held_out == "\n\n".join(documents[5::10]) + "\n"


def test_a_failed_run_does_not_stop_the_others(tmp_path, capfd):
    path = write_list(tmp_path, 2560, [BROKEN, DECODER])
    with pytest.raises(SystemExit) as ended:
        train(tmp_path, path, "out")
    assert ended.value.code == 1
    assert [row["name"] for row in read_results(tmp_path / "out")] == ["decoder"]
    assert "broken-seed1: failed with exit code 1" in capfd.readouterr().out
    assert "vocab_size is below" in (tmp_path / "out" / "broken-seed1" / "log").read_text()


def test_list_order_and_errors(tmp_path):
    family = Family.read(write_list(tmp_path, 2560, [DECODER, SHARED], seeds=(1, 2)))
    assert [run.folder for run in family.runs] == ["decoder-seed1", "shared-seed1", "decoder-seed2", "shared-seed2"]
    assert family.runs[1].model.sections.layers_per_section == [1, 1]
    for row, message in (({"name": "a b", "model": {}}, "a b"), ({"name": "a", "model": {"speed": 1}}, "speed"),
                         ({"name": "a"}, "model"), ({"name": "a", "model": {}, "tokens": 1}, "tokens")):
        with pytest.raises(ConfigError, match=message):
            Family.read(write_list(tmp_path, 2560, [row]))
    with pytest.raises(ConfigError, match="twice"):
        Family.read(write_list(tmp_path, 2560, [DECODER, DECODER]))


def test_shipped_list_is_one_family():
    """Twelve layers everywhere but in the short decoder; sections of 2, 3, 4 and 6; main rows first."""
    family = Family.read(PACKAGE / "configs" / "family.json")
    depths = {run.name: sum(run.model.sections.layers_per_section) for run in family.runs}
    assert {name for name, depth in depths.items() if depth != 12} == {"decoder-6"}
    assert {run.model.sections.count for run in family.runs} == {1, 2, 3, 4, 6}
    assert {run.name for run in family.runs[:12]} == {"decoder-12", "decoder-6", "separate-2x6", "shared-2x6"}
    assert len({json.dumps([run.values["data"], run.values["training"] | {"seed": 0}]) for run in family.runs}) == 1


def test_costs(tmp_path):
    config = small_config(sections={"count": 3, "layers_per_section": 2})
    total, inner = parameters(config)
    model = StagFormer(config)
    assert total == model.parameter_count() and total - inner == model.embedding.weight.numel()
    assert sequential_layers(config) == 2
    assert sequential_layers(small_config({"lag": 0})) == 4
    assert sequential_layers(small_config({"lag": 0, "enabled": False})) == 2
    assert sequential_layers(small_config(sections={"count": 3, "links": ["chained", "staggered"]})) == 4
    # d = H a = 32, G a = 16, f = 64, V = 263; one layer without memory: q, o, k, v, feed-forward, mean of 5.5 positions
    plain = small_config(sections={"count": 1, "layers_per_section": 1})
    assert forward_flops(plain, 10) == 2 * (263 * 32 + 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64) + 4 * 32 * 5.5
    # memory of 0, 1, 2, 3, 3, ... positions: mean 2.4
    crossed = small_config({"window": 3}, sections={"count": 2, "layers_per_section": 1})
    layer = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64) + 4 * 32 * 5.5
    assert forward_flops(crossed, 10) == pytest.approx(
        2 * 263 * 32 + 2 * layer + 2 * (2 * 32 * 32 + 2 * 32 * 16) + 4 * 32 * 2.4)
    shared = small_config(sections={"weights": "shared"})
    assert forward_flops(shared, 10) == forward_flops(small_config(), 10)


def test_cache_bytes():
    """A key and a value of G a = 16 floats, 128 bytes, a position and attention; 2 x 2 layers."""
    assert cache_bytes(small_config(sections={"count": 1, "layers_per_section": 4})) == (4 * 128, 0)
    assert cache_bytes(small_config()) == cache_bytes(small_config(sections={"weights": "shared"})) == (6 * 128, 0)
    assert cache_bytes(small_config({"window": 8})) == (4 * 128, 2 * 8 * 128)
    assert cache_bytes(small_config({"window": 1})) == (4 * 128, 2 * 64)
    assert cache_bytes(small_config({"layers": [1]})) == (5 * 128, 0)
    assert cache_bytes_read(small_config({"window": 8}), 20) == 20 * 4 * 128 + 2 * 8 * 128
    assert cache_bytes_read(small_config({"window": 8}), 4) == cache_bytes_read(small_config(), 4) == 4 * 6 * 128


def test_windows_of_a_per_token_table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("position,token_id,log_probability\n1,5,-1\n2,6,-2\n1,7,-3\n1,8,-4\n")
    assert read_per_token(path) == [[-1.0, -2.0], [-3.0], [-4.0]]


# A program with the engine's interface; loss moved by OFFSET nats, recurrent memory as the checkpoint's configuration says.
ENGINE = """#!{python}
import json, sys
sys.path.insert(0, {package!r})
value = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if sys.argv[1] == "bench":
    from stagformer_reference.checkpoint import read_checkpoint
    recurrent, sequential = value.get("--decode") == "recurrent", value.get("--schedule") == "sequential"
    step = (0.5 if recurrent else 2.0 if sequential else 1.0) + {slower}
    layers = read_checkpoint(value["--checkpoint"]).config.sections.layers_per_section
    read = 256 * (41 * sum(layers) + 40 * sum(layers[1:]))   # keys and values of 32 floats, 40 positions and the newest
    print(json.dumps({{"decode": {{"step_ms_median": step, "cache_bytes": read * {caches}}},
                      "per_rank": [{{"oversubscribed": {crowded}}}]}}))
    raise SystemExit(0)
import csv
from pathlib import Path
from stagformer_reference.evaluate import evaluate, windows
from stagformer_reference.export import load, tokenizer_of
model, checkpoint = load(value["--checkpoint"])
parts = windows(tokenizer_of(checkpoint).encode(Path(value["--text"]).read_text()), model.config, 64)
after = int(value["--recurrent-after"]) if "--recurrent-after" in value else None
with open(value["--per-token"], "w") as file:
    file.write("position,token_id,log_probability\\n")
    for part, scores in zip(parts, evaluate(model, parts, after)):
        for n, score in enumerate(scores):
            file.write(f"{{n + 1}},{{part[n + 1]}},{{score - {offset}:.9g}}\\n")
"""


def make_engine(folder: Path, offset: float = 0.0, slower: float = 0.0, caches: float = 1.0, crowded: bool = False) -> str:
    path = folder / "program"
    path.write_text(ENGINE.format(python=sys.executable, package=str(PACKAGE), offset=offset, slower=slower, caches=caches,
                                  crowded=crowded))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_evaluate_and_report(tmp_path):
    path = write_list(tmp_path, 2560, [DECODER, SHARED])
    train(tmp_path, path, "out")
    common = ["--list", path, "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(common + ["--evaluate", make_engine(tmp_path, 1e-4)])   # perplexities of about 260 differ by 0.026
    assert ended.value.code == 1 and "engine_loss" not in read_results(tmp_path / "out")[0]

    main(common + ["--evaluate", make_engine(tmp_path), "--report", str(tmp_path / "report")])
    decoder, shared = read_results(tmp_path / "out")
    for row in (decoder, shared):
        assert row["engine_loss"] == pytest.approx(row["held_out_loss"], abs=1e-6) and row["largest_difference"] < 1e-3
    assert "recurrent_5_own" not in decoder and shared["recurrent_5_own"] != shared["recurrent_5_previous_pass"]
    folder = tmp_path / "out" / "shared-seed1"
    model, checkpoint = load(folder / "model.h5")
    for after, column in ((None, "exact_after_5"), (5, "recurrent_after_5_own")):
        scores = evaluate(model, held_out_windows(checkpoint, tmp_path / "out" / "held-out.txt"), after, "own")
        late = [value for window in scores for value in window[5:]]
        assert shared[column] == pytest.approx(-sum(late) / len(late), abs=1e-6)
    report = (tmp_path / "report" / "results.md").read_text()
    assert "Perplexities are the engine's" in report and f"| {math.exp(shared['engine_loss']):.2f} |" in report
    assert f"| 5 | {math.exp(shared['exact_after_5']):.2f} |" in report
    assert "<svg" in (tmp_path / "report" / "results.svg").read_text()


def test_bench(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("stagformer_reference.family.latency.ROUNDS", 2)
    path = write_list(tmp_path, 2560, [DECODER, SHARED], seeds=(1, 2))
    train(tmp_path, path, "out")

    def bench(program: str, *more: str) -> list[dict]:
        main(["--list", path, "--output", str(tmp_path / "out"), "--bench", program, "--launch", "env", *more])
        return read_results(tmp_path / "out")

    decoder, shared, *second = bench(make_engine(tmp_path))
    assert "ms_staggered" not in decoder and not any("ms_one_rank" in row for row in second)
    assert [shared[f"ms_{name}"] for name in ("one_rank", "staggered", "sequential", "recurrent")] == [1.0, 1.0, 2.0, 0.5]
    assert shared["rounds_sequential"] == [2.0] * 2 and (shared["ranks"], shared["cores"]) == (2, 2)
    assert bench(make_engine(tmp_path, slower=1.0))[1]["ms_one_rank"] == 1.0   # has been measured
    assert bench(make_engine(tmp_path, slower=1.0), "--again")[1]["ms_one_rank"] == 2.0
    for fault, message in (({"crowded": True}, "ranks share cores"), ({"caches": 1.1}, "bytes of caches, expected")):
        with pytest.raises(SystemExit):
            bench(make_engine(tmp_path, **fault), "--again")
        assert message in capsys.readouterr().out


def test_tasks():
    """Scores by hand: each text alone, in full."""
    model, tokenizer = sharp_model(small_config(vocab_size=258)), ByteTokenizer()

    def log_probability(text: str, begin: int) -> float:
        import torch

        ids = torch.tensor([[256] + list(text.encode())])
        with torch.no_grad():
            values = model(ids)[0][0].log_softmax(-1)
        return sum(float(values[n, ids[0, n + 1]]) for n in range(begin, len(text)))

    pairs = [("the cat sat", "cat the sat on"), ("a dog", "dog a"), ("he ran", "ran he off"), ("so it is", "it so is")]
    expected = [log_probability(good, 0) > log_probability(bad, 0) for good, bad in pairs]
    assert blimp(model, tokenizer, pairs) == sum(expected) / len(pairs)
    assert blimp(model, tokenizer, [(b, a) for a, b in pairs]) == 1 - sum(expected) / len(pairs)

    endings = ["ran away", "sat", "said no to it", "was old"]
    context = "the cat"
    means = [log_probability(f"{context} {e}", len(context)) / len(e) for e in endings]
    best = means.index(max(means))
    items = [(context, answer, endings) for answer in range(4)]
    assert hellaswag(model, tokenizer, items) == 0.25
    assert hellaswag(model, tokenizer, [items[best]]) == 1.0
