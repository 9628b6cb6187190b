"""python -m stagformer_reference.family --list F.json --output DIR [--data D] [--evaluate PROGRAM] [--bench PROGRAM] [--report R]

Every step goes on where it was stopped and leaves what is finished alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..config import ConfigError
from ..data import data_folder
from .runs import Family

FAILED, INTERRUPTED = 1, 8   # as the engine's exit code for a signal


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stagformer_reference.family", description="train a family of small models, compare it")
    parser.add_argument("--output", required=True, help="folder of results.csv and of a folder NAME-seedS for each run")
    parser.add_argument("--list", required=True, help="the family: a base run file and rows that change its model")
    parser.add_argument("--train", action="store_true", help="train (the default when no other step is asked for)")
    parser.add_argument("--data", help="data folder of --train (default: environment variable STAGFORMER_DATA)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a trainer or of a rank")
    parser.add_argument("--jobs", type=int, default=1, help="runs trained at a time")
    parser.add_argument("--evaluate", metavar="PROGRAM", help="measure losses with this stagformer program")
    parser.add_argument("--tasks", help="folder of blimp/ and hellaswag/, scored with --evaluate")
    parser.add_argument("--bench", metavar="PROGRAM", help="time decode steps with this stagformer program")
    parser.add_argument("--launch", default="mpirun -n {ranks}", help="starts several ranks for --bench")
    parser.add_argument("--again", action="store_true", help="measure what --evaluate or --bench has measured before")
    parser.add_argument("--report", metavar="FOLDER", help="write the tables in its results.md and its results.svg")
    return parser.parse_args(arguments)


def train(family: Family, options: argparse.Namespace) -> int:
    from .training import Driver

    driver = Driver(family, data_folder(options.data), Path(options.output), options.threads, options.jobs)
    failures = driver.run()
    if driver.stopped:
        raise SystemExit(INTERRUPTED)
    return failures


def measure(family: Family, options: argparse.Namespace) -> int:
    import torch

    from .engine import Engine
    from .evaluation import Evaluation
    from .latency import Latency

    torch.set_num_threads(options.threads)
    output, failures = Path(options.output), 0
    if options.evaluate:
        tasks = Path(options.tasks) if options.tasks else None
        failures += Evaluation(family, output, Engine(options.evaluate, options.threads), tasks, options.again).run()
    if options.bench:
        failures += Latency(family, output, Engine(options.bench, options.threads, options.launch), options.again).run()
    return failures


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    try:
        family = Family.read(options.list)
        failures = 0
        if options.train or not (options.evaluate or options.bench or options.report):
            failures += train(family, options)
        if options.evaluate or options.bench:
            failures += measure(family, options)
        if options.report:
            from .report import write_report
            from .results import write_results

            write_results(family, Path(options.output))
            write_report(Path(options.output), Path(options.report))
    except (ConfigError, OSError) as error:
        raise SystemExit(f"stagformer_reference.family: error: {error}") from None
    if failures:
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
