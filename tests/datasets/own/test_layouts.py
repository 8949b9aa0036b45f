"""One test for each layout that people have: from the folder to objects that lie where they are in the image."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from own_folders import SHAPE, Read, Writer, disc, scene
from PIL import Image

Guessed = Callable[..., Read]
MASKS = [disc(18 + 6 * k, 16 + 5 * k) for k in range(4)]


def _volume(k: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return stored (X, Y, Z) values and labels of a volume that is bright where it is labelled."""
    labels = np.zeros((*SHAPE[::-1], 6), np.uint8)
    for z in (2, 3, 4):
        labels[..., z] = disc(20 + 4 * k, 14 + 2 * z).T
    values = np.stack([scene(labels[..., z] > 0, z) for z in range(6)], axis=-1).astype(np.int16)
    return values, labels


@pytest.mark.parametrize(
    ("image", "mask", "cases"),
    [
        ("images/s{}.png", "masks/s{}.png", 4),
        ("s{}.jpg", "s{}_mask.png", 4),
        ("Image_{}.png", "mask_{}.png", 4),
        ("img{}.png", "seg{}.png", 4),
        ("images/Image_{}.jpg", "masks/mask_{}.png", 4),
        ("x/{}_img.tif", "x/{}_masks.tif", 4),
        ("Original/{}.tif", "Ground Truth/{}.tif", 4),
        ("patient{}/image.png", "patient{}/mask.png", 4),
        ("patient{}/images/slice.png", "patient{}/masks/slice.png", 4),
        ("case_{}/a.png", "case_{}/a_seg.png", 4),
        ("in/s{}_0000.png", "out/labels/s{}.png", 4),
        ("bilder/s{}.png", "label-bilder/s{}_label.png", 4),
        ("Größe/画像{}.png", "Größe/画像{}_mask.png", 4),
    ],
)
def test_images_and_masks_by_their_names(write: Writer, read: Guessed, image: str, mask: str, cases: int) -> None:
    for k, drawn in enumerate(MASKS):
        write.image(image.format(k), scene(drawn, k))
        write.image(mask.format(k), drawn.astype(np.uint8) * 255)
    found = read()
    assert found.guess.n_sources == 4 and not found.guess.left_out and not found.guess.unmatched
    found.check_objects()
    assert len({sample.case_id for sample in found.samples}) == cases
    assert len({sample.source_id for sample in found.samples}) == 4


@pytest.mark.parametrize(
    "groups",
    [
        ("train", "val", "test"),
        ("benign", "malignant"),
        ("fold1", "fold2", "fold3"),
        ("Training", "Validation"),
        ("adenoma", "polyp"),
    ],
)
@pytest.mark.parametrize(
    "layout",
    [
        "{group}/images/{k}.png|{group}/masks/{k}.png",
        "images/{group}/{k}.png|masks/{group}/{k}.png",
        "{group}/{group} ({k}).png|{group}/{group} ({k})_mask.png",
    ],
)
def test_groups_of_images_are_no_patients(write: Writer, read: Guessed, groups: tuple[str, ...], layout: str) -> None:
    for group in groups:
        for k, drawn in enumerate(MASKS[:3]):
            image, mask = layout.format(group=group, k=k).split("|")
            write.image(image, scene(drawn, k))
            write.image(mask, drawn.astype(np.uint8) * 255)
    found = read()
    assert len(found.samples) == 3 * len(groups)
    assert len({sample.case_id for sample in found.samples}) == 3 * len(groups)
    found.check_objects()


def test_patients_are_cases_below_groups(write: Writer, read: Guessed) -> None:
    for group in ("train", "val"):
        for patient in (f"{group}07", f"{group}12"):
            for k, drawn in enumerate(MASKS[:2]):
                write.image(f"{group}/P-{patient}/image{k}.png", scene(drawn, k))
                write.image(f"{group}/P-{patient}/mask{k}.png", drawn.astype(np.uint8) * 255)
    found = read()
    assert len(found.samples) == 8 and len({sample.case_id for sample in found.samples}) == 4
    found.check_objects()


