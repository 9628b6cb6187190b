"""plan and bench --calibrate: files and tables, for grids that no machine here has, and what is refused."""

import json
import os

from support import CONFIG, INPUT, USAGE, TestCase, checkpoint, main, run

CONFIGS = os.path.join(os.path.dirname(__file__), "../../configs/models")
SHAPE = os.path.join(CONFIGS, "llama-135m-shape-2x15.json")


class Plans(TestCase):
    def plans(self, *args) -> list:
        return json.loads(self.succeeds(run("plan", "--format", "json", *args)).text)

    def test_of_a_checkpoint(self):
        one, two = self.plans("--checkpoint", checkpoint("separate2"), "--prompt-tokens", "8")
        self.assertEqual((one["ranks"], two["ranks"]), (1, 2))
        self.assertEqual(one["messages"], 0)
        self.assertLess(two["weight_bytes"], one["weight_bytes"])
        self.assertAlmostEqual(one["staggered_s"], one["sequential_s"])

    def test_more_sections_are_faster_and_thousands_take_seconds(self):
        times = [self.plans("--config", SHAPE, "--sections", str(n), "--ranks", str(n))[0]["staggered_s"] for n in (1, 2, 6, 30)]
        self.assertEqual(times, sorted(times, reverse=True))
        self.assertEqual(len(self.plans("--config", SHAPE, "--sections", "30", "--ranks", "30,3000")), 2)
        found = self.plans("--config", SHAPE, "--sections", "2,6", "--batch", "6")
        self.assertEqual([(plan["sections"], plan["ranks"]) for plan in found], [(2, 1), (2, 2), (6, 1), (6, 6)])
        for plan in found:
            alone = plan["ranks"] == 1
            self.assertEqual((plan["tensor_parallel_s"] == 0, plan["filled_tokens_per_s"] == 0), (alone, alone))

    def test_a_table(self):
        text = self.succeeds(run("plan", "--config", SHAPE, "--ranks", "1,2,4", "--weights", "q4_0", "--batch", "4")).text
        self.assertEqual(sum(line.startswith("| built in") for line in text.splitlines()), 3)
        self.assertIn("tensor-parallel ms", text)
        self.assertNotIn("tensor-parallel", self.succeeds(run("plan", "--config", SHAPE, "--ranks", "1")).text)
        self.assertIn("predicted, not measured", text)
        self.assertIn("Least time a token", text)

    def test_what_is_refused(self):
        for words, code, *args in ((("--config",), USAGE), (("exclude",), USAGE, "--config", SHAPE, "--checkpoint", "x"),
                                   (("does not fit",), CONFIG, "--config", SHAPE, "--ranks", "3"),
                                   (("30 layers", "7"), USAGE, "--config", SHAPE, "--sections", "7"),
                                   (("--weights", "q5"), USAGE, "--config", SHAPE, "--weights", "q5"),
                                   (("--ranks", "0"), USAGE, "--config", SHAPE, "--ranks", "0"),
                                   (("--machine", "no list"), USAGE, "--config", SHAPE, "--machine", ""),
                                   (("no-such",), INPUT, "--config", SHAPE, "--machine", "no-such"),
                                   (("context",), INPUT, "--config", SHAPE, "--depth", "100000")):
            with self.subTest(args=args):
                self.fails(run("plan", *args), code, *words)


