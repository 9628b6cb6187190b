"""Runs a point: its runs in turns, the machine file for the prediction, and what the plan says."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from . import simulation
from .places import Place, Places, reason_in
from .study import FILLED, ONE_RANK, SEQUENTIAL, STAGGERED, Point, Study, StudyError

CALIBRATIONS = 3  # of which the quickest counts, figure by figure: a machine that others use too is slow for a minute at times
TRIES, STEADY = 3, 0.08  # runs of a round; how far the predictions in front of it and behind it may lie apart
fresh: set[Path] = set()  # machine files that this process has measured
EMULATED_RANKS = 2  # that compute at the same time while the machine of an emulation is measured


@dataclass
class Measuring:
    study: Study
    places: Places
    program: str
    folder: Path
    given: Path | None = None  # a machine file, in place of those measured here
    again: bool = False  # machine files that are there are measured once more, and bettered

    def point(self, point: Point) -> dict:
        """The record of a point, measured now."""
        if self.study.simulated:
            return simulation.record_of(self, point)
        begin = time.monotonic()
        machine = self.machine(point)
        samples: dict[str, list[dict]] = {}
        commands: list[str] = []
        with self.places.of(point, self.study) as place:
            rounds, predictions, repeated = self.rounds(point, place, machine)
        for name, record, command in rounds:
            samples.setdefault(name, []).append(record)
            if command not in commands:
                commands.append(command)
        provenance = samples[STAGGERED][0]["provenance"]
        record = {"study": self.study.identity(), "point": point.number, "parameters": asdict(point),
                  "nature": self.study.nature(), "place": place.label, "crowded": place.crowded,
                  "commands": commands,
                  "runs": {name: best_of(records) if name == FILLED else summary(records) for name, records in samples.items()},
                  "machine": machine.name if machine else None, "predicted": self.predict(point, machine),
                  "predicted_rounds": predictions, "repeated_rounds": repeated, "provenance": {key: value for key, value in provenance.items() if key != "command"}}
        return {**record, "seconds": round(time.monotonic() - begin, 1)}

    def rounds(self, point: Point, place: Place, machine: Path | None) -> tuple[list, list[dict], int]:
        """All rounds' runs, a prediction for each round, and how many rounds were run again: where the machine had another speed
        behind the round than in front of it, nothing could have predicted what lies between."""
        runs, predictions, repeated = [], [], 0
        before = self.prediction_now(point, machine)
        for turn in range(self.study.rounds):
            for attempt in range(1, TRIES + 1):
                found = self.turn(point, place, machine, turn)
                front, before = before, self.prediction_now(point, machine)
                if is_steady(front, before) or attempt == TRIES:
                    break
                repeated += 1
            runs += found
            if machine:
                predictions.append({key: (front[key] + before[key]) / 2 for key in front})
        return runs, predictions, repeated

    def prediction_now(self, point: Point, machine: Path | None) -> dict | None:
        return self.predict(point, self.momentary(point, machine)) if machine else None

    def turn(self, point: Point, place: Place, machine: Path | None, turn: int) -> list[tuple[str, dict, str]]:
        """Each run of the point once: (run, bench's record, command). Every other round goes the other way round."""
        schedules = [name for name in (STAGGERED, SEQUENTIAL) if name in self.study.runs]
        if point.ranks == 1:
            schedules = [STAGGERED]
        calls = [(schedules, point.ranks, ["--schedule", ",".join(schedules[:: -1 if turn % 2 else 1])], False)]
        if ONE_RANK in self.study.runs and point.ranks > 1:
            calls.append(([ONE_RANK], 1, [], False))
        if FILLED in self.study.runs and point.ranks > 1 and point.batch > 1:
            flags = ["--groups", ",".join(map(str, groups_of(point))), "--schedule", SEQUENTIAL]
            calls.append(([FILLED], point.ranks, flags, not self.study.checkpoint))
        found = []
        for names, ranks, flags, chained in calls[:: -1 if turn % 2 else 1]:
            records, command = self.bench(point, place, machine, ranks, flags, chained)
            for record in records:
                name = record["schedule"] if record["schedule"] in names else names[0]
                found.append((name, record, command))
        return found

    def bench(self, point: Point, place: Place, machine: Path | None, ranks: int, flags: list[str],
              chained: bool) -> tuple[list[dict], str]:
        words = ["bench", *self.model_flags(point, chained), "--weights", self.study.weights, "--threads", str(point.threads),
                 "--batch", str(point.batch), "--prompt-tokens", str(self.study.prompt_tokens), "--decode-tokens",
                 str(self.study.decode_tokens), "--repetitions", str(self.study.repetitions), "--format", "jsonl",
                 "--log-level", "error", *flags]
        if self.study.emulated:
            words += ["--emulate", str(machine)]
        output, command = place.run(self.program, ranks, point.threads, words)
        records = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        if not records:
            raise StudyError(f"no record from: {command}")
        raw = self.folder / "raw" / f"point-{point.number}.jsonl"
        raw.parent.mkdir(parents=True, exist_ok=True)
        with open(raw, "a") as file:
            file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        return records, command

    def model_flags(self, point: Point, chained: bool = False, flag: str = "--random") -> list[str]:
        if self.study.checkpoint:
            return ["--checkpoint", str((self.study.folder / self.study.checkpoint).resolve())]
        path = self.folder / "models" / f"{'chained' if chained else 'sections'}-{point.ranks}.json"
        write_whole(path, json.dumps(self.study.configuration(point.ranks, chained), indent=2) + "\n")
        return [flag, str(path.resolve())]

    # ------------------------------------------------------------------ predictions

    def machine(self, point: Point) -> Path | None:
        """The machine file of a point, measured where it is not there yet. None: not wanted, or ranks would share cores while
        they compute, which no plan foresees."""
        if self.given or not (self.study.predict or self.study.nature()):
            return self.given
        ranks = EMULATED_RANKS if self.study.nature() else point.ranks
        if self.places.on_one_machine() and ranks * point.threads > (os.cpu_count() or 1):
            return None
        formats = ["--weights", self.study.weights]
        if not self.places.namespaces:
            return self.calibration(f"ranks-{ranks}-threads-{point.threads}", ranks, point, self.places.place, formats)
        speed = self.calibration(f"ranks-{ranks}-threads-{point.threads}", ranks, point, Place(), formats)
        if ranks == 1:
            return speed
        name = f"{speed.stem}-{point.delay_us or 0:g}-us-{point.mbit or 0:g}-mbit"
        with self.places.of(point, self.study, hosts=2) as place:
            return self.calibration(name, 2, point, place, ["--machine", str(speed)])

    def calibrates_rounds(self) -> bool:
        return self.study.calibrate_rounds and not (self.given or self.study.nature())

    def momentary(self, point: Point, machine: Path) -> Path:
        """The machine as it is now, with the links of the file; the file itself where that is what counts."""
        if not self.calibrates_rounds():
            return machine
        name = f"momentary-{point.ranks}-{point.threads}"
        path = self.folder.resolve() / "machines" / f"{name}.json"
        words = ["bench", "--calibrate", str(path), "--weights", self.study.weights, "--threads", str(point.threads), "--repetitions", "2",
                 "--log-level", "error"]
        (Place() if self.places.namespaces else self.places.place).run(self.program, point.ranks, point.threads, words)
        values = json.loads(path.read_text()) | {"link": json.loads(machine.read_text())["link"]}
        write_whole(path, json.dumps(values, indent=1) + "\n")
        return path

    def calibration(self, name: str, ranks: int, point: Point, place: Place, flags: list[str]) -> Path:
        path = self.folder.resolve() / "machines" / f"{name}.json"
        if path.exists() and (path.resolve() in fresh or not self.again):
            return path
        fresh.add(path.resolve())
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{name}.{os.getpid()}.part")
        found = [json.loads(path.read_text())] if path.exists() else []
        for _ in range(1 if self.calibrates_rounds() else CALIBRATIONS):
            place.run(self.program, ranks, point.threads, ["bench", "--calibrate", str(own), "--threads", str(point.threads),
                                                           "--log-level", "error", *flags])
            found.append(json.loads(own.read_text()))
        own.unlink()
        write_whole(path, json.dumps(quickest(found), indent=1) + "\n")  # tasks of an array may measure the same one
        return path

    def predicted_again(self, record: dict, point: Point) -> dict:
        """A record with the prediction of today's machine files; what was measured stays."""
        machine = self.machine(point)
        predicted = self.predict(point, machine)
        rounds = len(record["runs"][STAGGERED]["step_ms"]) if predicted else 0
        return {**record, "machine": machine.name if machine else None, "predicted": predicted, "predicted_rounds": [predicted] * rounds}

    def predict(self, point: Point, machine: Path | None) -> dict | None:
        if machine is None:
            return None
        plan = self.plan(point, machine)
        keys = ("staggered_s", "sequential_s", "prompt_s", "tokens_per_s", "filled_tokens_per_s", "tensor_parallel_s")
        return {key: plan[key] for key in keys if plan.get(key)}

    def plan(self, point: Point, machine: Path, *flags: str, ranks: int | None = None) -> dict:
        """What `plan` says of the point; `ranks`: on so many in place of the point's."""
        depth = self.study.prompt_tokens + self.study.decode_tokens // 2  # of the middle step
        words = [self.program, "plan", *self.model_flags(point, flag="--config"), "--ranks", str(ranks or point.ranks), "--machine",
                 str(machine), "--batch", str(point.batch), "--prompt-tokens", str(self.study.prompt_tokens), "--depth",
                 str(depth), "--weights", self.study.weights, "--format", "json", "--log-level", "error", *flags]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise StudyError(f"{reason_in(done.stderr)} (code {done.returncode}: {' '.join(words[1:])})")
        (plan,) = json.loads(done.stdout)
        return plan


def is_steady(front: dict | None, behind: dict | None) -> bool:
    """Whether the predictions in front of a round and behind it are of a machine with one speed."""
    keys = [key for key in ("staggered_s", "sequential_s") if front and key in front]
    return all(abs(front[key] - behind[key]) <= STEADY * max(front[key], behind[key]) for key in keys)


def quickest(machines: list[dict]) -> dict:
    """Figure by figure the least time, the most operations a second; of ratios the middle. Links have sizes of their own in
    each calibration: one counts as a whole, that with the quickest small messages."""
    def least(values: list, key: str = "") -> object:
        first = values[0]
        if isinstance(first, dict):
            return {name: least([value[name] for value in values], name) for name in first}
        if key == "link":
            return min(values, key=lambda points: points[0][1])
        if key == "read_s_per_byte":  # [[bytes, time], ...]: the bytes are those of every calibration
            return [[row[0][0], min(entry[1] for entry in row)] for row in zip(*values)]
        if key.startswith("row_factor"):
            return [[row[0][0], statistics.median(entry[1] for entry in row)] for row in zip(*values)]
        if key == "operations_per_s":
            return max(values)
        return min(values) if key.endswith(("_s", "_s_per_byte", "_s_per_token")) else first
    return least(machines)


def groups_of(point: Point) -> list[int]:
    """In how many groups a pipeline is tried: one a rank, and more of fewer sequences, which hide what links take."""
    least = min(point.ranks, point.batch)
    return [least * factor for factor in (1, 2, 4) if least * factor <= point.batch]


def best_of(records: list[dict]) -> dict:
    """The summary of the number of groups with the most tokens/s."""
    found = {}
    for record in records:
        found.setdefault(record["groups"], []).append(record)
    summaries = [{**summary(of_groups), "groups": groups} for groups, of_groups in found.items()]
    return max(summaries, key=lambda one: statistics.median(one["tokens_per_s"]))


def summary(records: list[dict]) -> dict:
    """What counts of a run's records, a value a round."""
    digests = sorted({record["decode"]["token_digest"] for record in records})
    ranks = records[0]["per_rank"]
    return {"step_ms": [record["decode"]["step_ms"] for record in records],
            "tokens_per_s": [record["decode"]["tokens_per_s"]["median"] for record in records],
            "prompt_ms": [1e3 * statistics.median(record["prefill"]["seconds"]) for record in records],
            "tokens": digests, "hosts": len({rank["host"] for rank in ranks}),
            "cores": sorted({tuple(rank["cores"]) for rank in ranks}),
            "cores_shared": any(rank["oversubscribed"] for rank in ranks)}


def write_whole(path: Path, text: str) -> None:
    """Aside and renamed: others may read or write the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{os.getpid()}.part")
    own.write_text(text)
    own.replace(path)
