"""launch/scaling-study: its arithmetic and its checks on made-up records, and small studies that it runs, also after a kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
LAUNCH = Path(__file__).resolve().parents[2] / "launch"
sys.path += [str(Path(__file__).parent.parent / "cli"), str(LAUNCH / "lib")]

from scaling import measuring, records, report, table
from scaling.measuring import quickest  # noqa: E402
from scaling.study import Point, Study, StudyError, read_study
from support import HANG, PROGRAM, TestCase, checkpoint, main, run_command

TOOL = LAUNCH / "scaling-study"
MODEL = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 512, "max_position_embeddings": 64}
SMALL = {"title": "small", "kind": "strong", "layers": 4, "prompt_tokens": 4, "decode_tokens": 4, "repetitions": 1, "rounds": 1}
# A layer takes 25 ms, everything else nothing.
SLOW = {"format": "stagformer machine", "version": 1, "name": "slow", "measured": "by hand", "threads": 1, "ranks_on_host": 1,
        "layer_s": 0.025, "cross_s": 0, "cache_s_per_byte": 0, "choice_s": 0, "choice_s_per_token": 0,
        "formats": {"f32": {"read_s_per_byte": [[1, 1e-15]], "row_factor": [[1, 1]], "operations_per_s": 1e15}},
        "link": [[8, 0, 0]]}
PROVENANCE = {"version": "0", "commit": "c", "cpu": "a processor", "build": "b", "mpi": "an MPI, and more", "time": "2020"}


def made_run(*steps: float, tokens: str = "aa", **values: object) -> dict:
    return {"step_ms": list(steps), "tokens_per_s": [1e3 / step for step in steps], "prompt_ms": [1.0], "tokens": [tokens],
            "hosts": 1, "cores": [[0]], "cores_shared": False, **values}


def made_record(point: Point, predicted: dict | None = None, emulated: bool = False, **runs: dict) -> dict:
    return {"point": point.number, "study": "s", "parameters": point.__dict__, "nature": "emulated" if emulated else "", "place": "nowhere",
            "crowded": False, "commands": [], "runs": runs, "machine": None, "predicted": predicted,
            "predicted_rounds": [predicted] if predicted else [], "provenance": PROVENANCE, "seconds": 1.0}


class StudyCase(TestCase):
    def study(self, name: str = "small", **values: object) -> Path:
        if "checkpoint" not in values:
            values = {"model": "model.json", **values}
        self.file("model.json", json.dumps(MODEL))
        return Path(self.file(f"{name}.json", json.dumps(SMALL | values)))


class Arithmetic(StudyCase):
    def rows(self, kind: str, *steps: tuple, **values: object) -> list[dict]:
        """A row a number of ranks 1, 2, 4...: staggered, sequential and one rank's rounds."""
        study = read_study(self.study(kind=kind, ranks=[2**i for i in range(len(steps))], **values))
        found = {}
        for point, (staggered, sequential, one_rank) in zip(study.points(), steps):
            runs = {"staggered": made_run(*staggered), "sequential": made_run(*sequential), "one_rank": made_run(*one_rank)}
            found[point.number] = made_record(point, {"staggered_s": 0.0011, "sequential_s": 0.005}, **runs)
        return table.rows_of(study, found)

    def test_strong(self):
        one, two, four = self.rows("strong", ((4.0,), (4.0,), (4.0,)), ((2.0, 30.0, 2.5), (4.0, 5.0, 6.0), (5.0,)),
                                   ((1.0,), (4.0,), (8.0,)))
        self.assertEqual([row["staggered_ms"] for row in (one, two, four)], [4, 2.5, 1])  # medians, not means
        self.assertEqual((two["gain"], two["speed_up"], two["efficiency_percent"]), (2, 2, 100))
        self.assertEqual((four["gain"], four["speed_up"], four["efficiency_percent"]), (4, 8, 200))
        self.assertEqual([row["against_first"] for row in (one, two, four)], [1, 1.6, 4])
        self.assertAlmostEqual(two["spread_percent"], 100 * 28 / 2.5)
        self.assertIsNone(one["spread_percent"])  # of one round
        self.assertEqual((one["gain"], one["speed_up"], one["efficiency_percent"]), (1, 1, 100))

    def test_weak(self):
        one, two, four = self.rows("weak", ((2.0,), (2.0,), (2.0,)), ((2.5,), (4.0,), (4.0,)), ((4.0,), (8.0,), (8.0,)))
        self.assertEqual([row["efficiency_percent"] for row in (one, two, four)], [100, 80, 50])

    def test_predictions(self):
        _, two = self.rows("strong", ((4.0,), (4.0,), (4.0,)), ((1.0,), (4.0,), (4.0,)))
        self.assertAlmostEqual(two["predicted_ms"], 1.1)
        self.assertAlmostEqual(two["error_percent"], 10)  # above what was measured
        self.assertAlmostEqual(two["sequential_error_percent"], 25)

    def test_each_round_has_its_own_prediction(self):
        """A machine that is twice as slow in the second round, and is known to be."""
        study = read_study(self.study(ranks=[2]))
        (point,) = study.points()
        record = made_record(point, staggered=made_run(1.0, 2.0, 1.0), sequential=made_run(2.0, 4.0, 2.0))
        record["predicted_rounds"] = [{"staggered_s": 1.1e-3 * slow, "sequential_s": 1.8e-3 * slow} for slow in (1, 2, 1)]
        row = table.row(study, record)
        self.assertAlmostEqual(row["error_percent"], 10)
        self.assertAlmostEqual(row["sequential_error_percent"], -10)
        self.assertAlmostEqual(row["predicted_ms"], 1.1)

        record["predicted_rounds"] = []
        self.assertNotIn("error_percent", {key for key, value in table.row(study, record).items() if value is not None})

    def test_a_round_in_which_the_machine_changed_its_speed_is_run_again(self):
        study = read_study(self.study(ranks=[2], rounds=2))
        (point,) = study.points()
        speeds = iter([1.0, 2.0, 2.05, 2.05])  # the first round begins at one speed and ends at another
        turns = []

        class Told(measuring.Measuring):
            def prediction_now(self, point, machine):
                return {"staggered_s": next(speeds)}

            def turn(self, point, place, machine, turn):
                turns.append(turn)
                return [("staggered", {"run": len(turns)}, "command")]

        told = Told(study, None, "", Path())
        runs, predictions, repeated = told.rounds(point, None, Path("machine"))
        self.assertEqual((turns, repeated), ([0, 0, 1], 1))
        self.assertEqual([record["run"] for _, record, _ in runs], [2, 3])
        self.assertEqual(predictions, [{"staggered_s": 2.025}, {"staggered_s": 2.05}])

    def test_a_machine_that_never_rests_does_not_keep_a_study_for_ever(self):
        study = read_study(self.study(ranks=[2], rounds=1))
        (point,) = study.points()
        speeds = iter(range(1, 100))

        class Told(measuring.Measuring):
            prediction_now = staticmethod(lambda point, machine: {"staggered_s": 2.0 ** next(speeds)})
            turn = staticmethod(lambda *_: [])

        self.assertEqual(Told(study, None, "", Path()).rounds(point, None, Path("m"))[2], measuring.TRIES - 1)

    def test_the_quickest_of_several_calibrations(self):
        slow = {"name": "a", "layer_s": 2, "link": [[8, 1, 4], [64, 2, 1], [96, 3, 1]], "formats": {"f32": {
            "read_s_per_byte": [[1, 5], [2, 3]], "row_factor": [[1, 1], [2, 1.5]], "operations_per_s": 5}}}
        other = {"name": "a", "layer_s": 1, "link": [[8, 2, 3], [64, 1, 2]], "formats": {"f32": {
            "read_s_per_byte": [[1, 4], [2, 4]], "row_factor": [[1, 1], [2, 9]], "operations_per_s": 6}}}
        self.assertEqual(quickest([slow, other]), {"name": "a", "layer_s": 1, "link": slow["link"], "formats": {"f32": {
            "read_s_per_byte": [[1, 4], [2, 3]], "row_factor": [[1, 1], [2, 5.25]], "operations_per_s": 6}}})

    def test_other_axes_are_other_series(self):
        study = read_study(self.study(ranks=[1, 2], batch=[1, 8]))
        found = {point.number: made_record(point, staggered=made_run(step))
                 for point, step in zip(study.points(), (4.0, 2.0, 9.0, 3.0))}
        self.assertEqual([row["against_first"] for row in table.rows_of(study, found)], [1, 2, 1, 3])

    def test_labels(self):
        study = read_study(self.study(ranks=[4]))
        (point,) = study.points()
        shared = table.row(study, made_record(point, staggered=made_run(1.0, cores_shared=True)))
        self.assertEqual((shared["label"], shared["tokens"]), ("cores shared", "aa"))
        self.assertEqual(table.row(study, made_record(point, staggered=made_run(1.0)) | {"crowded": True})["label"], "cores shared")
        emulated = table.row(study, made_record(point, emulated=True, staggered=made_run(1.0, cores_shared=True)))
        self.assertEqual((emulated["label"], emulated["tokens"]), ("emulated", "-"))

    def test_a_filled_pipeline_is_judged_by_its_best(self):
        def made(groups: int, rate: float) -> dict:
            return {"groups": groups, "decode": {"step_ms": 8e3 / rate, "tokens_per_s": {"median": rate}, "token_digest": "f"},
                    "prefill": {"seconds": [1.0]}, "per_rank": [{"host": "h", "cores": [0], "oversubscribed": False}]}
        self.assertEqual(measuring.groups_of(Point(1, 2, 1, 8, None, None)), [2, 4, 8])
        self.assertEqual(measuring.groups_of(Point(1, 4, 1, 3, None, None)), [3])
        best = measuring.best_of([made(2, 10.0), made(4, 30.0), made(2, 90.0), made(4, 32.0), made(2, 11.0), made(4, 1.0)])
        self.assertEqual((best["groups"], best["tokens_per_s"]), (4, [30.0, 32.0, 1.0]))
        study = read_study(self.study(ranks=[2], batch=[8]))
        row = table.row(study, made_record(study.points()[0], staggered=made_run(2.0), filled=best))
        self.assertEqual((row["filled_groups"], row["filled_tokens_per_s"]), (4, 30))

    def test_sentences_and_pages(self):
        study = read_study(self.study(ranks=[1, 2]))
        found = {p.number: made_record(p, staggered=made_run(2.0 / p.ranks), sequential=made_run(2.0), one_rank=made_run(2.2))
                 for p in study.points()}
        rows, problems, _ = report.write(study, found, self.folder, ["tool"])
        self.assertEqual(problems, [])
        text = report.body(study, rows, found)
        self.assertIn("2.00 (2 ranks, batch 1) to 2.00 times", text)
        self.assertIn("a processor", text)
        page = Path(self.file("page.md", "before\n<!-- study small: begin -->\nold\n<!-- study small: end -->\nafter\n"))
        for _ in range(2):  # as often as one likes
            report.fill_page(page, study, text, [], [])
        self.assertEqual(page.read_text(), f"before\n<!-- study small: begin -->\n\n{text}\n<!-- study small: end -->\nafter\n")
        with self.assertRaisesRegex(StudyError, "problems"):
            report.fill_page(page, study, "x", [], ["missing"])
        with self.assertRaisesRegex(StudyError, "study small: begin"):
            report.fill_page(Path(self.file("other.md", "nothing")), study, text, [], [])


