"""Which images a batch holds, and how they come onto the network's grids."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from small_training import small  # noqa: E402

from dmseg import simulators  # noqa: E402
from dmseg.baselines.prompted import InputFrame  # noqa: E402
from dmseg.build import Benchmark, open_benchmark  # noqa: E402
from dmseg.errors import DataError  # noqa: E402
from dmseg.training.feed import Feed  # noqa: E402
from dmseg.training.networks import build_trainable_model  # noqa: E402
from dmseg.training.samples import BatchSchedule, Loader, TrainingSample, flip_and_rotate, fresh_plan, grid_mask  # noqa: E402


@pytest.fixture(name="opened")
def open_bench(bench: Path) -> Benchmark:
    return open_benchmark(bench)


def test_an_epoch_visits_every_picture_once_in_another_order(opened: Benchmark) -> None:
    curriculum = BatchSchedule(opened, small("mini-sam", "batches=30"), 64)
    visited = [visit for batch in range(30) for visit in curriculum.visits(batch)]
    epochs = [[visit.image_id for visit in visited[start : start + 6]] for start in range(0, 60, 6)]
    assert all(sorted(epoch) == sorted(curriculum.image_ids) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 5
    assert [visit.epoch for visit in visited] == [index // 6 for index in range(60)]


def test_levels_and_turns_are_drawn_uniformly_and_objects_belong_to_their_picture(opened: Benchmark) -> None:
    config = small("mini-sam", "batches=300", "levels=['clear', 'lq3']", "appearance=none", "masks_per_image=2")
    curriculum = BatchSchedule(opened, config, 64)
    visits = [visit for batch in range(300) for visit in curriculum.visits(batch)]
    levels, turns = Counter(visit.level for visit in visits), Counter(visit.flip_rotation for visit in visits)
    assert set(levels) == {"clear", "lq3"} and 0.4 < levels["clear"] / len(visits) < 0.6
    assert set(turns) == set(range(8)) and min(turns.values()) > 40
    for visit in visits:
        assert all(mask_id.startswith(visit.image_id + "__") for mask_id in visit.mask_ids)
        assert len(set(visit.mask_ids)) == len(visit.mask_ids) <= 2


def test_stages_change_side_and_batch_without_a_gap(opened: Benchmark) -> None:
    stages = "stages=[{until=0.5, side=64, batch=2}, {until=1.0, side=96, batch=3}]"
    curriculum = BatchSchedule(opened, small("mini-sam", "batches=6", stages), 64)
    assert [curriculum.side(batch) for batch in range(6)] == [64] * 3 + [96] * 3
    visits = [visit for batch in range(6) for visit in curriculum.visits(batch)]
    assert len(visits) == 15
    assert Counter(visit.image_id for visit in visits[:12]) == dict.fromkeys(curriculum.image_ids, 2)


def test_epochs_give_the_number_of_batches(opened: Benchmark) -> None:
    assert BatchSchedule(opened, small("mini-sam", "batches=0", "epochs=3", "batch=4"), 64).batches == 5


def test_splits_and_levels_that_are_not_there_are_named(opened: Benchmark, tmp_path: Path) -> None:
    from tiny_benchmark import PICTURES, write_tiny_benchmark

    pictures = tuple(entry for entry in PICTURES if entry[2] == "seen")
    folder = write_tiny_benchmark(tmp_path / "b", levels=("clear", "lq1"), pictures=pictures)
    with pytest.raises(DataError, match="no images with objects in the splits train"):
        BatchSchedule(open_benchmark(folder), small("mini-sam", "splits=['train']"), 64)
    with pytest.raises(DataError, match="has no level lq3"):
        BatchSchedule(open_benchmark(folder), small("mini-ft", "splits=['seen']", "levels=['lq3']"), 64)


def test_what_is_read_does_not_depend_on_who_reads_it(opened: Benchmark) -> None:
    config = small(
        "mini-sam", "batch=4", "levels=['clear', 'lq3']", "degradation=fresh", "stages=[{until=1.0, side=64, batch=4}]"
    )
    trainee = build_trainable_model(config, None, torch.device("cpu"))
    loader = Loader(opened, trainee.adapter, config, pixels=True, clear=True)
    visits = BatchSchedule(opened, config, 64).visits(2)
    whole, halves = loader.load(visits), [loader.load(visits[rank::2]) for rank in range(2)]
    sent = pickle.dumps(loader)  # as worker processes get it: without the network's weights
    again = pickle.loads(sent).load(visits)
    assert len(sent) < 100_000 and torch.equal(whole.pixels, again.pixels) and whole.keys == again.keys
    merged = {key: mask for half in halves for key, mask in zip(half.keys, half.masks, strict=True)}
    points = {key: given.points for half in halves for key, given in zip(half.keys, half.prompts, strict=True)}
    assert sorted(merged) == sorted(whole.keys)
    for key, mask, given in zip(whole.keys, whole.masks, whole.prompts, strict=True):
        assert np.array_equal(mask, merged[key]) and np.array_equal(given.points, points[key])
    assert torch.equal(halves[1].pixels, whole.pixels[1::2]) and torch.equal(halves[1].clear, whole.clear[1::2])


def test_any_number_of_readers_gives_the_same_batches_and_reads_the_index_once(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = pytest.importorskip("lightning_fabric", reason="training needs the extra [train]").Fabric(
        accelerator="cpu"
    )
    stages = "stages=[{until=0.5, side=64, batch=2}, {until=1.0, side=96, batch=2}]"
    config = small("mini-sam", "batches=6", "levels=['clear', 'lq3']", "degradation=fresh", stages)
    table, found = Benchmark.table, []

    def note(self: Benchmark, *given: object) -> object:
        (tmp_path / str(os.getpid())).touch()
        return table(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Benchmark, "table", note)
    for jobs in (1, 2):
        trainee = build_trainable_model(config, None, torch.device("cpu"))
        found.append(list(Feed(config, open_benchmark(bench), trainee, fabric, tmp_path, jobs).batches(1)))
    assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]
    assert [index for index, _ in found[0]] == [index for index, _ in found[1]] == [1, 2, 3, 4, 5]
    for (_, one), (_, other) in zip(*found, strict=True):
        assert torch.equal(one.pixels, other.pixels) and torch.equal(one.targets, other.targets)
        assert one.keys == other.keys and one.visits == other.visits
    assert [loaded.pixels.shape[-1] for _, loaded in found[1]] == [64, 64, 96, 96, 96]


def test_fresh_degradation_differs_between_epochs_and_repeats_for_one(opened: Benchmark) -> None:
    config = small("mini-sam", "batches=6", "degradation=fresh", "levels=['lq3']", "augment=false", "appearance=none")
    trainee = build_trainable_model(config, None, torch.device("cpu"))
    loader = Loader(opened, trainee.adapter, config, pixels=True, clear=False)
    curriculum = BatchSchedule(opened, config, 64)
    by_image: dict[str, list[torch.Tensor]] = {}
    for batch in (*range(6), 0):
        visits = curriculum.visits(batch)
        for visit, pixels in zip(visits, loader.load(visits).pixels, strict=True):
            by_image.setdefault(visit.image_id, []).append(pixels)
    for image_id, versions in by_image.items():
        assert not torch.equal(versions[0], versions[1])
        repeated = any(visit.image_id == image_id for visit in curriculum.visits(0))
        assert len(versions) == 3 if repeated else 2
        assert not repeated or torch.equal(versions[0], versions[2])


def test_the_scan_of_a_changed_ultrasound_picture_is_measured_in_its_own_tones() -> None:
    rows, columns = np.mgrid[:200, :300]
    depth, angle = np.hypot(rows + 60, columns - 150), np.arctan2(columns - 150, rows + 60)
    fan = np.where((depth > 70) & (depth < 240) & (np.abs(angle) < 0.6), 120 + columns % 7, 0).astype(np.uint8)
    stored = simulators.plan("fan", modality="ultrasound", image=fan)
    benchmark = SimpleNamespace(levels=("clear", "lq3plus"), plan=lambda image_id, level: stored)
    visit = TrainingSample("fan", "lq3plus", ("fan__a__0",), 0, 0, None)
    inverted = 255 - fan
    kinds = [
        fresh_plan(benchmark, visit, inverted, 0, scan).observed["geometry"]["kind"]  # type: ignore[arg-type,index]
        for scan in (None, fan)
    ]
    assert kinds[0] != "convex" and kinds[1] == "convex"


def test_an_object_lands_where_its_canvas_lies_in_the_input() -> None:
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[30:60, 40:80] = True
    found = grid_mask(mask, InputFrame((60, 80), (48, 64), (0.8, 0.8)), 64, 32)
    expected = np.zeros((32, 32), dtype=np.bool_)
    expected[12:24, 16:32] = True
    assert np.array_equal(found, expected)


def test_an_object_below_half_of_every_cell_keeps_the_cells_it_covers_most() -> None:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[10, 21] = True
    found = grid_mask(mask, InputFrame((64, 64), (64, 64), (1.0, 1.0)), 64, 16)
    assert found.sum() == 1 and found[2, 5]


def test_the_eight_turns_are_all_different_and_keep_every_pixel() -> None:
    picture = np.arange(12).reshape(3, 4)
    results = [flip_and_rotate(picture, turn) for turn in range(8)]
    assert len({(result.shape, result.tobytes()) for result in results}) == 8
    assert all(sorted(result.ravel()) == list(range(12)) for result in results)
