"""Plots of docs/performance.md: python tests/bench/plot.py --measured FOLDER --compared FILE --output docs

FOLDER is what measure.py wrote, FILE what compare_llama.py --output wrote. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from measure import decode_rate, roofline  # noqa: E402

FORMATS = ("f32", "bf16", "q8_0", "q4_1", "q4_0")


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def save(figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def plot_batches(measured: Path, output: Path) -> None:
    """Tokens/s over the batch, with the roofline of the same run dashed."""
    points = defaultdict(dict)
    for record in records(measured / "batches.jsonl"):
        points[record["weights"]][record["batch"]] = record
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for weights in FORMATS:
        batches = sorted(points[weights])
        line, = axes.plot(batches, [decode_rate(points[weights][b]) for b in batches], marker="o", label=weights)
        axes.plot(batches, [roofline(points[weights][b]) for b in batches], linestyle="--", color=line.get_color())
    axes.set(xscale="log", yscale="log", xlabel="sequences at a time", ylabel="tokens/s",
             title="Decode over the batch, one thread; dashed: roofline")
    axes.set_xticks(batches, [str(b) for b in batches])
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, output / "performance-batches.svg")


def plot_comparison(compared: Path, output: Path) -> None:
    """Decode at the least depth, beside what a plain read of as many bytes would allow."""
    found = records(compared)
    least = min(int(r["point"].split()[-1]) for r in found if r["point"].startswith("decode"))
    chosen = [r for r in found if r["point"] == f"decode at {least}" and r["threads"] == 1]
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    places = range(len(chosen))
    limits = [r["stagformer"] / sorted(r["of_stream"])[len(r["of_stream"]) // 2] for r in chosen]
    axes.bar([p - 0.27 for p in places], [r["llama.cpp"] for r in chosen], 0.27, label="llama.cpp")
    axes.bar(places, [r["stagformer"] for r in chosen], 0.27, label="stagformer")
    axes.bar([p + 0.27 for p in places], limits, 0.27, label="plain read of as many bytes", color="0.8")
    axes.set_xticks(places, [r["format"] for r in chosen])
    axes.set(ylabel="tokens/s", title=f"Decode at depth {least}, 135M parameters, one thread")
    axes.legend()
    save(figure, output / "performance-decode.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--compared", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    plot_batches(arguments.measured, arguments.output)
    plot_comparison(arguments.compared, arguments.output)


if __name__ == "__main__":
    main()
