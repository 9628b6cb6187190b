"""The loss curve as a picture: python -m stagformer_reference.plot --curve DIR/curve.csv --output curve.svg"""

from __future__ import annotations

import argparse
import csv


def main(arguments: list[str] | None = None) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(prog="stagformer_reference.plot", description="plot curve.csv")
    parser.add_argument("--curve", required=True)
    parser.add_argument("--output", required=True, help="ends in .svg or .png")
    options = parser.parse_args(arguments)
    with open(options.curve, newline="") as file:
        rows = list(csv.DictReader(file))
    tokens = [int(row["tokens"]) / 1e6 for row in rows]
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name in list(rows[0])[3:]:
        label = "training (mixture, with dropout)" if name == "train_loss" else f"held-out {name}"
        axes.plot(tokens, [float(row[name]) for row in rows], label=label,
                  linestyle="--" if name == "train_loss" else "-")
    axes.set_xlabel("training tokens (millions)")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(options.output, metadata={"Date": None} if options.output.endswith(".svg") else None)


if __name__ == "__main__":
    main()
