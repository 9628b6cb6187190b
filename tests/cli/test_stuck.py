"""Ranks that die or stop: the job ends in seconds, with one message."""

import os
import re
import signal
import socket
import time
import unittest

from support import (COMMUNICATION, ERROR, PROGRAM, SECONDS, Job, Run, TestCase, checkpoint, is_open_mpi, launch, main, run,
                     run_command)

STOP_IN_CALL = os.environ.get("STAGFORMER_STOP_IN_CALL", "")
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

    def test_a_rank_that_stops_in_its_prompt(self):
        job = Job(launch(["generate", "--checkpoint", checkpoint("separate2"), "--prompt", "a prompt that takes three seconds",
                          "--max-tokens", "3", "--chunk", "1", "--delay-section", "0:100", "--stall-timeout", "2"], ranks=2))
        self.addCleanup(job.__exit__)
        job.wait_for(lambda: "weights" in job.stderr(), "table of ranks")
        time.sleep(0.5)
        os.kill(job.rank(0), signal.SIGSTOP)
        result = self.fails(job.wait(SECONDS), COMMUNICATION, f"rank 1 on host {HOST}: waited 2 s for ", "from rank 0 on",
                            limit=SECONDS + 5)
        self.assertRegex(result.errors[0], r"at step \d", result)

    def test_a_replica_that_others_wait_for_at_the_end(self):
        """Rank 0's replica is through; of the other one a rank stops."""
        prompts = self.prompts([{"prompt": "a", "max_tokens": 1}, {"prompt": "b", "max_tokens": 40}])
        for victim in (2, 3):
            with self.subTest(victim=victim):
                job = Job(launch(["generate", "--checkpoint", checkpoint("separate2"), "--prompts", prompts, "--ignore-eos",
                                  "--stall-timeout", "2", "--delay-section", "0:100"], ranks=4))
                self.addCleanup(job.__exit__)
                job.wait_for(job.stdout, "first result")
                os.kill(job.rank(victim), signal.SIGSTOP)
                self.fails(job.wait(SECONDS), COMMUNICATION, "waited 2 s for", stdout=None, limit=SECONDS + 5)

    def test_a_rank_that_stops_before_it_starts(self):
        """One rank sleeps before the program begins: no other waits for ever."""
        arguments = ["generate", "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--max-tokens", "3"]
        late = ["env", "sh", "-c", 'sleep 3; exec "$0" "$@"', launch(["x"])[0], *arguments]
        self.succeeds(run_command(launch(arguments, late)))

    def test_replicas_wait_for_each_other(self):
        """A replica that has long finished is no stall: one does a single step, the other many."""
        prompts = self.prompts([{"prompt": "a", "max_tokens": 1}, {"prompt": "b", "max_tokens": 40}])
        result = self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--prompts", prompts, "--ignore-eos",
                                   "--stall-timeout", "3", "--delay-section", "0:150", ranks=4))
        self.assertEqual(len(result.records), 2)


@unittest.skipUnless(STOP_IN_CALL, "not under sanitizers")
class Calls(TestCase):
    """Rank 1 stops in a call of MPI that rank 0 then waits in: from the beginning of a job to its very end."""

    def run_stopped(self, call: str, at: int) -> Run:
        return run_command(launch(["env", f"LD_PRELOAD={STOP_IN_CALL}", f"STOP_IN={call}", f"STOP_AT={at}", PROGRAM, "generate",
                                   "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--max-tokens", "5", "--ignore-eos",
                                   "--stall-timeout", "2"], ranks=2), timeout=SECONDS + 10)

    def ends(self, call: str, at: int, words: str, seconds: int = 2) -> None:
        result = self.fails(self.run_stopped(call, at), COMMUNICATION, stdout=None, limit=SECONDS + 10)
        self.assertRegex(result.errors[0], rf"^{ERROR}rank 0 on host {HOST}: waited {seconds} s {words}", result)

    def calls(self, call: str) -> int:
        """Of rank 1 in the whole run."""
        result = self.succeeds(self.run_stopped(call, 0))
        return int(re.search(r"^calls: (\d+)$", result.stderr, re.MULTILINE).group(1))

    def test_at_the_start(self):
        self.ends("MPI_Init_thread", 1, "in MPI_Init for another rank", 12)
        self.ends("MPI_Comm_dup", 1, "in MPI_Comm_dup for another rank")

    def test_while_the_ranks_are_placed(self):
        self.ends("MPI_Comm_split", 1, "in MPI_Comm_split for another rank")
        self.ends("MPI_Iallgather", 3, "for an all-gather from rank 1 on host")

    def test_in_the_loop(self):
        self.ends("MPI_Start", self.calls("MPI_Start") - 2, f"for .* from rank 1 on host {HOST} at step ")

    def test_in_the_report(self):
        self.ends("MPI_Iallgather", self.calls("MPI_Iallgather"), "for an all-gather from rank 1 on host")

    def test_at_the_end(self):
        if is_open_mpi():
            return self.ends("MPI_Finalize", 1, "in MPI_Finalize for another rank", 12)
        # MPICH's own end hangs at times: when all ranks are there the job ends with its code all the same.
        self.succeeds(self.run_stopped("MPI_Finalize", 1))


if __name__ == "__main__":
    main()
