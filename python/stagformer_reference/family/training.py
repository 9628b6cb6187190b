"""The driver: trains the runs of a family in turn, each in a process of its own; what is finished is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..config import ConfigError
from ..data import read_documents, split_holdout
from ..train import RunConfig, train_pieces
from .results import read_part, write_results
from .runs import Family, Run, write_json

HELD_OUT = "held-out.txt"
TOKENIZER = "tokenizer.model"   # the trainer takes over what lies in its folder


def prepare(run: Run, data: Path, output: Path) -> None:
    """What all runs have in common, made once: the tokenizer, and the documents that training never sees as one text."""
    config = RunConfig.from_dict(run.values, run.name)
    corpora = [split_holdout(read_documents(data / c.path), c.holdout_every) for c in config.data]
    held_out = [document for _, documents in corpora for document in documents]
    if not held_out:
        raise ConfigError("no corpus holds documents out: holdout_every is 0 or above their number")
    output.mkdir(parents=True, exist_ok=True)
    (output / HELD_OUT).write_text("\n\n".join(held_out) + "\n", encoding="utf-8")
    tokenizer = output / TOKENIZER
    if config.training.tokenizer != "byte" and not tokenizer.exists():
        temporary = output / (TOKENIZER + ".tmp")
        temporary.write_bytes(train_pieces([documents for documents, _ in corpora], config.training))
        os.replace(temporary, tokenizer)


class Driver:
    """Trains in `output`, with `jobs` processes of `threads` threads at a time."""

    def __init__(self, family: Family, data: Path, output: Path, threads: int, jobs: int):
        self.family, self.data, self.output = family, data, output
        self.threads, self.jobs = threads, jobs
        self.stopped, self.failures = False, 0
        self.done, self.trained_here = 0, 0   # runs finished ever, and since `begin`
        self.begin = time.monotonic()
        self.lock = threading.Lock()
        self.children: list[subprocess.Popen] = []

    def run(self) -> int:
        """Train what is not finished; the number of failed runs. A stop leaves `stopped` set."""
        prepare(self.family.runs[0], self.data, self.output)
        handlers = [(number, signal.signal(number, self._stop)) for number in (signal.SIGTERM, signal.SIGINT)]
        try:
            todo = [run for run in self.family.runs if not self._is_finished(run)]
            self.done = len(self.family.runs) - len(todo)
            if self.done:
                print(f"{self.done} of {len(self.family.runs)} runs are finished already", flush=True)
            with ThreadPoolExecutor(self.jobs) as pool:
                futures = [pool.submit(self._train, run) for run in todo]
                for future in futures:
                    future.result()
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
        write_results(self.family, self.output)
        return self.failures

    def _stop(self, *_) -> None:
        """Handler, in the main thread: the trainers save their states and end."""
        self.stopped = True
        for child in list(self.children):
            child.terminate()

    def _is_finished(self, run: Run) -> bool:
        """Also refuses a folder that holds another run, finished or not."""
        folder = self.output / run.folder
        path = folder / "run.json"
        if path.exists() and json.loads(path.read_text()) != run.values:
            raise ConfigError(f"{path} differs from the list: remove {folder} or use another --output")
        return (folder / "result.json").exists()

    def _train(self, run: Run) -> None:
        if self.stopped:
            return
        folder = self.output / run.folder
        folder.mkdir(exist_ok=True)
        write_json(folder / "run.json", run.values)
        if (self.output / TOKENIZER).exists():
            shutil.copyfile(self.output / TOKENIZER, folder / TOKENIZER)
        code = self._run_child(folder)
        with self.lock:
            self._report(run, folder, code)

    def _run_child(self, folder: Path) -> int:
        command = [sys.executable, "-m", "stagformer_reference.family.one", "--folder", str(folder), "--data",
                   str(self.data), "--held-out", str(self.output / HELD_OUT), "--threads", str(self.threads)]
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        with open(folder / "log", "a") as log:
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                     env=os.environ | {"PYTHONPATH": paths})
            self.children.append(child)
            if self.stopped:  # the signal came before the child was in the list
                child.terminate()
            code = child.wait()
        self.children.remove(child)
        return code

    def _report(self, run: Run, folder: Path, code: int) -> None:
        """One line a run, and the table as it stands."""
        count = len(self.family.runs)
        if code == 0:
            self.done += 1
            self.trained_here += 1
            r = read_part(folder, "result")
            left = (time.monotonic() - self.begin) / self.trained_here * (count - self.done)
            print(f"{self.done}/{count} {run.folder}: {r['tokens']:,} tokens in {r['seconds']:.0f} s, loss "
                  f"{r['training_loss']:.4f} training, {r['held_out_loss']:.4f} held-out, perplexity "
                  f"{r['held_out_perplexity']:.3f}; {left / 60:.0f} min left", flush=True)
            write_results(self.family, self.output)
        elif self.stopped:
            print(f"{run.folder}: stopped, to be continued", flush=True)
        else:
            self.failures += 1
            print(f"{run.folder}: failed with exit code {code}, see {folder / 'log'}", flush=True)
