"""Settings from defaults, a file, the environment and flags, in rising order."""

import json
import unittest

from support import USAGE, TestCase, checkpoint, run

MODEL = ("generate", "--checkpoint", checkpoint("separate2"), "--prompt", "hello", "--ignore-eos", "--token-ids",
         "--log-level", "off")


class Settings(TestCase):
    def settings(self, content) -> str:
        return self.file("settings.json", content if isinstance(content, (str, bytes)) else json.dumps(content))

    def count(self, *args, env=None) -> int:
        return len(self.succeeds(run(*MODEL, *args, env=env)).text.split())

    def test_flags_win_over_environment_over_file(self):
        file = ("--settings", self.settings({"max-tokens": 3}))
        environment = {"STAGFORMER_MAX_TOKENS": "4"}
        self.assertEqual(self.count(*file), 3)
        self.assertEqual(self.count(*file, env=environment), 4)
        self.assertEqual(self.count(*file, "--max-tokens", "5", env=environment), 5)
        self.assertEqual(self.count("--max-tokens", "3", "--settings", self.settings({"max-tokens": 7})), 3)

    def test_the_whole_run_may_stand_in_a_file(self):
        file = self.settings({"checkpoint": checkpoint("separate2"), "prompt": "hello", "max-tokens": 4, "ignore-eos": True,
                              "token-ids": True, "temperature": 0.5, "stop": ["never", "said"], "schedule": "sequential"})
        record = self.folder / "record.json"
        self.succeeds(run("generate", "--settings", file, "--json", record))
        settings = json.loads(record.read_text())["settings"]
        self.assertEqual([settings[key] for key in ("max-tokens", "ignore-eos", "temperature", "stop", "schedule", "seed")],
                         [4, True, 0.5, ["never", "said"], "sequential", 0])

    def test_texts_of_the_environment_stay_as_they_are(self):
        for prompt in ("007", "1e2", "1.50", "true", "{}", "-"):
            record = self.folder / "record.json"
            self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--max-tokens", "1", "--json", record,
                              env={"STAGFORMER_PROMPT": prompt}))
            self.assertEqual(json.loads(record.read_text())["settings"]["prompt"], prompt)

    def test_file_errors(self):
        for content, words in {
            '{"max-tokns": 3}': ["max-tokns"],
            '{"max_tokens": 3}': ["max_tokens"],
            '{"max-tokens": "three"}': ["max-tokens", "whole number"],
            '{"max-tokens": 3.5}': ["max-tokens", "whole number"],
            '{"max-tokens": 0}': ["max-tokens", "0"],
            '{"seed": 9223372036854775808}': ["seed"],
            '{"temperature": "hot"}': ["temperature", "number"],
            '{"temperature": -1}': ["temperature"],
            '{"top-p": null}': ["top-p"],
            '{"ignore-eos": 1}': ["ignore-eos", "true or false"],
            '{"schedule": "fast"}': ["schedule", "fast"],
            '{"stop": [1, []]}': ["stop"],
            '{"output": {}}': ["output"],
            '{"max-tokens": 3': ["JSON"],
            '[1]': ["JSON"],
            '': ["JSON"],
            b'{"prompt": "\xff"}': ["JSON"],
        }.items():
            with self.subTest(content=content):
                path = self.settings(content)
                self.fails(run(*MODEL, "--settings", path), USAGE, path, *words)
        self.fails(run(*MODEL, "--settings", "/nonexistent/f"), USAGE, "/nonexistent/f")
        self.fails(run(*MODEL, "--settings", self.folder), USAGE, str(self.folder))

    def test_environment_errors(self):
        for variable, value, word in (("MAX_TOKENS", "0", "max-tokens"), ("MAX_TOKENS", "x", "max-tokens"),
                                      ("TEMPERATURE", "nan", "temperature"), ("SCHEDULE", "fast", "schedule"),
                                      ("IGNORE_EOS", "yes", "ignore-eos")):
            with self.subTest(variable=variable, value=value):
                arguments = [word for word in MODEL if word != "--ignore-eos"]
                self.fails(run(*arguments, env={f"STAGFORMER_{variable}": value}), USAGE, "environment", word)


if __name__ == "__main__":
    unittest.main()
