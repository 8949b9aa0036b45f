"""Training on photographs: presets of the paper's natural models, LQ-Seg's online version at each visit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from dmseg.build import build, open_benchmark
from dmseg.errors import DataError, UsageError
from dmseg.phantoms import write_phantoms
from dmseg.simulators.natural import OnlinePlan, degrade_online
from dmseg.training.config import load_config
from dmseg.training.samples import BatchSchedule, fresh_plan
from dmseg.types import TRACK_LEVELS

PRESETS = {"pge-sam-natural": "sam-vit-b", "pge-sam-l-natural": "sam-vit-l", "mobile-pge-sam-natural": "mobile-sam"}


@pytest.mark.parametrize("name", PRESETS)
def test_natural_presets_have_sams_weights_and_the_levels_of_the_track(name: str) -> None:
    config = load_config(name)
    assert config.base == PRESETS[name]
    assert config.levels == TRACK_LEVELS["natural"]
    assert set(config.validation.levels) <= set(TRACK_LEVELS["natural"])
    assert config.degradation == "fresh" and config.splits == ("train",)
    assert f"{config.model}-natural" == name


def test_photographs_are_degraded_anew_at_each_visit_by_the_online_version(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "raw", per_dataset=2, datasets=["MSRA-10K", "ThinObject-5K"])
    build(tmp_path / "raw", tmp_path / "b", track="natural", levels=["clear", "lq1", "lq2", "lq3"], storage="recipe")
    bench = open_benchmark(tmp_path / "b")
    schedule = BatchSchedule(bench, load_config("pge-sam-natural"), 64)
    assert schedule.image_ids == ["MSRA-10K__000001", "MSRA-10K__000002", "ThinObject-5K__thin_00002"]
    clear = bench.image(schedule.image_ids[0], "clear")[:64, :64]
    visits = [visit for n in range(10) for visit in schedule.visits(n) if visit.image_id == schedule.image_ids[0]]
    first, later = (next(visit for visit in visits if visit.epoch == epoch) for epoch in (0, 1))
    plans = [fresh_plan(bench, visit, clear, 0) for visit in (first, later)]
    made = [plan.apply(clear, "lq3") for plan in plans]
    expected = degrade_online(clear, f"{first.image_id}@0/lq3", seed=0, scale=4)
    np.testing.assert_array_equal(made[0], expected)
    assert (made[0] != made[1]).any()
    with pytest.raises(DataError, match="ends in -natural"):
        BatchSchedule(bench, load_config("mobile-pge-sam"), 64)
    build(tmp_path / "raw", tmp_path / "r", track="natural-robust", levels=["clear", "fog"], storage="recipe")
    with pytest.raises(DataError, match="built with --track natural"):
        BatchSchedule(open_benchmark(tmp_path / "r"), load_config("pge-sam-natural"), 64)


def test_online_levels() -> None:
    image = np.full((16, 16, 3), 90, np.uint8)
    assert OnlinePlan("a").apply(image, "clear") is image
    with pytest.raises(UsageError, match="level of LQ-Seg"):
        OnlinePlan("a").apply(image, "lq3plus")
