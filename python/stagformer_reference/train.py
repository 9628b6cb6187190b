"""The trainer: python -m stagformer_reference.train --config RUN.json --out DIR [--data DIR]

One device, or several under torchrun. The learning rate follows the tokens seen, or the time spent where
`--max-hours` would end the run earlier. A run that is stopped continues from its last state.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from .checkpoint import Checkpoint, read_checkpoint
from .config import ConfigError, ModelConfig
from .data import Corpus, CorpusConfig, Mixture, data_folder, read_documents, split_holdout, validation_windows
from .export import tokenizer_of
from .model import StagFormer
from .tokenizer import FILES, make_tokenizer, train_sentencepiece
from .uptrain import start_from

NO_TARGET = -100   # no token's id


@dataclass
class TrainingConfig:
    """The recipe. Token counts are totals over all devices."""

    tokens: int
    context: int = 512
    batch: int = 8                      # windows a step and device
    learning_rate: float = 1e-3
    minimum_learning_rate: float = 1e-4
    warmup_tokens: int = 500_000
    weight_decay: float = 0.1
    beta2: float = 0.95
    cross_attention_rate: float = 1.0   # cross-attention learns at this share of the learning rate
    clip: float = 1.0
    dropout: float = 0.0
    at_start: float = 0.7               # share of windows that begin at a document's start
    seed: int = 1
    autocast: str = "none"              # none or bf16
    validate_every_tokens: int = 1_000_000
    validation_windows: int = 32        # a corpus
    save_every_minutes: float = 5.0
    tokenizer: str = "byte"
    tokenizer_pieces: int = 2048
    tokenizer_characters: int = 3_000_000  # read from each corpus to train the tokenizer


@dataclass
class RunConfig:
    """A run file: {"model": ..., "data": [...], "training": ...}."""

    model: ModelConfig
    data: list[CorpusConfig]
    training: TrainingConfig

    @staticmethod
    def read(path: str) -> "RunConfig":
        return RunConfig.from_dict(json.loads(Path(path).read_text()), path)

    @staticmethod
    def from_dict(values: dict, where: str) -> "RunConfig":
        """`where` names the values in errors."""
        unknown = set(values) - {"model", "data", "training"}
        if unknown:
            raise ConfigError(f"unknown key {sorted(unknown)[0]} in {where}")
        try:
            data = [CorpusConfig(**entry) for entry in values["data"]]
            training = TrainingConfig(**values["training"])
            model = ModelConfig.from_dict(values["model"])
        except (TypeError, KeyError, ConfigError) as error:
            raise ConfigError(f"{where}: {error}") from None
        return RunConfig(model, data, training)


def train_pieces(documents: list[list[str]], t: TrainingConfig) -> bytes:
    """A SentencePiece model from the beginning of each corpus's training documents."""
    lines = []
    for corpus in documents:
        text = "\n".join(corpus)[: t.tokenizer_characters]
        lines += [line for line in text.split("\n") if line]
    return train_sentencepiece(lines, t.tokenizer_pieces)


