"""The measurements behind docs/performance.md: python tests/bench/measure.py --output FOLDER [--only NAME,...]

Each is a sweep of `stagformer bench`; its records go to FOLDER/NAME.jsonl and a summary to stdout. Where two things
are compared they take turns, --rounds times, and the ratio of each round counts. Random weights; nothing is
downloaded. Ranks are bound to a core each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs/models"
FORMATS = ("f32", "bf16", "q8_0", "q4_1", "q4_0")


def decode_rate(record: dict) -> float:
    return record["decode"]["tokens_per_s"]["median"]


class Measurements:
    def __init__(self, arguments: argparse.Namespace):
        self.program = arguments.program
        self.folder = arguments.output
        self.rounds = arguments.rounds
        self.folder.mkdir(parents=True, exist_ok=True)

    def bench(self, name: str, ranks: int, *flags: str) -> list[dict]:
        """Records of one call, one a point."""
        launcher = ["mpirun", "-np", str(ranks), "--bind-to", "core", "--map-by", "core"] if ranks > 1 else []
        command = [*launcher, str(self.program), "bench", "--format", "jsonl", "--log-level", "error", *flags]
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr[-800:]}")
        with open(self.folder / f"{name}.jsonl", "a") as out:
            out.write(done.stdout)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def alternate(self, name: str, *calls: tuple) -> list[list[dict]]:
        """Rounds of one record a call."""
        return [[self.bench(name, *call)[0] for call in calls] for _ in range(self.rounds)]


def config(base: str, **changes) -> str:
    """A configuration file like `base` with changes; keys of `sections` are given as sections={...}."""
    values = json.loads((CONFIGS / base).read_text())
    values["sections"].update(changes.pop("sections", {}))
    values.update(changes)
    file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
    with file:
        json.dump(values, file)
    return file.name


def row(*cells) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(*cells) -> None:
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def formats(m: Measurements) -> None:
    head("format", "threads", "decode tokens/s", "GB/s", "of stream", "prefill tokens/s", "GFLOP/s", "of peak")
    for record in m.bench("formats", 1, "--random", str(CONFIGS / "llama-135m-shape.json"), "--weights",
                          ",".join(FORMATS), "--threads", "1,2", "--decode-tokens", "64", "--depth", "64"):
        decode, prefill = record["decode"], record["prefill"]
        row(record["weights"], record["threads"], f"{decode_rate(record):.0f}", f"{decode['gb_per_s']:.1f}",
            f"{100 * decode['share_of_stream']:.0f} %", f"{prefill['tokens_per_s']['median']:.0f}",
            f"{prefill['gflop_per_s']:.0f}", f"{100 * prefill['share_of_peak']:.0f} %")


def depths(m: Measurements) -> None:
    head("format", "cache", "depth", "tokens/s", "GB/s", "against depth 64")
    for weights in ("f32", "q4_0"):
        for cache in ("f32", "bf16"):
            records = m.bench("depths", 1, "--random", str(CONFIGS / "llama-135m-shape.json"), "--weights", weights,
                              "--cache", cache, "--threads", "1", "--prompt-tokens", "64", "--decode-tokens", "32",
                              "--depth", "64,1500,4000")
            for record in records:
                row(weights, cache, record["depth"], f"{decode_rate(record):.0f}", f"{record['decode']['gb_per_s']:.1f}",
                    f"{100 * decode_rate(record) / decode_rate(records[0]):.0f} %")


def batches(m: Measurements) -> None:
    head("format", "batch", "tokens/s", "against batch 1", "roofline")
    for weights in FORMATS:
        records = m.bench("batches", 1, "--random", str(CONFIGS / "llama-135m-shape.json"), "--weights", weights,
                          "--threads", "1", "--prompt-tokens", "64", "--decode-tokens", "32", "--depth", "64",
                          "--batch", "1,2,4,8,16,32")
        first = decode_rate(records[0])
        for record in records:
            row(weights, record["batch"], f"{decode_rate(record):.0f}", f"{decode_rate(record) / first:.2f}",
                f"{roofline(record) / roofline(records[0]):.2f}")


def roofline(record: dict) -> float:
    """Tokens/s if products took the longer of streaming the weights and multiplying at the measured peak, and
    attention streamed the caches."""
    decode, rank, batch = record["decode"], record["per_rank"][0], record["batch"]
    peak = rank["int8_gop_per_s"] if record["weights"].startswith("q") else rank["f32_gflop_per_s"]
    multiply = 2 * record["model"]["parameters"] * batch / (peak or rank["f32_gflop_per_s"])
    products = max(decode["weight_bytes"] / decode["stream_gb_per_s"], multiply)
    return 1e9 * batch / (products + decode["cache_bytes"] / decode["stream_gb_per_s"])


def two_ranks(m: Measurements) -> None:
    head("model", "format", "one rank", "two ranks", "ratio", "ideal", "two streams / one", "beyond compute us", "share")
    small = config("llama-135m-shape-2x15.json", vocab_size=8192,
                   sections={"layers_per_section": 3})
    for label, file in (("2 x 15 layers", str(CONFIGS / "llama-135m-shape-2x15.json")), ("2 x 3 layers, in cache", small)):
        for weights in ("f32", "q8_0", "q4_0"):
            flags = ("--random", file, "--weights", weights, "--threads", "1", "--prompt-tokens", "64",
                     "--decode-tokens", "64", "--repetitions", "3")
            rounds = m.alternate("two-ranks", (1, *flags), (2, *flags))
            ratios = [decode_rate(two) / decode_rate(one) for one, two in rounds]
            streams = [2 * two["decode"]["stream_gb_per_s"] / one["decode"]["stream_gb_per_s"] for one, two in rounds]
            row(label, weights, f"{statistics.median(decode_rate(r[0]) for r in rounds):.0f}",
                f"{statistics.median(decode_rate(r[1]) for r in rounds):.0f}", f"{statistics.median(ratios):.2f}",
                f"{statistics.median(ideal_of_ranks(*r) for r in rounds):.2f}", f"{statistics.median(streams):.2f}",
                *critical_path(r[1] for r in rounds))


def ideal_of_ranks(one: dict, two: dict) -> float:
    """One rank's compute against the longest of two ranks', which need not be half of it."""
    return one["decode"]["longest_compute_us"] / two["decode"]["longest_compute_us"]


def critical_path(records) -> tuple[str, str]:
    """Time of a step beyond the longest rank's compute: waiting, exchange and bookkeeping that nothing hides."""
    records = list(records)
    steps = [r["decode"]["step_ms"] * 1e3 for r in records]
    beyond = [step - r["decode"]["longest_compute_us"] for step, r in zip(steps, records)]
    share = statistics.median(b / s for b, s in zip(beyond, steps))
    return f"{statistics.median(beyond):.1f}", f"{100 * share:.1f} %"


