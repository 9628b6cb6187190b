"""Models of other programs: what comes out is what went in, and what is not supported or damaged is refused by name."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path

import foreign_models as foreign
import h5py
import numpy as np
from support import CHECKPOINT, INPUT, USAGE, TestCase, checkpoint, main, run

STORIES = Path(__file__).parents[2] / "models/stories-2x3.h5"
TEXT = "A text that is scored, with \u00fcmlauts,\n\ttabs  and 12345 digits, longer than one window of the model: don't!\n"
FORMATS = ("f32", "bf16", "q8_0", "q4_0", "q4_1")


class ImportTest(TestCase):
    def imported(self, source, name="out.h5", *flags, ranks=None):
        target = self.folder / name
        result = self.succeeds(run("import", "--input", source, "--output", target, *flags, ranks=ranks))
        self.assertEqual(result.stdout, b"")
        self.succeeds(run("inspect", "--checkpoint", target, "--verify"))
        return target

    def scored(self, path, *flags, text=TEXT, ranks=None) -> str:
        table = self.folder / "tokens.csv"
        self.succeeds(run("eval", "--checkpoint", path, "--text", self.file("text", text), "--per-token", table, *flags, ranks=ranks))
        return table.read_text()

    def gguf(self, model, name="model.gguf", change=None, **options):
        file = foreign.gguf_of(model, **options)
        if change:
            change(file)
        return self.file(name, file.bytes())

    def converted(self, name, to) -> Path:
        path = self.folder / f"{name}-{to}.h5"
        self.succeeds(run("convert", "--input", checkpoint(name), "--output", path, "--to", to))
        return path

    def same_weights(self, first, second):
        a, b = foreign.read_model(first).weights, foreign.read_model(second).weights
        self.assertEqual(sorted(a), sorted(b))
        for name in a:
            self.assertEqual((a[name][0], a[name][2]), (b[name][0], b[name][2]), name)
            self.assertEqual(a[name][1].tobytes(), b[name][1].tobytes(), name)


class RoundTrip(ImportTest):
    """A golden decoder goes out and comes back: the same bytes, and the same log-probabilities to the last digit."""

    def test_gguf_in_every_format(self):
        for number_format in FORMATS:
            original = self.converted("decoder1", number_format)
            back = self.imported(self.gguf(foreign.read_model(original)), f"back-{number_format}.h5")
            self.same_weights(original, back)
            self.assertEqual(self.scored(back), self.scored(original), number_format)

    def test_folders(self):
        for number_format in ("f32", "bf16"):
            original = self.converted("decoder1", number_format)
            for files in (1, 3):
                folder = foreign.write_folder(self.folder / f"hf-{number_format}-{files}", foreign.read_model(original), files)
                back = self.imported(folder, f"hf-{number_format}-{files}.h5")
                self.same_weights(original, back)
                self.assertEqual(self.scored(back), self.scored(original), number_format)

    def test_float16_becomes_f32(self):
        half = foreign.as_f16(foreign.read_model(checkpoint("decoder1")))
        for source in (self.gguf(half), foreign.write_folder(self.folder / "half", half)):
            back = foreign.read_model(self.imported(source)).weights
            for name, (_, array, _) in half.weights.items():
                self.assertEqual(back[name][0], "f32")
                np.testing.assert_array_equal(back[name][1], array.astype(np.float32))

    def test_any_cut_gives_the_same_values(self):
        source = self.gguf(foreign.read_model(checkpoint("decoder1")))
        whole = self.scored(checkpoint("decoder1"))
        for flags, sections in ((("--sections", 2), [2, 1]), (("--sections", 3), [1, 1, 1]),
                                (("--layers-per-section", "1,2"), [1, 2]), (("--sections", 2, "--split"), [2, 1])):
            path = self.imported(source, "cut.h5", *flags)
            with h5py.File(path) as file:
                config = json.loads(file.attrs["config"])["sections"]
            self.assertEqual((config["layers_per_section"], set(config["links"])), (sections, {"chained"}))
            self.assertEqual(self.scored(path, ranks=len(sections)), whole)
            self.assertEqual(self.scored(path), whole)

    def test_ranks_import_once(self):
        source = self.gguf(foreign.read_model(checkpoint("decoder1")))
        self.same_weights(self.imported(source, "two.h5", ranks=2), checkpoint("decoder1"))

    def test_untied_heads(self):
        model = foreign.read_model(checkpoint("untied"))
        first = self.imported(self.gguf(model), "a.h5")
        second = self.imported(foreign.write_folder(self.folder / "hf", model), "b.h5", "--sections", 4)
        self.same_weights(first, second)
        self.assertEqual(self.scored(first), self.scored(second, ranks=4))
        self.assertEqual(foreign.read_model(first).weights["head/weight"][1].tobytes(), model.weights["head/weight"][1].tobytes())

    def test_biases(self):
        """Qwen2 keeps a head's halves, llama has neighbouring pairs: the same model three ways."""
        model = foreign.with_biases(foreign.read_model(checkpoint("decoder1")))
        paths = [self.imported(self.gguf(model), "llama.h5"),
                 self.imported(self.gguf(model, architecture="qwen2"), "qwen2.h5"),
                 self.imported(foreign.write_folder(self.folder / "hf", model, architectures=["Qwen2ForCausalLM"],
                                                    use_sliding_window=False, sliding_window=4), "hf.h5"),
                 self.imported(foreign.write_folder(self.folder / "hf2", model, attention_bias=True), "hf2.h5", "--sections", 3)]
        for path in paths:
            self.same_weights(paths[0], path)
            for name, (_, array, _) in model.weights.items():
                self.assertEqual(foreign.read_model(path).weights[name][1].tobytes(), array.tobytes(), name)
        self.assertEqual(self.scored(paths[0]), self.scored(paths[3], ranks=3))
        self.assertNotEqual(self.scored(paths[0]), self.scored(checkpoint("decoder1")))

    def test_norms_of_heads(self):
        model = foreign.read_model(checkpoint("decoder_qk_norm"))
        paths = [self.imported(self.gguf(model, architecture="qwen3"), "gguf.h5"),
                 self.imported(foreign.write_folder(self.folder / "hf", model, architectures=["Qwen3ForCausalLM"],
                                                    use_sliding_window=False, sliding_window=4), "hf.h5", "--sections", 2)]
        for path in paths:
            self.same_weights(path, checkpoint("decoder_qk_norm"))
            self.assertEqual(self.scored(path), self.scored(checkpoint("decoder_qk_norm")))
        del model.weights["layers/1/self_attention/k_norm/weight"]
        self.fails(run("import", "--input", self.gguf(model, architecture="qwen3"), "--output", self.folder / "x.h5"), CHECKPOINT,
                   "blk.1.attn_k_norm.weight", "missing")

    def test_a_bias_of_the_output(self):
        model = foreign.with_biases(foreign.read_model(checkpoint("decoder1")))
        for layer in range(model.layers):
            model.weights[f"layers/{layer}/self_attention/o/bias"] = ("f32", np.zeros(32, "<f4"), (32,))
        self.imported(foreign.write_folder(self.folder / "zero", model, attention_bias=True))
        model.weights["layers/1/self_attention/o/bias"][1][7] = 1e-3
        folder = foreign.write_folder(self.folder / "other", model, attention_bias=True)
        self.fails(run("import", "--input", folder, "--output", self.folder / "x.h5"), CHECKPOINT,
                   "model.layers.1.self_attn.o_proj.bias", "not zero")

    def test_another_number_format(self):
        source = self.gguf(foreign.read_model(checkpoint("decoder1")))
        for number_format in FORMATS[1:]:
            path = self.imported(source, f"{number_format}.h5", "--to", number_format)
            self.same_weights(path, self.converted("decoder1", number_format))

    def test_rotary_scaling(self):
        linear = foreign.read_model(checkpoint("rope_linear"))
        scaling = linear.config["rope_scaling"]
        def change(file):
            file.metadata |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float(scaling["factor"])}
        first = self.imported(self.gguf(linear, change=change), "a.h5")
        for i, words in enumerate(({"rope_scaling": scaling}, {"rope_parameters": {**scaling, "rope_theta": linear.config["rope_theta"]}})):
            second = self.imported(foreign.write_folder(self.folder / f"hf{i}", linear, **words), f"{i}.h5")
            self.assertEqual(self.scored(first), self.scored(second))
        plain = self.imported(foreign.write_folder(self.folder / "plain", linear), "plain.h5")
        self.assertNotEqual(self.scored(first), self.scored(plain))

    def test_llama3_scaling_out_of_its_factors(self):
        model = foreign.read_model(checkpoint("decoder1"))
        model.config["rope_theta"] = 500000.0
        scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192}
        half = model.config["head_dim"] // 2
        factors = []
        for j in range(half):
            wavelength = 2 * math.pi * 500000.0 ** (j / half)
            smooth = min(1.0, max(0.0, (8192 / wavelength - 1) / 3))
            factors.append(1 / ((1 - smooth) / 8 + smooth))
        def change(file):
            file.tensors["rope_freqs.weight"] = (0, (half,), np.array(factors, "<f4").tobytes())
        first = self.imported(self.gguf(model, change=change), "a.h5")
        second = self.imported(foreign.write_folder(self.folder / "hf", model, rope_scaling=scaling), "b.h5")
        self.assertEqual(self.scored(first), self.scored(second))
        with h5py.File(first) as file:
            self.assertEqual(json.loads(file.attrs["config"])["rope_scaling"], scaling)
        factors[-1] *= 1.01
        self.fails(run("import", "--input", self.gguf(model, change=change), "--output", self.folder / "x.h5"), CHECKPOINT,
                   "rope_freqs.weight")