class Checks(StudyCase):
    def problems(self, study: Study, tokens: dict[tuple[int, str], str], emulated: bool = False) -> list[str]:
        """Of points whose runs chose these tokens, by rank count and run."""
        found = {}
        for point in study.points():
            runs = {run: made_run(1.0, tokens=text) for (ranks, run), text in tokens.items() if ranks == point.ranks}
            if runs:
                found[point.number] = made_record(point, emulated=emulated, **runs)
        return table.problems_of(study, found)

    def test_missing_points(self):
        study = read_study(self.study(ranks=[1, 2, 4]))
        found = self.problems(study, {(1, "staggered"): "a", (4, "staggered"): "a"})
        self.assertEqual(len(found), 1)
        self.assertIn("point 2 (2 rank(s)", found[0])

    def test_other_tokens(self):
        study = read_study(self.study(ranks=[1, 2]))
        self.assertEqual(self.problems(study, {(1, "staggered"): "a", (2, "staggered"): "b", (2, "sequential"): "b",
                                               (2, "filled"): "c"}), [])  # other models
        for run in ("sequential", "one_rank"):
            (problem,) = self.problems(study, {(1, "staggered"): "a", (2, "staggered"): "b", (2, run): "a"})
            self.assertIn(f"point 2 ({run}): other tokens (a)", problem)
        tokens = {(1, "staggered"): "a", (2, "staggered"): "b", (2, "sequential"): "c"}
        self.assertEqual(self.problems(study, tokens, emulated=True), [])

    def test_a_checkpoint_is_one_model(self):
        study = read_study(self.study(checkpoint="x.h5", ranks=[1, 2]))
        self.assertEqual(len(self.problems(study, {(1, "staggered"): "a", (2, "staggered"): "b"})), 1)
        self.assertEqual(len(self.problems(study, {(1, "staggered"): "a", (2, "staggered"): "a", (2, "filled"): "b"})), 1)

    def test_links_do_not_change_the_tokens(self):
        study = read_study(self.study(ranks=[2], delay_us=[0, 50]))
        found = {p.number: made_record(p, staggered=made_run(1.0, tokens=f"{p.delay_us}")) for p in study.points()}
        self.assertEqual(len(table.problems_of(study, found)), 1)

    def test_a_line_cut_short(self):
        study = read_study(self.study(ranks=[1, 2, 4]))
        path = self.folder / "points.jsonl"
        record = made_record(study.points()[0], staggered=made_run(1.0)) | {"study": study.identity()}
        records.append(path, record)
        path.write_bytes(path.read_bytes() * 2)
        with open(path, "ab") as file:
            file.truncate(path.stat().st_size - 20)
        self.assertEqual(list(records.read(self.folder, study)), [1])
        records.append(path, record | {"point": 2})
        records.append(self.folder / "point-3.jsonl", record | {"point": 3})
        self.assertEqual(sorted(records.read(self.folder, study)), [1, 2, 3])

    def test_another_study(self):
        study = read_study(self.study(ranks=[1, 2]))
        records.append(self.folder / "points.jsonl",
                       made_record(study.points()[0], staggered=made_run(1.0)) | {"study": study.identity()})
        with self.assertRaisesRegex(StudyError, "another study"):
            records.read(self.folder, read_study(self.study(ranks=[2, 1])))
        self.assertEqual(len(records.read(self.folder, read_study(self.study(ranks=[1, 2], title="said otherwise")))), 1)

    def test_what_is_refused(self):
        for values, words in (({"rank": [1]}, "unknown key 'rank'"), ({"ranks": [3]}, "4 layers"), ({"ranks": [0]}, "ranks is a list"),
                              ({"kind": "odd"}, "not 'odd'"), ({"delay_us": [-1]}, "delay_us"), ({"runs": ["fast"]}, "no run 'fast'"),
                              ({"model": ""}, "either a model"), ({"model": "none.json"}, "none.json"), ({"runs": ["one_rank"]},
                                                                                                     "staggered")):
            with self.subTest(values=values), self.assertRaisesRegex(StudyError, words.replace("(", r"\(")):
                read_study(self.study(**values))

    def test_our_own_studies_can_be_read(self):
        paths = sorted((LAUNCH.parent / "configs" / "studies").glob("*.json"))
        self.assertGreater(len(paths), 3)
        for path in paths:
            study = read_study(path)
            self.assertTrue(study.points() and study.minutes, path)


