"""Jobs whose ranks do not fit: number, launcher, or ranks that differ from each other."""

import os
import shutil
import unittest

from support import (CHECKPOINT, COMMUNICATION, CONFIG, LIBRARY, OTHER_MPIEXEC, PROGRAM, USAGE, TestCase, checkpoint,
                     launch, run, run_command)

PROMPT = ("--prompt", "hello", "--max-tokens", "3", "--stall-timeout", "10")


def generate(name="separate2", *args):
    return ("generate", "--checkpoint", checkpoint(name), *PROMPT, *args)


class WorldSizes(TestCase):
    def test_a_size_that_fits_no_grid_lists_those_that_do(self):
        self.fails(run(*generate(), ranks=3), CONFIG, "2 sections", "3 ranks", "1, or a multiple of 2")
        self.fails(run(*generate("sections4"), ranks=3), CONFIG, "1, 2, or a multiple of 4")

    def test_replicas_that_do_not_fit(self):
        self.fails(run(*generate(), "--replicas", "2", ranks=3), CONFIG, "3 ranks", "2 replicas")
        self.fails(run(*generate(), "--replicas", "2"), CONFIG, "1 rank", "2 replicas")
        self.fails(run(*generate(), "--replicas", "1", ranks=4), CONFIG, "4 ranks", "1 replicas")

    def test_replicas_of_several_sections_a_rank(self):
        one = self.succeeds(run(*generate("sections4")))
        two = self.succeeds(run(*generate("sections4"), "--replicas", "2", ranks=4))
        self.assertEqual(one.stdout, two.stdout)
        self.assertIn("2 replica(s) of 2 rank(s), 2 section(s) a rank", two.stderr)


class Launchers(TestCase):
    def test_launcher_of_another_mpi(self):
        for launcher in filter(None, [OTHER_MPIEXEC]):
            for args in (generate(), ("convert", "--input", checkpoint("separate2"), "--output", self.folder / "out.h5")):
                result = run_command([launcher, "-n", "2", PROGRAM, *map(str, args)])
                self.fails(result, COMMUNICATION, "one of 2 tasks", "alone in its MPI world", "mpirun")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_singletons_of_a_batch_system(self):
        for size, rank in (("PMI_SIZE", "PMI_RANK"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")):
            env = {size: "2", rank: "0"}
            self.fails(run(*generate(), env=env), COMMUNICATION, "one of 2 tasks", size)
            silent = run(*generate(), env=env | {rank: "1"})  # only one of them speaks
            self.assertEqual((silent.code, silent.errors, silent.stdout), (COMMUNICATION, [], b""), silent)

    def test_one_task_in_a_larger_allocation(self):
        self.succeeds(run(*generate(), env={"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}))


class RanksThatDiffer(TestCase):
    def differ(self, one, other, code, *words):
        self.fails(run_command(launch(one, other)), code, *words)
        self.fails(run_command(launch(other, one)), code, *words)

    def test_flags(self):
        self.differ(generate(), generate("separate2", "--chunk", "8"), COMMUNICATION, "chunk", "8", "64")
        self.differ(generate(), generate("separate2", "--temperature", "1"), COMMUNICATION, "temperature")

    def test_one_rank_has_bad_flags(self):
        self.differ(generate(), generate("separate2", "--top-p", "2"), USAGE, "top-p")

    def test_subcommands(self):
        text = self.file("text", "some text")
        evaluate = ("eval", "--checkpoint", checkpoint("separate2"), "--text", text, "--stall-timeout", "10")
        self.differ(generate(), evaluate, COMMUNICATION, "generate", "eval")
        self.differ(generate(), ("inspect", "--checkpoint", checkpoint("separate2")), COMMUNICATION, "generate", "inspect")
        self.differ(generate(), ("--version",), COMMUNICATION, "generate")

    def test_checkpoints(self):
        other = ("generate", "--checkpoint", checkpoint("separate2"), *PROMPT)
        self.differ(generate("chained2"), other, CHECKPOINT, "differs from rank 0's")
        self.differ(generate("separate2"), ("generate", "--checkpoint", self.folder / "none.h5", *PROMPT), CHECKPOINT,
                    "none.h5")

    def test_checkpoints_that_differ_far_behind_their_heads(self):
        damaged = self.copy("separate2")
        content = bytearray(damaged.read_bytes())
        content[-2000] ^= 1  # in a weight that rank 1 reads: the last dataset, in front of HDF5's own tail
        damaged.write_bytes(content)
        result = run_command(launch(generate(), ("generate", "--checkpoint", damaged, *PROMPT)))
        self.fails(result, CHECKPOINT, str(damaged), "sections/1", "checksum")

    def test_equal_checkpoints_under_other_names(self):
        copy = self.copy("separate2")
        self.succeeds(run_command(launch(generate(), ("generate", "--checkpoint", copy, *PROMPT))))

    def test_programs_of_another_build(self):
        program = shutil.copy(PROGRAM, self.folder / "stagformer")
        with open(program, "ab") as file:
            file.write(b"\0")
        arguments = list(map(str, generate()))
        self.differ(arguments, ["env", program, *arguments], COMMUNICATION, "another build")

    def test_libraries_of_another_build(self):
        library = shutil.copy(os.path.realpath(LIBRARY), self.folder / next(
            name for name in sorted(os.listdir(os.path.dirname(LIBRARY)), key=len) if name.startswith("libstagformer.so.")))
        with open(library, "ab") as file:
            file.write(b"\0")
        arguments = list(map(str, generate()))
        other = ["env", f"LD_LIBRARY_PATH={self.folder}", PROGRAM, *arguments]
        self.differ(arguments, other, COMMUNICATION, "another build")


if __name__ == "__main__":
    unittest.main()
