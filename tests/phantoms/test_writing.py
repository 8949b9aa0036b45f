"""What ``write_phantoms`` promises whatever the data set: exactness, prefixes, the index, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command

from dmseg import phantoms
from dmseg.datasets.synthetic import read_index
from dmseg.errors import DataError, MachineError, UsageError
from dmseg.files import TEMPORARY_PREFIX
from dmseg.phantoms import DATASETS, GENERATOR_VERSION, write_phantoms
from dmseg.phantoms.sets import ALL_SETS, SETS, PhantomSet, draw_item, tasks
from dmseg.rng import Stream

GOLDEN = json.loads((Path(__file__).parent / "golden_masks.json").read_text())
FAST = ("NerveUS", "CHAOS")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mask_digest(contents: list[Any]) -> str:
    state = hashlib.sha256()
    for item in contents:
        masks = item.labels.items() if hasattr(item, "labels") else ((s.name, s.mask) for s in item.structures)
        for name, mask in masks:
            state.update(f"{name} {mask.shape}".encode() + np.packbits(mask).tobytes())
    return state.hexdigest()


@pytest.mark.parametrize("name", DATASETS)
def test_the_masks_of_this_generator_version_are_frozen(pictures: dict[str, list[Any]], name: str) -> None:
    """Exact on every machine. If this fails on purpose, raise GENERATOR_VERSION: it is another phantom edition."""
    assert GOLDEN["version"] == GENERATOR_VERSION
    assert mask_digest(pictures[name]) == GOLDEN["masks"][name]


@pytest.mark.parametrize("name", DATASETS)
def test_mirrored_pictures_are_other_pictures(pictures: dict[str, list[Any]], name: str) -> None:
    item = pictures[name][0]
    masks = list(item.labels.values()) if hasattr(item, "labels") else [s.mask for s in item.structures]
    whole = np.any(masks, axis=0)
    for axis in (-1, -2):
        mirrored = np.flip(whole, axis)
        assert (mirrored & whole).sum() < 0.97 * whole.sum()


def test_the_index_lists_every_file_with_what_it_is_a_function_of(raw: Path) -> None:
    index = read_index(raw)
    assert set(index) == {name for name in content(raw) if name != "phantom.json"}
    assert all(set(entry) == {"version", "seed", "key"} for entry in index.values())
    assert {file.split("/")[0] for file in index} == set(DATASETS)
    assert all(entry["key"].startswith(file.split("/")[0]) for file, entry in index.items())


def test_the_first_images_do_not_depend_on_how_many_are_written(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "few", per_dataset=2, datasets=FAST)
    write_phantoms(tmp_path / "many", per_dataset=4, datasets=FAST)
    few, many = content(tmp_path / "few"), content(tmp_path / "many")
    for name in few:
        if name not in ("phantom.json", "NerveUS/train_masks.csv"):
            assert few[name] == many[name], name
    assert many["NerveUS/train_masks.csv"].startswith(few["NerveUS/train_masks.csv"])
    few_index, many_index = read_index(tmp_path / "few"), read_index(tmp_path / "many")
    assert few_index.items() <= many_index.items()
    assert len(many) > len(few)


def test_files_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "one", per_dataset=2, datasets=FAST, jobs=1)
    write_phantoms(tmp_path / "two", per_dataset=2, datasets=FAST, jobs=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_another_seed_gives_other_patients(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "0", per_dataset=1, datasets=["NerveUS"], seed=0)
    write_phantoms(tmp_path / "1", per_dataset=1, datasets=["NerveUS"], seed=1)
    first, second = content(tmp_path / "0"), content(tmp_path / "1")
    assert first.keys() == second.keys()
    assert first["NerveUS/train/1_1_mask.tif"] != second["NerveUS/train/1_1_mask.tif"]


def test_volumes_are_written_whole_so_odd_numbers_are_rounded_up_there() -> None:
    assert len(tasks("FLARE", 3, 0)) == len(tasks("FLARE", 4, 0)) == 2
    assert len(tasks("BUSI", 3, 0)) == 3
    assert [(case, view) for _, _, case, view, _, _ in tasks("DDTI", 4, 0)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_set_written_again_replaces_itself_and_leaves_the_others(tmp_path: Path) -> None:
    write_phantoms(tmp_path, per_dataset=4, datasets=FAST)
    nerve = content(tmp_path / "NerveUS")
    write_phantoms(tmp_path, per_dataset=2, datasets=["CHAOS"])
    assert content(tmp_path / "NerveUS") == nerve
    assert set(read_index(tmp_path)) == {name for name in content(tmp_path) if name != "phantom.json"}
    assert not (tmp_path / "CHAOS/CHAOS_Train_Sets/Train_Sets/MR").exists(), "the second case is gone"


def test_phantoms_are_never_mixed_with_other_data(tmp_path: Path) -> None:
    real = tmp_path / "NerveUS/train/7_1.tif"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"somebody's data")
    with pytest.raises(DataError, match=r"7_1\.tif: not a phantom"):
        write_phantoms(tmp_path, per_dataset=1, datasets=["NerveUS"])
    assert content(tmp_path) == {"NerveUS/train/7_1.tif": b"somebody's data"}


def test_a_failure_half_way_leaves_the_sets_that_were_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_half_way(folder: Any, items: Any) -> None:
        folder.put("half.png", b"", "key")
        raise OSError("disk full")

    monkeypatch.setitem(ALL_SETS, "CHAOS", PhantomSet(SETS["CHAOS"].draw, fail_half_way, stacks=True))
    with pytest.raises(MachineError, match=r"disk full.*run the same command again"):
        write_phantoms(tmp_path, per_dataset=1, datasets=FAST)
    assert {path.name for path in tmp_path.iterdir()} == {"NerveUS", "phantom.json"}
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
    assert not any(file.startswith("CHAOS/") for file in read_index(tmp_path))


def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'unknown data set "BUSII" \(did you mean "BUSI"\?\)'):
        write_phantoms(tmp_path, per_dataset=1, datasets=["BUSII"])
    with pytest.raises(UsageError, match="at least 1"):
        write_phantoms(tmp_path, per_dataset=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{broken", "[1, 2]"])
def test_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "phantom.json").write_text(text)
    with pytest.raises(DataError, match=r"phantom\.json"):
        write_phantoms(tmp_path, per_dataset=1, datasets=["NerveUS"])


def test_drawing_is_a_pure_function_of_its_task() -> None:
    task = tasks("BUSI", 2, 5)[1]
    first, second = draw_item(task).content, draw_item(task).content
    assert np.array_equal(first.image, second.image)


def test_two_sets_written_at_once_are_both_in_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both_are_at_work = threading.Barrier(2)

    def wait_and_draw(task: Any) -> Any:
        both_are_at_work.wait(60)
        return draw_item(task)

    monkeypatch.setattr(phantoms, "draw_item", wait_and_draw)
    threads = [
        threading.Thread(target=write_phantoms, args=(tmp_path,), kwargs={"per_dataset": 1, "datasets": [name]})
        for name in ("BUSI", "NerveUS")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {file.partition("/")[0] for file in read_index(tmp_path)} == {"BUSI", "NerveUS"}
    assert {path.name for path in tmp_path.iterdir()} == {"BUSI", "NerveUS", "phantom.json"}


def test_the_index_never_speaks_for_files_that_it_does_not_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends at any point of putting a set into its place can be followed by the same command."""
    write_phantoms(tmp_path / "raw", per_dataset=1, datasets=["BUSI"], seed=1)
    write_phantoms(tmp_path / "whole", per_dataset=1, datasets=["BUSI"], seed=2)
    real = Path.rename
    for call in (1, 2):
        calls: list[Path] = []

        def stop_at(self: Path, target: Path, call: int = call, calls: list[Path] = calls) -> Path:
            calls.append(self)
            if len(calls) == call:
                raise KeyboardInterrupt
            return real(self, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "rename", stop_at)
            write_phantoms(tmp_path / "raw", per_dataset=1, datasets=["BUSI"], seed=2)
        for file, entry in read_index(tmp_path / "raw").items():
            assert entry["seed"] == 1 or not (tmp_path / "raw" / file).exists()
    write_phantoms(tmp_path / "raw", per_dataset=1, datasets=["BUSI"], seed=2)
    assert content(tmp_path / "raw") == content(tmp_path / "whole")


@pytest.mark.slow
def test_ten_kills_leave_nothing_and_change_no_byte(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "whole", per_dataset=2, datasets=FAST)
    command = ("phantom", "--out", tmp_path / "raw", "--per-dataset", "2", "--datasets", ",".join(FAST), "--jobs", "2")
    draw, killed = Stream("phantom kills"), 0
    while killed < 10:
        process = Command(*command)
        time.sleep(draw.uniform(0.0, 3.0))
        killed += process.kill(group=False)  # the workers are left to themselves
    assert Command(*command).wait()[0] == 0
    assert content(tmp_path / "raw") == content(tmp_path / "whole")
