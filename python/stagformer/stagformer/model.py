"""The model as Python programs use it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Union

from stagformer import _engine
from stagformer.results import Generation, Placement
from stagformer.stream import stream_texts

if TYPE_CHECKING:
    import numpy as np
    from mpi4py import MPI
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    FloatArray = NDArray[np.float32]

Item = TypeVar("Item")
PromptLike = Union[str, Sequence[int], Mapping[str, Any]]


class Options(TypedDict, total=False):
    """How to generate; named as in the program's JSONL files."""

    max_tokens: int  #: 0 (the default) = 128, or what the context has room for
    temperature: float  #: 0 (the default) = greedy
    top_k: int  #: 0 = off
    top_p: float  #: 1 = off
    min_p: float  #: 0 = off
    seed: int
    repetition_penalty: float  #: 1 (the default) = off; logits of all tokens so far are divided by it
    presence_penalty: float  #: 0 (the default) = off; taken off the logit of every token generated so far
    frequency_penalty: float  #: 0 = off; the same, times how often; no penalties where the model has a draft
    stop: str | Sequence[str]  #: the text ends before the first of these
    ignore_eos: bool
    log_probabilities: bool  #: also of every generated token


class Model:
    """A loaded model. One call at a time; a second one, from another thread, raises UsageError.

    With `comm` all its ranks create the model together, then make the same calls in the same order with the same
    arguments (which is checked), and all get the same results. Errors are raised on all ranks alike; after a rank was
    lost or stuck every later call raises CommError. The lock of the interpreter is released while the engine works.
    """

    def __init__(self, checkpoint: str | os.PathLike[str], *, comm: MPI.Comm | None = None, threads: int = 0,
                 batch: int = 1, context: int = 0, chunk: int = 64, draft: int = 0, verify: bool = True,
                 memory_limit: int = 0, stall_timeout: float = 0) -> None:
        """Reads the checkpoint.

        comm: ranks that host it together: as many as it has sections, a divisor or a multiple (replicas). It is
            duplicated. mpi4py must use the MPI library that the engine was built with (else CommError).
        threads: of this rank; 0 = OMP_NUM_THREADS, else its share of the cores.
        batch: most sequences at a time, each with caches of `context` positions (0 = the model's maximum).
        chunk: prompt positions that go through a section at once.
        draft: tokens that the last section guesses ahead; the text stays the same.
        verify: compare the checkpoint's checksums.
        memory_limit: bytes this rank may take; 0 = its share of what the host has free.
        stall_timeout: seconds after which a wait for another rank raises CommError; 0 = never.

        Raises CheckpointError, ConfigError, InputError, UsageError, MemoryLimitError, CommError.
        """
        options = _engine.LoadOptions()
        for name, value in dict(threads=threads, batch=batch, context=context, chunk=chunk, draft=draft, verify=verify,
                                memory_limit=memory_limit, stall_timeout_s=stall_timeout).items():
            _put(options, name, value)
        handle = None if comm is None else _handle_of(comm)
        self._engine: _engine.Model | None = _engine.load(os.fspath(checkpoint), options, handle)

    def close(self) -> None:
        """Frees the model; on a communicator by all ranks, before MPI_Finalize. Also the end of a `with` block."""
        self._engine = None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that the checkpoint holds, defaults included."""
        config: dict[str, Any] = json.loads(self._open().config_json())
        return config

    @property
    def placement(self) -> Placement:
        """Where the model runs, seen from this rank."""
        return Placement.of(self._open().placement())

    @property
    def context(self) -> int:
        """Positions that a sequence may have, prompt and generated tokens."""
        return self._open().context()

    def tokenize(self, text: str) -> list[int]:
        """Ids of the text alone: neither BOS nor EOS is added."""
        return self._open().tokenize(text)

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of a sequence. Raises InputError for ids outside the vocabulary."""
        return self._open().detokenize(list(token_ids))

    def generate(self, prompt: PromptLike, *, on_text: Callable[[str], object] | None = None,
                 **options: Unpack[Options]) -> Generation:
        """Goes on from a text (BOS is added where the model wants it) or from token ids as they are.

        on_text: called with new text as it comes, whole characters; on every rank where it is given. What it raises
            ends the call and is raised here; other ranks raise InterruptedCallError. So does Ctrl-C.

        Raises InputError where prompt and max_tokens exceed the context, UsageError, NumericError.
        """
        listener = None if on_text is None else lambda _, text: on_text(text)
        return Generation.of(self._open().generate(_prompt_of(prompt, options), listener))

    def stream(self, prompt: PromptLike, **options: Unpack[Options]) -> Generator[str, None, Generation]:
        """The same, piece by piece: for piece in model.stream("Once"): ...; `yield from` gives the Generation.

        The engine works in a thread of its own, while this one waits for the next piece. Leaving the loop ends the
        generation. On a communicator all ranks iterate, alike, and MPI must offer MPI_THREAD_SERIALIZED.
        """
        return stream_texts(lambda on_text: self.generate(prompt, on_text=on_text, **options))

    def generate_all(self, prompts: Iterable[PromptLike], *, on_text: Callable[[int, str], object] | None = None,
                     **options: Unpack[Options]) -> list[Generation]:
        """Many prompts, `batch` of them at a time; results in their order.

        prompts: texts, token ids, or mappings with "prompt" (or "token_ids") and options of their own. Place i keys
            prompt i's random numbers, as line i of a file does for the program.
        on_text: called with the prompt's place and its new text.

        A prompt whose values are not finite has finish_reason "error". Raises InputError, UsageError for the batch.
        """
        made = self._open().generate_all([_prompt_of(prompt, options) for prompt in _several(prompts)], on_text)
        return [Generation.of(one) for one in made]

    def score(self, text: str, *, window: int = 0) -> FloatArray:
        """Log-probabilities of a text's own tokens: float32 [len(tokenize(text))], natural logarithm.

        The text is cut into windows of `window` tokens (0 = the context), each on its own, as the program's eval does.
        NaN stands where nothing is before a token: the first of a window in models that add no BOS.
        Raises InputError for a text without tokens, UsageError for an impossible window.
        """
        return self.score_all([text], window=window)[0]

    def score_all(self, texts: Iterable[str], *, window: int = 0) -> list[FloatArray]:
        """The same of many texts; on several ranks faster than one by one."""
        return self._open().score(_several(texts), window)

    def _open(self) -> _engine.Model:
        if self._engine is None:
            raise ValueError("the model has been closed")
        return self._engine