class Emulation(TestCase):
    """A machine on which a layer takes 25 ms and everything else nothing, four sections of two layers."""

    def bench(self, *args, ranks=None) -> list:
        nothing = {"read_s_per_byte": [[1, 1e-15]], "row_factor": [[1, 1]], "operations_per_s": 1e15}
        machine = self.file("machine.json", json.dumps({
            "format": "stagformer machine", "version": 1, "name": "slow", "measured": "by hand", "threads": 1, "ranks_on_host": 1,
            "layer_s": 0.025, "layer_row_s": 0.025 * 512 / 64, "cross_s": 0, "cache_s_per_byte": 0, "choice_s": 0, "choice_s_per_token": 0,
            "formats": {"f32": nothing}, "link": [[8, 0, 0]]}))
        model = self.file("model.json", json.dumps({
            "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 512, "max_position_embeddings": 64,
            "sections": {"count": 4, "layers_per_section": 2}}))
        result = run("bench", "--random", model, "--emulate", machine, "--threads", "1", "--prompt-tokens", "4", "--decode-tokens",
                     "4", "--repetitions", "1", "--format", "json", *args, ranks=ranks)
        return json.loads(self.succeeds(result).text)

    def test_ranks_sleep_as_long_as_the_machine_computes(self):
        (alone,) = self.bench()
        self.assertEqual(alone["emulated"], "slow")
        self.assertGreaterEqual(alone["decode"]["step_ms"], 200)
        staggered, sequential = self.bench("--schedule", "staggered,sequential", ranks=4)
        self.assertGreaterEqual(staggered["decode"]["step_ms"], 50)
        self.assertGreaterEqual(sequential["decode"]["step_ms"], 200)
        self.assertLess(staggered["decode"]["step_ms"], 0.75 * sequential["decode"]["step_ms"])
        self.assertGreater(staggered["per_rank"][0]["step_messages"], 0)

    def test_a_filled_pipeline_works_on_all_groups_at_once(self):
        """A layer of four rows takes four times as long: one pass of 200 ms on each of four ranks in turn, or four passes of
        50 ms that follow each other."""
        turns, filled = self.bench("--schedule", "sequential", "--batch", "4", "--groups", "1,4", ranks=4)
        self.assertGreaterEqual(turns["decode"]["step_ms"], 800)
        self.assertGreaterEqual(filled["decode"]["step_ms"], 200)
        self.assertLess(filled["decode"]["step_ms"], 0.6 * turns["decode"]["step_ms"])

    def test_tables_say_so(self):
        self.assertIn("EMULATED", self.succeeds(self.bench_table()).text)

    def bench_table(self):
        machine = self.folder / "m.json"
        self.bench()
        machine.write_text((self.folder / "machine.json").read_text())
        return run("bench", "--random", self.folder / "model.json", "--emulate", machine, "--prompt-tokens", "4",
                   "--decode-tokens", "1", "--repetitions", "1")

    def test_what_is_refused(self):
        self.fails(run("bench", "--random", SHAPE, "--emulate", "no-such.json"), INPUT, "no-such.json")
        self.fails(run("bench", "--calibrate", "m.json", "--emulate", "m.json"), USAGE, "--emulate")


class Calibration(TestCase):
    def test_a_machine_is_measured_and_used(self):
        machine = self.folder / "machine.json"
        table = self.succeeds(run("bench", "--calibrate", machine, "--threads", "1", "--repetitions", "1", "--memory-limit", "4M")).text
        self.assertIn("| q4_0 |", table)
        values = json.loads(machine.read_text())
        self.assertEqual((values["threads"], values["ranks_on_host"]), (1, 1))
        self.assertEqual(len(values["formats"]), 5)
        self.assertEqual(values["link"][0][1], 0)
        text = self.succeeds(run("plan", "--config", SHAPE, "--machine", machine, "--weights", "q8_0")).text
        self.assertIn(values["name"], text)
        self.assertEqual(values["formats"]["f32"]["alone"], {key: values["formats"]["f32"][key] for key in
                                                            ("read_s_per_byte", "row_factor", "row_factor_far")})
        again = self.folder / "again.json"
        values["layer_s"] = 123.0
        machine.write_text(json.dumps(values))
        self.succeeds(run("bench", "--calibrate", again, "--machine", machine, "--threads", "1", ranks=2))
        other = json.loads(again.read_text())
        self.assertGreater(other["link"][0][1], 0)
        self.assertEqual({**other, "link": 0}, {**values, "link": 0})
        self.succeeds(run("bench", "--calibrate", again, "--threads", "1", "--repetitions", "1", "--memory-limit", "4M", "--weights",
                          "q8_0"))
        self.assertEqual(list(json.loads(again.read_text())["formats"]), ["q8_0"])
        self.fails(run("bench", "--calibrate", again, "--machine", again, "--weights", "q8_0"), USAGE, "--machine")
        self.fails(run("bench", "--random", SHAPE, "--machine", again), USAGE, "--machine")
        self.fails(run("bench", "--calibrate", again, "--machine", self.folder / "none.json"), INPUT, "none.json")
        values["layer_s"] = "fast"
        machine.write_text(json.dumps(values))
        self.fails(run("plan", "--config", SHAPE, "--machine", machine), CONFIG, str(machine), "layer_s")

    def test_ranks_are_measured_together_and_in_turns(self):
        machine = self.folder / "machine.json"
        self.succeeds(run("bench", "--calibrate", machine, "--threads", "1", "--repetitions", "1", "--memory-limit", "4M", "--weights",
                          "q8_0", ranks=2))
        speed = json.loads(machine.read_text())["formats"]["q8_0"]
        self.assertNotEqual(speed["alone"]["read_s_per_byte"], speed["read_s_per_byte"])
        self.assertEqual([rows for rows, _ in speed["alone"]["row_factor"]], [1, 2, 4, 8, 16, 32])

    def test_what_is_refused(self):
        self.fails(run("bench", "--calibrate", "m.json", "--random", SHAPE), USAGE, "--calibrate")
        self.fails(run("bench", "--calibrate", "/no/such/folder/m.json"), INPUT, "/no/such/folder/m.json")


if __name__ == "__main__":
    main()
