"""Benchmarks of tiny models: what is run and reported. No speed decides a test."""

import csv
import io
import json
import re

from support import CONFIG, INPUT, INTERRUPTED, USAGE, Job, TestCase, at_once, checkpoint, launch, main, run

SMALL = {"prompt-tokens": 8, "decode-tokens": 6, "repetitions": 3, "log-level": "warning", "threads": 1}


def small(**changes) -> list:
    """Flags of a small benchmark; `changes` replace and add some."""
    flags = SMALL | {name.replace("_", "-"): value for name, value in changes.items()}
    return [word for name, value in flags.items() for word in (f"--{name}", value)]


def bench(model: str = "separate2", **changes) -> list:
    return ["bench", "--checkpoint", checkpoint(model), *small(**changes)]


CONFIGURATION = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "vocab_size": 300, "max_position_embeddings": 64,
                 "sections": {"count": 2, "layers_per_section": 2}}


def seen(record: dict, *names: str) -> tuple:
    return tuple(record[name] for name in names)


class Bench(TestCase):
    def records(self, *args, ranks=None) -> list[dict]:
        result = self.succeeds(run(*args, "--format", "jsonl", ranks=ranks))
        return [json.loads(line) for line in result.text.splitlines()]

    def one(self, *args, ranks=None) -> dict:
        (record,) = self.records(*args, ranks=ranks)
        return record

    def random(self, **changes) -> list:
        return ["bench", "--random", self.file("config.json", json.dumps(CONFIGURATION | changes)), *small()]

    def check_record(self, record: dict) -> None:
        for part in ("prefill", "decode"):
            speed = record[part]["tokens_per_s"]
            self.assertEqual(len(record[part]["seconds"]), record["repetitions"])
            self.assertLessEqual(speed["min"], speed["median"])
            self.assertLessEqual(speed["median"], speed["max"])
            self.assertGreater(speed["min"], 0)
            self.assertAlmostEqual(speed["relative_spread"], (speed["max"] - speed["min"]) / speed["median"])
        tokens = record["decode_tokens"] * record["batch"] * record["replicas"]
        self.assertAlmostEqual(record["decode"]["tokens_per_s"]["max"] * min(record["decode"]["seconds"]), tokens)
        self.assertEqual([rank["rank"] for rank in record["per_rank"]], list(range(record["ranks"])))
        for rank in record["per_rank"]:
            phases = rank["step_phases_us"]
            self.assertTrue(all(value >= 0 for value in phases.values()), phases)
            # A rank's phases are all of its time, either its own work or not.
            self.assertAlmostEqual(sum(phases.values()), rank["step_us"])
            self.assertAlmostEqual(rank["step_compute_us"] + rank["step_outside_us"], sum(phases.values()))
            self.assertGreater(rank["stream_gb_per_s"], 0)
            self.assertGreater(rank["f32_gflop_per_s"], 0)
        busiest = max(rank["step_weight_bytes"] + rank["step_cache_bytes"] for rank in record["per_rank"])
        self.assertEqual(record["decode"]["weight_bytes"] + record["decode"]["cache_bytes"], busiest)
        self.assertEqual(record["provenance"]["program"], "stagformer")
        self.assertIn("bench", record["provenance"]["command"])

    def test_a_point_in_every_format(self):
        for ranks in (None, 2):
            runs = at_once(lambda form: self.succeeds(run(*bench(), "--format", form, ranks=ranks)),
                           ("jsonl", "json", "csv", "md"))
            line = json.loads(runs[0].text)
            (record,) = json.loads(runs[1].text)
            (row,) = csv.DictReader(io.StringIO(runs[2].text))
            for found in (line, record):
                self.check_record(found)
                self.assertEqual(seen(found, "ranks", "threads", "batch", "prompt_tokens", "decode_tokens", "depth",
                                      "schedule", "weights"), (ranks or 1, 1, 1, 8, 6, 8, "staggered", "f32"))
            self.assertEqual(row["decode.token_digest"], record["decode"]["token_digest"])
            self.assertTrue(row["provenance.command"].endswith("--format csv"))
            self.assertIn("decode.tokens_per_s.median", row)
            self.assertIn("Decode:", runs[3].text)
            tables = re.findall(r"(?m)(?:^\|.*\|\n)+", runs[3].text)
            self.assertEqual(len(tables), 3, runs[3].text)
            for table in tables:  # all lines of a table have as many columns, and are as wide
                self.assertEqual(len({line.count("|") for line in table.splitlines()}), 1, table)
                self.assertEqual(len({len(line) for line in table.splitlines()}), 1, table)
            self.assertEqual([len(table.splitlines()) for table in tables], [3, 3, 2 + (ranks or 1)])

    def test_sweeps_run_all_combinations(self):
        records = self.records(*bench(threads="1,2", batch="1,3", prompt_tokens="5,9", depth="4,20", decode_tokens="2,3",
                                      schedule="staggered,sequential", weights="f32,bf16"))
        points = [seen(r, "weights", "threads", "schedule", "batch", "prompt_tokens", "depth", "decode_tokens")
                  for r in records]
        self.assertEqual(len(points), 2**7)
        self.assertEqual(len(set(points)), 2**7)
        for record in records:
            self.check_record(record)
        # The promise of the engine: neither threads nor schedule change a token; number formats may.
        digests = {}
        for record in records:
            key = seen(record, "weights", "batch", "prompt_tokens", "depth", "decode_tokens")
            digests.setdefault(key, set()).add(record["decode"]["token_digest"])
        self.assertEqual({len(found) for found in digests.values()}, {1})
        self.assertGreater(len({min(found) for found in digests.values()}), 8)

    def test_the_same_tokens_on_every_number_of_ranks(self):
        for model, worlds in {"window_small": (2,), "sections3_linear": (3,), "chained2": (2,), "shared4_linear": (2, 4)}.items():
            args = bench(model, depth="8,15,3", batch=2)
            alone = self.records(*args)
            for ranks in worlds:
                for mine, theirs in zip(self.records(*args, "--head", "sliced", ranks=ranks), alone, strict=True):
                    self.assertEqual(mine["decode"]["token_digest"], theirs["decode"]["token_digest"], (model, ranks))
                    self.assertEqual(mine["ranks"], ranks)

    def test_groups_of_a_filled_pipeline(self):
        """Other passes, other ranks ahead of each other: the same tokens. Groups of unequal size, fewer and more than ranks."""
        for model, worlds in {"sections4": (2, 4), "chained2": (2,), "sections3_linear": (3,)}.items():
            flags = ["--schedule", "sequential", *bench(model, batch=5, depth="8,3")[1:]]
            alone = [record["decode"]["token_digest"] for record in self.records("bench", *flags)]
            for ranks in worlds:
                for head in ("sliced", "last") if ranks == 4 else ("auto",):
                    records = self.records("bench", *flags, "--groups", "1,2,3,5", "--head", head, ranks=ranks)
                    self.assertEqual([record["groups"] for record in records], [1, 1, 2, 2, 3, 3, 5, 5])
                    self.assertEqual([record["decode"]["token_digest"] for record in records], 4 * alone, (model, ranks, head))
            whole, dealt = records[0]["decode"], records[-1]["decode"]
            self.assertEqual(dealt["weight_bytes"], 5 * whole["weight_bytes"])
        self.succeeds(run(*bench("chained2", batch=2), "--groups", "2", ranks=2))  # needs no schedule
        self.fails(run(*bench(batch=2), "--groups", "2", ranks=2), USAGE, "--groups", "--schedule sequential")

    def test_bytes_are_those_that_are_stored(self):
        """The model's matrices are tied and f32, so one rank reads every parameter once a step."""
        text = self.succeeds(run("inspect", "--checkpoint", checkpoint("separate2"))).text
        parameters = int(re.search(r"parameters\s+(\d+)", text).group(1))
        record = self.one(*bench())
        self.assertEqual(record["model"]["parameters"], parameters)
        self.assertEqual(record["decode"]["weight_bytes"], 4 * parameters)
        # positions 0 to 11 at the middle step: 2 layers of self-attention in each section, the second's memory one less;
        # keys and values of 2 heads of 8
        self.assertEqual(record["decode"]["cache_bytes"], (4 * 12 + 2 * 11) * 2 * 2 * 8 * 4)
        twice = self.one(*bench(batch=2))
        self.assertEqual(twice["decode"]["weight_bytes"], record["decode"]["weight_bytes"])
        self.assertEqual(twice["decode"]["cache_bytes"], 2 * record["decode"]["cache_bytes"])
        apart = self.one(*bench(), "--head", "sliced", ranks=2)
        self.assertEqual(sum(rank["step_weight_bytes"] for rank in apart["per_rank"]), 4 * parameters)
        self.assertEqual(sum(rank["step_cache_bytes"] for rank in apart["per_rank"]), record["decode"]["cache_bytes"])

    def test_replicas(self):
        record = self.one(*bench(), ranks=4)
        self.check_record(record)
        self.assertEqual(seen(record, "ranks", "replicas"), (4, 2))
        self.assertEqual(record["decode"]["token_digest"], self.one(*bench())["decode"]["token_digest"])
        self.assertEqual(self.one(*bench(), "--replicas", "2", ranks=2)["replicas"], 2)

    def test_random_weights(self):
        args = self.random()
        records = self.records(*args, "--weights", "f32,bf16,q8_0,q4_0,q4_1")
        sizes = {record["weights"]: record["decode"]["weight_bytes"] for record in records}
        parameters = records[0]["model"]["parameters"]
        vectors = 4 * (2 * 2 * 2 + 2 + 1 + 1) * 32  # norms: of the blocks, memory, end
        matrices = parameters - vectors // 4
        for name, bits in (("f32", 32), ("bf16", 16), ("q8_0", 8.5), ("q4_0", 4.5), ("q4_1", 5)):
            self.assertEqual(sizes[name], matrices * bits // 8 + vectors)
        alone = self.one(*args)
        for other, same in ((self.one(*args, ranks=2), True), (self.one(*args, "--seed", "1"), False)):
            self.assertEqual(alone["decode"]["token_digest"] == other["decode"]["token_digest"], same)

    def test_random_weights_that_are_shared_or_fit_no_blocks(self):
        shared = CONFIGURATION["sections"] | {"weights": "shared"}
        self.assertLess(self.one(*self.random(sections=shared))["model"]["parameters"],
                        self.one(*self.random())["model"]["parameters"])
        self.check_record(self.one(*self.random(sections=shared), "--decode", "recurrent", ranks=2))
        odd = run(*self.random(hidden_size=40, head_dim=10), "--weights", "q8_0", "--format", "jsonl")
        self.assertEqual(json.loads(self.succeeds(odd).text)["weights"], "f32+q8_0")
        self.assertIn("no multiple of 32", odd.stderr)

    def test_a_window_is_filled_again(self):
        """Caches of a window wrap round: a repetition must find what the one before has overwritten. (The program compares
        the tokens of its repetitions.)"""
        sections = CONFIGURATION["sections"] | {"cross_attention": {"window": 5}}
        args = [*self.random(max_position_embeddings=256, sections=sections)[:3],
                *small(depth="8,70", chunk=2, decode_tokens=80)]
        found = [[record["decode"]["token_digest"] for record in self.records(*args, ranks=ranks)] for ranks in (1, 2)]
        self.assertEqual(found[0], found[1])

    def test_converted_weights(self):
        """Weights converted in memory are those that `convert` writes."""
        path = self.folder / "q8.h5"
        self.succeeds(run("convert", "--input", checkpoint("separate2"), "--output", path, "--to", "q8_0"))
        written = self.one("bench", "--checkpoint", path, *small())
        for ranks in (None, 2):
            made = self.one(*bench(weights="q8_0"), ranks=ranks)
            self.assertEqual(made["decode"]["token_digest"], written["decode"]["token_digest"])
        self.assertEqual(made["weights"], "q8_0")

    def test_record_and_trace(self):
        paths = [self.folder / "run.json", self.folder / "trace.json"]
        result = self.succeeds(run(*bench(batch="1,2"), "--format", "json", "--json", paths[0], "--trace", paths[1]))
        self.assertEqual(json.loads(paths[0].read_text())["result"], json.loads(result.text))
        self.assertTrue(json.loads(paths[1].read_text())["traceEvents"])


class Refusals(TestCase):
    def test_values(self):
        for flag, values in {
            "--prompt-tokens": ["0", "", "1,", ",1", "1,,2", "x", "1.5", "-1", "1 2"],
            "--decode-tokens": ["0", "8,0"],
            "--depth": ["0", "a"],
            "--batch": ["0", "70000"],
            "--groups": ["0", "2", "x"],
            "--threads": ["0", "1,many"],
            "--schedule": ["fast", "", "staggered,"],
            "--weights": ["q5_0", "f32,", "F32"],
            "--repetitions": ["0"],
            "--format": ["xml"],
        }.items():
            for value in values:
                with self.subTest(flag=flag, value=value):
                    self.fails(run(*bench()[:3], f"{flag}={value}"), USAGE, flag.lstrip("-"))

    def test_models(self):
        self.fails(run("bench"), USAGE, "--checkpoint", "--random", "required")
        self.fails(run(*bench(), "--random", "f"), USAGE, "--checkpoint", "--random")
        self.fails(run("bench", "--random", "/nonexistent/f"), INPUT, "/nonexistent/f")
        for content, word in (("{}", "missing key"), ("x", "JSON")):
            path = self.file("config.json", content)
            self.fails(run("bench", "--random", path, ranks=2), CONFIG, path, word)

    def test_beyond_the_context(self):
        for changes in ({"prompt_tokens": 59}, {"prompt_tokens": 65, "depth": 3}, {"depth": "8,59"}):
            self.fails(run(*bench(**changes), ranks=2), INPUT, "context of 64")
        for changes in ({"prompt_tokens": 58}, {"prompt_tokens": 64, "depth": 3}, {"depth": "8,58"}):
            self.succeeds(run(*bench(**changes)))

    def test_a_signal_ends_it(self):
        with Job(launch(bench(repetitions=1000000, log_level="info"))) as job:
            job.wait_for(lambda: "load s" in job.stderr(), "start")
            job.process.terminate()
            self.fails(job.wait(), INTERRUPTED, "signal")


if __name__ == "__main__":
    main()
