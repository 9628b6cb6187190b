"""Runs the program over JSONL files. Standard library only."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from pathlib import Path

ERROR = "stagformer: error: "


class Program:
    """A way to start the engine for one checkpoint; every call is a run of its own."""

    def __init__(self, checkpoint: str | Path, program: str = "stagformer", launcher: str = "", flags: str = "") -> None:
        """launcher: what stands in front of the program, "mpirun -n 2"; flags: for every run, "--batch 16 --threads 4"."""
        self.checkpoint = str(checkpoint)
        self.command = [*shlex.split(launcher), program]
        self.flags = shlex.split(flags)

    def results(self, subcommand: str, kind: str, records: list[dict], *flags: str) -> list[dict]:
        """One result a record, in the records' order. They are numbered here: a record has no "id" of its own."""
        if not records:
            return []
        with tempfile.TemporaryDirectory(prefix="stagformer-lm-eval-") as folder:
            given, output = Path(folder) / "given.jsonl", Path(folder) / "output.jsonl"
            given.write_text("".join(json.dumps({"id": i, **record}) + "\n" for i, record in enumerate(records)))
            self._run([subcommand, "--checkpoint", self.checkpoint, kind, str(given), "--output", str(output), *self.flags, *flags])
            by_id = {result["id"]: result for result in map(json.loads, output.read_text().splitlines())}
        if sorted(by_id) != list(range(len(records))):
            raise RuntimeError(f"{len(records)} {kind[2:]} gave {len(by_id)} results")
        return [by_id[i] for i in range(len(records))]

    def _run(self, words: list[str]) -> None:
        done = subprocess.run([*self.command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        lines = done.stderr.splitlines()
        said = next((line for line in lines if line.startswith(ERROR)), "\n".join(lines[-5:]))
        raise RuntimeError(f"{shlex.join([*self.command, *words])} ended with code {done.returncode}: {said}")
