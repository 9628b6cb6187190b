"""Small random models saved by Hugging Face's transformers: the same token ids and the same log-probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from engine import ModelTest
from support import main
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

TEXT = (Path(__file__).parents[2] / "README.md").read_text()
LLAMA3_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                r"\s+(?!\S)|\s+")
WIDTHS = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
          "num_hidden_layers": 5, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.1}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 500.0}
CLOSE = 1e-5  # of log-probabilities in float32


def train_tokenizer(folder: Path, qwen: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the project's own text; Llama 3's way with BOS in front, or Qwen's with NFC."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=not qwen))
    words = pre_tokenizers.Split(__import__("tokenizers").Regex(LLAMA3_WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    if qwen:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    if not qwen:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return fast


def randomized(model, seed: int):
    """Biases and norms too, which begin as zeros and ones."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and "o_proj" not in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.float().eval()


def log_probabilities(model, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    return torch.log_softmax(logits, -1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


CASES = {
    "llama": lambda v: LlamaForCausalLM(LlamaConfig(vocab_size=v, tie_word_embeddings=True, **WIDTHS)),
    "llama-untied-biases": lambda v: LlamaForCausalLM(LlamaConfig(vocab_size=v, tie_word_embeddings=False, attention_bias=True,
                                                                  head_dim=24, hidden_act="gelu_pytorch_tanh", **WIDTHS)),
    "llama3-rope": lambda v: LlamaForCausalLM(LlamaConfig(vocab_size=v, rope_parameters=LLAMA3, **WIDTHS)),
    "linear-rope": lambda v: LlamaForCausalLM(LlamaConfig(
        vocab_size=v, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}, **WIDTHS)),
    "mistral": lambda v: MistralForCausalLM(MistralConfig(vocab_size=v, sliding_window=None, **WIDTHS)),
    "qwen2": lambda v: Qwen2ForCausalLM(Qwen2Config(vocab_size=v, rms_norm_eps=1e-4, **WIDTHS)),
    "qwen3": lambda v: Qwen3ForCausalLM(Qwen3Config(vocab_size=v, head_dim=24, **WIDTHS)),
    "qwen2-tied": lambda v: Qwen2ForCausalLM(Qwen2Config(vocab_size=v + 12, tie_word_embeddings=True, **WIDTHS)),
}


class Transformers(ModelTest):
    def check(self, name: str, dtype=torch.float32, shard_size: str = "5GB", *flags: str):
        folder = self.folder / name
        tokenizer = train_tokenizer(folder, name.startswith("qwen"))
        model = randomized(CASES[name](len(tokenizer)), 7).to(dtype)
        model.save_pretrained(folder, max_shard_size=shard_size)
        reference = type(model).from_pretrained(folder, dtype=torch.float32).eval()
        ids = tokenizer.encode(TEXT[:600])[:250]
        theirs = log_probabilities(reference, ids)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        for sections in ("1", "2", "5"):
            checkpoint = self.imported(folder, f"{name}-{sections}.h5", "--sections", sections, *flags)
            rows = self.scored(checkpoint, text, ranks=2 if sections == "2" else None)
            self.assertEqual([token for token, _ in rows], ids[1:])
            ours = np.array([value for _, value in rows])
            worst = float(abs(ours - theirs).max())
            self.assertLess(worst, CLOSE, name)
        print(f"{name}, {dtype}: {len(ids)} tokens, largest difference of a log-probability {worst:.2g}", flush=True)
        return folder

    def test_configurations(self):
        for name in CASES:
            with self.subTest(name):
                self.check(name)

    def test_half_precision(self):
        """Values as they are stored: float16 becomes f32, bfloat16 stays."""
        for dtype in (torch.float16, torch.bfloat16):
            self.check("llama", dtype)

    def test_several_files(self):
        folder = self.check("qwen2", torch.float32, "100KB")
        self.assertGreater(len(list(folder.glob("*.safetensors"))), 1)

    def test_the_comparison_is_sharp(self):
        """A model that differs by one part in a thousand in one norm is told apart."""
        folder = self.folder / "llama"
        tokenizer = train_tokenizer(folder, False)
        model = randomized(CASES["llama"](len(tokenizer)), 7)
        model.save_pretrained(folder)
        ids = tokenizer.encode(TEXT[:600])[:250]
        with torch.no_grad():
            model.model.layers[3].input_layernorm.weight.mul_(1.001)
        rows = self.scored(self.imported(folder, "llama.h5"), tokenizer.decode(ids, skip_special_tokens=True))
        ours = np.array([value for _, value in rows])
        self.assertGreater(abs(ours - log_probabilities(model, ids)).max(), CLOSE)

    def test_hard_texts_have_the_same_ids(self):
        for qwen in (False, True):
            folder = self.folder / f"ids-{qwen}"
            tokenizer = train_tokenizer(folder, qwen)
            kind = "qwen2" if qwen else "llama"
            CASES[kind](len(tokenizer)).save_pretrained(folder)
            checkpoint = self.imported(folder, f"{kind}.h5")
            for text in ("<s>x  \t\n\n e\u0301\u00e9 I'LL 12345 \U0001f600\u200d", "<s>Привет</s> 世界\r\n\r\n   ", "<s><s> </s></s> <s"):
                rows = self.scored(checkpoint, text)
                self.assertEqual([token for token, _ in rows], tokenizer.encode(text, add_special_tokens=not qwen)[1:], text)


if __name__ == "__main__":
    main()
