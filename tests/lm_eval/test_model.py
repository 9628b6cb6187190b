"""Tasks of the harness over the shipped story model: its figures are those that `eval` counts, on one rank and on two."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/cli"), str(ROOT / "python")]
os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.evaluator import simple_evaluate  # noqa: E402
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # noqa: E402
from support import MPIEXEC, MPIEXEC_FLAGS, NUMPROC_FLAG, PROGRAM, TestCase, checkpoint, main, run  # noqa: E402

from stagformer_lm_eval import StagformerLM  # noqa: E402

BEGINNING = 256  # the byte tokenizer's BOS
STORIES = str(ROOT / "models/stories-2x3.h5")
QUESTIONS = [("One day, a little dog", ["went to the park", "of of of", "is a tax"], 0),
             ("Lily was sad because", ["the the", "she lost her toy", "seven"], 1),
             ("Once upon a", ["a", "dogs", "time", "run"], 2),
             ("The sun was", ["cheese and", "were", "bright", "she"], 2)]


def instance(kind: str, *arguments) -> Instance:
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


class Model(TestCase):
    def model(self, **more) -> StagformerLM:
        return StagformerLM(checkpoint=STORIES, program=PROGRAM, **more)

    def task(self, **more) -> dict:
        data = self.file("questions.jsonl", "".join(
            json.dumps({"query": q, "choices": c, "label": label}) + "\n" for q, c, label in QUESTIONS))
        return {"task": "stories", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": data},
                                                                            "cache_dir": str(self.folder / "cache")},
                "test_split": "test", "doc_to_text": "{{query}}"} | more

    def evaluate(self, model: StagformerLM, task: dict) -> dict:
        found = simple_evaluate(model=model, tasks=[task], bootstrap_iters=0, log_samples=True)
        return found["results"]["stories"] | {"samples": found["samples"]["stories"]}

    def test_questions(self):
        task = self.task(output_type="multiple_choice", doc_to_choice="choices", doc_to_target="label",
                         metric_list=[{"metric": name} for name in ("acc", "acc_norm")])
        per_item, record = self.folder / "items.jsonl", self.folder / "record.json"
        self.succeeds(run("eval", "--checkpoint", STORIES, "--choices", self.task()["dataset_kwargs"]["data_files"]["test"],
                          "--per-item", per_item, "--json", record))
        ours, items = json.loads(record.read_text())["result"], [json.loads(line) for line in per_item.read_text().splitlines()]
        self.assertLess(0, ours["acc"])
        launcher = " ".join([MPIEXEC, *MPIEXEC_FLAGS, NUMPROC_FLAG, "2"])
        for model in (self.model(), self.model(launcher=launcher, batch_size=3)):
            theirs = self.evaluate(model, task)
            for name in ("acc", "acc_norm"):
                self.assertAlmostEqual(theirs[f"{name},none"], ours[name], places=9)
            samples = sorted(theirs["samples"], key=lambda sample: sample["doc_id"])
            self.assertEqual([[float(response[0][0]) for response in sample["resps"]] for sample in samples],
                             [item["log_probabilities"] for item in items])

    def test_windows_are_the_harnesss(self):
        """A text longer than the context, on a model whose tokens are bytes: cut by us, and cut by the harness."""
        text, room = "".join(chr(97 + i * i % 26) for i in range(75)), 16
        model = StagformerLM(checkpoint=checkpoint("separate2"), program=PROGRAM, context=room)
        (ours,) = model.loglikelihood_rolling([instance("loglikelihood_rolling", text)])
        windows = map(make_disjoint_window, get_rolling_token_windows(list(text.encode()), BEGINNING, room, 1))
        pieces = [["".join(map(chr, part)) for part in ([] if window[0] == [BEGINNING] else window[0], window[1])]
                  for window in windows]
        self.assertEqual("".join(piece for _, piece in pieces), text)
        theirs = model.loglikelihood([instance("loglikelihood", *piece) for piece in pieces])
        self.assertAlmostEqual(ours, sum(value for value, _ in theirs), places=5)

    def test_generation(self):
        prompt = "One day, a little dog"
        whole = self.succeeds(run("generate", "--checkpoint", STORIES, "--prompt", prompt, "--max-tokens", "20")).text[:-1]
        stop = whole.split()[4]
        first, second = self.model().generate_until([instance("generate_until", prompt, {"until": [], "max_gen_toks": 20}),
                                                     instance("generate_until", prompt, {"until": [stop], "do_sample": False})])
        self.assertEqual(first, whole)
        self.assertEqual(second, whole[:whole.index(stop)])
        with self.assertRaisesRegex(ValueError, "repetition_penalty"):
            self.model().generate_until([instance("generate_until", prompt, {"repetition_penalty": 2})])
        with self.assertRaisesRegex(RuntimeError, "context of 512"):
            self.model().generate_until([instance("generate_until", prompt, {"max_gen_toks": 4000})])

    def test_errors_are_the_programs_own(self):
        with self.assertRaisesRegex(RuntimeError, "code 4: stagformer: error: .*none.h5"):
            StagformerLM(checkpoint="/none.h5", program=PROGRAM).loglikelihood([instance("loglikelihood", "a", " b")])
        self.assertEqual(self.model().loglikelihood([]), [])


if __name__ == "__main__":
    main()