class Runs(StudyCase):
    def command(self, path: Path, *arguments: object) -> list[str]:
        machine = self.file("machine.json", json.dumps(SLOW))
        return [str(word) for word in (TOOL, path, "--output", self.folder / "out", "--machine", machine, *arguments)]

    def tool(self, path: Path, *arguments: object):
        return run_command(self.command(path, *arguments), {"STAGFORMER_PROGRAM": PROGRAM})

    def table(self) -> list[dict]:
        return list(csv.DictReader((self.folder / "out" / "table.csv").read_text().splitlines()))

    def test_goes_on_after_a_kill(self):
        path = self.study(ranks=[1, 2], rounds=2)
        environment = {**os.environ, "STAGFORMER_PROGRAM": PROGRAM}
        points = self.folder / "out" / "points.jsonl"
        with subprocess.Popen(self.command(path), env=environment, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            end = time.monotonic() + HANG
            while not (points.exists() and points.read_bytes().endswith(b"\n")):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
        first = points.read_bytes()
        self.assertEqual(len(first.splitlines()), 1)
        result = self.tool(path)
        self.assertEqual(result.code, 0, result)
        self.assertIn("1 of 2 points are there already", result.stderr)
        self.assertNotIn("point 1:", result.stderr)
        self.assertTrue(points.read_bytes().startswith(first))
        one, two = self.table()
        self.assertEqual((one["ranks"], two["ranks"], two["label"]), ("1", "2", ""))
        self.assertAlmostEqual(float(two["gain"]), float(two["sequential_ms"]) / float(two["staggered_ms"]))
        self.assertAlmostEqual(float(two["speed_up"]), float(two["one_rank_ms"]) / float(two["staggered_ms"]))
        self.assertAlmostEqual(float(two["predicted_ms"]), 50, 3)  # two layers of the machine that was given
        study = json.loads((self.folder / "out" / "study.json").read_text())
        self.assertEqual(study["provenance"]["place"], {"this machine": 2})
        self.assertTrue(any("mpirun" in command for command in study["provenance"]["commands"]["2"]))

    def test_predicts_again_what_is_there(self):
        path = self.study(ranks=[1])
        self.assertEqual(self.tool(path).code, 0)
        (before,) = self.table()
        machine = self.folder / "slow.json"
        values = json.loads((self.folder / "machine.json").read_text())
        machine.write_text(json.dumps(values | {"layer_s": 2 * values["layer_s"]}))
        result = self.tool(path, "--recalibrate", "--machine", machine)
        self.assertEqual(result.code, 0, result)
        (after,) = self.table()
        self.assertEqual(after["staggered_ms"], before["staggered_ms"])
        self.assertAlmostEqual(float(after["predicted_ms"]), 2 * float(before["predicted_ms"]), 3)

    def test_one_point_and_what_is_missing(self):
        path = self.study(ranks=[1, 2])
        self.assertEqual(self.tool(path, "--list").text.splitlines(), ["1 1 rank(s) of 1 thread(s), batch 1",
                                                                       "2 2 rank(s) of 1 thread(s), batch 1"])
        self.assertEqual(self.tool(path, "--point", 2).code, 0)
        result = self.tool(path, "--collect")
        self.assertEqual(result.code, 1, result)
        self.assertIn("error: point 1 (1 rank(s) of 1 thread(s), batch 1) has no result", result.stderr)
        self.assertEqual([row["point"] for row in self.table()], ["2"])
        self.assertEqual(self.tool(path, "--point", 3).code, 2)

    def test_a_point_that_fails_does_not_stop_the_others(self):
        result = self.tool(self.study(checkpoint=checkpoint("sections4"), ranks=[3, 1]))
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.stderr, r"error: point 1 \(3 rank.*stagformer: error: ")
        self.assertEqual([row["point"] for row in self.table()], ["2"])

    def test_emulated_ranks_are_called_so(self):
        result = self.tool(self.study(ranks=[4], emulated=True))
        self.assertEqual(result.code, 0, result)
        (row,) = self.table()
        self.assertEqual((row["label"], row["tokens"]), ("emulated", "-"))
        self.assertGreaterEqual(float(row["staggered_ms"]), 25)  # a layer
        self.assertGreaterEqual(float(row["sequential_ms"]), 100)
        self.assertGreaterEqual(float(row["one_rank_ms"]), 100)
        for name in ("table.md", *(["small.svg"] if (self.folder / "out" / "small.svg").exists() else [])):
            self.assertIn("emulated", (self.folder / "out" / name).read_text())

    def test_what_is_simulated_takes_the_links_of_the_study(self):
        """Sections of 25 ms a layer on a machine whose own links take no time. 8 ms more for each message make the whole head the
        choice: a token goes down the tree, one hop or two, and memory comes one hop back, which two steps share."""
        result = self.tool(self.study(ranks=[2, 4], simulated=True, delay_us=[0, 8000], predict=True))
        self.assertEqual(result.code, 0, result)
        rows = self.table()
        self.assertEqual({(row["label"], row["tokens"]) for row in rows}, {("simulated", "-")})
        for row, layers in zip(rows, (2, 1, 2, 1)):  # 4 layers in all
            hops = 0 if row["delay_us"] == "0" else {"2": 1 + 1, "4": 2 + 1}[row["ranks"]]
            self.assertAlmostEqual(float(row["staggered_ms"]), 25 * layers + 8 * hops / 2, 1)
            self.assertAlmostEqual(float(row["predicted_ms"]), float(row["staggered_ms"]), 1)
            self.assertGreater(float(row["sequential_ms"]), 100)
        self.assertIn("(simulated)", (self.folder / "out" / "table.md").read_text())

    def test_every_run(self):
        """A staggered model and an ordinary decoder that is filled: tokens of the first agree, those of the second are its own."""
        result = self.tool(self.study(ranks=[2], batch=[2], runs=["staggered", "sequential", "one_rank", "filled"]))
        self.assertEqual(result.code, 0, result)
        (row,) = self.table()
        self.assertEqual((row["filled_groups"], row["batch"]), ("2", "2"))
        self.assertGreater(float(row["filled_tokens_per_s"]), 0)

    def test_what_is_refused(self):
        result = self.tool(Path("no-such-study"))
        self.assertEqual((result.code, result.stdout), (2, b""), result)
        self.assertRegex(result.stderr, r"\Ascaling-study: error: no study no-such-study[^\n]*\n\Z")
        self.assertIn("give --namespaces", self.tool(self.study(delay_us=[5])).stderr)


if __name__ == "__main__":
    main()