def test_names_that_differ_in_case_or_script_stay_apart(write: Writer, read: Guessed) -> None:
    for name, drawn in zip(("A", "a", "Б", "b b"), MASKS, strict=True):
        write.image(f"images/{name}.png", scene(drawn))
        write.image(f"masks/{name}.png", drawn.astype(np.uint8) * 255)
    found = read()
    found.check_objects()
    ids = [sample.source_id for sample in found.samples]
    assert len({each.lower() for each in ids}) == 4 and all(each.isascii() and "%" not in each for each in ids)
    assert ids == [sample.source_id for sample in read().samples]


def test_a_parent_folder_that_sounds_like_masks(write: Writer, read: Guessed) -> None:
    for k, drawn in enumerate(MASKS):
        write.image(f"Segmentation dataset v2/images/{k}.png", scene(drawn, k))
        write.image(f"Segmentation dataset v2/masks/{k}.png", drawn.astype(np.uint8) * 255)
    write.image("overview.png", scene(MASKS[0]))
    found = read()
    assert len(found.samples) == 4
    found.check_objects()


@pytest.mark.parametrize("channels", ["_0000", ""])
def test_nnunet_and_msd(write: Writer, read: Guessed, channels: str) -> None:
    for k in range(3):
        values, labels = _volume(k)
        write.volume(f"Dataset001_X/imagesTr/c{k}{channels}.nii.gz", values)
        write.volume(f"Dataset001_X/labelsTr/c{k}.nii.gz", labels)
    write.volume(f"Dataset001_X/imagesTs/c9{channels}.nii.gz", values)
    names: dict[str, Any] = {"background": 0, "liver": 1} if channels else {"0": "background", "1": "liver"}
    write.json("Dataset001_X/dataset.json", {"labels": names, "channel_names": {"0": "CT"}})
    found = read("mri")
    found.check_objects()
    assert found.names() == ["liver"] and len(found.samples) == 9
    assert [item.source for item in found.guess.left_out] == [f"Dataset001_X/imagesTs/c9{channels}.nii.gz"]


def test_monai_datalist(write: Writer, read: Guessed) -> None:
    for k in range(3):
        values, _ = _volume(k)
        write.volume(f"vol/scan{k}.nii.gz", values)
        write.volume(f"annot/truth{2 - k}.nii.gz", _volume(2 - k)[1])
    entries = [{"image": f"vol/scan{k}.nii.gz", "label": f"annot/truth{k}.nii.gz"} for k in range(3)]
    write.json("datalist.json", {"training": entries[:2], "validation": entries[2:], "test": ["vol/scan0.nii.gz"]})
    found = read("mri")
    assert len(found.sources) == 3 and found.recipe.parameters["list"] == "datalist.json"
    found.check_objects()


def test_bids_derivatives(write: Writer, read: Guessed) -> None:
    for k in range(2):
        for session in ("ses-01", "ses-02"):
            values, labels = _volume(k)
            name = f"sub-{k:02d}/{session}/anat/sub-{k:02d}_{session}"
            write.volume(f"{name}_T1w.nii.gz", values)
            write.volume(f"derivatives/lesions/{name}_label-lesion_mask.nii.gz", labels)
    found = read("mri")
    assert len(found.sources) == 4 and len({source.case_id for source in found.sources}) == 2
    found.check_objects()


def test_totalsegmentator(write: Writer, read: Guessed) -> None:
    for k in range(2):
        values, labels = _volume(k)
        upper = np.zeros_like(labels)
        upper[:, :14] = 1
        write.volume(f"s{k:04d}/ct.nii.gz", values)
        write.volume(f"s{k:04d}/segmentations/kidney_left.nii.gz", labels * upper)
        write.volume(f"s{k:04d}/segmentations/aorta.nii.gz", labels * (1 - upper))
    found = read("mri")
    assert found.names() == ["aorta", "kidney_left"] and len(found.sources) == 2
    found.check_objects()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("case_0000{}/imaging.nii.gz", "case_0000{}/segmentation.nii.gz"),
        ("BraTS2021_0000{0}/BraTS2021_0000{0}_flair.nii.gz", "BraTS2021_0000{0}/BraTS2021_0000{0}_seg.nii.gz"),
        (
            "BraTS-GLI-0000{0}-000/BraTS-GLI-0000{0}-000-t2f.nii.gz",
            "BraTS-GLI-0000{0}-000/BraTS-GLI-0000{0}-000-seg.nii.gz",
        ),
        ("volumes/v{}.nii", "labels/v{}.nii"),
        ("P{}/T2.nii.gz", "P{}/T2_label.nii.gz"),
    ],
)
def test_volumes_by_their_names(write: Writer, read: Guessed, image: str, mask: str) -> None:
    for k in range(3):
        values, labels = _volume(k)
        write.volume(image.format(k), values)
        write.volume(mask.format(k), labels)
        if "flair" in image:
            write.volume(image.format(k).replace("flair", "t1ce"), 200 - values)
    found = read("mri")
    assert len(found.sources) == 3 and len(found.samples) == 9
    assert len({sample.case_id for sample in found.samples}) == 3
    found.check_objects()


