"""A story as it is told, and how likely the model finds each word of another text.

usage: python story.py CHECKPOINT PROMPT
"""

import sys

import numpy as np

import stagformer


def main(checkpoint: str, prompt: str) -> None:
    with stagformer.Model(checkpoint) as model:
        print(prompt, end="")
        for piece in model.stream(prompt, max_tokens=40, temperature=0.7, seed=1):
            print(piece, end="", flush=True)
        scores = model.score(prompt)
        worst = int(np.nanargmin(scores))
        word = model.detokenize([model.tokenize(prompt)[worst]]).strip()
        print(f"\n\nperplexity of the prompt: {np.exp(-np.nanmean(scores)):.1f}; least expected: '{word}'")


if __name__ == "__main__":
    main(*sys.argv[1:])