class Trainer:
    """Model, optimiser and data of one process, and what is saved of them."""

    def __init__(self, run: RunConfig, folder: Path, out: Path, max_hours: float, device: str,
                 decoder: Checkpoint | None = None):
        """`decoder`: an ordinary decoder to start from, whose tokenizer is kept."""
        self.run, self.t, self.out, self.max_hours = run, run.training, out, max_hours
        self.decoder = decoder
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        self._load_data(folder)
        torch.manual_seed(self.t.seed)
        self.model = StagFormer(run.model)
        if decoder:
            start_from(self.model, decoder)
            self.decoder = None   # half a gigabyte for 135M parameters
        self.model.to(self.device)
        self.model.set_dropout(self.t.dropout)
        self.optimiser = self._make_optimiser()
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.stop = False

    def _load_data(self, folder: Path) -> None:
        documents = [split_holdout(read_documents(folder / c.path), c.holdout_every) for c in self.run.data]
        self.tokenizer = self._load_tokenizer([train for train, _ in documents])
        if self.tokenizer.vocab_size > self.run.model.vocab_size:
            raise ConfigError(f"model.vocab_size is below the tokenizer's {self.tokenizer.vocab_size}")
        corpora = [(c, Corpus(self.tokenizer, train, c.chunk_characters))
                   for c, (train, _) in zip(self.run.data, documents)]
        self.mixture = Mixture(corpora, self.t.context, self.t.at_start, self.t.seed)
        self.validation = {
            c.path.split("/")[0]: validation_windows(Corpus(self.tokenizer, held), self.t.context,
                                                     self.t.validation_windows)
            for c, (_, held) in zip(self.run.data, documents) if held
        }
        sizes = ", ".join(f"{c.path.split('/')[0]} {len(corpus.tokens):,}" for c, corpus in corpora)
        self.log(f"training tokens: {sizes}")

    def _load_tokenizer(self, documents: list[list[str]]):
        if self.decoder:
            tokenizer = tokenizer_of(self.decoder)
            if tokenizer.model is not None and self.rank == 0:
                _replace(self.out / FILES[tokenizer.type], lambda name: Path(name).write_bytes(tokenizer.model))
            return tokenizer
        if self.t.tokenizer == "byte":
            return make_tokenizer("byte")
        path = self.out / FILES["sentencepiece"]
        if not path.exists() and self.rank == 0:
            pieces = train_pieces(documents, self.t)
            _replace(path, lambda name: Path(name).write_bytes(pieces))
        if self.world > 1:
            dist.barrier()
        return make_tokenizer("sentencepiece", path.read_bytes())

    def _make_optimiser(self) -> torch.optim.Optimizer:
        groups: dict[tuple[float, float], list] = {}
        for name, parameter in self.model.named_parameters():
            crosses = "cross_attention" in name or "memory_norm" in name
            rate = self.t.cross_attention_rate if crosses else 1.0
            groups.setdefault((self.t.weight_decay if parameter.dim() >= 2 else 0.0, rate), []).append(parameter)
        groups = [{"params": group, "weight_decay": decay, "rate": rate} for (decay, rate), group in groups.items()]
        return torch.optim.AdamW(groups, lr=self.t.learning_rate, betas=(0.9, self.t.beta2), fused=True)

    def log(self, text: str) -> None:
        if self.rank == 0:
            print(text, flush=True)

    def progress(self) -> float:
        """From 0 to 1: the larger of the shares of tokens and of time spent."""
        time_share = self.seconds / (self.max_hours * 3600) if self.max_hours else 0.0
        return min(1.0, max(self.tokens / self.t.tokens, time_share))

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine over the progress."""
        low, high = self.t.minimum_learning_rate, self.t.learning_rate
        cosine = low + 0.5 * (high - low) * (1 + math.cos(math.pi * self.progress()))
        return cosine * min(1.0, (self.tokens + 1) / self.t.warmup_tokens)

    def autocast(self):
        if self.t.autocast == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def loss(self, model, ids: torch.Tensor) -> torch.Tensor:
        """ids [B, context + 1] -> mean nats a token; a BOS between two documents is no target."""
        ids = ids.to(self.device)
        with self.autocast():
            logits, _ = model(ids[:, :-1])
        ignored = NO_TARGET if self.tokenizer.bos is None else self.tokenizer.bos
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), ignore_index=ignored)

    def train_step(self, model) -> float:
        """One update; returns the loss of this process."""
        model.train()
        torch.manual_seed(self.t.seed + 7919 * (self.step * self.world + self.rank))  # dropout masks, also after a resume
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate() * group.get("rate", 1.0)
        ids = torch.from_numpy(self.mixture.batch(self.t.batch, self.rank, self.step, self.progress()))
        loss = self.loss(model, ids)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.t.clip)
        self.optimiser.step()
        self.step += 1
        self.tokens += self.t.batch * self.t.context * self.world
        return float(loss.detach())

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Held-out loss of each corpus, in nats a token."""
        self.model.eval()
        results = {}
        for name, windows in self.validation.items():
            losses = [self.loss(self.model, torch.from_numpy(part)) for part in _batches(windows, self.t.batch)]
            results[name] = float(sum(losses) / len(losses))
        return results

    def save(self) -> None:
        if self.rank:
            return
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step,
                 "tokens": self.tokens, "seconds": self.seconds, "config": self.run.model.to_dict()}
        _replace(self.out / "state.pt", lambda name: torch.save(state, name))

    def resume(self) -> None:
        path = self.out / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["config"] != self.run.model.to_dict():
            raise ConfigError(f"{path} holds another model than the run file; use another --out")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.log(f"resumed at step {self.step}, {self.tokens:,} tokens")

    def end_of_time(self) -> bool:
        """The same answer on all processes: the run is complete or was told to stop."""
        flag = torch.tensor([float(self.stop or self.progress() >= 1.0)], device=self.device)
        if self.world > 1:
            dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def fit(self) -> None:
        """Train until the tokens or the hours are used up, or a signal asks to stop."""
        model = self.model
        if self.world > 1:
            model = torch.nn.parallel.DistributedDataParallel(model)
        before, saved, begin = self.seconds, time.monotonic(), time.monotonic()
        window_loss, window_steps, window_begin, window_tokens = 0.0, 0, begin, self.tokens
        while not self.end_of_time():
            window_loss += self.train_step(model)
            window_steps += 1
            now = time.monotonic()
            self.seconds = before + now - begin
            due = self.t.validate_every_tokens
            if self.tokens // due != (self.tokens - self.t.batch * self.t.context * self.world) // due:
                rate = (self.tokens - window_tokens) / (now - window_begin)
                self._report(window_loss / window_steps, rate)
                window_loss, window_steps, window_begin, window_tokens = 0.0, 0, time.monotonic(), self.tokens
            if now - saved > self.t.save_every_minutes * 60:
                self.save()
                saved = now
        if window_steps:
            self._report(window_loss / window_steps, (self.tokens - window_tokens) / (time.monotonic() - window_begin))
        self.save()

    def _report(self, train_loss: float, rate: float) -> None:
        """One line to the log and one to curve.csv."""
        if self.rank:
            return
        validation = self.validate()
        left = (self.t.tokens - self.tokens) / rate
        if self.max_hours:
            left = min(left, self.max_hours * 3600 - self.seconds)
        losses = " ".join(f"{name} {value:.4f}" for name, value in validation.items())
        self.log(f"step {self.step} tokens {self.tokens:,} train {train_loss:.4f} held-out {losses} "
                 f"lr {self.learning_rate():.2e} {rate:.0f} tokens/s ETA {left / 60:.0f} min")
        path = self.out / "curve.csv"
        new = not path.exists()
        with open(path, "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "tokens", "seconds", "train_loss", *validation])
            writer.writerow([self.step, self.tokens, f"{self.seconds:.1f}", f"{train_loss:.5f}",
                             *(f"{v:.5f}" for v in validation.values())])


def _batches(windows, size: int):
    return [windows[n : n + size] for n in range(0, len(windows), size)]


def _replace(path: Path, write) -> None:
    """Write a temporary file beside `path`, then put it in its place in one step."""
    temporary = path.with_name(path.name + ".tmp")
    write(str(temporary))
    os.replace(temporary, path)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stagformer_reference.train", description="train a StagFormer model")
    parser.add_argument("--config", required=True, help="run file: model, data, training")
    parser.add_argument("--out", required=True, help="folder of state.pt, curve.csv, tokenizer.model, model.h5")
    parser.add_argument("--data", help="data folder (default: environment variable STAGFORMER_DATA)")
    parser.add_argument("--start-from", help="checkpoint of an ordinary decoder whose layers are dealt to the sections")
    parser.add_argument("--max-hours", type=float, default=0.0, help="end the schedule after this time (0: by tokens only)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: PyTorch's default)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--format", default="bf16", help="number format of the exported model.h5")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> Trainer:
    options = parse_arguments(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = options.device
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
    trainer = Trainer(RunConfig.read(options.config), data_folder(options.data), Path(options.out), options.max_hours,
                      device, read_checkpoint(options.start_from) if options.start_from else None)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: setattr(trainer, "stop", True))
    trainer.log(f"{trainer.model.parameter_count():,} parameters, {trainer.world} device(s)")
    trainer.resume()
    trainer.fit()
    if trainer.rank == 0:
        from .export import export

        export(trainer.out / "model.h5", trainer.model, trainer.tokenizer, options.format, str(Path(options.config).name))
    if dist.is_initialized():
        dist.destroy_process_group()
    return trainer


if __name__ == "__main__":
    main()
