"""Several runs in one table: right numbers, the best marked, ties by the paired interval, every format."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest
from click.testing import CliRunner
from synthetic_runs import write_run

from dmseg import results
from dmseg.cli import group
from dmseg.errors import UsageError
from dmseg.results.comparing import compare
from dmseg.results.model_table import LAYOUTS, build_tables, format_csv, format_html, format_latex, format_markdown


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(folder):
    qualities = {"alpha": 0.8, "beta_2": 0.9, "gamma": 0.8}
    return [results.open_run(write_run(folder / name, name, quality=quality)) for name, quality in qualities.items()]


def find(table, name, metric, place):
    cells = dict(table.rows)[name]
    return next(
        cell
        for column, cell in zip(table.columns, cells, strict=True)
        if (column.metric, column.place) == (metric, place)
    )


def test_numbers_are_those_of_the_rows(runs):
    (seen,) = [table for table in build_tables(runs) if table.split == "seen"]
    steps = runs[1].steps.query("split == 'seen' and step == 5")
    macro = steps.query("level == 'lq3'").groupby("dataset")["dice"].mean().mean()
    assert find(seen, "beta_2", "dice", "lq3").estimate.value == pytest.approx(100 * macro)
    average = steps.groupby(["dataset", "mask_id"])["iou"].mean().groupby("dataset").mean().mean()
    assert find(seen, "beta_2", "iou", "average").estimate.value == pytest.approx(100 * average)


def test_columns_are_hardest_level_first_then_the_average(runs):
    table = build_tables(runs)[0]
    assert [column.label for column in table.columns[:3]] == ["LQ-3+ IoU", "LQ-3+ Dice", "LQ-3 IoU"]
    assert table.columns[-1].label == "Average Dice"


def test_the_best_is_marked_and_a_tie_is_what_the_paired_test_says(runs):
    for table in build_tables(runs, LAYOUTS["full"]):
        for place in range(len(table.columns)):
            column = [cells[place] for _, cells in table.rows]
            assert sum(cell.best for cell in column) == 1
            sign = table.columns[place].sign
            best = max(column, key=lambda cell: sign * cell.estimate.value)
            assert best.best and not best.tied
    first, second = runs[0], runs[1]
    verdict = {(row.split, row.group): row.verdict for row in compare(first, second) if row.grouping == "level"}
    for table in build_tables([first, second]):
        for level in ("clear", "lq3plus"):
            told_apart = not find(table, "alpha", "dice", level).tied
            assert told_apart == (verdict[table.split, level] == "+")


def test_equal_runs_are_tied_everywhere(runs, folder):
    shutil.copytree(runs[0].path, folder / "again", dirs_exist_ok=True)
    table = build_tables([runs[0], results.open_run(folder / "again")])[0]
    assert all(cell.best or cell.tied for _, cells in table.rows for cell in cells)
    assert all(str(folder) in name for name, _ in table.rows)  # one name, told apart by folder


def test_lower_is_better_for_distances_and_drops(runs):
    table = build_tables(runs, ["dice", "hd95"], drop=True)[0]
    signs = {(column.metric, column.place): column.sign for column in table.columns}
    assert {place: signs["dice", place] for place in ("clear", "average", "drop", "drop, %")} == {
        "clear": 1, "average": 1, "drop": -1, "drop, %": -1,
    }  # fmt: skip
    assert {sign for (metric, _), sign in signs.items() if metric == "hd95"} == {-1}
    clear, hardest, drop = (
        find(table, "alpha", "dice", place).estimate.value for place in ("clear", "lq3plus", "drop")
    )
    assert drop == pytest.approx(clear - hardest)


def test_markdown_latex_html_and_csv_say_the_same(runs):
    tables = build_tables(runs, drop=True)
    value = f"{find(tables[0], 'beta_2', 'dice', 'lq3').estimate.value:.2f}"
    markdown, latex, html = (make(tables[0]) for make in (format_markdown, format_latex, format_html))
    assert f"**{value}**" in markdown and rf"\textbf{{{value}}}" in latex and f"<b>{value}</b>" in html
    assert r"beta\_2" in latex and r"\resizebox" in latex and latex.count(r"\\") == 2 + len(runs)
    rows = list(csv.DictReader(io.StringIO(format_csv(tables))))
    wanted = {"split": tables[0].split, "model": "beta_2", "metric": "dice", "place": "lq3"}
    (row,) = [one for one in rows if wanted.items() <= one.items()]
    assert f"{float(row['value']):.2f}" == value and float(row["low"]) <= float(row["value"]) <= float(row["high"])


@pytest.mark.parametrize("key", ["grid", "boundary", "hd95"])
def test_runs_of_other_metric_settings_do_not_pair(runs, folder, key):
    other = folder / f"other-{key}"
    shutil.copytree(runs[0].path, other)
    info = json.loads((other / "run.json").read_text())
    info.setdefault("metrics", {})[key] = "something else"
    (other / "run.json").write_text(json.dumps(info))
    with pytest.raises(UsageError, match=f"metrics.{key}"):
        build_tables([runs[0], results.open_run(other)])
    with pytest.raises(UsageError, match=f"metrics.{key}"):
        compare(runs[0], results.open_run(other))


def test_the_command(runs, tmp_path):
    called = CliRunner().invoke(group, ["table", *(str(run.path) for run in runs), "--intervals", "--layout", "full"])
    assert called.exit_code == 0 and "**seen, after step 5" in called.output and "[" in called.output
    target = tmp_path / "table.tex"
    assert (
        CliRunner().invoke(group, ["table", str(runs[0].path), "--format", "latex", "-o", str(target)]).exit_code == 0
    )
    assert target.read_text().startswith("% needs")
    refused = CliRunner().invoke(group, ["table", str(runs[0].path), "--metrics", "dicee"])
    assert isinstance(refused.exception, UsageError) and 'did you mean "dice"' in str(refused.exception)
