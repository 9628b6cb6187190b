"""Two ranks run a model while the others compute something else.

usage: mpirun -n 3 python -m mpi4py story_mpi.py CHECKPOINT PROMPT
"""

import sys

from mpi4py import MPI

import stagformer

MODEL_RANKS = 2


def main(checkpoint: str, prompt: str) -> None:
    world = MPI.COMM_WORLD
    hosts_model = world.rank < MODEL_RANKS
    part = world.Split(0 if hosts_model else 1)
    if hosts_model:
        with stagformer.Model(checkpoint, comm=part, threads=1) as model:
            story = model.generate(prompt, max_tokens=20)  # every rank makes the call and has the result
            if part.rank == 0:
                print(f"{len(story.token_ids)} tokens on {part.size} ranks: {prompt}{story.text}", flush=True)
    else:
        terms = range(part.rank, 1_000_000, part.size)
        pi = part.allreduce(sum(4 * (-1) ** k / (2 * k + 1) for k in terms))
        if part.rank == 0:
            print(f"meanwhile: pi is {pi:.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
