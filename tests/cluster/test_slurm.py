"""The job scripts of slurm/ in a real Slurm of four made-up nodes, each started by srun and by mpirun.

STAGFORMER_CLUSTER_LONG=1 adds what takes a minute and more: Slurm's own warning before its own time limit.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "cli"))

from local_slurm import LocalSlurm
from support import PATIENCE, PROGRAM, TestCase, by_id, checkpoint, main, run

SCRIPTS = Path(__file__).parents[2] / "slurm"
LAUNCHERS = {"srun": "", "mpirun": "mpirun --bind-to none --oversubscribe"}  # "": what the script says
SMALL = ("--nodes=2", "--cpus-per-task=1")
END = 90 * PATIENCE  # a job that takes longer is taken for hung
LONG = os.environ.get("STAGFORMER_CLUSTER_LONG") == "1"

slurm: LocalSlurm  # one for all tests


class SlurmCase(TestCase):
    def submit(self, script: str, *arguments: object, launcher: str = "srun", options: tuple = SMALL, **variables: object) -> str:
        """sbatch in the test's folder, with what a user sets before it."""
        env = {"STAGFORMER_PROGRAM": PROGRAM, **{key: str(value) for key, value in variables.items()}}
        if LAUNCHERS[launcher]:
            env["LAUNCHER"] = LAUNCHERS[launcher]
        number = slurm.submit(*options, f"--chdir={self.folder}", SCRIPTS / f"{script}.sbatch", *arguments, env=env)
        self.addCleanup(slurm.run, "scancel", "--quiet", number)
        return number

    def log(self, number: str) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob(f"*-{number}*.log")))

    def told(self, number: str) -> str:
        """For a failure: what Slurm and the job say."""
        job = slurm.job(number)
        state = " ".join(f"{key}={job[key]}" for key in ("JobState", "ExitCode", "Restarts"))
        return f"job {number}: {state}\n{self.log(number)}"

    def ended(self, number: str, state: str = "COMPLETED") -> dict:
        job = slurm.wait(number, END)
        self.assertEqual(job["JobState"], state, self.told(number))
        return job

    def until(self, condition, number: str) -> None:
        """Waits while the job runs."""
        end = time.monotonic() + END
        while not condition():
            if time.monotonic() > end or slurm.job(number)["JobState"] not in ("PENDING", "CONFIGURING", "RUNNING"):
                self.fail(self.told(number))
            time.sleep(0.05)


class Generate(SlurmCase):
    arguments = ("--prompt", "Once", "--max-tokens", "20", "--ignore-eos", "--temperature", "1", "--seed", "3", "--token-ids")

    def test_the_text_of_one_rank(self):
        expected = self.succeeds(run("generate", "--checkpoint", checkpoint("sections4"), *self.arguments)).stdout
        for launcher in LAUNCHERS:
            number = self.submit("generate", *self.arguments, launcher=launcher, options=("--nodes=4", "--cpus-per-task=1"),
                                 CHECKPOINT=checkpoint("sections4"))
            self.ended(number)
            self.assertEqual((self.folder / f"stagformer-{number}.txt").read_bytes(), expected, self.log(number))
            self.assertIn("grid: 4 rank(s)", self.log(number))

    def test_a_missing_checkpoint_is_an_error_of_the_job(self):
        number = self.submit("generate", "--prompt", "a", CHECKPOINT=self.folder / "none.h5")
        self.assertEqual(self.ended(number, "FAILED")["ExitCode"], "4:0")
        self.assertEqual(self.log(number).count("stagformer: error:"), 1, self.log(number))

    def test_a_killed_rank_ends_the_job(self):
        for launcher in LAUNCHERS:
            number = self.submit("generate", *self.arguments, "--delay-section", "0:1000", launcher=launcher,
                                 CHECKPOINT=checkpoint("separate2"))
            self.until(lambda: "load s" in self.log(number), number)
            begin = time.monotonic()
            os.kill(self.a_rank(number), signal.SIGKILL)
            self.ended(number, "FAILED")
            self.assertLess(time.monotonic() - begin, 15 * PATIENCE, self.log(number))

    def a_rank(self, job: str) -> int:
        """A process of the program in the job."""
        for pid in slurm.left():
            if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(PROGRAM):
                if f"SLURM_JOB_ID={job}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return pid
        raise AssertionError(f"no rank of job {job}\n{self.log(job)}")


