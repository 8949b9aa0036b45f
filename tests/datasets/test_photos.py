"""The readers of the natural tracks: each trap of the original layouts, in tiny copies and in the phantoms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmseg import datasets
from dmseg.build.raw import choose_track, find_datasets
from dmseg.datasets import NOTE, LeftOut
from dmseg.datasets.shapes import coco_polygon_mask
from dmseg.errors import DataError, ImageFileError, UsageError
from dmseg.phantoms import write_phantoms
from dmseg.phantoms.layouts_photo import LVIS_NAMES, outline
from dmseg.phantoms.scenes import draw_many
from dmseg.types import Sample

from .conftest import Files

IMAGE = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
OBJECT = np.zeros((24, 32), np.uint8)
OBJECT[4:12, 5:20] = 255
SQUARE = [[5, 4, 20, 4, 20, 12, 5, 12]]


def _read(name: str, root: Path) -> tuple[dict[str, Sample], list[LeftOut]]:
    reader = datasets.reader(name)
    assert reader.is_root(root)
    items = [item for source in reader.sources(root) for item in reader.read(root, source)]
    left_out = [item for item in items if isinstance(item, LeftOut)]
    return {item.source_id: item for item in items if isinstance(item, Sample)}, [*reader.problems(root), *left_out]


def _coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], names: tuple[str, ...] = ("cup",)) -> str:
    size = {"height": 24, "width": 32}
    return json.dumps(
        {
            "images": [{**size, **image} for image in images],
            "annotations": [{"category_id": 1, "segmentation": SQUARE, **one} for one in annotations],
            "categories": [{"id": index + 1, "name": name} for index, name in enumerate(names)],
        }
    )


def test_thin_object_takes_the_split_from_the_lists(files: Files) -> None:
    for name in ("a", "b", "c", "d"):
        files.picture(f"images/{name}.jpg", IMAGE)
        files.picture(f"masks/{name}.png", OBJECT)
    for part, name in (("train", "a"), ("val", "b"), ("test", "c")):
        files.text(f"list/{part}.txt", f"{name}.png\n")
    samples, left_out = _read("ThinObject-5K", files.root)
    assert {name: one.case_id for name, one in samples.items()} == {"a": "train.a", "c": "test.c"}
    assert {item.source for item in left_out} == {"images/b.jpg", "images/d.jpg"}
    recipe = datasets.recipe("ThinObject-5K")
    cases = {f"ThinObject-5K__{one.case_id}": 1 for one in samples.values()}
    assert list(datasets.splits.assign(recipe, cases).values()) == ["train", "seen"]
    with pytest.raises(DataError, match="none of the parts"):
        datasets.splits.assign(recipe, {"ThinObject-5K__c": 1})


def test_thin_object_as_repacked_in_hqseg(files: Files) -> None:
    for part in ("train", "test"):
        files.picture(f"images_{part}/{part}1.jpg", IMAGE)
        files.picture(f"masks_{part}/{part}1.png", OBJECT)
    samples, left_out = _read("ThinObject-5K", files.root)
    assert [one.case_id for one in samples.values()] == ["test.test1", "train.train1"]
    assert not left_out


def test_masks_beside_images_are_told_by_their_kind(files: Files) -> None:
    files.picture("Imgs/1.jpg", IMAGE)
    files.picture("Imgs/1.png", OBJECT)
    samples, left_out = _read("MSRA-10K", files.root / "Imgs")
    assert list(samples) == ["1"] and not left_out
    np.testing.assert_array_equal(samples["1"].structures[0].mask, OBJECT > 0)
    assert samples["1"].image.ndim == 3


@pytest.mark.parametrize("folder", ["ground_truth_mask", "Ground_Truth_Mask"])
def test_ecssd_in_its_two_layouts(files: Files, folder: str) -> None:
    files.picture("a/images/0001.jpg", IMAGE)
    files.picture(f"a/{folder}/0001.png", OBJECT)
    files.picture("b/0001.jpg", IMAGE)
    files.picture("b/0001.png", OBJECT)
    for root in ("a", "b"):
        samples, left_out = _read("ECSSD", files.root / root)
        assert list(samples) == ["0001"] and not left_out


def test_wxsod_reads_the_real_part_alone_and_cuts_jpeg_masks(files: Files) -> None:
    noisy = OBJECT.copy()
    noisy[0, :] = 90  # what JPEG leaves around an edge
    for number, part in enumerate(("test_real", "train_sys", "test_sys")):  # each has images of its own
        files.picture(f"{part}/input/000{2 * number + 1}_dark.jpg", IMAGE)
        files.picture(f"{part}/gt/000{2 * number + 1}_dark.jpg", noisy, quality=100)
        files.picture(f"{part}/input/000{2 * number + 2}_fog.jpg", IMAGE)
        files.picture(f"{part}/gt/000{2 * number + 2}_fog.png", OBJECT)
    samples, left_out = _read("WXSOD", files.root)
    assert list(samples) == ["0001_dark", "0002_fog"]
    for sample in samples.values():
        np.testing.assert_array_equal(sample.structures[0].mask, OBJECT > 0)
    assert {(item.source, item.kind) for item in left_out} == {("train_sys", NOTE), ("test_sys", NOTE)}


def test_lvis_finds_the_val_images_in_both_folders_by_their_url(files: Files) -> None:
    for name in ("train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg"):
        files.picture(name, IMAGE)
    files.text("lvis_v1_train.json", _coco([{"id": 1, "coco_url": "http://x/train2017/1.jpg"}], [{"image_id": 1}]))
    listed = [{"id": 2, "coco_url": "http://x/train2017/2.jpg"}, {"id": 3, "coco_url": "http://x/val2017/3.jpg"}]
    files.text("lvis_v1_val.json", _coco(listed, [{"image_id": 2}, {"image_id": 3}]))
    samples, left_out = _read("LVIS", files.root)
    assert [one.case_id for one in samples.values()] == ["train.1", "val.2", "val.3"]
    assert [one.source for one in samples.values()] == ["train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg"]
    assert not left_out


def test_lvis_without_one_of_the_folders_is_refused(files: Files) -> None:
    files.picture("val2017/3.jpg", IMAGE)
    files.text("lvis_v1_val.json", _coco([{"id": 3, "coco_url": "http://x/val2017/3.jpg"}], [{"image_id": 3}]))
    with pytest.raises(DataError, match="train2017 is not there"):
        datasets.reader("LVIS").sources(files.root)


def test_groups_and_outlines_outside_the_image_are_no_objects(files: Files) -> None:
    files.picture("val2017/1.jpg", IMAGE)
    runs = {"size": [24, 32], "counts": [0, 24 * 32]}
    annotations = [
        {"image_id": 1},
        {"image_id": 1, "iscrowd": 1, "segmentation": runs},
        {"image_id": 1, "segmentation": [[-9, -9, -2, -9, -2, -2]]},
        {"image_id": 1, "segmentation": [[3, 3, 4, 4]]},
        {"image_id": 1, "segmentation": runs},
    ]
    files.text(
        "annotations/instances_val2017.json", _coco([{"id": 1, "file_name": "1.jpg"}], annotations, ("tea cup",))
    )
    samples, left_out = _read("COCO", files.root)
    assert [(one.name, int(one.mask.sum())) for one in samples["1"].structures] == [("tea_cup", 120), ("tea_cup", 768)]
    assert {(item.kind, item.reason) for item in left_out} == {
        (NOTE, "1 annotations of a group (iscrowd) are no object"),
        (NOTE, "2 annotations have no pixel inside the image"),
    }


def test_an_unknown_category_and_damaged_runs_fail_the_image(files: Files) -> None:
    files.picture("val2017/1.jpg", IMAGE)
    for annotation in ({"category_id": 9}, {"segmentation": {"size": [24, 32], "counts": [3]}}, {"segmentation": "x"}):
        text = _coco([{"id": 1, "file_name": "1.jpg"}], [{"image_id": 1, **annotation}])
        files.text("annotations/instances_val2017.json", text)
        with pytest.raises(ImageFileError, match="an annotation of 1"):
            _read("COCO", files.root)


def test_images_that_lvis_has_too_are_not_unseen(tmp_path: Path) -> None:
    write_phantoms(tmp_path, per_dataset=1, datasets=["COCO", "LVIS"])
    (found,) = find_datasets(tmp_path, ["COCO"])
    assert [source.id for source in found.sources] == ["000000900001"]
    assert ("val2017/000000000001.jpg", "LVIS has it too") in {(one.source, one.reason) for one in found.problems}
    (tmp_path / "LVIS").rename(tmp_path / "elsewhere")
    (alone,) = find_datasets(tmp_path, ["COCO"])
    assert len(alone.sources) == 2
    assert "LVIS is not in the folder" in alone.problems[-1].reason


def test_lis_reads_the_dark_images_of_the_lists_with_one_added(files: Files) -> None:
    files.picture("RGB-normal/JPEGImages/1.JPG", IMAGE)
    files.picture("RGB-dark/JPEGImages/2.JPG", IMAGE)
    files.picture("RGB-dark/JPEGImages/4.JPG", IMAGE)
    for light, number in (("", 1), ("+1", 2)):
        text = _coco([{"id": number, "file_name": f"./JPEGImages/{number}.png"}], [{"image_id": number}])
        files.text(f"annotations/lis_coco_JPG_train{light}.json", text)
    text = _coco([{"id": 4, "file_name": "./JPEGImages/4.png"}], [{"image_id": 4}])
    files.text("annotations/lis_coco_JPG_test+1.json", text)
    samples, left_out = _read("LIS", files.root)
    assert [one.source for one in samples.values()] == ["RGB-dark/JPEGImages/2.JPG", "RGB-dark/JPEGImages/4.JPG"]
    assert not left_out


def test_lis_reads_each_image_once_where_all_its_lists_are_there(files: Files) -> None:
    for number in (2, 4):
        files.picture(f"RGB-dark/JPEGImages/{number}.JPG", IMAGE)
    for kind in ("JPG", "png"):
        for part, numbers in (("traintest", (2, 4)), ("train", (2,)), ("test", (4,))):
            listed = [{"id": number, "file_name": f"./JPEGImages/{number}.png"} for number in numbers]
            text = _coco(listed, [{"image_id": number} for number in numbers])
            files.text(f"annotations/lis_coco_{kind}_{part}+1.json", text)
    reader = datasets.reader("LIS")
    assert [source.id for source in reader.sources(files.root)] == ["2", "4"]


@pytest.mark.parametrize(
    ("name", "image", "mask"),
    [
        ("ThinObject-5K", "images_test/a.jpg", "masks_test/a.png"),
        ("MSRA-10K", "a.jpg", "a.png"),
        ("ECSSD", "images/a.jpg", "ground_truth_mask/a.png"),
        ("WXSOD", "test_real/input/a.jpg", "test_real/gt/a.png"),
    ],
)
def test_soft_edges_of_a_mask_are_cut_in_the_middle(files: Files, name: str, image: str, mask: str) -> None:
    soft = OBJECT.copy()
    soft[3, 5:20], soft[12, 5:20] = 127, 128
    files.picture(image, IMAGE)
    files.picture(mask, soft)
    samples, _ = _read(name, files.root)
    np.testing.assert_array_equal(next(iter(samples.values())).structures[0].mask, soft >= 128)


def test_seaclear_cases_are_site_and_camera(files: Files) -> None:
    names = ["north/dslr/frame_1.jpg", "north/rov/frame_1.jpg", "south/rov/frame_1.jpg"]
    for name in names:
        files.picture(name, IMAGE)
    listed = [{"id": index, "file_name": name} for index, name in enumerate(names)]
    files.text("dataset.json", _coco(listed, [{"image_id": index} for index in range(3)]))
    samples, left_out = _read("SeaClear", files.root)
    assert [one.case_id for one in samples.values()] == ["north-dslr", "north-rov", "south-rov"]
    assert next(iter(samples)) == "north-dslr-frame_1" and not left_out


def test_seaclear_in_one_folder_says_that_it_is_one_case(files: Files) -> None:
    listed = [{"id": index, "file_name": f"{index}.jpg"} for index in range(2)]
    for index in range(2):
        files.picture(f"images/{index}.jpg", IMAGE)
    files.text("dataset.json", _coco(listed, [{"image_id": index} for index in range(2)]))
    samples, left_out = _read("SeaClear", files.root)
    assert {one.case_id for one in samples.values()} == {"unknown-site"}
    assert left_out[0].kind == NOTE


def test_polygons_are_filled_as_pycocotools_fills_them() -> None:
    reference = pytest.importorskip("pycocotools.mask")
    draw = np.random.default_rng(0)
    for kind in range(120):
        height, width = (int(side) for side in draw.integers(3, 60, 2))
        points = draw.uniform(-10, 70, (draw.integers(3, 12), 2))
        points = np.round(points * 2) / 2 if kind % 2 else points
        polygon = points.ravel().tolist()
        wanted = reference.decode(reference.frPyObjects([polygon], height, width))[..., 0]
        np.testing.assert_array_equal(coco_polygon_mask(polygon, (height, width)), wanted > 0)


def test_phantom_outlines_give_back_the_drawn_masks() -> None:
    for number in range(3):
        for structure in draw_many(f"outlines/{number}", LVIS_NAMES).structures:
            found = outline(structure.mask)
            if isinstance(found, list):
                masks = [coco_polygon_mask(polygon, structure.mask.shape) for polygon in found]
                np.testing.assert_array_equal(np.any(masks, axis=0), structure.mask)


def test_every_set_of_the_natural_tracks_is_read_from_its_phantom(tmp_path: Path) -> None:
    for track in ("natural", "natural-real"):
        names = datasets.PHOTO_RECIPES[track]
        write_phantoms(tmp_path, per_dataset=2, datasets=names)
        for found in find_datasets(tmp_path, track=track):
            items = [item for source in found.sources for item in found.reader.read(found.root, source)]
            assert sum(isinstance(item, Sample) for item in items) == 2, found.name
            assert found.phantoms
        assert [found.name for found in find_datasets(tmp_path, track=track)] == list(names)


def test_tracks_are_not_mixed() -> None:
    assert choose_track(None, None) == "medical"
    assert choose_track(None, ["ECSSD", "LVIS"]) == "natural"
    for track, names in ((None, ["ECSSD", "BUSI"]), ("medical", ["ECSSD"]), ("natural", ["LIS"])):
        with pytest.raises(UsageError, match="never mixed"):
            choose_track(track, names)
