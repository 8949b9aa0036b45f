"""Exports: the manifest without what may not be shared, COCO JSON, the map-style dataset; descriptions."""

from __future__ import annotations

import json
import pickle
import time

import numpy as np
import pycocotools.mask
import pytest
from commands import Command

from dmseg.build import (
    BenchmarkDataset,
    build,
    counts_by,
    export_coco,
    export_manifest,
    find_manifest,
    level_table,
    open_benchmark,
    rebuild,
    split_counts,
    write_histogram,
)
from dmseg.errors import DataError, UsageError
from dmseg.imaging import read_image
from dmseg.manifests import diff, manifest_digest, read_manifest
from dmseg.manifests import files as files_module
from dmseg.rng import Stream


@pytest.fixture
def bench(raw, tmp_path):
    build(raw, tmp_path / "b", levels=["clear", "lq2"])
    return open_benchmark(tmp_path / "b")


@pytest.mark.parametrize(("share", "name"), [(False, "m.zip"), (True, "m")])
def test_an_exported_manifest_has_no_pixels_and_masks_only_where_allowed(raw, bench, toy, tmp_path, share, name):
    toy(share_masks=share)
    export_manifest(bench.manifest, tmp_path / name, edition="toy", version="1.0")
    exported = read_manifest(tmp_path / name)
    assert (exported.info["edition"], exported.info["version"]) == ("toy", "1.0")
    assert exported.digest == bench.digest == manifest_digest(exported.info, exported.tables)
    assert exported.degradations["pixel_sha256"].null_count == 20
    assert exported.masks["rle"].null_count == (0 if share else 10)
    assert diff(bench.manifest, exported) == []
    assert rebuild(exported, raw, tmp_path / "again").manifest_digest == bench.digest


def test_masks_of_phantoms_are_always_shared(bench, tmp_path):
    import dataclasses

    synthetic = dataclasses.replace(bench.manifest, info={**bench.info, "synthetic": ["Toy"]})
    assert export_manifest(synthetic, tmp_path / "m").masks["rle"].null_count == 0


def test_a_mask_that_was_not_shared_is_asked_for_in_vain(bench, tmp_path):
    export_manifest(bench.manifest, tmp_path / "m")
    with pytest.raises(DataError, match=r"licence does not allow.*dmseg build --manifest"):
        open_benchmark(tmp_path / "m").mask("Toy__case0_z000__disc__0")


def test_a_difference_is_named_with_both_values(raw, bench, tmp_path):
    build(raw, tmp_path / "c", levels=["clear", "lq2"], seed=5)
    found = diff(bench.manifest, read_manifest(tmp_path / "c"))
    assert ("benchmark.json", "seed: 0 -> 5") in [(item.file, item.what) for item in found]
    plans = [item for item in found if item.file == "degradations.parquet"]
    assert {item.row.split()[1] for item in plans} == {"clear", "lq2"}
    (raw / "Toy" / "case4.npz").unlink()
    build(raw, tmp_path / "d", levels=["clear", "lq2"])
    found = diff(bench.manifest, read_manifest(tmp_path / "d"))
    assert {item.row for item in found if item.what == "only in the first" and item.file == "images.parquet"} == {
        "Toy__case4_z000",
        "Toy__case4_z001",
    }
    found = diff(read_manifest(tmp_path / "d"), bench.manifest)
    assert "only in the second" in {item.what for item in found}


def test_a_name_that_is_no_manifest(tmp_path):
    with pytest.raises(DataError, match="no published manifest of that name"):
        find_manifest("dm-seg-99")