class Tokenizers(ImportTest):
    def test_sentencepiece(self):
        """The shipped model's tokenizer through GGUF's lists: the same ids, byte pieces and spaces included."""
        with h5py.File(STORIES) as file:
            pieces = list(sentencepiece_pieces(file["tokenizer/model"][()].tobytes()))
        model = foreign.read_model(checkpoint("decoder1"))
        rng = np.random.default_rng(1)
        model.weights["embedding/weight"] = ("f32", rng.normal(0, 1, (len(pieces), 32)).astype("<f4"), (len(pieces), 32))
        def change(file):
            for key in ("pre", "merges", "add_bos_token"):
                del file.metadata[f"tokenizer.ggml.{key}"]
            file.metadata |= {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": [text for text, _, _ in pieces],
                              "tokenizer.ggml.scores": [score for _, score, _ in pieces],
                              "tokenizer.ggml.token_type": [kind for _, _, kind in pieces],
                              "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}
        path = self.imported(self.gguf(model, change=change))
        text = "Once upon  a time,\n\tTom \u00fc\u4f60 \U0001f600 had   three dogs. " + TEXT
        ids = [[line.split(",")[1] for line in self.scored(each, "--context", 64, text=text).splitlines()] for each in (path, STORIES)]
        self.assertEqual(*ids)

    def test_tokens_that_stand_for_themselves(self):
        """Control tokens and user-defined ones in the text; merges; words cut as the named way does."""
        model = foreign.read_model(checkpoint("decoder1"))
        tokens = foreign.byte_tokens(263)
        tokens[258:263] = ["th", "the", "\u0120the", "<tool>", "12"]
        merges = ["t h", "th e", "\u0120 the", "1 2"]
        def change(file):
            file.metadata |= {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges,
                              "tokenizer.ggml.token_type": [1] * 256 + [3, 3, 1, 1, 1, 4, 1]}
        def ids(pre, text="the the th<tool>the<eos> the 123"):
            lines = self.scored(self.imported(self.gguf(model, change=change, pre=pre)), text=text).splitlines()[1:]
            return [int(line.split(",")[1]) for line in lines]
        expected = [259, 260, 32, 258, 261, 259, 257, 260, 32]
        self.assertEqual(ids("gpt-2"), expected + [262, 51])
        self.assertEqual(ids("llama-bpe"), expected + [262, 51])
        self.assertEqual(ids("smollm"), expected + [49, 50, 51])
        self.assertEqual(ids("qwen2"), expected + [49, 50, 51])
        merges.pop()  # a word that is a token, which no merge leads to
        self.assertEqual(ids("gpt-2", "12"), [49, 50])
        self.assertEqual(ids("llama-bpe", "12"), [262])

    def test_begin_and_end(self):
        model = foreign.read_model(checkpoint("decoder1"))
        def tokens(path):
            with h5py.File(path) as file:
                config = json.loads(file.attrs["config"])
            return config["bos_token_id"], config["eos_token_id"], config["add_bos"]
        def change(file):
            file.metadata |= {"tokenizer.ggml.eot_token_id": 258, "tokenizer.ggml.add_bos_token": False}
        self.assertEqual(tokens(self.imported(self.gguf(model, change=change))), (256, [257, 258], False))
        folder = foreign.write_folder(self.folder / "hf", model)
        self.assertEqual(tokens(self.imported(folder)), (256, [257], True))
        (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False}))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [257, 260]}))
        self.assertEqual(tokens(self.imported(folder)), (256, [257, 260], False))
        (folder / "tokenizer_config.json").unlink()
        plain = foreign.byte_tokenizer_json(263)
        plain["post_processor"] = None
        (folder / "tokenizer.json").write_text(json.dumps(plain))
        self.assertEqual(tokens(self.imported(folder))[2], False)

    def test_a_folder_whose_json_the_engine_cannot_read(self):
        model = foreign.read_model(checkpoint("decoder1"))
        folder = foreign.write_folder(self.folder / "hf", model)
        unfit = foreign.byte_tokenizer_json(263)
        unfit["model"]["byte_fallback"] = True
        (folder / "tokenizer.json").write_text(json.dumps(unfit))
        self.fails(run("import", "--input", folder, "--output", self.folder / "x.h5"), CHECKPOINT, "tokenizer.json", "byte_fallback",
                   "--no-tokenizer")
        with h5py.File(self.imported(folder, "bare.h5", "--no-tokenizer")) as file:
            self.assertNotIn("tokenizer", file)


