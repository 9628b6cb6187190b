"""A known model, converted: stories260K (llama2.c format) must give its known loss and its known story.

usage: check_stories260k.py PROGRAM PYTHON_FOLDER DATA_FOLDER
"""

import lzma
import math
import os
import pathlib
import subprocess
import sys
import tempfile

EXPECTED_NATS = 1.38
EXPECTED_STORY = (", there was a little girl named Lily. She loved to play outside in the park. "
                  "One day, she saw a big, red ball.")
STORIES = 24


def run(program, *arguments):
    return subprocess.run([program, *arguments, "--log-level", "error"], check=True, stdout=subprocess.PIPE,
                          encoding="utf-8", timeout=120).stdout


def convert(python, data, output):
    environment = dict(os.environ, PYTHONPATH=python)
    subprocess.run([sys.executable, "-m", "stagformer_reference.llama2c", "--model", data / "stories260K.bin",
                    "--tokenizer", data / "tok512.bin", "--output", output], check=True, env=environment, timeout=120)


def nats_per_token(program, checkpoint, stories, folder):
    """Each story in a window of its own; the mean over all their tokens."""
    total, count = 0.0, 0
    for number, story in enumerate(stories):
        text, tokens = folder / f"{number}.txt", folder / f"{number}.csv"
        text.write_text(story, encoding="utf-8")
        run(program, "eval", "--checkpoint", checkpoint, "--text", text, "--per-token", tokens)
        lines = tokens.read_text().splitlines()[1:]
        total -= sum(float(line.split(",")[2]) for line in lines)
        count += len(lines)
    return total / count


def main():
    program, python, data = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        checkpoint = folder / "stories260K.h5"
        convert(python, data / "stories260K", checkpoint)
        story = run(program, "generate", "--checkpoint", checkpoint, "--prompt", "Once upon a time", "--max-tokens", "60")
        assert story.startswith(EXPECTED_STORY), story
        with lzma.open(data / "tinystories" / "train.txt.xz", "rt", encoding="utf-8") as corpus:
            documents = corpus.read().split("<|endoftext|>")
        stories = [document.strip() for document in documents if 300 < len(document) < 1300]
        stories = stories[:: len(stories) // STORIES][:STORIES]
        nats = nats_per_token(program, checkpoint, stories, folder)
        print(f"{nats:.4f} nats a token over {len(stories)} stories, perplexity {math.exp(nats):.3f}")
        assert abs(nats - EXPECTED_NATS) < 0.08, nats


if __name__ == "__main__":
    main()
