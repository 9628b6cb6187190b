"""This engine beside llama.cpp: the same model, format and threads, taking turns on one machine.

python tests/bench/compare_llama.py --models FOLDER [--formats Q4_0,F32] [--threads 1,2] [--rounds 5]

FOLDER holds NAME.gguf and, made from it by gguf_checkpoint.py, NAME.h5. In each round llama.cpp (through the PyPI
package llama-cpp-python) and `stagformer bench` each load the model, take a prompt of 512 tokens and decode 32
tokens from each of --depths. One line a point: medians of both and of the rounds'
ratios. --prefix puts a command in front of both, such as `chrt -f 10` where other programs share the cores.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROMPT, DECODE = 512, 32
ROOT = Path(__file__).parents[2]


def llama_child(path: str, threads: int, depths: list[int]) -> None:
    """Measures llama.cpp in this process and prints one JSON line: tokens/s by point."""
    import llama_cpp as llama
    silent = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(silent, None)
    llama.llama_backend_init()
    start = time.perf_counter()
    parameters = llama.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), parameters)
    settings = llama.llama_context_default_params()
    settings.n_ctx = max(2048, max(depths) + DECODE)
    settings.n_batch = settings.n_ubatch = PROMPT
    settings.n_threads = settings.n_threads_batch = threads
    context = llama.llama_init_from_model(model, settings)
    result = {"load_s": time.perf_counter() - start}
    memory = llama.llama_get_memory(context)
    tokens = [100 + (i * 7919) % 48000 for i in range(settings.n_ctx)]

    def run(part: list[int]) -> None:
        array = (ctypes.c_int32 * len(part))(*part)
        if llama.llama_decode(context, llama.llama_batch_get_one(array, len(part))) != 0:
            raise SystemExit("llama_decode failed")

    def prompt(length: int) -> float:
        llama.llama_memory_clear(memory, True)
        begin = time.perf_counter()
        for at in range(0, length, PROMPT):
            run(tokens[at:min(at + PROMPT, length)])
        llama.llama_synchronize(context)
        return length / (time.perf_counter() - begin)

    def decode(depth: int, steps: int) -> float:
        prompt(depth)
        begin = time.perf_counter()
        for i in range(steps):
            run(tokens[depth + i:depth + i + 1])
        llama.llama_synchronize(context)
        return steps / (time.perf_counter() - begin)

    prompt(PROMPT)
    decode(depths[0], DECODE)
    result["prefill"] = statistics.median(prompt(PROMPT) for _ in range(3))
    for depth in depths:
        result[f"decode at {depth}"] = statistics.median(decode(depth, DECODE) for _ in range(3))
    print("RESULT " + json.dumps(result))


def environment(threads: int) -> dict[str, str]:
    return dict(os.environ, OMP_NUM_THREADS=str(threads), OMPI_ALLOW_RUN_AS_ROOT="1",
                OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def run_llama(arguments: argparse.Namespace, path: Path, threads: int) -> dict[str, float]:
    command = [*shlex.split(arguments.prefix), sys.executable, __file__, "--child", str(path), str(threads),
               arguments.depths]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(threads))
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"llama.cpp failed on {path}: {done.stderr[-500:]}")
    return json.loads(lines[0][7:])


def run_stagformer(arguments: argparse.Namespace, path: Path, threads: int) -> dict[str, float]:
    command = [*shlex.split(arguments.prefix), str(arguments.program), "bench", "--checkpoint", str(path),
               "--threads", str(threads), "--prompt-tokens", str(PROMPT), "--decode-tokens", str(DECODE),
               "--depth", arguments.depths, "--repetitions", "3", "--format", "jsonl", "--log-level", "error",
               *shlex.split(arguments.flags)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(threads))
    if done.returncode:
        raise SystemExit(f"stagformer failed on {path}: {done.stderr[-500:]}")
    result = {}
    for record in map(json.loads, done.stdout.splitlines()):
        result["prefill"] = record["prefill"]["tokens_per_s"]["median"]
        point = f"decode at {record['depth']}"
        result[point] = record["decode"]["tokens_per_s"]["median"]
        result[point + " share"] = record["decode"]["share_of_stream"]
    return result


def compare(arguments: argparse.Namespace, name: str, threads: int) -> None:
    rounds = []
    for _ in range(arguments.rounds):
        theirs = run_llama(arguments, arguments.models / f"{name}.gguf", threads)
        ours = run_stagformer(arguments, arguments.models / f"{name}.h5", threads)
        rounds.append((ours, theirs))
    for point in ["prefill", *(f"decode at {d}" for d in arguments.depths.split(","))]:
        ours = statistics.median(r[0][point] for r in rounds)
        theirs = statistics.median(r[1][point] for r in rounds)
        ratios = sorted(r[0][point] / r[1][point] for r in rounds)
        if arguments.output:
            record = {"format": name, "threads": threads, "point": point, "llama.cpp": theirs, "stagformer": ours,
                      "ratios": ratios, "of_stream": [r[0].get(point + " share") for r in rounds]}
            with open(arguments.output, "a") as out:
                out.write(json.dumps(record) + "\n")
        share = [r[0][point + " share"] for r in rounds if point + " share" in r[0]]
        shown = f"{100 * statistics.median(share):.0f} %" if share else ""
        print(f"| {name} | {threads} | {point} | {theirs:.1f} | {ours:.1f} | {statistics.median(ratios):.2f} "
              f"| {ratios[0]:.2f}-{ratios[-1]:.2f} | {shown} |", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return llama_child(sys.argv[2], int(sys.argv[3]), [int(d) for d in sys.argv[4].split(",")])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/stagformer")
    parser.add_argument("--formats", default="F32,BF16,Q8_0,Q4_1,Q4_0")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--depths", default="64,1500")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--output", type=Path, help="append the points to this file, JSON lines")
    parser.add_argument("--flags", default="", help="more flags of `stagformer bench`")
    arguments = parser.parse_args()
    print("| format | threads | point | llama.cpp tokens/s | stagformer tokens/s | ratio | range | of stream |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.formats.split(","):
        for threads in arguments.threads.split(","):
            compare(arguments, name, int(threads))


if __name__ == "__main__":
    main()
