"""The paper's tables about photographs: right numbers in the right columns, and refusals instead of holes."""

from __future__ import annotations

import pandas as pd
import pytest
from click.testing import CliRunner
from synthetic_runs import SyntheticSource, declare, write_run

from dmseg import datasets, results
from dmseg.cli import group
from dmseg.cli.table import LAYOUT_NAMES
from dmseg.errors import UsageError
from dmseg.results.model_table import LAYOUTS, build_tables, format_latex, format_markdown
from dmseg.results.paper_tables import PAPER_TABLES, build_paper_table
from dmseg.types import LEVELS, ROBUST_SEG_TYPES

SOURCES = {
    "ThinObject-5K": SyntheticSource("photo", "seen", 2),
    "LVIS": SyntheticSource("photo", "seen", 2),
    "ECSSD": SyntheticSource("photo", "unseen", 2),
    "COCO": SyntheticSource("photo", "unseen", 2),
}


def _write(folder, model, preset="dmseg", quality=0.8, sources=SOURCES, track="natural"):
    run = write_run(folder / f"{model}-{preset}", model, quality=quality, sources=sources)
    declare(run, "protocol", preset=preset)
    declare(run, "benchmark", track=track)
    return results.open_run(run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [_write(folder, "alpha"), _write(folder, "beta", quality=0.9)]


def test_numbers_are_those_of_one_dataset_and_level(runs):
    table = build_paper_table(runs, "table3")
    assert len(table.columns) == 4 * 3 * 2
    assert [column.label for column in table.columns[:2]] == ["ThinObject-5K LQ-3 IoU", "ThinObject-5K LQ-3 Dice"]
    assert [name for name, _ in table.rows] == ["alpha", "beta"]
    for column, cell in zip(table.columns, table.rows[1][1], strict=True):
        dataset, level = column.place.split(" ")
        rows = runs[1].steps.query("step == 5")
        rows = rows[(rows["dataset"] == dataset) & (rows["level"] == level.lower().replace("-", ""))]
        assert cell.estimate.value == pytest.approx(100 * rows[column.metric].mean())
    for place in range(len(table.columns)):
        assert sum(cells[place].best for _, cells in table.rows) == 1
    assert "ECSSD LQ-2 Dice" in format_markdown(table)
    assert r"\multicolumn{2}{c}{COCO LQ-1}" in format_latex(table)


def _write_types(folder, model, types):
    """Write a run on RobustSeg: the rows of LQ-1 to LQ-3+ in turn under the names of the types."""
    run = write_run(folder / model, model, sources=SOURCES)
    for name in ("steps", "prompts", "inputs"):
        rows = pd.read_parquet(run / f"{name}.parquet")
        parts = [rows[rows["level"] == LEVELS[1 + i % 4]].assign(level=kind) for i, kind in enumerate(types)]
        pd.concat([rows[rows["level"] == "clear"], *parts]).to_parquet(run / f"{name}.parquet")
    declare(run, "benchmark", track="natural-robust", levels=["clear", *types])
    return results.open_run(run)


def test_table_14_is_the_mean_of_all_types_without_clear(tmp_path):
    run = _write_types(tmp_path, "alpha", ROBUST_SEG_TYPES)
    table = build_paper_table([run], "table14")
    assert [column.label for column in table.columns[:3]] == [
        f"ThinObject-5K {m}" for m in ("IoU", "Dice", "NSD, 2 px")
    ]
    rows = run.steps.query("step == 5 and dataset == 'COCO' and level != 'clear'")
    assert table.rows[0][1][9].estimate.value == pytest.approx(100 * rows["iou"].mean())
    with pytest.raises(UsageError, match="none of them the hardest"):
        build_tables([run], ["dice"], drop=True)
    some = _write_types(tmp_path, "beta", ["snow", "fog"])
    with pytest.raises(UsageError, match=r"no level Rain, .*, Contrast, which --layout table14"):
        build_paper_table([some], "table14")


def test_photographs_in_bad_conditions_are_not_called_clear(tmp_path):
    run = _write(tmp_path, "alpha", sources={"LIS": SyntheticSource("photo", "unseen", 2)}, track="natural-real")
    table = build_paper_table([run], "table15")
    assert [column.place for column in table.columns] == ["LIS"] * 5


def test_boxes_of_breps_stand_side_by_side(tmp_path):
    made = {(m, p): _write(tmp_path, m, f"breps-{p}") for m in ("alpha", "beta") for p in ("tight", "min", "max")}
    given = [made[key] for key in sorted(made, key=lambda key: key[::-1])]
    table = build_paper_table(given, "table23")
    wanted = [f"ECSSD {level} {kind}" for level in ("LQ-3", "Clear") for kind in "TMX"]
    assert [column.place for column in table.columns] == wanted
    assert [name for name, _ in table.rows] == ["alpha", "beta"]
    with pytest.raises(UsageError, match="breps-max there are beta"):
        build_paper_table([run for key, run in made.items() if key != ("alpha", "max")], "table23")


def test_what_is_missing_is_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="is of 3pos"):
        build_paper_table(runs, "table20")
    with pytest.raises(UsageError, match="no rows of LIS"):
        build_paper_table(runs, "table15")
    with pytest.raises(UsageError, match="layout"):
        build_paper_table(runs, "table99")
    with pytest.raises(UsageError, match="no runs"):
        build_paper_table([], "table3")


def test_the_command_knows_every_layout_and_refuses_other_columns(runs):
    assert set(LAYOUT_NAMES) == {*LAYOUTS, *PAPER_TABLES}
    known = {name for names in datasets.PHOTO_RECIPES.values() for name in names}
    assert all(set(table.datasets) <= known for table in PAPER_TABLES.values())
    folders = [str(run.path) for run in runs]
    shown = CliRunner().invoke(group, ["table", *folders, "--layout", "table13"], catch_exceptions=False)
    assert "COCO Clear NSD, 2 px" in shown.output
    refused = CliRunner().invoke(group, ["table", *folders, "--layout", "table13", "--drop"])
    assert isinstance(refused.exception, UsageError)