def schedules(m: Measurements) -> None:
    head("d", "format", "sequential ms", "staggered ms", "ratio", "ideal ratio", "beyond compute us", "share")
    for d in (576, 1024, 2048):
        heads = d // 64
        file = config("llama-135m-shape-2x15.json", hidden_size=d, intermediate_size=8 * d // 3 // 32 * 32,
                      num_attention_heads=heads, num_key_value_heads=heads // (3 if d == 576 else 4), vocab_size=8192,
                      sections={"layers_per_section": 4 if d == 576 else 2 if d == 1024 else 1})
        flags = ("--random", file, "--weights", "q8_0", "--threads", "1", "--prompt-tokens", "64", "--decode-tokens",
                 "64", "--repetitions", "3")
        rounds = m.alternate("schedules", (2, *flags, "--schedule", "sequential"), (2, *flags))
        steps = [statistics.median(r[i]["decode"]["step_ms"] for r in rounds) for i in (0, 1)]
        ideal = statistics.median(ideal_ratio(*r) for r in rounds)
        row(d, "q8_0", f"{steps[0]:.3f}", f"{steps[1]:.3f}",
            f"{statistics.median(r[0]['decode']['step_ms'] / r[1]['decode']['step_ms'] for r in rounds):.2f}",
            f"{ideal:.2f}", *critical_path(r[1] for r in rounds))


def ideal_ratio(sequential: dict, staggered: dict) -> float:
    """All ranks' layers one after another and the head, against the longest rank's layers and the head."""
    def layers(rank: dict) -> float:
        phases = rank["step_phases_us"]
        return sum(phases[k] for k in ("embedding", "self_attention", "cross_attention", "memory_projection", "feed_forward"))

    def read_out(record: dict) -> float:
        return max(r["step_phases_us"]["head"] + r["step_phases_us"]["sampling"] for r in record["per_rank"])
    slow = sum(layers(r) for r in sequential["per_rank"]) + read_out(sequential)
    return slow / (max(layers(r) for r in staggered["per_rank"]) + read_out(staggered))


def shared(m: Measurements) -> None:
    head("format", "one after another", "together", "ratio", "bytes read allow")
    file = config("llama-135m-shape-2x15.json", sections={"weights": "shared"})
    for weights in ("f32", "q8_0", "q4_0"):
        flags = ("--random", file, "--weights", weights, "--threads", "1", "--prompt-tokens", "64", "--decode-tokens",
                 "32", "--repetitions", "3")
        rounds = m.alternate("shared", (1, *flags, "--schedule", "sequential"), (1, *flags))
        ratios = [together["decode"]["tokens_per_s"]["median"] / apart["decode"]["tokens_per_s"]["median"]
                  for apart, together in rounds]
        total = [r["decode"]["weight_bytes"] + r["decode"]["cache_bytes"] for r in rounds[0]]
        row(weights, f"{statistics.median(decode_rate(r[0]) for r in rounds):.0f}",
            f"{statistics.median(decode_rate(r[1]) for r in rounds):.0f}", f"{statistics.median(ratios):.2f}",
            f"{total[0] / total[1]:.2f}")


def replicas(m: Measurements) -> None:
    head("format", "one sequence, one rank", "two replicas", "batch 8, one rank")
    for weights in ("f32", "q4_0"):
        flags = ("--random", str(CONFIGS / "llama-135m-shape.json"), "--weights", weights, "--threads", "1",
                 "--prompt-tokens", "64", "--decode-tokens", "32", "--repetitions", "3")
        rounds = m.alternate("replicas", (1, *flags), (2, *flags, "--replicas", "2"), (1, *flags, "--batch", "8"))
        row(weights, *(f"{statistics.median(decode_rate(r[i]) for r in rounds):.0f}" for i in range(3)))


ALL = {f.__name__: f for f in (formats, depths, batches, two_ranks, schedules, shared, replicas)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/stagformer")
    parser.add_argument("--only", default=",".join(ALL))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    measurements = Measurements(arguments)
    for name in arguments.only.split(","):
        print(f"\n{name}\n", flush=True)
        ALL[name](measurements)


if __name__ == "__main__":
    main()