class Batch(SlurmCase):
    def setUp(self):
        super().setUp()
        self.count = 12
        path = self.prompts([{"id": i, "prompt": "some prompt"[:i], "max_tokens": 5 + i} for i in range(1, self.count + 1)])
        self.arguments = ("--ignore-eos", "--temperature", "1", "--seed", "5", "--batch", "1")
        self.files = {"CHECKPOINT": checkpoint("separate2"), "PROMPTS": path, "OUTPUT": self.folder / "results.jsonl"}
        result = run("generate", "--checkpoint", checkpoint("separate2"), "--prompts", path, *self.arguments)
        self.whole = self.succeeds(result).records

    def start(self, launcher: str, *options: str, delay_ms: int = 60) -> str:
        """A slow job of two replicas that has written its first result."""
        number = self.submit("batch", *self.arguments, "--delay-section", f"0:{delay_ms}", launcher=launcher,
                             options=("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1", *options), **self.files)
        output = self.files["OUTPUT"]
        self.until(lambda: output.exists() and b"\n" in output.read_bytes(), number)
        return number

    def goes_on(self, number: str) -> None:
        """Ends well after one restart that found some results, and with all of them."""
        job = self.ended(number)
        self.assertEqual(job["Restarts"], "1", self.told(number))
        self.assertEqual(self.log(number).count("2 replica(s)"), 2, self.log(number))
        self.assertRegex(self.log(number), rf"results\.jsonl: [1-9]\d* of {self.count} results are there already")
        self.assertEqual(by_id(self.files["OUTPUT"].read_text()), self.whole)

    def test_the_warning_before_the_limit(self):
        """srun: USR1 to the batch shell alone, as --signal=B: does it."""
        number = self.start("srun")
        slurm.run("scancel", "--batch", "--signal=USR1", number)
        self.goes_on(number)
        self.assertIn("time is up", self.log(number))
        self.assertIn("stopped by a signal", self.log(number))

    def test_requeued_by_hand(self):
        """mpirun: scontrol requeue, as after a lost node."""
        number = self.start("mpirun")
        slurm.run("scontrol", "requeue", number)
        self.goes_on(number)

    def test_cancelled_is_not_requeued(self):
        number = self.start("srun")
        slurm.run("scancel", number)
        self.ended(number, "CANCELLED")
        partial = by_id(self.files["OUTPUT"].read_text())
        self.assertTrue(0 < len(partial) < len(self.whole), partial)

    if LONG:
        def slices(self, launcher: str) -> None:
            """More work than a minute, with Slurm's own limit and warning: as many slices as it takes."""
            number = self.start(launcher, "--time=1", "--signal=B:USR1@40", delay_ms=500)
            job = slurm.wait(number, 300 * PATIENCE)
            self.assertEqual(job["JobState"], "COMPLETED", self.log(number))
            self.assertGreaterEqual(int(job["Restarts"]), 1, self.log(number))
            self.assertEqual(by_id(self.files["OUTPUT"].read_text()), self.whole)

        def test_slices_under_srun(self):
            self.slices("srun")

        def test_slices_under_mpirun(self):
            self.slices("mpirun")


class Scaling(SlurmCase):
    def setUp(self):
        super().setUp()
        self.results = self.folder / "study"

    def study(self, ranks: list[int], launcher: str = "srun") -> tuple[str, str]:
        """An array of these points and the job that collects them: both numbers."""
        study = {"title": "Slurm", "kind": "strong", "checkpoint": checkpoint("sections4"), "ranks": ranks, "predict": False,
                 "prompt_tokens": 4, "decode_tokens": 3, "repetitions": 1, "rounds": 1}
        self.files = {"STUDY": self.file("study.json", json.dumps(study)), "RESULTS": self.results,
                      "SCALING_STUDY": SCRIPTS.parent / "launch" / "scaling-study"}
        array = self.submit("scaling-array", launcher=launcher, **self.files,
                            options=("--nodes=4", "--cpus-per-task=1", f"--array=1-{len(ranks)}", "--exclusive=user"))
        return array, self.collect(f"--dependency=afterany:{array}")

    def collect(self, *options: str) -> str:
        return self.submit("scaling-collect", options=options, **self.files)

    def test_an_array_and_its_table(self):
        for launcher in LAUNCHERS:
            self.results = self.folder / launcher
            array, collect = self.study([1, 2, 4], launcher=launcher)
            slurm.wait(collect, END)
            self.ended(array)
            self.ended(collect)
            rows = list(csv.DictReader((self.results / "table.csv").read_text().splitlines()))
            self.assertEqual([(row["point"], row["ranks"]) for row in rows], [("1", "1"), ("2", "2"), ("3", "4")])
            self.assertEqual(len({row["tokens"] for row in rows}), 1, rows)
            self.assertTrue(all(float(row["sequential_ms"]) > 0 and float(row["one_rank_ms"]) > 0 for row in rows), rows)

    def test_a_point_that_fails_is_named(self):
        array, collect = self.study([1, 3])
        self.ended(collect, "FAILED")
        self.assertIn("scaling-study: error: point 2 (3 rank(s)", self.log(array))
        self.assertIn("scaling-study: error: point 2 (3 rank(s)", self.log(collect))
        self.assertEqual(len((self.results / "table.csv").read_text().splitlines()), 2)


if __name__ == "__main__":
    with LocalSlurm() as slurm:
        main()
