"""Batches that are interrupted and go on."""

import contextlib
import os
import resource
import signal
import subprocess
import time

from support import COMMUNICATION, INPUT, INTERRUPTED, SECONDS, USAGE, Job, TestCase, by_id, checkpoint, launch, main, run

COUNT = 12


@contextlib.contextmanager
def small_disk(folder, pages):
    """A file system of so many pages of 4 KiB at `folder`; None where mounting is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "stagformer-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        for _ in range(50):  # a process that was killed may still hold it
            if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)


class Interrupted(TestCase):
    def setUp(self):
        super().setUp()
        path = self.prompts([{"id": f"p{i}", "prompt": "some prompt"[:i], "max_tokens": 5 + i} for i in range(1, COUNT)])
        self.output = self.folder / "results.jsonl"
        self.batch = ["generate", "--checkpoint", checkpoint("separate2"), "--prompts", path, "--ignore-eos", "--temperature",
                      "1", "--seed", "5", "--batch", "2"]
        result = self.succeeds(run(*self.batch))
        self.whole, self.lines = result.records, sorted(result.stdout.splitlines())

    def start(self, ranks, *args) -> Job:
        """A slow run that has written its first result."""
        job = Job(launch([*self.batch, "--output", self.output, "--delay-section", "0:60", *args], ranks=ranks))
        self.addCleanup(job.__exit__)
        job.wait_for(lambda: self.output.exists() and b"\n" in self.output.read_bytes(), "first result")
        return job

    def finish(self, *args, ranks=None):
        """The rest: every result once, byte for byte what an uninterrupted run gives."""
        result = self.succeeds(run(*self.batch, "--output", self.output, *args, ranks=ranks))
        self.assertEqual(result.stdout, b"", result)
        self.assertEqual(sorted(self.output.read_bytes().splitlines()), self.lines)
        return result

    def interrupted(self, job, codes=(INTERRUPTED,)):
        result = job.wait(SECONDS)
        self.fails(result, codes, "stopped by a signal", "goes on", limit=SECONDS + 60)
        partial = by_id(self.output.read_text())  # nothing but whole lines
        self.assertTrue(0 < len(partial) < len(self.whole), partial)
        for key, record in partial.items():
            self.assertEqual(record, self.whole[key])

    def test_signals_to_one_process(self):
        for name in (signal.SIGTERM, signal.SIGUSR1):
            with self.subTest(signal=name):
                job = self.start(None)
                os.kill(job.process.pid, name)
                os.kill(job.process.pid, name)
                self.interrupted(job)
                self.assertIn("results are there already", self.finish().stderr)
                self.output.unlink()

    def one_stops_all(self, ranks, stopped):
        for rank in stopped:
            job = self.start(ranks)
            os.kill(job.rank(rank), signal.SIGUSR1)
            self.interrupted(job)
            self.finish(ranks=ranks)
            self.output.unlink()

    def test_a_signal_to_one_rank_stops_all(self):
        self.one_stops_all(2, (0, 1))

    def test_a_signal_to_the_launcher(self):
        job = self.start(2)
        os.kill(job.process.pid, signal.SIGTERM)
        self.interrupted(job, (INTERRUPTED, 1))
        self.finish()

    def test_a_signal_to_one_replica_stops_all(self):
        self.one_stops_all(4, (0, 3))

    def test_a_killed_run_goes_on(self):
        job = self.start(2)
        os.kill(job.rank(0), signal.SIGKILL)
        job.wait(SECONDS)
        self.assertTrue(0 < len(self.output.read_text().splitlines()) < len(self.whole))
        self.finish()

    def test_replicas_are_stopped_and_killed_and_others_go_on(self):
        """One file, by several runs of different shapes, each of which leaves a part."""
        count = 0
        shapes = ((signal.SIGTERM, 2, 4), (signal.SIGKILL, 2, 4), (signal.SIGUSR1, 0, 3, "--replicas", "3"),
                  (signal.SIGKILL, 0, 2, "--replicas", "2"))
        for number, rank, ranks, *args in shapes:
            job = Job(launch([*self.batch, "--output", self.output, "--delay-section", "0:100", *args], ranks=ranks))
            self.addCleanup(job.__exit__)
            job.wait_for(lambda: self.output.exists() and self.output.read_bytes().count(b"\n") > count, "another result")
            os.kill(job.rank(rank), number)
            result = job.wait(SECONDS)
            self.assertNotEqual(result.code, 0, result)
            if number != signal.SIGKILL:
                self.fails(result, INTERRUPTED, "stopped by a signal", limit=SECONDS + 60)
            count = self.output.read_bytes().count(b"\n")
            self.assertLess(count, len(self.whole))
        self.finish(ranks=2)

    def test_a_replica_that_hangs_is_named(self):
        """By rank 0, which is itself at work, or by those that wait for it with nothing left to do."""
        for victim, words in ((1, "sign of life of its replica from rank 1"), (0, "from rank 0")):
            job = self.start(3, "--replicas", "3", "--stall-timeout", "2", "--delay-section", "1:100")
            os.kill(job.rank(victim), signal.SIGSTOP)
            self.fails(job.wait(SECONDS + 5), COMMUNICATION, "waited ", words, limit=SECONDS + 60)
            self.finish(ranks=2)
            self.output.unlink()

    def test_a_time_limit(self):
        """Not a part of what the run is: any other limit goes on."""
        for ranks, hours in ((None, "0.0004"), (2, "0.0005"), (4, "0.0006")):
            result = run(*self.batch, "--output", self.output, "--delay-section", "0:300", "--max-hours", hours, ranks=ranks)
            self.fails(result, INTERRUPTED, "time limit", f"--max-hours {hours}", "the same command goes on")
            self.assertGreater(result.seconds, 3600 * float(hours))
            self.assertLess(len(by_id(self.output.read_text())), len(self.whole))
        self.finish("--max-hours", "1", ranks=4)

    def test_a_time_limit_is_for_prompts(self):
        self.fails(run("generate", "--checkpoint", checkpoint("separate2"), "--prompt", "a", "--max-hours", "1"), USAGE,
                   "--max-hours", "--prompts")
        for hours in ("-1", "nan", "soon"):
            self.fails(run(*self.batch, "--max-hours", hours), USAGE, "max-hours")

    def test_one_run_at_a_time(self):
        """A second run on the same output leaves it alone, and so does one of another kind."""
        job = self.start(2, "--delay-section", "1:400")
        for other in ([], ["--top-k", "6"]):
            self.fails(run(*self.batch, "--output", self.output, *other), INPUT, f"{self.output} is being written by another run")
        self.assertIsNone(job.process.poll())
        os.kill(job.rank(1), signal.SIGTERM)
        self.interrupted(job)
        self.finish()

    def test_a_limit_on_file_sizes(self):
        """Met in the middle of a line, by a run that has other replicas to end, too."""
        for ranks in (None, 4):
            job = self.start(ranks, "--log-level", "error")
            job.wait_for(lambda: self.output.read_bytes().count(b"\n") > 2, "third result")
            limit = self.output.stat().st_size + 10
            resource.prlimit(job.rank(0), resource.RLIMIT_FSIZE, (limit, limit))
            self.fails(job.wait(SECONDS), INPUT, f"cannot write {self.output}", "File too large", limit=SECONDS + 60)
            self.assertTrue(self.output.read_bytes().endswith(b"}\n"))
            self.finish(ranks=ranks)
            self.output.unlink()

    def test_a_full_disk(self):
        """Space for the journal and a page of results; more is made later. Without the right to mount, test_a_limit_on_file_sizes
        has the same end."""
        with small_disk(self.folder / "disk", pages=8) as disk:
            if disk is None:
                return
            self.output = disk / "results.jsonl"
            self.batch += ["--log-probabilities"]
            path = self.prompts([{"id": i, "prompt": f"prompt {i}", "max_tokens": 15} for i in range(40)], "more.jsonl")
            self.batch[self.batch.index("--prompts") + 1] = path
            self.lines = sorted(self.succeeds(run(*self.batch)).stdout.splitlines())
            (disk / "ballast").write_bytes(bytes(6 * 4096))
            for ranks in (None, 2, 4):
                result = run(*self.batch, "--output", self.output, ranks=ranks)
                self.fails(result, INPUT, f"cannot write {self.output}", "No space left on device")
                partial = self.output.read_bytes()
                self.assertTrue(partial.endswith(b"}\n") and len(partial) < 4096, partial)
                self.assertTrue(set(partial.splitlines()) <= set(self.lines))
            os.truncate(disk / "ballast", 0)
            self.assertIn("results are there already", self.finish(ranks=4).stderr)

    def test_a_full_disk_has_no_room_for_the_journal(self):
        with small_disk(self.folder / "disk", pages=1) as disk:
            if disk is None:
                return
            (disk / "ballast").write_bytes(bytes(4096))
            self.output = disk / "results.jsonl"
            self.fails(run(*self.batch, "--output", self.output, ranks=2), INPUT, f"cannot write {self.output}.journal",
                       "No space left on device")
            os.truncate(disk / "ballast", 0)
            self.assertFalse((disk / "results.jsonl.journal").exists())

    def test_evaluation(self):
        """The ranks are at different passes when one of them is signalled."""
        text = self.file("text", "some text. " * 40)
        csv = self.folder / "tokens.csv"
        for name, ranks, rank in (("separate2", 2, 1), ("sections4", 4, 0), ("separate2", 4, 3)):
            with self.subTest(name=name, ranks=ranks):
                job = Job(launch(["eval", "--checkpoint", checkpoint(name), "--text", text, "--context", "16", "--chunk", "4",
                                  "--delay-section", "0:50", "--per-token", csv], ranks=ranks))
                self.addCleanup(job.__exit__)
                job.wait_for(lambda: "load s" in job.stderr(), "table of ranks")
                os.kill(job.rank(rank), signal.SIGUSR1)
                self.fails(job.wait(SECONDS), INTERRUPTED, "stopped by a signal", limit=SECONDS + 60)
                self.assertFalse(csv.exists())


class Journal(TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.prompts([{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}])
        self.output = self.folder / "results.jsonl"
        self.batch = ["generate", "--checkpoint", checkpoint("separate2"), "--prompts", self.path, "--output", self.output,
                      "--max-tokens", "4"]
        self.succeeds(run(*self.batch))
        self.results = self.output.read_bytes()

    def test_a_finished_run_has_nothing_to_do(self):
        self.assertEqual(self.succeeds(run(*self.batch, "--batch", "1", ranks=2)).stdout, b"")
        self.assertEqual(self.output.read_bytes(), self.results)

    def test_a_cut_line_is_repaired(self):
        for cut in (1, 5, len(self.results.splitlines()[-1]), len(self.results) - 1, len(self.results)):
            self.output.write_bytes(self.results[:-cut])
            self.succeeds(run(*self.batch))
            self.assertEqual(self.output.read_bytes(), self.results)

    def test_results_of_another_run_are_left_alone(self):
        others = (self.batch + ["--seed", "1"], self.batch[:-1] + ["5"], self.batch + ["--stop", "x"],
                  [checkpoint("chained2") if word == checkpoint("separate2") else word for word in self.batch])
        for other in others:
            self.fails(run(*other), INPUT, str(self.output), "another")
        self.prompts([{"prompt": "a"}, {"prompt": "b"}, {"prompt": "d"}])
        self.fails(run(*self.batch, ranks=2), INPUT, str(self.output), "another")
        self.assertEqual(self.output.read_bytes(), self.results)

    def test_lines_that_are_no_results(self):
        self.output.write_bytes(b"no result\n" + self.results)
        self.fails(run(*self.batch), INPUT, str(self.output), "no result")


if __name__ == "__main__":
    main()
