"""Ranks that die or stop: the job ends in seconds, with one message."""

import os
import signal
import socket

from support import COMMUNICATION, SECONDS, Job, TestCase, checkpoint, launch, main, run, run_command

HOST = socket.gethostname()
SLOW = ("--prompt", "hello", "--ignore-eos", "--max-tokens", "50", "--token-ids", "--delay-section", "0:100")


class Ranks(TestCase):
    def start(self, name, ranks, *args) -> Job:
        job = Job(launch(["generate", "--checkpoint", checkpoint(name), *SLOW, *args], ranks=ranks))
        self.addCleanup(job.__exit__)
        job.wait_for(job.stdout, "first token")
        return job

    def test_a_killed_rank_ends_the_job(self):
        for victim in (0, 1):
            with self.subTest(victim=victim):
                job = self.start("separate2", 2)
                os.kill(job.rank(victim), signal.SIGKILL)
                result = job.wait(SECONDS)
                self.assertNotEqual(result.code, 0, result)

    def stopped(self, name, ranks, victim, *args):
        job = self.start(name, ranks, "--stall-timeout", "2", *args)
        os.kill(job.rank(victim), signal.SIGSTOP)
        result = self.fails(job.wait(SECONDS), COMMUNICATION, "waited 2 s for", "at step", "--stall-timeout", stdout=None,
                            limit=SECONDS + 5)
        self.assertRegex(result.errors[0], f"error: rank [^{victim}] on host {HOST}: waited", result)
        self.assertIn(f"rank {victim} on host {HOST}", result.errors[0], result)
        return result

    def test_a_stopped_rank_is_named(self):
        for victim in (0, 1):
            result = self.stopped("separate2", 2, victim)
            self.assertIn(f"from rank {victim} on", result.errors[0], result)

    def test_several_ranks_wait_for_one(self):
        """All of the others notice, one of them speaks, and knows the one, whomever it waited for itself."""
        self.stopped("sections4", 4, 2)
        self.stopped("sections4", 4, 1, "--head", "sliced")
        self.stopped("sections4", 4, 3, "--head", "last")

    def test_a_rank_that_stops_before_it_starts(self):
        """One rank sleeps before the program begins: no other waits for ever."""
        arguments = ["generate", "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--max-tokens", "3"]
        late = ["env", "sh", "-c", 'sleep 3; exec "$0" "$@"', launch(["x"])[0], *arguments]
        self.succeeds(run_command(launch(arguments, late)))

    def test_replicas_wait_for_each_other(self):
        """A replica that has long finished is no stall: one does a single step, the other many."""
        prompts = self.prompts([{"prompt": "a", "max_tokens": 1}, {"prompt": "b", "max_tokens": 40}])
        result = self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--prompts", prompts, "--ignore-eos",
                                   "--stall-timeout", "2", "--delay-section", "0:100", ranks=4))
        self.assertEqual(len(result.records), 2)


if __name__ == "__main__":
    main()
