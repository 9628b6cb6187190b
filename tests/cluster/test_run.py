"""The command lines that launch/run makes: for Open MPI 4 and 5, MPICH and Slurm, with stand-ins that say they are these."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "cli"))

from support import PROGRAM, TestCase, checkpoint, main, run, run_command

LAUNCH = Path(__file__).parents[2] / "launch" / "run"
VERSIONS = {"openmpi4": "mpirun (Open MPI) 4.1.6", "openmpi5": "mpirun (Open MPI) 5.0.3", "mpich": "HYDRA build details:"}
CORES = len(os.sched_getaffinity(0))


class Commands(TestCase):
    def launch(self, *arguments: object, launcher: str = "openmpi4", mpi: str | None = None, **env: str):
        """launch/run --dry-run with an mpirun that only knows its version."""
        stand_in = Path(self.file("mpirun", f"#!/bin/sh\necho '{VERSIONS[launcher]}'\n"))
        stand_in.chmod(0o755)
        family = mpi or launcher.rstrip("45")
        command = [LAUNCH, "--mpi", family, "--dry-run", *arguments]
        settings = {"STAGFORMER_PROGRAM": PROGRAM, "STAGFORMER_MPIRUN": str(stand_in), **env}
        return run_command([str(word) for word in command], settings)

    def words(self, *arguments: object, **options) -> list[str]:
        """The words of the command, the launcher's path left out; --allow-run-as-root only root gets."""
        result = self.succeeds(self.launch(*arguments, **options))
        words = [word for word in shlex.split(result.text)[1:] if word != "--allow-run-as-root"]
        self.assertIn(PROGRAM, words)
        return words

    def refuses(self, *arguments: object, says: str, **options) -> None:
        result = self.launch(*arguments, **options)
        self.assertEqual((result.code, result.stdout), (2, b""), result)
        self.assertRegex(result.stderr, r"\Alaunch/run: error: [^\n]*\n\Z")
        self.assertIn(says, result.stderr)

    def test_one_host(self):
        # One rank of all cores can be bound; more ranks than cores cannot, and then waits must yield.
        self.assertEqual(self.words("-n", 1, "--", "eval", "--text", "a b"),
                         ["-n", "1", "--map-by", "slot:pe=1", "--bind-to", "core", "-x", "OMP_NUM_THREADS=1", PROGRAM,
                          "eval", "--text", "a b"])
        crowd = str(CORES + 1)
        self.assertEqual(self.words("-n", crowd, "bench")[2:-2],
                         ["--bind-to", "none", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-x", "OMP_NUM_THREADS=1"])
        self.assertNotIn("-bind-to", self.words("-n", crowd, "bench", launcher="mpich"))

    def test_threads_that_do_not_fit_are_not_bound(self):
        threads = CORES + 1
        words = self.words("-n", 1, "--threads", threads, "bench")
        self.assertIn("none", words)
        self.assertIn(f"OMP_NUM_THREADS={threads}", words)
        self.refuses("-n", 1, "--threads", threads, "--bind", "core", "bench", says="do not fit")

    def test_a_hosts_file_in_either_spelling(self):
        hosts = self.file("hosts", "# two hosts\n\nn1 slots=1\n  n2:1  # the other\n")
        words = self.words("--hosts", hosts, "--interface", "ib0", "bench")
        self.assertEqual(words[:4], ["-n", "2", "--host", "n1:1,n2:1"])
        for name in ("btl_tcp_if_include", "oob_tcp_if_include"):
            self.assertEqual(words[words.index(name) + 1], "ib0")
        self.assertIn("oob_tcp_keepalive_time", words)
        words = self.words("--hosts", hosts, "--interface", "ib0", "bench", launcher="openmpi5")
        self.assertNotIn("oob_tcp_if_include", words)
        self.assertEqual(words[words.index("prte_if_include") - 1], "--prtemca")
        words = self.words("--hosts", hosts, "--interface", "ib0", "bench", launcher="mpich")
        self.assertEqual(words[:4], ["-n", "2", "-hosts", "n1:1,n2:1"])
        self.assertEqual(words[words.index("-iface") + 1], "ib0")

    def test_more_ranks_than_slots(self):
        hosts = self.file("hosts", "n1:1\nn2:1\n")
        self.assertIn("--oversubscribe", self.words("--hosts", hosts, "-n", "5", "bench"))

    def test_rank_files(self):
        ranks = self.file("ranks", "rank 0=n1 slot=0\nrank 1=n2 slot=0\n")
        self.assertEqual(self.words("--rankfile", ranks, "bench")[:4], ["-n", "2", "--rankfile", ranks])
        self.assertIn(f"rankfile:file={ranks}", self.words("--rankfile", ranks, "bench", launcher="openmpi5"))
        self.refuses("--rankfile", ranks, "bench", launcher="mpich", says="Open MPI")

    def test_a_slurm_allocation(self):
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_CPUS_ON_NODE": "16",
               "SLURM_CPUS_PER_TASK": "8", "OMP_NUM_THREADS": ""}
        self.assertEqual(self.words("bench", **job)[:8], ["-n", "4", "--map-by", "slot:pe=8", "--bind-to", "core", "-x",
                                                          "OMP_NUM_THREADS=8"])
        words = self.words("--srun", "bench", **job)
        for word in ("--mpi=pmix", "--ntasks=4", "--cpus-per-task=8", "--cpu-bind=cores", "--kill-on-bad-exit=1"):
            self.assertIn(word, words)
        self.assertIn("--mpi=pmi2", self.words("--srun", "bench", launcher="mpich", **job))
        self.refuses("--srun", "bench", says="allocation")

    def test_what_is_wrong_is_said_in_a_line(self):
        self.refuses(says="nothing to run")
        self.refuses("-n", "two", "bench", says="not two")
        self.refuses("-n", says="-n needs a value")
        self.refuses("--bind", "socket", "bench", says="not socket")
        self.refuses("--nodes", "2", "bench", says="unknown option --nodes")
        self.refuses("--hosts", self.folder / "none", "bench", says="cannot read the hosts file")
        self.refuses("--hosts", self.file("bad", "n1 slots=1\nn2 slots=x\n"), "bench", says="line 2")
        self.refuses("--hosts", self.file("empty", "# nobody\n"), "bench", says="names no host")
        self.refuses("bench", launcher="mpich", mpi="openmpi", says="no mpirun of openmpi")
        self.refuses("bench", says="is no program", STAGFORMER_PROGRAM=str(self.folder))


class Runs(TestCase):
    def test_it_runs_what_it_prints(self):
        arguments = ["generate", "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--max-tokens", "5", "--token-ids"]
        expected = self.succeeds(run(*arguments))
        result = self.succeeds(run_command([str(LAUNCH), "-n", "2", "--threads", "1", "--bind", "none", "--", *arguments],
                                           {"STAGFORMER_PROGRAM": PROGRAM}))
        self.assertEqual(result.stdout, expected.stdout)
        self.assertIn("grid: 2 rank(s)", result.stderr)
        command = next(line for line in result.stderr.splitlines() if line.startswith("+ "))
        again = subprocess.run(shlex.split(command[2:]), capture_output=True)
        self.assertEqual(again.stdout, expected.stdout, command)


class Watch(TestCase):
    """The stand-in for a launcher that a lost host keeps from ending."""

    def watch(self, script: str, seconds: str = "1"):
        return run_command([str(LAUNCH.parent / "lib" / "watch"), seconds, "sh", "-c", script])

    def test_a_launcher_that_hangs_after_an_error_is_ended(self):
        result = self.watch("echo out; echo 'stagformer: error: rank 0: waited' >&2; trap '' TERM; exec sleep 100")
        self.assertEqual((result.code, result.stdout), (5, b"out\n"), result)
        self.assertLess(result.seconds, 30)

    def test_other_ends_are_passed_on(self):
        self.assertEqual(self.watch("exit 0").code, 0)
        self.assertEqual(self.watch("echo 'stagformer: error: x' >&2; sleep 0.2; exit 4").code, 4)
        self.assertEqual(self.watch("kill -9 $$").code, 137)
        self.assertIn("no rank has said why", self.watch("exit 9").stderr)

    def test_a_quiet_launcher_may_take_its_time(self):
        self.assertEqual(self.watch("sleep 2; echo done", "0.2").stdout, b"done\n")


if __name__ == "__main__":
    main()