def _corners(mask: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = np.nonzero(mask)
    angle = np.arctan2(rows - rows.mean(), columns - columns.mean())
    edge = [
        max(zip(rows[s], columns[s], strict=True), key=lambda p: np.hypot(p[0] - rows.mean(), p[1] - columns.mean()))
        for s in (np.abs(angle - a) < 0.15 for a in np.linspace(-3, 3, 24))
        if s.any()
    ]
    return [(int(x), int(y)) for y, x in edge]


def test_coco(write: Writer, read: Guessed) -> None:
    from pycocotools import mask as coder

    annotations, images = [], []
    for k, drawn in enumerate(MASKS):
        write.image(f"images/{k}.jpg", scene(drawn, k), quality=95)
        images.append({"id": k, "file_name": f"{k}.jpg", "height": SHAPE[0], "width": SHAPE[1]})
        packed = coder.encode(np.asfortranarray(drawn.astype(np.uint8)))
        segmentation: Any = [
            [[float(c) for corner in _corners(drawn) for c in corner]],
            {"size": list(SHAPE), "counts": packed["counts"].decode()},
            {"size": list(SHAPE), "counts": _runs(drawn)},
            [[float(c) for corner in _corners(drawn) for c in corner]],
        ][k]
        annotations.append(
            {"id": k, "image_id": k, "category_id": 3, "segmentation": segmentation, "iscrowd": int(k > 0)}
        )
    write.json(
        "annotations/instances.json",
        {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "Left Lung"}]},
    )
    found = read("xray")
    assert len(found.samples) == 4 and found.names() == ["left_lung"]
    found.check_objects()


def _runs(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [1 - int(mask.T.ravel()[-1])]])
    ends = np.flatnonzero(np.diff(flat)) if flat[1] == 0 else np.concatenate([[0], np.flatnonzero(np.diff(flat))])
    return [int(n) for n in np.diff(np.concatenate([[0], ends]))] if ends[0] else [0, *map(int, np.diff(ends))]


def test_labelme(write: Writer, read: Guessed) -> None:
    for k, drawn in enumerate(MASKS):
        write.image(f"{k}.png", scene(drawn, k))
        shape: dict[str, Any] = {"label": "polyp", "shape_type": "polygon", "points": _corners(drawn)}
        if k == 1:
            y, x = np.argwhere(drawn).min(axis=0)
            y1, x1 = np.argwhere(drawn).max(axis=0) + 1
            stream = io.BytesIO()
            Image.fromarray(drawn[y:y1, x:x1].astype(np.uint8)).save(stream, "PNG")
            shape |= {
                "shape_type": "mask",
                "points": [[int(x), int(y)], [int(x1), int(y1)]],
                "mask": base64.b64encode(stream.getvalue()).decode(),
            }
        if k == 2:
            shape |= {"shape_type": "circle", "points": [[18 + 6 * k, 16 + 5 * k], [18 + 6 * k + 8, 16 + 5 * k]]}
        box = {"label": "box", "shape_type": "rectangle", "points": [[1, 1], [5, 5]]}
        write.json(
            f"{k}.json",
            {"imagePath": f"{k}.png", "imageData": None, "shapes": [shape, box], "imageHeight": 48, "imageWidth": 60},
        )
    found = read("endoscopy")
    assert len(found.samples) == 4 and found.names() == ["polyp"]
    found.check_objects()
    assert sum("rectangle has no area" in item.reason for item in found.reports) == 4


