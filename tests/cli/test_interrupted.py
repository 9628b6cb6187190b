"""Batches that are interrupted and go on."""

import os
import signal

from support import INPUT, INTERRUPTED, SECONDS, Job, TestCase, by_id, checkpoint, launch, main, run

COUNT = 12


class Interrupted(TestCase):
    def setUp(self):
        super().setUp()
        path = self.prompts([{"id": f"p{i}", "prompt": "some prompt"[:i], "max_tokens": 5 + i} for i in range(1, COUNT)])
        self.output = self.folder / "results.jsonl"
        self.batch = ["generate", "--checkpoint", checkpoint("separate2"), "--prompts", path, "--ignore-eos", "--temperature",
                      "1", "--seed", "5", "--batch", "2"]
        self.whole = self.succeeds(run(*self.batch)).records

    def start(self, ranks) -> Job:
        """A slow run that has written its first result."""
        job = Job(launch([*self.batch, "--output", self.output, "--delay-section", "0:60"], ranks=ranks))
        self.addCleanup(job.__exit__)
        job.wait_for(lambda: self.output.exists() and b"\n" in self.output.read_bytes(), "first result")
        return job

    def finish(self, ranks=None, **more):
        result = self.succeeds(run(*self.batch, "--output", self.output, ranks=ranks, **more))
        self.assertEqual(result.stdout, b"", result)
        self.assertEqual(by_id(self.output.read_text()), self.whole)
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
