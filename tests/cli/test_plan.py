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

    def test_a_table(self):
        text = self.succeeds(run("plan", "--config", SHAPE, "--ranks", "1,2,4", "--weights", "q4_0", "--batch", "4")).text
        self.assertEqual(sum(line.startswith("| built in") for line in text.splitlines()), 3)
        self.assertIn("predicted, not measured", text)
        self.assertIn("Least time a token", text)

    def test_what_is_refused(self):
        for words, code, *args in ((("--config",), USAGE), (("exclude",), USAGE, "--config", SHAPE, "--checkpoint", "x"),
                                   (("do not fit", "3"), CONFIG, "--config", SHAPE, "--ranks", "3"),
                                   (("30 layers", "7"), USAGE, "--config", SHAPE, "--sections", "7"),
                                   (("--weights", "q5"), USAGE, "--config", SHAPE, "--weights", "q5"),
                                   (("--ranks", "0"), USAGE, "--config", SHAPE, "--ranks", "0"),
                                   (("no-such",), INPUT, "--config", SHAPE, "--machine", "no-such"),
                                   (("context",), INPUT, "--config", SHAPE, "--depth", "100000")):
            with self.subTest(args=args):
                if words[0] == "do not fit":
                    words = ("does not fit",)
                self.fails(run("plan", *args), code, *words)


class Calibration(TestCase):
    def test_a_machine_is_measured_and_used(self):
        machine = self.folder / "machine.json"
        table = self.succeeds(run("bench", "--calibrate", machine, "--threads", "1", "--quick", ranks=2)).text
        self.assertIn("| q4_0 |", table)
        values = json.loads(machine.read_text())
        self.assertEqual((values["threads"], values["ranks_on_host"]), (1, 2))
        self.assertEqual(len(values["formats"]), 5)
        self.assertGreater(values["link"][0][1], 0)
        text = self.succeeds(run("plan", "--config", SHAPE, "--machine", machine, "--weights", "q8_0")).text
        self.assertIn(values["name"], text)
        values["layer_s"] = "fast"
        machine.write_text(json.dumps(values))
        self.fails(run("plan", "--config", SHAPE, "--machine", machine), CONFIG, str(machine), "layer_s")

    def test_what_is_refused(self):
        self.fails(run("bench", "--calibrate", "m.json", "--random", SHAPE), USAGE, "--calibrate")
        self.fails(run("bench", "--calibrate", "/no/such/folder/m.json"), INPUT, "/no/such/folder/m.json")


if __name__ == "__main__":
    main()
