"""Rows arrive at their place whatever their order, and a gap or a double is an error that names it."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import SOURCES, steps_table

from dmseg.errors import DataError
from dmseg.results.cases import case_tables
from dmseg.rng import Stream
from dmseg.types import LEVELS

STEPS, _, _ = steps_table()


def test_each_value_stands_at_its_mask_level_and_step() -> None:
    order = Stream("test-cases").permutation(len(STEPS))
    tables = case_tables(STEPS.iloc[order])
    assert list(tables) == ["seen", "unseen"]
    for row in STEPS.iloc[::97].itertuples():
        table = tables[str(row.split)]
        place = (table.mask_ids.index(str(row.mask_id)), table.levels.index(str(row.level)), int(str(row.step)) - 1)
        assert table.values["dice"][place] == row.dice and table.values["hd95"][place] == row.hd95
        assert table.datasets[place[0]] == row.dataset and table.cases[place[0]] == row.case_id


def test_shape_counts_masks_levels_and_steps() -> None:
    table = case_tables(STEPS)["seen"]
    assert table.values["iou"].shape == (SOURCES["busi"].cases + 2 * SOURCES["kvasir"].cases, len(LEVELS), 5)
    assert table.steps == 5 and table.levels == LEVELS and not table.failed.any()


def test_first_step_reaching() -> None:
    table = case_tables(STEPS)["seen"]
    table.values["iou"][:] = np.array([0.5, 0.89, 0.90, 0.7, 0.95])
    table.values["iou"][0] = 0.2
    reached = table.first_step_reaching()
    assert (reached[0] == 5).all() and (reached[1:] == 3).all()


@pytest.mark.parametrize("change", ["gap", "double"])
def test_gaps_and_doubles_are_named(change: str) -> None:
    rows = STEPS.drop(index=7) if change == "gap" else STEPS.iloc[[*range(len(STEPS)), 7]]
    wrong = STEPS.iloc[7]
    with pytest.raises(DataError, match=f"{0 if change == 'gap' else 2} rows for mask {wrong['mask_id']}, level"):
        case_tables(rows)


def test_two_seeds_are_refused() -> None:
    with pytest.raises(DataError, match="several seeds"):
        case_tables(STEPS.assign(seed=[*([0] * 100), *([1] * (len(STEPS) - 100))]))
