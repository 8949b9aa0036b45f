"""The natural tracks in a build: own levels, own degradation, never mixed with the medical track."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from commands import Command

import dmseg.build.run as run_module
from dmseg.build import build, level_table, open_benchmark, phantom_raw, require_track, split_counts, verify
from dmseg.build.tasks import check_options
from dmseg.build.tracks import read_plan
from dmseg.errors import DataError, UsageError
from dmseg.manifests import find_published
from dmseg.phantoms import write_phantoms
from dmseg.results.grouping import list_operations
from dmseg.simulators.natural import MOVING, OPERATIONS, LqSegPlan, RobustSegPlan, degrade_robust_seg
from dmseg.simulators.natural.lq_seg import store_jpeg
from dmseg.types import LEVEL_LABELS, LEVELS, ROBUST_SEG_TYPES


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_phantoms(folder, per_dataset=1, datasets=["ECSSD", "ThinObject-5K", "WXSOD"])
    return folder


def test_natural_levels_are_lq_seg_for_any_workers_and_storage(raw: Path, tmp_path: Path) -> None:
    first = build(raw, tmp_path / "png", track="natural")
    again = build(raw, tmp_path / "recipe", track="natural", jobs=2, storage="recipe")
    assert first.manifest_digest == again.manifest_digest
    stored, made = open_benchmark(tmp_path / "png"), open_benchmark(tmp_path / "recipe")
    assert stored.track == "natural"
    assert stored.levels == ("clear", "lq1", "lq2", "lq3")
    assert set(stored.images["dataset"]) == {"ECSSD", "ThinObject-5K"}
    assert list(stored.images["split"]) == ["unseen", "seen"]
    image = "ECSSD__0001"
    expected = LqSegPlan(image, 0).apply(stored.image(image, "clear"), "lq3")
    np.testing.assert_array_equal(stored.image(image, "lq3"), expected)
    np.testing.assert_array_equal(made.image(image, "lq3"), expected)
    assert verify(stored) == []


@pytest.mark.parametrize("track", ["natural", "natural-robust"])
def test_a_natural_build_is_the_same_in_another_order_and_after_a_kill(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: str
) -> None:
    out = tmp_path / "killed"
    process = Command("build", "--raw", raw, "--out", out, "--track", track)
    while process.is_running and not list(out.rglob("*.png")):
        time.sleep(0.005)
    assert process.kill(), "the build was not caught while it ran; the test measures nothing"
    assert not (out / "benchmark.json").exists()
    expected = build(raw, out, track=track).manifest_digest
    assert verify(open_benchmark(out)) == []
    assert not list(out.rglob(".dmseg-tmp-*"))
    ordered = run_module.tasks
    monkeypatch.setattr(run_module, "tasks", lambda *given: ordered(*given)[::-1])
    assert build(raw, tmp_path / "backwards", track=track).manifest_digest == expected
    names = sorted(path.relative_to(out) for path in out.rglob("*.png"))
    assert names == sorted(path.relative_to(tmp_path / "backwards") for path in (tmp_path / "backwards").rglob("*.png"))
    assert all((out / name).read_bytes() == (tmp_path / "backwards" / name).read_bytes() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("track", ["natural", "natural-robust"])
def test_a_natural_build_is_the_same_for_every_engine(tmp_path: Path, track: str) -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    raw = phantom_raw(2, track=track)
    digests = {
        (engine, jobs): build(raw, tmp_path / f"{engine}-{jobs}", track=track, engine=engine, jobs=jobs).manifest_digest
        for engine, jobs in (("inline", 1), ("loky", 2), ("loky", 3), ("dask", 2))
    }
    assert len(set(digests.values())) == 1, digests


def test_robust_seg_levels_are_its_15_types_on_the_photographs_of_the_natural_track(raw: Path, tmp_path: Path) -> None:
    first = build(raw, tmp_path / "png", track="natural-robust")
    again = build(raw, tmp_path / "recipe", track="natural-robust", jobs=2, storage="recipe")
    assert first.manifest_digest == again.manifest_digest
    stored, made = open_benchmark(tmp_path / "png"), open_benchmark(tmp_path / "recipe")
    assert (stored.track, stored.levels) == ("natural-robust", ("clear", *OPERATIONS))
    assert set(stored.images["dataset"]) == {"ECSSD", "ThinObject-5K"}
    image = "ECSSD__0001"
    clear = stored.image(image, "clear")
    for level in OPERATIONS:
        np.testing.assert_array_equal(stored.image(image, level), made.image(image, level))
        expected = store_jpeg(degrade_robust_seg(clear, level, image), 95)  # as the published sets are stored
        np.testing.assert_array_equal(stored.image(image, level), expected)
    assert made.plan(image, "fog") == RobustSegPlan(image, 0)
    assert list_operations(stored.manifest.degradations)["snow"][image] == ("snow",)
    assert verify(stored) == []


def test_the_types_of_robust_seg_have_one_list_and_the_moving_ones_are_marked() -> None:
    assert tuple(ROBUST_SEG_TYPES) == tuple(OPERATIONS)
    assert {name for name, label in LEVEL_LABELS.items() if label.endswith("(moves)")} == set(MOVING)
    plan = RobustSegPlan("a", 3)
    for level in ("clear", "snow", "ISO_noise"):
        assert read_plan(plan.to_json(level)) == plan
    for text in (
        '{"degradation":"sleet","key":"a","seed":0,"level":"sleet"}',
        '{"degradation":"fog","key":"a","level":"fog"}',
        '{"degradation":"fog","key":"a","seed":0,"level":"fog","more":1}',
    ):
        with pytest.raises(DataError, match="RobustSeg"):
            read_plan(text)


def test_photographs_in_bad_conditions_have_one_level(raw: Path, tmp_path: Path) -> None:
    build(raw, tmp_path / "b", datasets=["WXSOD"])  # the track is that of the dataset
    bench = open_benchmark(tmp_path / "b")
    assert (bench.track, bench.levels) == ("natural-real", ("clear",))
    with pytest.raises(UsageError, match="natural-real, not natural"):
        require_track(bench, "natural")


def test_which_objects_are_evaluated_is_the_rule_of_each_set(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "raw", per_dataset=2, datasets=["COCO", "LVIS", "LIS", "SeaClear", "MSRA-10K"])
    build(tmp_path / "raw", tmp_path / "n", track="natural", levels=["clear"])
    build(tmp_path / "raw", tmp_path / "r", track="natural-real")
    for name, one in (("n", True), ("r", False)):
        bench = open_benchmark(tmp_path / name)
        masks = bench.masks[bench.masks["image_id"].str.contains("COCO|LVIS|LIS|SeaClear")]
        counts = masks.groupby("image_id")["evaluate"].agg(["size", "sum"])
        assert (counts["size"] > 1).any()
        assert (counts["sum"] == (1 if one else counts["size"])).all(), name
    bench = open_benchmark(tmp_path / "n")
    splits = bench.images.groupby("dataset")["split"].agg(set)
    assert splits.to_dict() == {"COCO": {"unseen"}, "LVIS": {"train", "seen"}, "MSRA-10K": {"train"}}


def test_tracks_levels_and_folders_are_not_mixed(raw: Path, tmp_path: Path) -> None:
    assert check_options(0, LEVELS, "png", None, None).levels == LEVELS
    with pytest.raises(UsageError, match="never mixed"):
        check_options(0, LEVELS, "png", ["ECSSD", "WXSOD"], None)
    assert check_options(0, ["Fog", "clear", "iso noise"], "png", None, None, "natural-robust").levels == (
        "clear",
        "fog",
        "ISO_noise",
    )
    for level, track in (("fog", "natural"), ("lq1", "natural-robust"), ("snow", None)):
        with pytest.raises(UsageError, match=f"not {level}"):
            check_options(0, ["clear", level], "png", None, None, track)
    with pytest.raises(UsageError, match="ECSSD is of the track natural, not medical"):
        check_options(0, LEVELS, "png", ["ECSSD"], None, "medical")
    with pytest.raises(UsageError, match="not lq3plus"):
        check_options(0, ["clear", "lq3plus"], "png", None, None, "natural")
    build(raw, tmp_path / "b", levels=["clear"], track="natural")
    with pytest.raises(UsageError, match="begun with track natural"):
        build(raw, tmp_path / "b", levels=["clear"], track="natural-real")
    with pytest.raises(DataError, match="track medical"):
        build(raw, tmp_path / "c")


def test_a_plan_of_lq_seg_is_read_again_or_refused() -> None:
    plan = LqSegPlan("a", 3)
    for level in ("clear", "lq2"):
        assert read_plan(plan.to_json(level)) == plan
    with pytest.raises(DataError, match="other values"):
        read_plan(plan.to_json("lq2").replace('"scale":2', '"scale":4'))
    for text in ("{", '{"degradation":"other","key":"a","seed":0,"level":"lq1"}', '{"degradation":"lq-seg"}'):
        with pytest.raises(DataError):
            read_plan(text)


def test_the_medical_edition_has_no_track_in_its_header() -> None:
    assert "track" not in find_published("dm-seg-phantom-2.0").info


def test_a_natural_benchmark_is_described_without_the_papers_medical_numbers(raw: Path, tmp_path: Path) -> None:
    build(raw, tmp_path / "b", track="natural", levels=["clear", "lq1"], storage="recipe")
    bench = open_benchmark(tmp_path / "b")
    counts = split_counts(bench)
    assert list(counts.index) == ["ThinObject-5K", "ECSSD", "all"] and "paper" not in counts
    assert level_table(bench).loc["lq1", "lq-seg"] == 2
    acting = list_operations(bench.manifest.degradations)
    assert acting["lq1"] == {"ECSSD__0001": ("lq-seg",), "ThinObject-5K__thin_00001": ("lq-seg",)}
    assert set(acting["clear"].values()) == {()}