def _handle_of(comm: MPI.Comm) -> tuple[int, int, str]:
    """Address and size of the MPI_Comm, and the library that it belongs to."""
    from mpi4py import MPI
    if not isinstance(comm, MPI.Comm):
        raise TypeError(f"comm must be a communicator of mpi4py, not {type(comm).__name__}")
    return MPI._addressof(comm), MPI._sizeof(comm), MPI.Get_library_version()


def _prompt_of(prompt: PromptLike, options: Mapping[str, Any]) -> _engine.Prompt:
    made = _engine.Prompt()
    fields = dict(options)
    if isinstance(prompt, Mapping):
        fields |= prompt
        given = [fields.pop(key) for key in ("prompt", "token_ids") if key in fields]
        if len(given) != 1:
            raise TypeError('a prompt needs either "prompt" or "token_ids"')
        prompt = given[0]
    if isinstance(prompt, str):
        made.text = prompt
    elif isinstance(prompt, Iterable):
        _put(made, "token_ids", list(prompt))
        if not made.token_ids:
            raise ValueError("a prompt of no token ids")
    else:
        raise TypeError(f"a prompt is a text, token ids or a mapping, not {type(prompt).__name__}")
    made.options = _options_of(fields)
    return made


def _options_of(fields: Mapping[str, Any]) -> _engine.GenerateOptions:
    options = _engine.GenerateOptions()
    for name, value in fields.items():
        if name not in Options.__annotations__:
            raise TypeError(f"unknown option {name!r} (known: {', '.join(Options.__annotations__)})")
        if name == "stop":
            value = [value] if isinstance(value, str) else list(value)
        _put(options, name, value)
    return options


def _put(options: object, name: str, value: object) -> None:
    try:
        setattr(options, name, value)
    except TypeError:
        raise TypeError(f"{name} cannot be {value!r}") from None


def _several(items: Iterable[Item]) -> list[Item]:
    if isinstance(items, str):
        raise TypeError(f"a list of texts is needed, not the text {items!r}")
    return list(items)
