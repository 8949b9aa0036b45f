"""Runs read batch by batch give what the whole table gives, whatever the order, row groups and dictionaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from synthetic_runs import SyntheticSource, write_run

from dmseg.canonical import digest_rows
from dmseg.errors import DataError, UsageError
from dmseg.results import open_run, run_digest, runs
from dmseg.results.cases import case_tables, read_case_tables
from dmseg.results.columns import STEPS, run_schema
from dmseg.results.comparing import compare, require_pair
from dmseg.rng import Stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = {"busi": SyntheticSource("ultrasound", "seen", 3), "flare": SyntheticSource("ct", "unseen", 2, 2)}
    return write_run(tmp_path_factory.mktemp("runs") / "alpha", failed=1, sources=few)


def rewrite(folder: Path, out: Path, table: pa.Table, group: int) -> Path:
    """Write a run whose rows are those of ``table``, in row groups of ``group`` rows."""
    out.mkdir()
    (out / "run.json").write_bytes((folder / "run.json").read_bytes())
    pq.write_table(table, out / "steps.parquet", row_group_size=group)
    return out


@pytest.fixture(name="shuffled", scope="module", params=[7, 64, 10_000])
def shuffle_rows(folder: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = open_run(folder).table("steps")
    order = Stream("test-reading-runs", request.param).permutation(len(table))
    return rewrite(folder, tmp_path_factory.mktemp("shuffled") / "run", table.take(order), request.param)


def test_tables_are_those_of_the_whole_frame(folder: Path, shuffled: Path) -> None:
    wanted, found = case_tables(open_run(folder).steps), open_run(shuffled).tables
    assert list(found) == list(wanted) == ["seen", "unseen"]
    for split, table in wanted.items():
        other = found[split]
        for name in ("mask_ids", "datasets", "cases", "modalities", "levels"):
            assert getattr(other, name) == getattr(table, name)
        assert (other.failed == table.failed).all() and other.failed.any() == table.failed.any()
        assert all((other.values[metric] == table.values[metric]).all() for metric in table.values)


def test_only_the_metrics_that_are_asked_for_are_read(folder: Path) -> None:
    assert set(read_case_tables(folder / "steps.parquet", ("hd95",))["seen"].values) == {"hd95"}


@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_the_digest_is_that_of_all_rows_sorted_at_once(
    folder: Path, shuffled: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = open_run(folder).table("steps").sort_by([(name, "ascending") for name in runs._DIGEST_ORDER])
    rows = [[column.name for column in STEPS], *(list(row.values()) for row in table.to_pylist())]
    monkeypatch.setattr(runs, "_BLOCK_ROWS", block)
    assert run_digest(shuffled) == digest_rows(rows)


def test_the_digest_of_a_run_without_rows(folder: Path, tmp_path: Path) -> None:
    empty = rewrite(folder, tmp_path / "run", run_schema("steps").empty_table(), 10)
    assert run_digest(empty) == digest_rows([[column.name for column in STEPS]])
    assert open_run(empty).tables == {}


def test_select_returns_the_rows_in_file_order(folder: Path, shuffled: Path) -> None:
    found = open_run(shuffled).select("steps", ["mask_id", "step"], lambda batch: pc.equal(batch["step"], 3))
    steps = open_run(shuffled).steps
    pd.testing.assert_frame_equal(found, steps.loc[steps["step"] == 3, ["mask_id", "step"]].reset_index(drop=True))


@pytest.mark.parametrize("column", ["dataset", "case_id", "modality"])
def test_a_mask_of_which_rows_say_different_things_is_refused(folder: Path, column: str) -> None:
    steps = open_run(folder).steps
    steps.loc[3, column] = "other"
    with pytest.raises(DataError, match=f"mask {steps.loc[3, 'mask_id']} has rows of {column} "):
        case_tables(steps)


def test_a_far_step_is_a_gap_and_needs_no_room(folder: Path) -> None:
    steps = open_run(folder).steps
    steps.loc[0, "step"] = 1000
    with pytest.raises(DataError, match=r"0 rows for mask .*, step 1 "):
        case_tables(steps)


def test_the_refusals_hold_for_every_batch(folder: Path, tmp_path: Path) -> None:
    table = open_run(folder).table("steps")
    values = table["dice"].to_numpy().copy()
    values[-1] = np.nan
    place = table.schema.get_field_index("dice")
    bad = rewrite(folder, tmp_path / "run", table.set_column(place, "dice", pa.array(values)), 50)
    with pytest.raises(DataError, match="dice holds NaN"):
        _ = open_run(bad).tables


def test_runs_of_other_masks_or_levels_do_not_pair(folder: Path, tmp_path: Path) -> None:
    table = open_run(folder).table("steps")
    number = int(pc.sum(pc.equal(table["level"], "lq1")).as_py())
    fewer = open_run(rewrite(folder, tmp_path / "run", table.filter(pc.not_equal(table["level"], "lq1")), 50))
    with pytest.raises(UsageError, match=f"{number} rows are only in .*, 0 only in "):
        compare(open_run(folder), fewer)
    whole = open_run(folder)
    with pytest.raises(UsageError, match=f" 0 rows are only in .*, {number} only in "):
        require_pair(fewer, whole, fewer.tables, whole.tables)
