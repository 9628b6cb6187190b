"""SmolLM2-135M out of GGUF, beside llama.cpp with the same file: token ids, greedy text, perplexity."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path

import numpy as np
from engine import ModelTest
import foreign_models as foreign  # engine.py knows the folder of these two
from gguf import GGUFReader
from llama_reference import Reference, derived, token_ids, vocabulary_of
from support import GOLDEN, main

START = "<|im_start|>"  # a token of its own in front of a text, since a window's first token is not predicted
TEXT = (Path(__file__).parent / "text.txt").read_text()
PROMPTS = [
    "The capital of France is", "Once upon a time", "def fibonacci(n):\n", "Water boils at", "The three primary colours are",
    "In 1969, the first man", "import numpy as np\n", "She opened the door and", "The opposite of hot is", "A healthy breakfast",
    "Dear Sir or Madam,\n\n", "The quick brown fox", "2 + 2 =", "The largest planet", "To bake a cake you need",
    "SELECT name FROM", "Photosynthesis is", "My favourite book", "The train arrived", "Die Hauptstadt von Deutschland ist",
]
HARD_TEXTS = [
    "def f(x):\n\tif x  >= 10:\n\t\treturn {'a': [1, 2.50, 0x1F]}\n\n\n    # done\r\n",
    "12345678901234567890 3.14159 1,000,000 2024-02-29T23:59:59Z \u0663\u0664\u0665 \u00bd \u2168",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f\u200d\U0001f525 \U0001f44d\U0001f3fd",
    "Привет мир! 你好，世界。こんにちは 안녕하세요 مرحبا بالعالم שלום नमस्ते ไทย ελληνικά Tiếng Việt",
    "e\u0301 vs \u00e9, A\u030a vs \u00c5, \ufb01ne, \u1e9e\u00df, \u0130\u0131",
    "   leading,  double,   triple\t\ttabs \n \n\n trailing   ", " ", "\n\n\n", "\t \t", "\u00a0\u3000\u2003x\u200b",
    "I'm you're he'll WE'VE they'd it's O'Neil's 'quoted' don''t",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|><|im_start|> <|im_end", "<s></s>[INST] <0x0A> \\u0041 &amp; %20",
    "https://example.org/a_b-c?d=e&f#g user@example.com C:\\path\\to $x^2 + y_1 \\leq \\frac{1}{2}$",
    "a" * 300, "word " * 50 + "." * 40, "\u0000\u0001\u007f control",
]
EXACT = ("--activations", "f32")  # weights in blocks are multiplied as the numbers that they stand for
FORMATS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
CLOSE = 1e-3  # of two log-probabilities that differ by the order of sums alone (measured: 0.0002)
ROUNDED = 0.01  # of perplexities where activations are rounded
NEAR_TIE = 5e-3  # of the two best logits where greedy texts may part


class TokenTest(ModelTest):
    def same_ids(self, checkpoint: Path, reference, texts: list[str]) -> None:
        """All texts in one run: START keeps them apart."""
        ours = [token for token, _ in self.scored(checkpoint, "".join(START + text for text in texts))]
        theirs = [token_ids(reference, START + text) for text in texts]
        at = -1  # the first token of all is not predicted
        for text, ids in zip(texts, theirs):
            self.assertEqual(ours[max(at, 0):at + len(ids)], ids[1:] if at < 0 else ids, text[:40])
            at += len(ids)
        self.assertEqual(at, len(ours))


class Tokens(TokenTest):
    def test_the_ids_are_llama_cpps(self):
        checkpoint, reference = self.imported(derived("Q4_1"), "q4_1.h5"), vocabulary_of(derived("Q4_1"))
        self.same_ids(checkpoint, reference, HARD_TEXTS + [TEXT])


class WaysOfCutting(TokenTest):
    """The same vocabulary under every name of tokenizer.ggml.pre, on a model of one narrow layer."""

    def small(self, pre: str) -> str:
        reader, rng = GGUFReader(derived("Q4_1")), np.random.default_rng(0)
        def field(name):
            return reader.fields[f"tokenizer.ggml.{name}"].contents()
        tokens = field("tokens")
        model = foreign.read_model(GOLDEN / "decoder1.h5")
        model.config |= {"vocab_size": len(tokens), "max_position_embeddings": 8192, "bos_token_id": 1, "eos_token_id": 2,
                         "add_bos": False}
        shape = (len(tokens), 32)
        model.weights["embedding/weight"] = ("f32", rng.normal(0, 1, shape).astype("<f4"), shape)
        file = foreign.gguf_of(model, pre=pre)
        file.metadata |= {f"tokenizer.ggml.{name}": field(name) for name in ("tokens", "token_type", "merges")}
        return self.file(f"{pre}.gguf", file.bytes())

    def test_the_ids_are_llama_cpps(self):
        for pre in ("default", "gpt-2", "smollm", "starcoder", "llama-bpe", "llama3", "qwen2", "deepseek-r1-qwen", "tekken"):
            source = self.small(pre)
            checkpoint, reference = self.imported(source, f"{pre}.h5"), vocabulary_of(Path(source))
            texts = [unicodedata.normalize("NFC", text) if pre == "qwen2" else text for text in HARD_TEXTS]
            with self.subTest(pre):
                self.same_ids(checkpoint, reference, texts + [TEXT[:3000]])


class Values(ModelTest):
    def test_exact_log_probabilities(self):
        """Beside llama.cpp with the same weights written out as float32: on one rank, and bit for bit the same on two."""
        for name in FORMATS:
            reference, checkpoint = Reference(derived("F32", name)), self.imported(derived(name), f"{name}.h5")
            tokens = token_ids(reference.model, TEXT)[:600]
            text = reference.model.detokenize(tokens).decode()
            theirs, rows = reference.log_probabilities(tokens), self.scored(checkpoint, text, *EXACT)
            ours = np.array([value for _, value in rows])
            self.assertEqual([token for token, _ in rows], tokens[1:])
            print(f"{name}, exact: perplexity {math.exp(-ours.mean()):.4f}, llama.cpp's {math.exp(-theirs.mean()):.4f}, "
                  f"largest difference {abs(ours - theirs).max():.2g}", flush=True)
            self.assertLess(abs(ours - theirs).max(), CLOSE, name)
            cut = self.imported(derived(name), f"{name}-2.h5", "--sections", "2")
            self.assertEqual(self.scored(cut, text, *EXACT, ranks=2), rows)
            checkpoint.unlink()
            cut.unlink()

    def test_perplexity_as_they_come(self):
        """Both round activations to 8 bits, each in its own way."""
        for name in ("Q8_0", "Q4_1"):
            reference = Reference(derived(name), 2048)
            tokens = token_ids(reference.model, TEXT)[:2000]
            text = reference.model.detokenize(tokens).decode()
            theirs = math.exp(-reference.log_probabilities(tokens).mean())
            checkpoint = self.imported(derived(name), f"{name}.h5", "--sections", "2")
            ours = math.exp(-np.mean([value for _, value in self.scored(checkpoint, text, ranks=2)]))
            print(f"{name}: perplexity {ours:.4f} over {len(tokens)} tokens, llama.cpp's {theirs:.4f}", flush=True)
            self.assertLess(abs(ours / theirs - 1), ROUNDED, name)


class Greedy(ModelTest):
    def test_texts_part_at_near_ties_alone(self):
        reference = Reference(derived("F32", "Q4_1"))
        prompts = [token_ids(reference.model, prompt) for prompt in PROMPTS]
        theirs = [reference.greedy(ids, 48) for ids in prompts]
        for name in ("F32", "Q4_1"):
            ours = self.greedy(self.imported(derived(name), f"{name}.h5"), PROMPTS, 48, *EXACT)
            gaps = [self.gap(reference, *each) for each in zip(prompts, ours, theirs) if each[1] != each[2]]
            print(f"{name}: {len(PROMPTS) - len(gaps)} of {len(PROMPTS)} texts the same, gaps where they part: {gaps}", flush=True)
            self.assertLess(max(gaps, default=0), NEAR_TIE, name)

    @staticmethod
    def gap(reference: Reference, ids: list[int], ours: list[int], theirs: list[int]) -> float:
        """Between the two logits where the texts part."""
        parting = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
        logits = reference.logits(ids + theirs[:parting])[-1]
        return float(logits[theirs[parting]] - logits[ours[parting]])


if __name__ == "__main__":
    main()
