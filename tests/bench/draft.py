"""Guessing ahead against plain decoding: python tests/bench/draft.py --checkpoints MODEL.h5 ... --output FOLDER

For each checkpoint and number of ranks `stagformer generate` runs the same prompts with every --drafts value in turn,
--rounds times, greedy and sampled. The texts must be equal. Speeds are compared with plain decoding of the same round;
medians of the ratios go to stdout as a table, the records to FOLDER/draft.jsonl. --launch puts ranks on hosts.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMPTS = ("Once upon a time, there was a little", "One day, a boy named Tim found a", "The old dog sat under the tree and",
           "Mia wanted to bake a cake for her", "It was raining, so the children", "Deep in the forest lived a small",
           "Ben and Anna went to the sea with", "The king had a garden in which")


def generate(program: str, checkpoint: Path, ranks: int, launch: str, flags: list[str]) -> tuple[dict, dict]:
    """The record of a run and its texts by prompt."""
    with tempfile.TemporaryDirectory() as folder:
        prompts, output, record = (Path(folder) / name for name in ("prompts.jsonl", "out.jsonl", "record.json"))
        prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS))
        before = shlex.split(launch.format(ranks=ranks)) if ranks > 1 else []
        command = [*before, program, "generate", "--checkpoint", str(checkpoint), "--prompts", str(prompts), "--output",
                   str(output), "--json", str(record), "--batch", "1", "--ignore-eos", "--log-level", "error", *flags]
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}: {done.stderr[-800:]}")
        texts = {r["id"]: r["token_ids"] for r in map(json.loads, output.read_text().splitlines())}
        return json.loads(record.read_text()), texts


def measure(arguments: argparse.Namespace, checkpoint: Path, ranks: int, temperature: float) -> None:
    rates: dict[int, list[float]] = {draft: [] for draft in arguments.drafts}
    results: dict[int, dict] = {}
    expected = None
    for _ in range(arguments.rounds):
        for draft in arguments.drafts:
            flags = ["--temperature", str(temperature), "--seed", "1", "--max-tokens", str(arguments.max_tokens),
                     "--threads", str(arguments.threads), "--draft", str(draft), *arguments.flags]
            record, texts = generate(arguments.program, checkpoint, ranks, arguments.launch, flags)
            expected = expected or texts
            if texts != expected:
                raise SystemExit(f"{checkpoint}: {draft} guesses on {ranks} rank(s) give another text")
            result = results[draft] = record["result"]
            rates[draft].append((result["generated_tokens"] - result["results"]) / result["decode_s"])
            with open(arguments.output / "draft.jsonl", "a") as out:
                out.write(json.dumps({"link": arguments.link, "ranks": ranks, "draft": draft, "record": record}) + "\n")
    for draft in arguments.drafts:
        r = results[draft]
        ratio = statistics.median(a / b for a, b in zip(rates[draft], rates[arguments.drafts[0]]))
        right = f"{100 * r['accepted_tokens'] / r['drafted_tokens']:.0f} %" if r["drafted_tokens"] else "-"
        per_step = 1 + r["accepted_tokens"] / r["sequence_steps"]
        cells = (checkpoint.stem, ranks, arguments.link, f"{temperature:g}", draft, right, f"{per_step:.2f}",
                 f"{statistics.median(rates[draft]):.0f}", f"{ratio:.2f}")
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/release/bin/stagformer"))
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1])
    parser.add_argument("--drafts", type=int, nargs="+", default=[0, 1, 2, 3, 4, 6, 8], help="the first is compared with")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 0.8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--launch", default="mpirun -n {ranks}")
    parser.add_argument("--link", default="same host", help="what joins the ranks, for the table")
    parser.add_argument("flags", nargs="*", help="further flags of generate, after --")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print("| model | ranks | link | temperature | guesses | right | tokens a step | tokens/s | over plain |")
    print("|---|---|---|---|---|---|---|---|---|")
    for checkpoint in arguments.checkpoints:
        for ranks in arguments.ranks:
            for temperature in arguments.temperatures:
                measure(arguments, checkpoint, ranks, temperature)


if __name__ == "__main__":
    main()
