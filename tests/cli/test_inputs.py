"""Prompts, texts and output files that cannot be used."""

import json
import os

from support import INPUT, USAGE, TestCase, at_once, checkpoint, main, run

GENERATE = ("generate", "--checkpoint", checkpoint("separate2"), "--max-tokens", "4", "--ignore-eos")


class Context(TestCase):
    """The context is 64 positions; BOS counts."""

    def test_a_prompt_that_fills_the_context(self):
        self.fails(run(*GENERATE, "--prompt", "x" * 60), INPUT, "61 tokens", "4", "context of 64")
        self.succeeds(run(*GENERATE, "--prompt", "x" * 59))
        self.fails(run(*GENERATE, "--prompt", "x" * 100, ranks=2), INPUT, "101 tokens", "context of 64")
        self.fails(run("generate", "--checkpoint", checkpoint("separate2"), "--prompt", "x" * 64), INPUT, "context of 64")

    def test_without_max_tokens_the_context_is_the_limit(self):
        result = self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--prompt", "x" * 53, "--ignore-eos",
                                   "--token-ids"))
        self.assertEqual(len(result.text.split()), 10)

    def test_in_a_batch_the_line_says_so(self):
        prompts = self.prompts([{"prompt": "x" * 100}, {"prompt": "good"}, {"prompt": "y", "max_tokens": 63}])
        records = self.succeeds(run(*GENERATE, "--prompts", prompts, ranks=2)).records
        self.assertEqual([records[i]["finish_reason"] for i in "123"], ["error", "length", "error"])
        self.assertIn("context of 64", records["1"]["error"])
        self.assertIn("63", records["3"]["error"])
        self.assertEqual((records["1"]["text"], records["1"]["token_ids"], len(records["2"]["token_ids"])), ("", [], 4))

    def test_windows_of_eval(self):
        text = self.file("text", "some text")
        evaluate = ("eval", "--checkpoint", checkpoint("separate2"), "--text", text)
        self.fails(run(*evaluate, "--context", "65", ranks=2), INPUT, "--context 65", "context of 64")
        self.fails(run(*evaluate, "--context", "1"), USAGE, "context")
        self.succeeds(run(*evaluate, "--context", "64"))


class Prompts(TestCase):
    def refused(self, content, *words, ranks=None):
        path = content if isinstance(content, os.PathLike) else self.file("prompts.jsonl", content)
        return self.fails(run(*GENERATE, "--prompts", path, ranks=ranks), INPUT, str(path), *words)

    def test_files(self):
        self.refused(self.folder / "none.jsonl", "No such file")
        self.refused(self.folder)

    def test_malformed_lines_are_named(self):
        good = b'{"prompt": "a"}\n'
        lines = {
            '{"prompt": "a"': ["JSON"],
            'prompt': ["JSON"],
            '["a"]': ["JSON"],
            b'{"prompt": "\xff"}': ["JSON"],
            '{"prompt": "a"} {"prompt": "b"}': ["JSON"],
            '{"id": 7}': ["prompt"],
            '{"prompt": 1}': ["prompt", "string"],
            '{"prompt": "a", "promt": "b"}': ["promt"],
            '{"prompt": "a", "id": 1.5}': ["id"],
            '{"prompt": "a", "id": null}': ["id"],
            '{"prompt": "a", "max_tokens": 0}': ["max_tokens"],
            '{"prompt": "a", "max_tokens": "9"}': ["max_tokens"],
            '{"prompt": "a", "temperature": -1}': ["temperature"],
            '{"prompt": "a", "temperature": "1"}': ["temperature"],
            '{"prompt": "a", "temperature": 1e39}': ["temperature"],
            '{"prompt": "a", "top_k": -1}': ["top_k"],
            '{"prompt": "a", "top_p": 2}': ["top_p"],
            '{"prompt": "a", "min_p": 2}': ["min_p"],
            '{"prompt": "a", "seed": -1}': ["seed"],
            '{"prompt": "a", "seed": 0.5}': ["seed"],
            '{"prompt": "a", "stop": [1]}': ["stop"],
            '{"prompt": "a", "stop": ""}': ["stop"],
            '{"prompt": "a", "ignore_eos": 1}': ["ignore_eos"],
        }

        def check(number):
            line = list(lines)[number]
            path = self.file(f"{number}.jsonl", good + b"\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n" + good)
            self.fails(run(*GENERATE, "--prompts", path), INPUT, path, "line 3", *lines[line])

        at_once(check, range(len(lines)))

    def test_ids_that_stand_twice(self):
        self.refused('{"id": "a", "prompt": "x"}\n{"prompt": "y"}\n{"id": "a", "prompt": "z"}', "line 3", '"a"', ranks=2)
        self.refused('{"id": 2, "prompt": "x"}\n{"prompt": "y"}\n', "line 2", "2")
        self.refused('{"id": 1, "prompt": "x"}\n{"id": 1, "prompt": "x"}\n', "line 2", "1")

    def test_what_is_allowed(self):
        path = self.file("prompts.jsonl", '\ufeff{"prompt": ""}\r\n\n  \n{"id": "1", "prompt": "\\u0000ä"}')
        records = self.succeeds(run(*GENERATE, "--prompts", path)).records
        self.assertEqual(sorted(records), ['"1"', "1"])
        self.assertEqual([records["1"]["prompt_tokens"], records['"1"']["prompt_tokens"]], [1, 4])

    def test_no_lines(self):
        output = self.folder / "out.jsonl"
        result = self.succeeds(run(*GENERATE, "--prompts", self.file("empty.jsonl", ""), "--output", output, ranks=2))
        self.assertEqual((result.stdout, output.read_bytes()), (b"", b""))