def sentencepiece_pieces(data: bytes):
    """(text, score, kind) of every piece in a SentencePiece model."""
    for number, value in fields(data):
        if number == 1:
            piece = dict(fields(value))
            yield piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0], piece.get(3, 1)


def fields(data: bytes):
    at = 0
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        size = {0: 0, 1: 8, 5: 4}[key & 7] if key & 7 != 2 else varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        yield key >> 3, data[at:at + size]
        at += size


class Refusals(ImportTest):
    def setUp(self):
        super().setUp()
        self.model = foreign.read_model(checkpoint("decoder1"))
        self.out = self.folder / "out.h5"

    def refused(self, source, *words, code=CHECKPOINT, flags=()):
        """One line; neither an output nor a temporary file is left."""
        self.fails(run("import", "--input", source, "--output", self.out, *flags), code, *words)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith("out")], [])

    def test_gguf_metadata(self):
        cases = [
            ({"general.architecture": "gemma"}, "architecture 'gemma' is not supported"),
            ({"general.architecture": "olmo2"}, "architecture 'olmo2' is not supported"),
            ({"llama.rope.dimension_count": 4}, "llama.rope.dimension_count"),
            ({"llama.attention.sliding_window": 16}, "llama.attention.sliding_window"),
            ({"llama.expert_count": 8}, "llama.expert_count"),
            ({"llama.rope.scaling.type": "yarn"}, "'yarn'"),
            ({"llama.attention.causal": False}, "llama.attention.causal"),
            ({"llama.block_count": 2}, "blk.2."),
            ({"llama.block_count": 4}, "blk.3.attn_norm.weight' is missing"),
            ({"llama.block_count": 0}, "llama.block_count"),
            ({"llama.block_count": "3"}, "llama.block_count"),
            ({"llama.block_count": [3]}, "is a list"),
            ({"llama.attention.head_count": 0}, "llama.attention.head_count"),
            ({"llama.attention.head_count_kv": 3}, "num_key_value_heads"),
            ({"llama.embedding_length": 64}, "rope.dimension_count"),
            ({"llama.feed_forward_length": 65}, "ffn_gate.weight' has the wrong shape (expected [65, 32], found [64, 32])"),
            ({"llama.attention.layer_norm_rms_epsilon": math.nan}, "layer_norm_rms_epsilon"),
            ({"tokenizer.ggml.bos_token_id": 263}, "bos_token_id"),
            ({"tokenizer.ggml.pre": "other"}, "'other'", "--no-tokenizer"),
            ({"tokenizer.ggml.model": "t5"}, "'t5'"),
            ({"tokenizer.ggml.merges": ["a"]}, "merges"),
            ({"tokenizer.ggml.token_type": [1, 1]}, "token_type", "263"),
            ({"tokenizer.ggml.tokens": ["a", "b", "a"], "tokenizer.ggml.token_type": [1, 1, 1]}, "'a' twice"),
            ({"tokenizer.ggml.tokens": foreign.byte_tokens(264), "tokenizer.ggml.token_type": [1] * 264}, "264 tokens", "263"),
            ({"split.count": (2, 3)}, "one of 3 files"),
        ]
        for change, *words in cases:
            with self.subTest(change=str(change)[:60]):
                self.refused(self.gguf(self.model, change=lambda file: file.metadata.update(change)), "model.gguf", *words)
        for missing in ("general.architecture", "llama.context_length", "tokenizer.ggml.tokens"):
            with self.subTest(missing=missing):
                self.refused(self.gguf(self.model, change=lambda file: file.metadata.pop(missing)), f"'{missing}' is missing")

    def test_gguf_tensors(self):
        query, norm = "blk.1.attn_q.weight", "output_norm.weight"
        def replaced(name, **fields):
            def change(file):
                kind, shape, content = file.tensors[name]
                file.tensors[name] = (fields.get("kind", kind), fields.get("shape", shape), fields.get("content", content))
            return change
        def added(name):
            return lambda file: file.tensors.update({name: (0, (32,), bytes(128))})
        nan = np.zeros((32, 32), "<f4")
        nan[5, 3] = math.nan
        cases = [
            (lambda file: file.tensors.pop(query), f"'{query}' is missing"),
            (lambda file: file.tensors.pop("token_embd.weight"), "'token_embd.weight' is missing"),
            (added("blk.0.attn_q_norm.weight"), "blk.0.attn_q_norm.weight"), (added("blk.3.ffn_norm.weight"), "blk.3.ffn_norm.weight"),
            (added("blk.0.ffn_up.bias"), "blk.0.ffn_up.bias"), (added("blk.0.attn_q.bias"), "blk.0.attn_k.bias' is missing"),
            (replaced(query, shape=(16, 64)), f"'{query}' has the wrong shape (expected [32, 32], found [16, 64])"),
            (replaced(norm, shape=(1, 32)), norm, "wrong shape"),
            (replaced(query, kind=14), f"'{query}' has type Q6_K"), (replaced(query, kind=99), "number 99"),
            (replaced(query, content=nan.tobytes()), f"'{query}' has a value that is not finite in row 6"),
            (replaced(norm, content=nan[5].tobytes()), f"'{norm}' has a value that is not finite"),
        ]
        for change, *words in cases:
            with self.subTest(words=words):
                self.refused(self.gguf(self.model, change=change), "model.gguf", *words)
        self.refused(self.gguf(self.model, change=replaced(query, content=np.full((32, 32), 1e30, "<f4").tobytes())),
                     query, "too large", flags=("--to", "q8_0"))

    def test_damaged_files(self):
        content = Path(self.gguf(self.model)).read_bytes()
        for cut in (0, 3, 4, 20, 100, len(content) // 3, len(content) - 1):
            self.refused(self.file("cut.gguf", content[:cut]), "cut.gguf")
        self.refused(self.file("cut.gguf", b"GGUF\0\0\0\3" + content[8:]), "big-endian")
        self.refused(self.file("cut.gguf", b"GGUF\x01\0\0\0" + content[8:]), "version 1")
        self.refused(self.folder / "none.gguf", "none.gguf", "No such file")
        self.refused(checkpoint("decoder1"), "is no GGUF file")
        os.mkfifo(self.folder / "pipe")
        self.refused(self.folder / "pipe", "is no regular file")

    def test_configurations_of_folders(self):
        cases = [
            ({"architectures": ["GemmaForCausalLM"]}, "architecture GemmaForCausalLM is not supported"),
            ({"architectures": ["Olmo2ForCausalLM"]}, "architecture Olmo2ForCausalLM is not supported"),
            ({"architectures": ["Qwen3ForCausalLM"]}, "self_attn.q_norm.weight' is missing"),
            ({"mlp_bias": True}, "'mlp_bias' is true"),
            ({"hidden_act": "relu"}, "'relu'"),
            ({"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5"),
            ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "'yarn'"),
            ({"rope_scaling": {"rope_type": "linear"}}, "'rope_scaling.factor' is missing"),
            ({"sliding_window": 16}, "'sliding_window' is 16"),
            ({"architectures": ["MistralForCausalLM"], "max_position_embeddings": 8192}, "'sliding_window' is missing, which means 4096"),
            ({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True, "sliding_window": 4}, "'sliding_window' is 4"),
            ({"architectures": ["Qwen2ForCausalLM"]}, "self_attn.q_proj.bias' is missing"),
            ({"layer_types": ["full_attention", "sliding_attention"]}, "'layer_types'"),
            ({"quantization_config": {"bits": 4}}, "'quantization_config'"),
            ({"hidden_size": "32"}, "'hidden_size' is no integer"), ({"hidden_size": None}, "'hidden_size' is missing"),
            ({"num_hidden_layers": 0}, "'num_hidden_layers' is 0"), ({"num_key_value_heads": 3}, "num_key_value_heads"),
            ({"vocab_size": 264}, "model.embed_tokens.weight' has the wrong shape (expected [264, 32], found [263, 32])"),
            ({"tie_word_embeddings": False}, "'lm_head.weight' is missing"),
        ]
        for change, *words in cases:
            with self.subTest(change=str(change)):
                self.refused(foreign.write_folder(self.folder / "hf", self.model, **change), *words)

    def test_files_of_folders(self):
        folder = foreign.write_folder(self.folder / "hf", self.model)
        weights = folder / "model.safetensors"
        content = weights.read_bytes()
        for cut in (0, 7, 8, 100, len(content) - 1):
            weights.write_bytes(content[:cut])
            self.refused(folder, "model.safetensors")
        weights.write_bytes(content + b"x")
        self.refused(folder, "belong to no tensor")
        weights.write_bytes(content)
        weights.rename(folder / "pytorch_model.bin")
        self.refused(folder, "pytorch_model.bin is not supported")
        (folder / "pytorch_model.bin").rename(folder / "other.safetensors")
        self.same_weights(self.imported(folder, "odd.h5"), checkpoint("decoder1"))
        (folder / "second.safetensors").write_bytes(content)
        self.refused(folder, "2 *.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
        self.refused(folder, "weight_map.a")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "other.safetensors"}}))
        self.refused(folder, "tensor 'a' is missing")
        (folder / "model.safetensors.index.json").write_text("{")
        self.refused(folder, "not valid JSON")
        (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "architectures": []}')
        self.refused(folder, "'architectures' is there twice")
        (folder / "config.json").unlink()
        self.refused(folder, "holds no config.json")

    def test_flags(self):
        source = self.gguf(self.model)
        for flags, *words in ((("--sections", 4), "4 sections", "3 layers"), (("--layers-per-section", "1,1"), "2 layers", "has 3"),
                              (("--layers-per-section", "1,,2"), "'1,,2'"), (("--layers-per-section", "3,0"), "'3,0'"),
                              (("--layers-per-section", "1,2", "--sections", 3), "2 sections", "--sections is 3"),
                              (("--to", "f16"), "f16"), (("--sections", 0), "--sections")):
            self.refused(source, *words, code=USAGE, flags=flags)
        content = Path(source).read_bytes()
        self.fails(run("import", "--input", source, "--output", source), INPUT, "would be overwritten")
        self.assertEqual(Path(source).read_bytes(), content)
        self.fails(run("import", "--input", source, "--output", "/nonexistent/out.h5"), INPUT, "/nonexistent/out.h5")

    def test_what_is_not_known_is_said(self):
        def change(file):
            file.metadata["llama.new_thing"] = 3
        result = run("import", "--input", self.gguf(self.model, change=change), "--output", self.out)
        self.assertIn("llama.new_thing", self.succeeds(result).stderr)
        folder = foreign.write_folder(self.folder / "hf", self.model, new_thing=3)
        self.assertIn("new_thing", self.succeeds(run("import", "--input", folder, "--output", self.out)).stderr)


if __name__ == "__main__":
    main()
