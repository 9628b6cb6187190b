"""Tables, verdicts and page of a family, from invented results."""

import csv
import math

import pytest

from stagformer_reference.config import ConfigError
from stagformer_reference.family.claims import Claims
from stagformer_reference.family.latency import ranks_of, settings_of
from stagformer_reference.family.picture import draw, label_heights
from stagformer_reference.family.report import fill, marked, write_report
from stagformer_reference.family.rows import Row, compare, group, pooled_spread
from stagformer_reference.family.tables import latency_table, main_table, recurrent_table, task_text

from conftest import small_config


def line(name: str, seed: int, perplexity: float, **more) -> dict:
    return {"name": name, "label": name.upper(), "seed": seed, "parameters": 2_000_000, "parameters_without_embeddings": 1_500_000,
            "sequential_layers": 6, "tokens": 2_000_000, "training_flops": 3e13, "training_loss": 3.0,
            "held_out_loss": math.log(perplexity)} | more


def rows_of(**perplexities: list[float]) -> list[Row]:
    """One row a keyword; `_` stands for `-`."""
    return group([line(name.replace("_", "-"), seed, p) for name, values in perplexities.items()
                  for seed, p in enumerate(values, 1)])


def test_differences_below_twice_the_spread_are_equal():
    rows = rows_of(a=[39.0, 40.0, 41.0], b=[41.0, 42.0, 43.0], c=[42.2], d=[36.0])
    assert pooled_spread(rows) == pytest.approx(1.0)
    assert compare(rows, "b", "a").verdict == "worse" and compare(rows, "a", "b").verdict == "better"
    assert compare(rows, "b", "a").difference == pytest.approx(2.0)
    assert compare(rows_of(a=[39.0, 40.0, 41.0], b=[40.9, 41.9, 42.9]), "b", "a").verdict == "equal"
    one = compare(rows, "c", "b")   # beside seed 1 alone, 41; counts from 2 sqrt(2)
    assert one.by_seed() == pytest.approx([1.2]) and one.threshold == pytest.approx(2 * math.sqrt(2))
    assert compare(rows, "d", "a").verdict == "better" and compare(rows, "c", "a").verdict == "worse"
    assert compare(rows, "a", "absent") is None and compare(rows_of(a=[1.0], b=[2.0]), "a", "b") is None


def test_tables():
    lines = [line("a", n, p, blimp=0.6, blimp_items=1000, hellaswag=0.26, hellaswag_items=400, cache_bytes_a_token=3072,
                  cache_bytes_of_windows=768) for n, p in ((1, 20.0), (2, 22.0))]
    text = main_table(group(lines))
    assert "| 21.00 ± 1.41 |" in text and "| 60.0 | chance |" in text and "2.00 (1.50)" in text and "3,072 (+ 768 in all)" in text
    assert "ms a token" not in text
    assert task_text(Row("a", "a", [{"blimp": 0.54, "blimp_items": 1000}]), "blimp") == "54.0"   # two errors are 3.2 %
    assert task_text(Row("a", "a", [{"blimp": 0.53, "blimp_items": 1000}]), "blimp") == "chance"


def test_recurrent_costs_are_each_seeds_own():
    """The two seeds differ by far more than recurrent decoding costs."""
    lines = [line("a", n, 20.0, exact_after_4=math.log(p), recurrent_after_4_own=math.log(1.01 * p),
                  recurrent_after_4_previous_pass=math.log(1.03 * p)) for n, p in ((1, 20.0), (2, 40.0))]
    text = recurrent_table(group(lines)[0])
    assert "| 4 | 30.00 ± 14.14 |" in text and "| 1.00 ± 0.00 |" in text and "| 3.00 ± 0.00 |" in text


def timed(name: str, one_rank: list[float], **rounds: list[float]) -> dict:
    more = {"ms_one_rank": one_rank[1], "rounds_one_rank": one_rank, "ranks": 2, "sections": 2, "cores": 2}
    for setting, values in rounds.items():
        more |= {f"ms_{setting}": values[1], f"rounds_{setting}": values}
    return line(name, 1, 30.0, **more)


def test_ratios_are_of_the_same_round():
    """The machine was twice as slow in the third round; ratios do not see it."""
    rows = group([timed("decoder-12", [1.0, 1.0, 2.0]),
                  timed("separate-2x6", [1.2, 1.2, 2.4], staggered=[0.6, 0.6, 1.2], sequential=[1.0, 1.0, 2.0])])
    assert latency_table(rows, rows[0]).count(" 0.60 (0.60-0.60) |") == 2
    seen, verdict = Claims(rows).time()
    assert seen.startswith("40 % less") and verdict == "agrees"
    rows = group([timed("separate-2x6", [1.2, 1.2, 1.2], staggered=[0.9, 0.9, 0.9], sequential=[1.0, 1.0, 1.0])])
    assert Claims(rows).time()[1] == "less"