def _brush(mask: np.ndarray) -> list[int]:
    """Pack a mask as Label Studio does: RGBA, runs of 8-bit lengths, or one by one."""
    values = np.repeat(mask.ravel()[:, None] * 255, 4, axis=1).ravel()
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{size:04b}" for size in (2, 3, 7, 15))
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), values.size]
    for start, end in itertools.pairwise(edges):
        for at in range(start, end, 65536):
            n = min(65536, end - at)
            bits += f"1{3:02b}{n - 1:016b}{int(values[at]):08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_label_studio(write: Writer, read: Guessed) -> None:
    tasks = []
    for k, drawn in enumerate(MASKS):
        write.image(f"images/f{k}.png", scene(drawn, k))
        percent = [[100 * x / SHAPE[1], 100 * y / SHAPE[0]] for x, y in _corners(drawn)]
        kind = "brushlabels" if k == 1 else "polygonlabels"
        value = {"format": "rle", "rle": _brush(drawn)} if k == 1 else {"points": percent}
        result = {
            "type": kind,
            "original_width": SHAPE[1],
            "original_height": SHAPE[0],
            "value": {**value, kind: ["Tumour"]},
        }
        tasks.append(
            {"id": k, "data": {"image": f"/data/upload/1/0123abcd-f{k}.png"}, "annotations": [{"result": [result]}]}
        )
    tasks[0]["annotations"].append({"result": []})
    write.json("project.json", tasks)
    found = read("dermoscopy")
    assert len(found.samples) == 4 and found.names() == ["tumour"]
    found.check_objects()
    assert sum("annotations by others" in item.reason for item in found.reports) == 1


@pytest.mark.parametrize("palette", [False, True])
def test_cvat_masks_and_pascal_voc(write: Writer, read: Guessed, palette: bool) -> None:
    for k, drawn in enumerate(MASKS):
        write.image(f"JPEGImages/{k}.jpg", scene(drawn, k), quality=95)
        if palette:
            indexed = Image.fromarray(drawn.astype(np.uint8), "P")
            indexed.putpalette([0, 0, 0, 250, 50, 83])
            write.path(f"SegmentationClass/{k}.png")
            indexed.save(write.path(f"SegmentationClass/{k}.png"))
        else:
            write.image(f"SegmentationClass/{k}.png", (drawn[..., None] * [250, 50, 83]).astype(np.uint8))
            write.image(f"SegmentationObject/{k}.png", (drawn[..., None] * [128, 0, 0]).astype(np.uint8))
    write.path("labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ntumor:250,50,83::\n")
    found = read("xray")
    assert len(found.samples) == 4 and (palette or found.names() == ["tumor"])
    found.check_objects()


def test_objects_of_one_class_are_told_apart(write: Writer, read: Guessed) -> None:
    one, two = disc(15, 20, 7), disc(40, 25, 7)
    write.image("JPEGImages/a.jpg", scene(one | two), quality=95)
    write.image("SegmentationClass/a.png", ((one | two)[..., None] * [250, 50, 83]).astype(np.uint8))
    write.image(
        "SegmentationObject/a.png", (one[..., None] * [128, 0, 0] + two[..., None] * [0, 128, 0]).astype(np.uint8)
    )
    found = read("xray")
    assert [int(each.mask.sum()) for each in found.samples[0].structures] == [int(two.sum()), int(one.sum())]


@pytest.mark.parametrize(
    "names",
    [("{}_img.png", "{}_masks.png"), ("{}.tif", "{}_cp_masks.tif"), ("tissue images/{}.png", "label masks/{}.tif")],
)
@pytest.mark.parametrize("n", [3, 12, 60])
def test_cells_are_objects_each(write: Writer, read: Guessed, names: tuple[str, str], n: int) -> None:
    counts = []
    for k in range(3):
        labels = np.zeros((96, 120), np.uint16)
        for cell in range(n + k):
            row, column = divmod(cell, 10)
            labels[2 + 11 * row : 9 + 11 * row, 2 + 11 * column : 9 + 11 * column] = cell + 1
        write.image(names[0].format(k), scene(labels > 0, k))
        write.image(names[1].format(k), labels)
        counts.append(n + k)
    found = read("microscopy")
    assert [len(sample.structures) for sample in found.samples] == counts
    found.check_objects()


