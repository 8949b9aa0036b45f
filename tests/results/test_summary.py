"""Averages of a run and differences of two: against plain numpy, in every format; and what does not pair is refused."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from synthetic_runs import SyntheticSource, write_run

from dmseg import results
from dmseg.errors import UsageError
from dmseg.results.cases import case_tables
from dmseg.results.comparing import GROUPINGS, compare
from dmseg.results.layout import TextTable, interval, long_csv, paper_table, summary_tables
from dmseg.results.summary import split_numbers
from dmseg.statistics import Estimate
from dmseg.types import LEVELS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: results.open_run(write_run(folder / name, name, quality=quality, failed=failed))
        for name, quality, failed in (("alpha", 0.8, 0), ("beta", 0.9, 0), ("gamma", 0.8, 3))
    }


@pytest.fixture(name="seen", scope="module")
def split_seen(runs):
    return split_numbers(case_tables(runs["alpha"].steps)["seen"])


def macro(frame, column):
    return frame.groupby("dataset")[column].mean().mean()


def test_the_paper_s_layout_is_hardest_level_first_and_agrees_with_plain_means(runs, seen):
    table = paper_table("alpha", seen)
    assert table.header[:3] == ("Method", "LQ-3+ IoU", "LQ-3+ Dice") and table.header[-1] == "Average Dice"
    steps = runs["alpha"].steps
    last = steps[(steps["split"] == "seen") & (steps["step"] == 5)]
    over_datasets, over_masks = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    hardest = last[last["level"] == "lq3plus"]
    assert over_datasets["LQ-3+ Dice"] == f"{100 * macro(hardest, 'dice'):.2f}"
    assert over_masks["LQ-3+ IoU"] == f"{100 * hardest['iou'].mean():.2f}"
    assert over_masks["Average Dice"] == f"{100 * last['dice'].mean():.2f}"


def test_the_area_under_the_curve_is_by_trapezoids(runs, seen):
    steps = runs["alpha"].steps
    one = steps[(steps["split"] == "seen") & (steps["level"] == "clear")]
    wide = one.pivot_table(index=["dataset", "mask_id"], columns="step", values="dice", observed=True)
    area = (wide.sum(axis=1) - (wide[1] + wide[5]) / 2) / 4
    row = next(row for row in seen.areas.rows if row.metric == "dice")
    assert row.cells[-2].value == pytest.approx(100 * area.groupby("dataset").mean().mean())


def test_clicks_and_failures_at_every_target(runs, seen):
    assert list(seen.clicks) == [0.80, 0.85, 0.90, 0.95]
    steps = runs["alpha"].steps
    for target, failures in seen.failures.items():
        for level, number in zip(LEVELS, failures, strict=True):
            rows = steps[(steps["split"] == "seen") & (steps["level"] == level)]
            assert number == (rows.groupby("mask_id")["iou"].max() < target).sum()
    assert [cell.value for cell in seen.clicks[0.80]] <= [cell.value for cell in seen.clicks[0.90]]
    assert seen.noc == seen.clicks[0.90]


def test_markdown_and_latex_hold_the_same_cells(seen):
    for table in summary_tables("alpha_1", seen):
        markdown, latex = table.markdown().splitlines(), table.latex()
        assert len({len(line) for line in markdown[2:]}) == 1
        for row in table.rows:
            cells = [cell.strip() for cell in markdown[4 + table.rows.index(row)].strip("|").split("|")]
            assert cells == list(row)
            assert row[-1].replace("%", r"\%") in latex
        assert latex.count(r"\\") == 1 + len(table.rows)
        assert latex.startswith(r"\begin{table}") and latex.endswith(r"\end{table}")
    assert r"alpha\_1" in summary_tables("alpha_1", seen)[0].latex()


def test_latex_escapes_what_has_a_meaning():
    text = TextTable("50 % & more", ("a_b", "x"), (("#1", "{}"),)).latex()
    assert r"50 \% \& more" in text and r"a\_b" in text and r"\#1 & \{\}" in text


def test_the_csv_has_every_number_once(seen):
    rows = list(csv.DictReader(io.StringIO(long_csv("alpha", [seen]))))
    keys = [(r["split"], r["over"], r["average"], r["metric"], r["level"]) for r in rows]
    assert len(keys) == len(set(keys))
    assert {r["over"] for r in rows} == {"final", "step_mean", "auc"}
    assert {r["metric"] for r in rows} >= {"dice", "hd95", "noc80", "noc95", "dice_drop"}
    drop = {r["level"]: float(r["value"]) for r in rows if r["metric"] == "dice_drop"}
    dice = {r["level"]: float(r["value"]) for r in rows if keys[rows.index(r)][1:4] == ("final", "macro", "dice")}
    assert set(drop) == set(LEVELS) - {"clear"}
    for level, value in drop.items():
        assert value == pytest.approx(dice["clear"] - dice[level], abs=1e-5)
    assert all(float(r["low"]) <= float(r["value"]) <= float(r["high"]) for r in rows if r["metric"] == "dice")


def test_an_interval_without_spread_is_not_shown():
    assert interval(Estimate(81.23, 81.23, 81.23, 4, 1)) == "81.2 [–]"
    assert interval(Estimate(81.23, 79.0, 83.11, 4, 3)) == "81.2 [79.0, 83.1]"


def test_failed_rows_lower_the_mean(runs):
    whole, failed = (split_numbers(case_tables(runs[name].steps)["seen"]) for name in ("alpha", "gamma"))
    assert failed.by_level["dice"][3].value < whole.by_level["dice"][3].value - 1


def test_differences_are_paired_and_second_minus_first(runs):
    found = compare(runs["alpha"], runs["beta"])
    steps = {name: runs[name].steps[runs[name].steps["step"] == 5] for name in ("alpha", "beta")}
    (row,) = (row for row in found if (row.split, row.grouping, row.group) == ("seen", "level", "lq2"))
    one, two = (frame[(frame["split"] == "seen") & (frame["level"] == "lq2")] for frame in steps.values())
    assert row.first == pytest.approx(100 * macro(one, "dice"))
    assert row.second == pytest.approx(100 * macro(two, "dice"))
    assert row.difference.value == pytest.approx(row.second - row.first)
    assert row.difference.low < row.difference.value < row.difference.high
    assert row.verdict == "+"
    back = next(r for r in compare(runs["beta"], runs["alpha"]) if (r.split, r.group) == ("seen", "lq2"))
    assert back.difference.value == pytest.approx(-row.difference.value) and back.verdict == "-"


def test_a_run_does_not_differ_from_itself(runs):
    assert {row.verdict for row in compare(runs["alpha"], runs["alpha"])} == {"="}


def test_every_grouping_divides_the_masks(runs):
    found = compare(runs["alpha"], runs["beta"])
    for split in ("seen", "unseen"):
        rows = [row for row in found if row.split == split]
        n = next(row.difference.n for row in rows if row.group == "average")
        assert {row.grouping for row in rows} == set(GROUPINGS)
        for grouping in set(GROUPINGS) - {"level"}:
            assert sum(row.difference.n for row in rows if row.grouping == grouping) == n


def test_one_case_per_dataset_gives_no_verdict(tmp_path):
    sources = {"busi": SyntheticSource("ultrasound", "seen", 1, 2)}
    one, two = (
        results.open_run(write_run(tmp_path / name, name, quality=quality, sources=sources))
        for name, quality in (("a", 0.8), ("b", 0.9))
    )
    assert {row.verdict for row in compare(one, two)} == {"?"}


def test_hd95_is_in_pixels(runs):
    row = next(row for row in compare(runs["alpha"], runs["beta"], "hd95") if row.group == "average")
    frame = runs["alpha"].steps
    last = frame[(frame["split"] == "seen") & (frame["step"] == 5)]
    assert row.first == pytest.approx(macro(last, "hd95")) and row.verdict == "-"


def test_runs_that_do_not_pair_are_refused(runs, tmp_path):
    with pytest.raises(UsageError, match=r'unknown metric "dise".*did you mean "dice"'):
        compare(runs["alpha"], runs["beta"], "dise")
    other = dict(runs["alpha"].info["protocol"], seed=1)
    changed = results.open_run(write_run(tmp_path / "seed", "alpha", protocol=other))
    with pytest.raises(UsageError, match=r"do not pair: protocol\.seed is 0 in .* and 1 in"):
        compare(runs["alpha"], changed)
    for key, value in (("grid", 1024), ("boundary", "pixel"), ("hd95", "pooled")):
        metrics = dict(runs["alpha"].info["metrics"], **{key: value})
        scored = results.open_run(write_run(tmp_path / key, "alpha", metrics=metrics))
        with pytest.raises(UsageError, match=rf"do not pair: metrics\.{key} is .* and {value} in"):
            compare(runs["alpha"], scored)
    part = results.open_run(
        write_run(tmp_path / "part", "alpha", sources={"busi": SyntheticSource("ultrasound", "seen", 6)})
    )
    with pytest.raises(UsageError, match=r"450 rows are only in .*, 0 only in .*--limit"):
        compare(runs["alpha"], part)


def test_size_groups_are_by_area(runs):
    areas = runs["alpha"].steps["gt_area"]
    assert np.all(areas < 32**2)
    assert {row.group for row in compare(runs["alpha"], runs["beta"]) if row.grouping == "size"} == {"small"}
