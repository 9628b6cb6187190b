"""Under a launcher on three ranks: two of them host models, world rank 0 runs the same alone.

usage: mpirun -n 3 python -m mpi4py check_mpi.py
"""

from __future__ import annotations

import io
import sys
import unittest

import numpy as np
from mpi4py import MPI
from places import STORIES, golden

import stagformer

WORLD = MPI.COMM_WORLD
IS_OUTSIDE = WORLD.rank == 0
PART = WORLD.Split(0 if IS_OUTSIDE else 1)


def model_of(checkpoint: str, **options: object) -> stagformer.Model:
    return stagformer.Model(checkpoint, comm=None if IS_OUTSIDE else PART, threads=1, **options)


class Communicator(unittest.TestCase):
    def test_same_as_alone(self) -> None:
        with model_of(STORIES, batch=2) as model:
            prompts = ["One day", "A cat", "The sun was"]
            ids = [made.token_ids for made in model.generate_all(prompts, max_tokens=9, temperature=0.8)]
            scores = model.score("A text that both of them score.", window=16)
            pieces = list(model.stream("One day", max_tokens=6))
            self.assertEqual(model.placement.ranks, 1 if IS_OUTSIDE else 2)
        self.assertEqual(WORLD.bcast(ids), ids)
        self.assertEqual(WORLD.bcast(pieces), pieces)
        np.testing.assert_array_equal(WORLD.bcast(scores), scores)

    def test_errors_on_all_ranks(self) -> None:
        if IS_OUTSIDE:
            return
        with model_of(golden("separate2")) as model:
            with self.assertRaisesRegex(stagformer.CommError, "rank 1 .* another call"):
                model.generate("one" if PART.rank == 0 else "two")
            with self.assertRaises(stagformer.InputError):
                model.generate("one", max_tokens=99)

            def hear(_: str) -> None:
                if PART.rank == 1:
                    raise LookupError("heard enough")

            kind = LookupError if PART.rank == 1 else stagformer.InterruptedCallError
            with self.assertRaisesRegex(kind, "heard enough"):
                model.generate("one", on_text=hear)
            self.assertEqual(len(model.generate("one", max_tokens=3).token_ids), 3)
        with self.assertRaisesRegex(stagformer.CheckpointError, "rank 1 .*missing.h5"):
            stagformer.Model(golden("separate2") if PART.rank == 0 else "missing.h5", comm=PART)
        with self.assertRaisesRegex(stagformer.CommError, "MPI_COMM_NULL"):
            stagformer.Model(golden("separate2"), comm=MPI.COMM_NULL)

    def test_another_mpi_is_refused(self) -> None:
        from stagformer import _engine
        address, size = MPI._addressof(PART), MPI._sizeof(PART)
        with self.assertRaisesRegex(stagformer.CommError, "Other MPI 9.9.* build both with the same MPI"):
            _engine.load(golden("separate2"), _engine.LoadOptions(), (address, size, "Other MPI v9.9, x"))


if __name__ == "__main__":
    heard = io.StringIO()  # of the ranks beside the first: shown where they fail
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Communicator)
    result = unittest.TextTestRunner(stream=sys.stderr if WORLD.rank == 0 else heard).run(suite)
    if not result.wasSuccessful():
        print(f"rank {WORLD.rank}: {heard.getvalue()}", file=sys.stderr)
    all_good = WORLD.allreduce(result.wasSuccessful(), op=MPI.LAND)
    raise SystemExit(0 if all_good else 1)