class Texts(TestCase):
    def refused(self, path, *words, ranks=None):
        self.fails(run("eval", "--checkpoint", checkpoint("separate2"), "--text", path, ranks=ranks), INPUT, str(path), *words)

    def test_texts(self):
        self.refused(self.folder / "none", "No such file", ranks=2)
        self.refused(self.folder, "directory")
        self.refused(self.file("empty", ""), ranks=2)


class Outputs(TestCase):
    def setUp(self):
        super().setUp()
        self.batch = (*GENERATE, "--prompts", self.prompts([{"prompt": "a"}, {"prompt": "b"}]))

    def test_results(self):
        self.fails(run(*self.batch, "--output", "/nonexistent/out.jsonl", ranks=2), INPUT, "/nonexistent/out.jsonl",
                   "No such file")
        self.fails(run(*self.batch, "--output", self.folder), INPUT, str(self.folder))
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        self.fails(run(*self.batch, "--output", pipe), INPUT, str(pipe))
        foreign = self.file("foreign.jsonl", '{"id": 1}\n')
        self.fails(run(*self.batch, "--output", foreign), INPUT, foreign, "earlier run")
        self.assertEqual((self.folder / "foreign.jsonl").read_text(), '{"id": 1}\n')

    def test_an_empty_file_is_no_obstacle(self):
        output = self.file("made-by-mktemp", "")
        self.succeeds(run(*self.batch, "--output", output))
        self.assertEqual(len((self.folder / "made-by-mktemp").read_text().splitlines()), 2)

    def test_a_full_disk(self):
        for args in (self.batch, (*GENERATE, "--prompt", "a")):
            for ranks in (None, 2):
                with open("/dev/full", "wb") as full:
                    result = run(*args, ranks=ranks, stdout=None if ranks else full)
                if ranks is None:  # under a launcher stdout is the launcher's pipe
                    self.fails(result, INPUT, "standard output", "No space left")
        text = self.file("text", "some text")
        with open("/dev/full", "wb") as full:
            result = run("eval", "--checkpoint", checkpoint("separate2"), "--text", text, stdout=full)
        self.fails(result, INPUT, "standard output", "No space left")

    def test_a_reader_that_has_gone(self):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as gone:
            self.fails(run(*self.batch, stdout=gone), INPUT, "standard output", "Broken pipe")

    def test_records_go_through_links(self):
        target, link = self.folder / "target.json", self.folder / "link.json"
        link.symlink_to(target)
        self.succeeds(run(*self.batch, "--json", link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(json.loads(target.read_text())["program"], "stagformer")

    def test_other_files_are_tried_before_the_work(self):
        text = self.file("text", "some text")
        for flag in ("--json", "--trace"):
            self.fails(run(*self.batch, flag, "/nonexistent/f", ranks=2), INPUT, "/nonexistent/f", "No such file")
        self.fails(run("eval", "--checkpoint", checkpoint("separate2"), "--text", text, "--per-token", "/nonexistent/f",
                       ranks=2), INPUT, "/nonexistent/f", "No such file")


if __name__ == "__main__":
    main()
