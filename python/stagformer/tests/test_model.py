"""The Python package in one process: the program's own results, and Python's ways round them."""

from __future__ import annotations

import gc
import json
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import numpy as np
from places import EXAMPLES, PROGRAM, ROOT, STORIES, golden

import stagformer

PROMPT = "One day, a little dog"


def program(*words: str) -> str:
    return subprocess.run([PROGRAM, *words], check=True, capture_output=True, text=True).stdout


class SameAsProgram(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.model = stagformer.Model(STORIES, threads=1, batch=2)

    def test_one_prompt(self) -> None:
        ids = program("generate", "--checkpoint", STORIES, "--prompt", PROMPT, "--max-tokens", "12", "--token-ids",
                      "--temperature", "0.7", "--seed", "3")
        made = self.model.generate(PROMPT, max_tokens=12, temperature=0.7, seed=3)
        self.assertEqual(made.token_ids, [int(word) for word in ids.split()])
        self.assertEqual(made.finish_reason, "length")

    def test_a_batch(self) -> None:
        prompts = [{"prompt": "A cat"}, {"prompt": PROMPT, "temperature": 0.9, "seed": 4, "repetition_penalty": 1.5},
                  {"prompt": "A cat", "presence_penalty": 1.5, "frequency_penalty": 0.7},
                  {"prompt": "The sun", "max_tokens": 3}]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "prompts.jsonl"
            file.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
            lines = program("generate", "--checkpoint", STORIES, "--prompts", str(file), "--max-tokens", "9").splitlines()
        expected = {record["id"]: record for record in map(json.loads, lines)}
        texts = [""] * len(prompts)

        def hear(place: int, text: str) -> None:
            texts[place] += text

        made = self.model.generate_all(prompts, max_tokens=9, on_text=hear)
        self.assertNotEqual(made[0].token_ids, made[2].token_ids)  # the penalties change something
        for place, generation in enumerate(made):
            self.assertEqual(generation.token_ids, expected[place + 1]["token_ids"])
            self.assertEqual(generation.text, expected[place + 1]["text"])
            self.assertEqual(texts[place], generation.text)

    def test_log_probabilities(self) -> None:
        text = "Once upon a time there was a little girl who had a red ball. " * 4
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "text").write_text(text)
            program("eval", "--checkpoint", STORIES, "--text", f"{folder}/text", "--context", "32", "--per-token", f"{folder}/csv")
            rows = [line.split(",") for line in (Path(folder) / "csv").read_text().splitlines()[1:]]
        scores = self.model.score(text, window=32)
        self.assertEqual(scores.dtype, np.float32)
        self.assertEqual(self.model.tokenize(text), [int(row[1]) for row in rows])
        np.testing.assert_array_equal(scores, np.array([row[2] for row in rows], np.float32))

    def test_stream(self) -> None:
        pieces = []

        def collect():
            pieces.append((yield from self.model.stream(PROMPT, max_tokens=8)))

        texts = list(collect())
        whole = self.model.generate(PROMPT, max_tokens=8, log_probabilities=True)
        self.assertGreater(len(texts), 4)
        self.assertEqual("".join(texts), whole.text)
        self.assertEqual(pieces[0].token_ids, whole.token_ids)
        self.assertEqual(whole.log_probabilities.shape, (8,))
        self.assertTrue((whole.log_probabilities <= 0).all())

    def test_leaving_a_stream_ends_it(self) -> None:
        expected = self.model.generate(PROMPT, max_tokens=8).text
        for _ in range(3):
            stream = self.model.stream(PROMPT)
            self.assertTrue(expected.startswith(next(stream) + next(stream)))
            stream.close()
            self.assertEqual(self.model.generate(PROMPT, max_tokens=8).text, expected)
        self.assertNotIn("stagformer stream", [thread.name for thread in threading.enumerate()])

    def test_what_a_callback_raises(self) -> None:
        heard = []

        def hear(text: str) -> None:
            heard.append(text)
            if len(heard) == 3:
                raise LookupError("enough")

        with self.assertRaisesRegex(LookupError, "enough"):
            self.model.generate(PROMPT, max_tokens=20, on_text=hear)
        self.assertEqual(len(heard), 3)
        self.assertTrue(self.model.generate(PROMPT, max_tokens=8).text.startswith("".join(heard)))

    def test_tokens(self) -> None:
        ids = self.model.tokenize(PROMPT)
        self.assertEqual(self.model.detokenize(ids), PROMPT)
        bos = self.model.config["bos_token_id"]
        self.assertEqual(self.model.generate([bos, *ids], max_tokens=5).token_ids,
                         self.model.generate(PROMPT, max_tokens=5).token_ids)


