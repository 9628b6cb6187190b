"""The compiled part."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

class LoadOptions:
    threads: int
    verify: bool
    context: int
    chunk: int
    batch: int
    draft: int
    memory_limit: int
    stall_timeout_s: float

class GenerateOptions:
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    stop: list[str]
    ignore_eos: bool
    log_probabilities: bool

class Prompt:
    text: str
    token_ids: list[int]
    options: GenerateOptions

class Generation:  # as results.Generation
    @property
    def text(self) -> str: ...
    @property
    def token_ids(self) -> list[int]: ...
    @property
    def finish_reason(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def log_probabilities(self) -> NDArray[np.float32]: ...

class Placement: ...  # as results.Placement

class Model:
    def config_json(self) -> str: ...
    def placement(self) -> Placement: ...
    def context(self) -> int: ...
    def tokenize(self, text: str) -> list[int]: ...
    def detokenize(self, token_ids: list[int], /) -> str: ...
    def generate(self, prompt: Prompt, on_text: Callable[[int, str], object] | None) -> Generation: ...
    def generate_all(self, prompts: list[Prompt],
                     on_text: Callable[[int, str], object] | None) -> list[Generation]: ...
    def score(self, texts: list[str], window: int) -> list[NDArray[np.float32]]: ...

def load(checkpoint: str, options: LoadOptions, comm: tuple[int, int, str] | None) -> Model: ...
