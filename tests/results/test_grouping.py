"""Drops by artefact and by group: means of paired differences, only of masks that have the operation."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from synthetic_runs import SOURCES, write_run

from dmseg import results
from dmseg.errors import DataError, UsageError
from dmseg.results.cases import case_tables
from dmseg.results.grouping import find_hardest, list_operations, measure_drops, name_sizes, read_mask_facts
from dmseg.results.layout import groups_csv, groups_table, models_groups_table
from dmseg.types import LEVELS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return results.open_run(write_run(tmp_path_factory.mktemp("runs") / "a", "alpha"))


@pytest.fixture(scope="module")
def table(run):
    return case_tables(run.steps)["seen"]


def make_plans(image_ids, operations_of, inert=()):
    rows = [
        {
            "image_id": image_id,
            "level": level,
            "plan": json.dumps(
                {
                    "sampled": {
                        "general": [{"operation": name} for name in operations_of(image_id)],
                        "domain": [{"operation": "speckle"}] if level == "lq3plus" and image_id[0] == "b" else [],
                    },
                    "inert": dict.fromkeys(inert, "black"),
                }
            ),
        }
        for image_id in image_ids
        for level in LEVELS
    ]
    return list_operations(pa.Table.from_pylist(rows))


def draw(image_id):
    """Every second image of each dataset has a blur, all have noise."""
    return ("gaussian_noise", "gaussian_blur") if int(image_id[-3]) % 2 else ("gaussian_noise",)


@pytest.fixture(scope="module")
def facts(run):
    return read_mask_facts(run)


def test_the_drop_of_an_operation_is_that_of_its_masks(table, facts):
    drops = measure_drops(table, "operation", facts, make_plans(set(facts["image_id"]), draw))
    final = 100 * table.values["dice"][:, :, -1]
    has = np.array([int(facts.loc[mask, "image_id"][-3]) % 2 == 1 for mask in table.mask_ids])
    owner = np.array(table.datasets)
    for drop in drops:
        if drop.group == "gaussian_blur" and drop.level == "lq2":
            lost = final[:, 0] - final[:, 2]
            expected = np.mean([lost[has & (owner == name)].mean() for name in set(table.datasets)])
            assert drop.drop.value == pytest.approx(expected) and drop.drop.n == has.sum()
            other = np.mean([lost[~has & (owner == name)].mean() for name in set(table.datasets)])
            assert drop.added is not None and drop.added.value == pytest.approx(expected - other)
            assert drop.drop.low <= drop.drop.value <= drop.drop.high
            assert drop.clear - drop.value == pytest.approx(drop.drop.value)
    assert [drop.level for drop in drops if drop.group == "gaussian_blur"] == list(LEVELS[1:])
    noise = next(drop for drop in drops if drop.group == "gaussian_noise")
    assert noise.added is None, "all masks have it: there is nothing to compare with"


def test_domain_operations_act_at_the_last_level_alone_and_come_last(table, facts):
    drops = measure_drops(table, "operation", facts, make_plans(set(facts["image_id"]), draw))
    assert [(drop.group, drop.level) for drop in drops][-1] == ("speckle", "lq3plus")
    assert {drop.group: drop.level for drop in find_hardest(drops)} == {
        "gaussian_blur": "lq3", "gaussian_noise": "lq3", "speckle": "lq3plus",
    }  # fmt: skip
    speckle = drops[-1]
    assert speckle.drop.n == SOURCES["busi"].cases and speckle.added is None


def test_operations_that_cannot_change_the_image_do_not_count(table, facts):
    plans = make_plans(set(facts["image_id"]), draw, inert=("gaussian_blur",))
    assert {drop.group for drop in measure_drops(table, "operation", facts, plans)} == {"gaussian_noise", "speckle"}


@pytest.mark.parametrize("grouping", ["modality", "size", "prompt_kind", "structure"])
def test_groups_divide_the_masks(table, facts, grouping):
    drops = measure_drops(table, grouping, facts)
    hardest = [drop for drop in drops if drop.level == "lq3plus"]
    assert sum(drop.drop.n for drop in hardest) == len(table.mask_ids)
    final = 100 * table.values["dice"][:, :, -1]
    if len(hardest) == 1 and grouping != "modality":
        lost = final[:, 0] - final[:, -1]
        owner = np.array(table.datasets)
        assert hardest[0].drop.value == pytest.approx(np.mean([lost[owner == one].mean() for one in set(owner)]))


def test_hd95_is_lost_where_it_grows(table, facts):
    dice, hd95 = (measure_drops(table, "size", facts, metric=metric)[-1] for metric in ("dice", "hd95"))
    assert dice.drop.value > 0 and hd95.drop.value > 0 and hd95.value > hd95.clear


def test_sizes_are_those_of_coco():
    assert name_sizes(np.array([1023.0, 1024.0, 9215.0, 9216.0])).tolist() == ["small", "medium", "medium", "large"]


def test_what_cannot_be_grouped_is_refused(run, table, facts):
    with pytest.raises(UsageError, match="one of"):
        measure_drops(table, "colour", facts)
    with pytest.raises(UsageError, match="--data"):
        measure_drops(table, "operation", facts)
    with pytest.raises(UsageError, match="not the benchmark of the run"):
        measure_drops(table, "operation", facts, {"lq1": {}})
    with pytest.raises(DataError, match="plan of image x at lq1"):
        list_operations(pa.Table.from_pylist([{"image_id": "x", "level": "lq1", "plan": "{}"}]))
    one = run.steps[run.steps["level"] == "lq1"]
    with pytest.raises(UsageError, match="needs clear"):
        measure_drops(case_tables(one)["seen"], "modality", facts)


def test_tables_and_csv_hold_every_drop(table, facts):
    drops = measure_drops(table, "operation", facts, make_plans(set(facts["image_id"]), draw))
    text = groups_table("dice", drops).markdown()
    assert "gaussian_blur" in text and "added" in text and "LQ-3+" in text and "[" in text
    several = models_groups_table("dice", ["alpha", "beta"], [drops, drops]).markdown()
    assert "alpha" in several and "beta" in several and several.count("speckle") == 1
    rows = list(csv.DictReader(io.StringIO(groups_csv("dice", [("alpha", drops)]))))
    assert len(rows) == len(drops) and float(rows[0]["drop"]) == pytest.approx(drops[0].drop.value, abs=1e-5)
