"""Checkpoints as Hugging Face folders and back: the same bytes; what has no counterpart is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import foreign_models as foreign
from support import GOLDEN, TestCase, checkpoint, main, run

PYTHON = Path(__file__).parents[2] / "python"
REFUSED = ("staggered", "read-out", "scaled", "convert them first")


def compared(config: dict) -> dict:
    """Weights that were shared are there for each section; a byte tokenizer stays behind; one end or a list of one is the same."""
    ends = config.get("eos_token_id")
    rest = {"qk_norm": False} | {key: value for key, value in config.items() if key not in ("sections", "add_bos", "eos_token_id")}
    return rest | {"ends": ends if isinstance(ends, list) else [ends]}


class Export(TestCase):
    def export(self, path) -> tuple[Path, subprocess.CompletedProcess]:
        folder = self.folder / f"{Path(path).stem}-folder"
        command = [sys.executable, "-B", "-m", "stagformer_reference.to_huggingface", "--checkpoint", path, "--output", folder]
        return folder, subprocess.run(command, env=os.environ | {"PYTHONPATH": str(PYTHON)}, capture_output=True, text=True)

    def back(self, path, layers: list[int]) -> Path:
        folder, done = self.export(path)
        self.assertEqual(done.returncode, 0, done.stderr)
        target = self.folder / f"{Path(path).stem}-back.h5"
        cut = ",".join(map(str, layers))
        self.succeeds(run("import", "--input", folder, "--output", target, "--layers-per-section", cut))
        return target

    def same(self, first, second):
        a, b = foreign.read_model(first), foreign.read_model(second)
        self.assertEqual(sorted(a.weights), sorted(b.weights))
        for name, (kind, array, shape) in a.weights.items():
            self.assertEqual((kind, shape, array.tobytes()), (b.weights[name][0], b.weights[name][2], b.weights[name][1].tobytes()))
        self.assertEqual(compared(a.config), compared(b.config))

    def test_every_golden_model_goes_out_and_comes_back_or_is_refused(self):
        came_back = set()
        for path in sorted(GOLDEN.glob("*.h5")):
            if ".golden" in path.name or ".section-" in path.name:
                continue
            with self.subTest(path.stem):
                sections = foreign.read_model(path).config["sections"]
                ordinary = sections["count"] == 1 or set(sections["links"]) == {"chained"}
                folder, done = self.export(path)
                if done.returncode:
                    self.assertFalse(ordinary and path.stem in ("decoder1", "chained2"), done.stderr)
                    self.assertTrue(any(word in done.stderr for word in REFUSED), done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1)
                    self.assertFalse(folder.exists())
                    continue
                self.assertTrue(ordinary)
                target = self.folder / f"{path.stem}.back.h5"
                self.succeeds(run("import", "--input", folder, "--output", target, "--layers-per-section",
                                  ",".join(map(str, sections["layers_per_section"]))))
                self.same(path, target)
                came_back.add(path.stem)
        self.assertLessEqual({"decoder1", "chained2", "decoder_qk_norm"}, came_back)

    def test_number_formats(self):
        """bf16 stays as it is; blocks are refused."""
        for to in ("bf16", "q8_0"):
            path = self.folder / f"{to}.h5"
            self.succeeds(run("convert", "--input", checkpoint("chained2"), "--output", path, "--to", to))
            layers = foreign.read_model(path).config["sections"]["layers_per_section"]
            if to == "bf16":
                self.same(path, self.back(path, layers))
            else:
                _, done = self.export(path)
                self.assertIn("q8_0: convert them first", done.stderr)

    def test_kinds_of_models(self):
        """Untied heads, biases, scaled rotary positions, the other activation, several ends: cut into sections and joined again."""
        llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 16}
        cases = {"untied": ("untied", {}), "biased": ("decoder1", {"attention_bias": True}), "scaled": ("decoder1", {"rope_scaling": llama3}),
                 "gelu": ("decoder1", {"hidden_act": "gelu_pytorch_tanh", "eos_token_id": [257, 258], "rms_norm_eps": 1e-6})}
        for name, (golden, config) in cases.items():
            with self.subTest(name):
                model = foreign.read_model(checkpoint(golden))
                if name == "biased":
                    foreign.with_biases(model)
                first = self.folder / f"{name}.h5"
                self.succeeds(run("import", "--input", foreign.write_folder(self.folder / name, model, **config), "--output", first,
                                  "--sections", model.layers))
                second = self.back(first, [model.layers])
                self.same(first, second)
                a, b = foreign.read_model(first).config, foreign.read_model(second).config
                self.assertEqual(b["sections"]["count"], 1)
                self.assertEqual(compared(a), compared(b))

    def test_a_model_with_its_tokenizer(self):
        """A folder's tokenizer.json goes through a checkpoint and comes out as it was; so do the values."""
        folder = foreign.write_folder(self.folder / "source", foreign.read_model(checkpoint("decoder1")))
        first = self.folder / "first.h5"
        self.succeeds(run("import", "--input", folder, "--output", first, "--sections", "2"))
        second = self.back(first, foreign.read_model(first).config["sections"]["layers_per_section"])
        exported = self.folder / "first-folder"
        self.assertEqual((exported / "tokenizer.json").read_bytes(), (folder / "tokenizer.json").read_bytes())
        text = self.file("text", "A text, scored.")
        scores = [self.succeeds(run("eval", "--checkpoint", path, "--text", text)).text for path in (first, second)]
        self.assertEqual(scores[0], scores[1])

    def test_an_existing_folder_is_left_alone(self):
        (self.folder / "decoder1-folder").mkdir()
        _, done = self.export(checkpoint("decoder1"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("exists", done.stderr)


if __name__ == "__main__":
    main()