def test_data_science_bowl(write: Writer, read: Guessed) -> None:
    for k in range(2):
        write.image(f"stage1_train/id{k}/images/id{k}.png", scene(MASKS[0] | MASKS[3], k))
        for part, drawn in enumerate((MASKS[0], MASKS[3] & ~MASKS[0])):
            write.image(f"stage1_train/id{k}/masks/{part}f{k}.png", drawn.astype(np.uint8) * 255)
    found = read("microscopy")
    assert [len(sample.structures) for sample in found.samples] == [2, 2]
    found.check_objects()


@pytest.mark.parametrize("layout", ["masks/{name}/{k}.png", "masks/{k}_{name}.png"])
def test_a_mask_folder_or_ending_for_each_class(write: Writer, read: Guessed, layout: str) -> None:
    for k in range(3):
        whole, left = MASKS[k], MASKS[k].copy()
        left[:, : 18 + 6 * k] = False
        write.image(f"images/{k}.png", scene(whole, k))
        for name, drawn in (("liver", left), ("spleen", whole & ~left)):
            write.image(layout.format(name=name, k=k), drawn.astype(np.uint8) * 255)
    found = read("ultrasound")
    assert found.names() == ["liver", "spleen"] and len(found.samples) == 3
    found.check_objects()


def test_drive(write: Writer, read: Guessed) -> None:
    for k, (group, ending) in enumerate((("training", "training"), ("training", "training"), ("test", "test"))):
        write.image(f"{group}/images/{20 + k}_{ending}.tif", scene(MASKS[k], k))
        write.image(f"{group}/1st_manual/{20 + k}_manual1.gif", MASKS[k].astype(np.uint8) * 255)
        write.image(f"{group}/mask/{20 + k}_{ending}_mask.gif", np.full(SHAPE, 255, np.uint8))
    found = read("ultrasound")
    assert len(found.samples) == 3 and len(found.guess.unmatched) == 3
    found.check_objects()


@pytest.mark.parametrize(
    "layout",
    [
        "{k}.png|{k}_A.png|{k}_B.png",
        "images/{k}.png|masks_A/{k}.png|masks_B/{k}.png",
        "images/{k}.png|masks/{k}_mask_A.png|masks/{k}_mask_B.png",
        "Image_{k}.jpg|Image_{k}_1stHO.png|Image_{k}_2ndHO.png",
    ],
)
def test_several_readers(write: Writer, read: Guessed, layout: str) -> None:
    for k, drawn in enumerate(MASKS[:3]):
        image, first, second = layout.format(k=f"0{k}L").split("|")
        write.image(image, scene(drawn, k))
        write.image(first, drawn.astype(np.uint8) * 255)
        write.image(second, np.roll(drawn, 12, axis=1).astype(np.uint8) * 255)
    found = read("ultrasound")
    assert len(found.samples) == 3 and len(found.recipe.parameters["readers"]) == 2
    found.check_objects()
    assert sum("drawn by reader" in item.reason and item.kind == "note" for item in found.reports) == 3


def test_metaimage_and_nrrd(write: Writer, read: Guessed) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra formats)")
    for k, ending in enumerate(("mha", "nrrd")):
        values, labels = _volume(k)
        for name, array in (("images", values), ("labels", labels)):
            image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
            image.SetSpacing((1.0, 1.0, 3.0))
            sitk.WriteImage(image, str(write.path(f"{name}/c{k}.{ending}")))
    found = read("mri")
    assert len(found.sources) == 2
    found.check_objects()


def test_a_folder_that_says_nothing_still_gives_a_recipe(write: Writer, read: Guessed) -> None:
    write.image("photos/a.png", scene(MASKS[0]))
    write.image("photos/deeper/b.png", scene(MASKS[1]))
    found = read()
    assert not found.sources and "# Not understood" in found.guess.text and "photos" in found.guess.text
    fixed = found.guess.text.replace('image = ["images/{id}"]', 'image = ["photos/{id}"]').replace(
        "masks/{id}", "photos/{id}_drawn"
    )
    write.image("photos/a_drawn.png", MASKS[0].astype(np.uint8) * 255)
    path = write.root.parent / "fixed.toml"
    path.write_text(fixed, encoding="utf-8")
    from dmseg import datasets

    reader = datasets.reader_of(datasets.from_file(path))
    assert [source.id for source in reader.sources(write.root)] == ["a"]
