"""The model class: each kind of request becomes one run of the program over all of them, so that it can batch them."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from .program import Program

MAX_TOKENS = 256  # of a generation that does not say how long it may get


@register_model("stagformer")
class StagformerLM(LM):
    """--model_args checkpoint=F[,program=PATH][,launcher=mpirun -n 2][,flags=--threads 4][,batch_size=8][,context=N]"""

    def __init__(self, checkpoint: str, program: str = "stagformer", launcher: str = "", flags: str = "",
                 batch_size: int | str | None = None, context: int | None = None, max_gen_toks: int = MAX_TOKENS,
                 device: str | None = None, max_batch_size: int | None = None) -> None:
        """batch_size: sequences that share passes (--batch; "auto" is the program's default); context: --context of scoring.
        device and max_batch_size are what the harness gives every model."""
        super().__init__()
        batch = [] if batch_size in (None, "auto") else ["--batch", str(int(batch_size))]
        self._scoring = batch + ([] if context is None else ["--context", str(context)])
        self._generating = batch
        self._max_tokens = int(max_gen_toks)
        self._program = Program(checkpoint, program, launcher, flags)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        records = [{"context": context, "continuation": continuation} for context, continuation in self._arguments(requests)]
        results = self._program.results("eval", "--requests", records, *self._scoring)
        return self._cached("loglikelihood", requests, [(r["log_probability"], r["greedy"]) for r in results])

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        records = [{"text": text} for (text,) in self._arguments(requests)]
        results = self._program.results("eval", "--requests", records, *self._scoring)
        return self._cached("loglikelihood_rolling", requests, [r["log_probability"] for r in results])

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        records = [{"prompt": context, **self._sampling(settings)} for context, settings in self._arguments(requests)]
        results = self._program.results("generate", "--prompts", records, *self._generating)
        for record, result in zip(records, results):
            if result["finish_reason"] == "error":
                raise RuntimeError(f"a prompt of {len(record['prompt'])} characters: {result['error']}")
        return self._cached("generate_until", requests, [r["text"] for r in results])

    @staticmethod
    def _arguments(requests: list[Instance]) -> list[tuple]:
        return [request.args for request in requests]

    def _cached(self, kind: str, requests: list[Instance], answers: list) -> list:
        for request, answer in zip(requests, answers):
            self.cache_hook.add_partial(kind, request.args, answer)
        return answers

    def _sampling(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The harness's generation settings as fields of a prompt; what has no counterpart is an error."""
        given = dict(settings)
        until = given.pop("until", None) or []
        stop = [text for text in ([until] if isinstance(until, str) else until) if text]
        tokens = given.pop("max_gen_toks", self._max_tokens)
        samples = given.pop("do_sample", given.get("temperature", 0) > 0)
        temperature = given.pop("temperature", 1.0)
        record: dict[str, Any] = {"max_tokens": tokens, "temperature": temperature if samples else 0.0}
        if stop:
            record["stop"] = stop
        for name in ("top_k", "top_p", "min_p", "seed"):
            if name in given:
                record[name] = given.pop(name)
        if given:
            raise ValueError(f"generation settings that the engine does not have: {', '.join(sorted(given))}")
        return record
