"""Points of a study that nothing runs: the engine's own steps in virtual time, on as many ranks as wanted (`plan --simulate`)."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .study import ONE_RANK, SEQUENTIAL, STAGGERED, Point, StudyError

if TYPE_CHECKING:
    from .measuring import Measuring

VIRTUAL_TIME = "virtual time"


def record_of(measuring: Measuring, point: Point) -> dict:
    """As Measuring.point: the simulation stands where measurements stand, the timeline beside it as the prediction."""
    begin = time.monotonic()
    base = measuring.machine(replace(point, delay_us=None, mbit=None))
    machine = with_links(base, point, measuring.folder / "machines")
    plan = measuring.plan(point, machine, "--simulate")
    runs = {STAGGERED: run_of(plan["simulated_s"], point), SEQUENTIAL: run_of(plan["simulated_sequential_s"], point)}
    keys = ("staggered_s", "sequential_s", "prompt_s", "tokens_per_s", "tensor_parallel_s")
    predicted = {key: plan[key] for key in keys if plan.get(key)}
    if ONE_RANK in measuring.study.runs:
        runs[ONE_RANK] = run_of(measuring.plan(point, machine, ranks=1)["staggered_s"], point)
    return {"study": measuring.study.identity(), "point": point.number, "parameters": asdict(point), "nature": "simulated",
            "place": VIRTUAL_TIME, "crowded": False, "commands": [], "runs": runs, "machine": machine.name,
            "predicted": predicted, "predicted_rounds": [predicted],
            "provenance": provenance(measuring.program, base), "seconds": round(time.monotonic() - begin, 1)}


def run_of(step_s: float, point: Point) -> dict:
    return {"step_ms": [1e3 * step_s], "tokens_per_s": [point.batch / step_s], "tokens": [], "hosts": point.ranks, "cores": [],
            "cores_shared": False}


def with_links(base: Path, point: Point, folder: Path) -> Path:
    """The machine with each message later by the point's delay and by its bytes at the point's rate."""
    values = json.loads(base.read_text())
    delay_s, s_per_byte = 1e-6 * (point.delay_us or 0), 8e-6 / point.mbit if point.mbit else 0
    values["link"] = [[size, latency + delay_s + size * s_per_byte, gap + size * s_per_byte] for size, latency, gap in values["link"]]
    values["name"] += f", links {point.delay_us or 0:g} us longer" + (f", {point.mbit:g} Mbit/s" if point.mbit else "")
    path = folder / f"{base.stem}-plus-{point.delay_us or 0:g}-us-{point.mbit or 0:g}-mbit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1) + "\n")
    return path


def provenance(program: str, machine: Path) -> dict:
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.match(r"stagformer (\S+) \((\S+); (.*)\)", said)
    if not found:
        raise StudyError(f"{program} --version says '{said.strip()}'")
    values = json.loads(machine.read_text())
    return {"version": found[1], "commit": found[2], "build": found[3], "cpu": values.get("processor", ""),
            "kernels": values.get("instruction_set", ""), "mpi": VIRTUAL_TIME, "machine_measured": values.get("measured", ""),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