def test_coco_holds_every_object_where_it_is(bench, tmp_path):
    assert export_coco(bench, tmp_path / "coco.json", level="lq2") == 10
    document = json.loads((tmp_path / "coco.json").read_text())
    images = {image["id"]: image for image in document["images"]}
    assert document["info"]["manifest_digest"] == bench.digest
    assert len(images) == 10
    for annotation in document["annotations"]:
        mask = pycocotools.mask.decode(annotation["segmentation"]).astype(bool)
        assert np.array_equal(mask, bench.mask(annotation["mask_id"]))
        x, y, width, height = annotation["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum() == annotation["area"]
        image = images[annotation["image_id"]]
        assert read_image(bench.path / image["file_name"]).pixels.shape == mask.shape


def test_coco_of_some_splits_and_of_a_level_that_is_not_stored(raw, bench, tmp_path):
    assert export_coco(bench, tmp_path / "coco.json", splits=["seen"]) == 2
    build(raw, tmp_path / "r", storage="recipe")
    with pytest.raises(UsageError, match="level lq1 is not stored as files there; stored: clear"):
        export_coco(open_benchmark(tmp_path / "r"), tmp_path / "x.json", level="lq1")


def test_the_dataset_gives_each_object_once_per_level(bench):
    items = BenchmarkDataset(bench, splits=("train", "seen"))
    assert len(items) == 20
    item = items[1]
    assert (item["image"].shape, item["image"].dtype) == ((3, 40, 48), np.uint8)
    assert np.array_equal(item["image"][0], bench.image(item["image_id"], item["level"]))
    assert np.array_equal(item["mask"], bench.mask(item["mask_id"]))
    assert {items[index]["level"] for index in range(20)} == {"clear", "lq2"}
    assert len(BenchmarkDataset(bench.path, levels=["lq2"])) == 8
    assert BenchmarkDataset(bench, transform=lambda item: item["mask_id"])[0].startswith("Toy__")
    again = pickle.loads(pickle.dumps(items))
    assert np.array_equal(again[7]["image"], items[7]["image"])


def test_the_dataset_can_be_kept_to_the_evaluation_subset(tmp_path, toy):
    from .conftest import disc

    toy(evaluate_at_most=1)
    root = tmp_path / "raw" / "Toy"
    root.mkdir(parents=True)
    masks = np.stack([disc((40, 48), 12, 12, 5), disc((40, 48), 28, 30, 5)])[:, None]
    np.savez(root / "a.npz", image=np.full((1, 40, 48), 9, np.uint8), mask_disc=masks)
    build(tmp_path / "raw", tmp_path / "b", levels=["clear"])
    assert len(BenchmarkDataset(tmp_path / "b", splits=("seen",))) == 2
    assert len(BenchmarkDataset(tmp_path / "b", splits=("seen",), evaluated_only=True)) == 1


@pytest.mark.parametrize("wrong", [{"levels": ["lq3"]}, {"splits": ["test"]}])
def test_the_dataset_refuses_unknown_levels_and_splits(bench, wrong):
    with pytest.raises(UsageError, match="unknown"):
        BenchmarkDataset(bench, **wrong)


def test_torch_loads_the_dataset(bench):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    loader = torch.utils.data.DataLoader(BenchmarkDataset(bench), batch_size=2)
    batch = next(iter(loader))
    assert batch["image"].shape == (2, 3, 40, 48)
    assert batch["mask"].dtype == torch.bool


def test_tables_count_images_cases_and_objects(bench):
    table = counts_by(bench, "split")
    assert table.loc["train", ["images", "cases", "objects", "evaluated"]].tolist() == [8, 4, 8, 8]
    area = 100 * bench.masks.area.iloc[0] / (40 * 48)
    assert counts_by(bench, "dataset").loc["Toy", "area_percent"] == pytest.approx(area, abs=0.01)


def test_the_level_table_counts_operations(bench):
    table = level_table(bench)
    assert table.loc["clear"].tolist()[1:] == [0] * (len(table.columns) - 1)
    assert table.loc["lq2", "images"] == 10
    assert 20 <= table.loc["lq2"].sum() - 10 <= 40, "two to four general operations per image"


def test_splits_stand_beside_the_paper_s(bench):
    table = split_counts(bench)
    assert table.loc["Toy", ["train", "seen", "unseen", "total"]].tolist() == [8, 2, 0, 10]
    assert table.loc["all", "total"] == 10
    assert table.loc["paper", ["train", "seen", "unseen", "total"]].tolist() == [36033, 4620, 4154, 44807]


def test_the_histogram_is_a_picture_with_ink_where_the_objects_are(bench, tmp_path):
    write_histogram(bench, tmp_path / "h.png")
    picture = read_image(tmp_path / "h.png").pixels
    blue = (picture[..., 2].astype(int) - picture[..., 0] > 100).mean()
    assert 0.001 < blue < 0.5


@pytest.mark.parametrize("name", ["thesis.txt", "images"])
def test_a_manifest_is_not_exported_over_something_else(bench, tmp_path, name):
    (tmp_path / "other" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=f"holds {name}, which is no part of a manifest"):
        export_manifest(bench.manifest, tmp_path / "other")
    with pytest.raises(DataError, match="no part of a manifest"):
        export_manifest(bench.manifest, bench.path)


def test_an_export_that_is_stopped_leaves_no_mixed_manifest(bench, tmp_path, monkeypatch):
    export_manifest(bench.manifest, tmp_path / "m", version="1")
    real = files_module.write_header

    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files_module, "write_header", stop)
        export_manifest(bench.manifest, tmp_path / "m", version="2")
    with pytest.raises(DataError, match=r"benchmark\.json is missing"):
        read_manifest(tmp_path / "m")
    assert real is files_module.write_header
    export_manifest(bench.manifest, tmp_path / "m", version="2")
    assert read_manifest(tmp_path / "m").info["version"] == "2"


@pytest.mark.slow
def test_ten_kills_of_an_export_leave_nothing_and_change_no_byte(bench, tmp_path):
    command = ("manifest", "export", bench.path, "-o", tmp_path / "out" / "m.zip")
    for _ in range(2):  # the first one waits for the server that commands are forked from
        start = time.monotonic()
        assert Command(*command).wait()[0] == 0
        took = time.monotonic() - start
    expected = (tmp_path / "out" / "m.zip").read_bytes()
    draw, killed = Stream("export kills"), 0
    while killed < 10:
        process = Command(*command)
        time.sleep(draw.uniform(0.0, took))
        killed += process.kill()
    assert Command(*command).wait()[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"m.zip": expected}
