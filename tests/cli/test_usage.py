"""What the command line refuses, and help and version."""

import subprocess

from support import INPUT, USAGE, Job, TestCase, checkpoint, launch, main, run

MODEL = ("generate", "--checkpoint", checkpoint("separate2"))
PROMPT = (*MODEL, "--prompt", "a")


class Usage(TestCase):
    def refused(self, *args, words=(), ranks=None):
        return self.fails(run(*args, ranks=ranks), USAGE, *words)

    def test_subcommands(self):
        self.refused(words=["subcommand"])
        self.refused("generat", words=["generat"])
        self.refused("generate", "eval")
        self.refused("--checkpoint", "x", "generate")

    def test_unknown_flags(self):
        self.refused(*PROMPT, "--temprature", "1", words=["--temprature"])
        self.refused(*PROMPT, "--temp", "1", words=["--temp"])
        self.refused(*PROMPT, "more", words=["more"])
        self.refused("inspect", "--prompt", "a", words=["--prompt"])

    def test_values(self):
        for flag, values in {
            "--temperature": ["-1", "nan", "inf", "warm", ""],
            "--top-p": ["2", "-0.1", "nan", "0"],
            "--min-p": ["1.5", "-1", "nan"],
            "--top-k": ["-1", "1.5", "x"],
            "--max-tokens": ["0", "abc", "-3", "1.5", "99999999999999999999", "12x", "1e1", "0x10"],
            "--seed": ["-1", "x", "18446744073709551616"],
            "--threads": ["0", "-2", "many"],
            "--replicas": ["0"],
            "--batch": ["0"],
            "--chunk": ["0"],
            "--schedule": ["fast", ""],
            "--head": ["first"],
            "--decode": ["sloppy"],
            "--stall-timeout": ["-1", "nan", "soon"],
            "--delay-section": ["0", "a:1", "0:-1", "0:nan", "0:1x", "-1:5"],
            "--memory-limit": ["lots", "-1", "1X", ""],
            "--log-level": ["loud"],
            "--stop": [""],
        }.items():
            for value in values:
                with self.subTest(flag=flag, value=value):
                    result = self.refused(*PROMPT, f"{flag}={value}")
                    self.assertIn(flag.lstrip("-"), result.errors[0].replace("_", "-"))

    def test_values_missing_or_twice(self):
        self.refused(*MODEL, "--prompt", words=["--prompt"])
        self.refused(*PROMPT, "--seed", "1", "--seed", "2", words=["--seed"])
        self.refused(*PROMPT, "--ignore-eos=perhaps", words=["ignore-eos"])

    def test_numbers_are_decimal(self):
        for written, tokens in (("010", 10), ("8", 8)):
            result = run(*PROMPT, "--ignore-eos", "--token-ids", "--max-tokens", written)
            self.assertEqual(len(self.succeeds(result).text.split()), tokens)

    def test_a_prompt_is_needed_and_stdin_is_never_read(self):
        with Job(launch(list(MODEL)), stdin=subprocess.PIPE) as job:  # a pipe that never ends
            self.fails(job.wait(), USAGE, "--prompt")
            job.process.stdin.close()
        self.refused(*PROMPT, "--prompts", "f.jsonl", words=["--prompt", "--prompts"])
        self.refused("generate", "--prompt", "a", words=["--checkpoint", "required"])
        self.refused("eval", "--checkpoint", checkpoint("separate2"), words=["--text", "required"])
        self.refused("inspect", words=["--checkpoint", "required"])
        self.refused("convert", "--input", checkpoint("separate2"), words=["--output", "required"])

    def test_flags_that_do_not_go_together(self):
        self.refused(*MODEL, "--prompts", "f.jsonl", "--token-ids", words=["--token-ids"])
        self.refused("eval", "--checkpoint", checkpoint("separate2"), "--text", "t", "--recurrent-after", "3",
                     words=["--recurrent-after", "--decode recurrent"])
        self.refused(*PROMPT, "--draft", "2", "--decode", "recurrent", words=["--draft", "--decode exact"])
        self.refused(*PROMPT, "--draft", "2", "--head", "sliced", words=["--draft", "--head last"])
        for context in ("1", "0", "-5"):
            self.refused("eval", "--checkpoint", checkpoint("separate2"), "--text", "t", "--context", context,
                         words=["context"])

    def test_many_ranks_say_it_once(self):
        self.refused("generate", "--bogus", ranks=2, words=["--bogus"])
        self.refused(*PROMPT, "--top-p", "2", ranks=2, words=["top-p"])


class HelpAndVersion(TestCase):
    def test_help(self):
        text = self.succeeds(run("--help")).text
        for word in ("generate", "eval", "bench", "inspect", "convert"):
            self.assertIn(word, text)
        for command, flag in {"generate": "--max-tokens", "eval": "--per-token", "bench": "--random", "inspect": "--verify",
                              "convert": "--split"}.items():
            text = self.succeeds(run(command, "--help")).text
            self.assertIn(flag, text)
            self.assertEqual(text, self.succeeds(run(command, "-h", "--settings", "/nonexistent")).text)

    def test_version(self):
        self.assertRegex(self.succeeds(run("--version")).text, r"\Astagformer \d+\.\d+\.\d+ .*\n\Z")

    def test_many_ranks_print_once(self):
        for args in (("--version",), ("generate", "--help")):
            self.assertEqual(self.succeeds(run(*args, ranks=2)).stdout, run(*args).stdout)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            for args in (("--help",), ("--version",), ("inspect", "--checkpoint", checkpoint("separate2"))):
                self.fails(run(*args, stdout=full), INPUT, "standard output")


if __name__ == "__main__":
    main()