def test_claims():
    good = rows_of(decoder_12=[40.0, 40.2], decoder_6=[42.0, 42.2], separate_2x6=[39.0, 39.2], shared_2x6=[41.0, 41.2],
                   window_128=[38.0], window_16=[38.0], separate_3x4=[44.0], separate_3x4_linear=[40.0])
    claims = Claims(good)
    assert {judge()[1] for judge in (claims.separate, claims.shared, claims.windows, claims.linear)} == {"agrees"}
    bad = rows_of(decoder_12=[40.0, 40.2], decoder_6=[42.0, 42.2], separate_2x6=[41.0, 41.2], shared_2x6=[39.0, 39.2],
                  window_128=[43.0], separate_3x4=[40.0], separate_3x4_linear=[44.0])
    claims = Claims(bad)
    assert {judge()[1] for judge in (claims.separate, claims.shared, claims.windows, claims.linear)} == {"does not agree"}
    equal = Claims(rows_of(decoder_12=[40.0, 42.0], decoder_6=[40.5, 42.5], separate_2x6=[41.0, 42.0], shared_2x6=[41.0, 41.2],
                           window_128=[41.0], window_16=[30.0]))
    assert equal.separate()[1] == "cannot be told apart here" and "decoders are equal" in equal.shared()[1]
    assert equal.windows()[1] == "mixed" and equal.linear()[1] == equal.time()[1] == equal.cache()[1] == "-"


def test_claims_on_caches_and_recurrent_decoding():
    rows = group([line("decoder-12", 1, 30.0, cache_bytes_a_token=3072),
                  line("separate-2x6", 1, 30.0, cache_bytes_a_token=4608),
                  line("shared-2x6", 1, 30.0, exact_after_16=3.0, recurrent_after_16_previous_pass=3.02)])
    assert Claims(rows).cache() == ("+50 %", "agrees")
    assert Claims(rows).recurrent() == ("perplexity +2.0 % after 16 positions", "agrees")
    rows[2].seeds[0]["recurrent_after_16_previous_pass"] = 3.06
    assert Claims(rows).recurrent()[1] == "does not agree"


def test_ranks_have_a_core_each_and_equally_many_sections():
    assert [ranks_of(sections, 2) for sections in (1, 2, 3, 4, 6)] == [1, 2, 1, 2, 2]
    assert [ranks_of(sections, 4) for sections in (1, 2, 3, 4, 6)] == [1, 2, 3, 4, 3]
    config = small_config(sections={"count": 4})
    assert [(s.name, s.ranks, s.threads) for s in settings_of(config, 2)] == [
        ("one_rank", 1, 1), ("two_threads", 1, 2), ("staggered", 2, 1), ("sequential", 2, 1)]
    assert [s.name for s in settings_of(small_config(sections={"weights": "shared"}), 1)] == ["one_rank", "recurrent"]


def test_labels_do_not_touch():
    for heights in ([1.0, 1.01, 5.0, 1.02, 4.99], [2.0] * 5, [0.0, 0.9, 1.8, 2.7, 9.0]):
        found = label_heights(heights, 1.0)
        places = sorted(found)
        assert min(b - a for a, b in zip(places, places[1:])) >= 1 - 1e-9
        assert all((found[a] < found[b]) for a in range(5) for b in range(5) if heights[a] < heights[b])
    assert label_heights([1.0, 7.0, 4.0], 1.0) == [1.0, 7.0, 4.0]
    assert label_heights([3.0, 3.0], 1.0) == [2.5, 3.5]


def test_page_keeps_what_is_written_by_hand(tmp_path):
    with open(tmp_path / "results.csv", "w", newline="") as file:
        lines = [line("a", 1, 30.0), line("a", 2, 31.0)]
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    write_report(tmp_path, tmp_path)
    page = tmp_path / "results.md"
    first = page.read_text()
    page.write_text("# Title\n\nSaid by hand.\n\n" + first.replace("30.50", "99.99"))
    picture = (tmp_path / "results.svg").read_bytes()
    write_report(tmp_path, tmp_path)
    assert page.read_text() == "# Title\n\nSaid by hand.\n\n" + first and (tmp_path / "results.svg").read_bytes() == picture
    page.write_text(first.replace("generated: main", "generated: mian"))
    with pytest.raises(ConfigError, match="part main is"):
        write_report(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="there twice"):
        fill(marked("a", "x") * 2, {"a": "y"}, "page")


def test_picture_of_timed_rows(tmp_path):
    draw(group([timed("decoder-12", [1.0, 1.0]), timed("separate-2x6", [1.2, 1.2], staggered=[0.6, 0.6])]), tmp_path / "p.svg")
    assert "<svg" in (tmp_path / "p.svg").read_text()