class Python(unittest.TestCase):
    def test_others_run_while_the_engine_works(self) -> None:
        """The interpreter's lock is free: another thread gets its turns all through one call."""
        model = stagformer.Model(STORIES, threads=1)
        turns, done = [], threading.Event()

        def count() -> None:
            while not done.is_set():
                turns.append(time.monotonic())
                time.sleep(0.001)

        counter = threading.Thread(target=count)
        counter.start()
        begin = time.monotonic()
        model.score("The sun was warm and the dog was glad. " * 60)  # no callback in it
        end = time.monotonic()
        done.set()
        counter.join()
        self.assertGreater(sum(begin < turn < end for turn in turns), 3)

    def test_one_call_at_a_time(self) -> None:
        model = stagformer.Model(golden("separate2"), threads=1)
        with self.assertRaisesRegex(stagformer.UsageError, "another call"):
            model.generate("a", on_text=lambda _: model.score("b"))
        self.assertEqual(len(model.generate("a", max_tokens=3).token_ids), 3)

    def test_ctrl_c_ends_a_call(self) -> None:
        code = (f"import stagformer, os, signal\nmodel = stagformer.Model({STORIES!r}, threads=1)\n"
                "print('ready', flush=True)\ntry:\n"
                "    while True: model.generate('One', ignore_eos=True, max_tokens=400)\n"
                "except KeyboardInterrupt:\n    print(model.generate('One', max_tokens=2).finish_reason)\n")
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.communicate(timeout=60)[0], "length\n")

    def test_errors_have_kinds(self) -> None:
        with self.assertRaisesRegex(stagformer.CheckpointError, "none.h5") as caught:
            stagformer.Model("none.h5")
        self.assertEqual(caught.exception.code, 4)
        self.assertIsInstance(caught.exception, stagformer.Error)
        with self.assertRaises(stagformer.MemoryLimitError) as caught:
            stagformer.Model(golden("separate2"), memory_limit=1000)
        self.assertIsInstance(caught.exception, MemoryError)
        model = stagformer.Model(golden("separate2"), threads=1)
        for refused, kind in ((lambda: model.generate("a", max_tokens=99), stagformer.InputError),
                              (lambda: model.generate("a", temperature=-1), stagformer.UsageError),
                              (lambda: model.score("abc", window=1), stagformer.UsageError),
                              (lambda: model.detokenize([9999]), stagformer.InputError),
                              (lambda: model.generate("a", heat=1), TypeError),
                              (lambda: model.generate({"prompt": "a", "token_ids": [1]}), TypeError),
                              (lambda: model.generate([]), ValueError),
                              (lambda: model.generate(3), TypeError),
                              (lambda: model.generate_all("ab"), TypeError),
                              (lambda: stagformer.Model(golden("separate2"), comm=3), (TypeError, ImportError))):
            with self.assertRaises(kind):
                refused()
        for option in ("max_tokens", "token_ids", "temperature"):
            with self.assertRaisesRegex(TypeError, f"{option} cannot be .'many'"):
                model.generate({"token_ids": [65], option: ["many"]})
        self.assertEqual(len(model.generate("a", max_tokens=3).token_ids), 3)

    def test_takes_and_gives_what_others_use(self) -> None:
        model = stagformer.Model(golden("separate2"), threads=np.int64(1))
        made = model.generate(np.array([256, 97]), max_tokens=np.int32(3), temperature=np.float32(0.5), seed=np.uint64(7),
                              log_probabilities=True)
        other = pickle.loads(pickle.dumps(made))
        self.assertEqual(other.token_ids, model.generate("a", max_tokens=3, temperature=0.5, seed=7).token_ids)
        np.testing.assert_array_equal(other.log_probabilities, made.log_probabilities)
        self.assertEqual(pickle.loads(pickle.dumps(model.placement)), model.placement)
        self.assertIn("finish_reason='length'", repr(made))

    def test_close(self) -> None:
        with stagformer.Model(golden("separate2"), threads=1) as model:
            self.assertEqual((model.context, model.placement.ranks, model.placement.threads), (64, 1, 1))
            self.assertEqual(model.config["sections"]["count"], 2)
            scores = model.score("some text")
        with self.assertRaisesRegex(ValueError, "closed"):
            model.generate("a")
        del model
        gc.collect()
        self.assertEqual(scores.shape, (9,))  # outlives the model
        self.assertTrue(np.isfinite(scores).all())

    def test_what_the_documentation_shows(self) -> None:
        code = (ROOT / "docs" / "library.md").read_text().split("```python\n")[1].split("```")[0]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.h5").symlink_to(STORIES)
            told = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True).stdout
        self.assertEqual(told.count("length"), 2)

    def test_example(self) -> None:
        told = subprocess.run([sys.executable, EXAMPLES / "story.py", STORIES, PROMPT], check=True, capture_output=True,
                              text=True).stdout
        self.assertTrue(told.startswith(PROMPT))
        self.assertIn("perplexity of the prompt", told)


if __name__ == "__main__":
    unittest.main()
