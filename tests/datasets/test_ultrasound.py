"""BUSI, NerveUS, MuscleUS, MMOTU, abdominalUS and ToothSeg in tiny copies of their layouts, traps included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tifffile

from dmseg.datasets import shapes
from dmseg.errors import DataError, ImageFileError

PURPLE, YELLOW = (100, 0, 100), (255, 255, 0)


def test_busi_lesion_files_are_separate_objects_and_normals_are_left_out(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    base = "BUSI/Dataset_BUSI_with_GT"
    for name in ("benign/benign (1)", "benign/benign (11)", "malignant/malignant (1)", "normal/normal (1)"):
        files.picture(f"{base}/{name}.png", np.dstack([grey()] * 3))
    files.picture(f"{base}/benign/benign (1)_mask.png", block())
    files.picture(f"{base}/benign/benign (1)_mask_1.png", block(x=10))
    files.picture(f"{base}/benign/benign (1)_mask_2.png", block(y=8, size=3))
    files.picture(f"{base}/benign/benign (11)_mask.png", block(x=1))
    files.picture(f"{base}/malignant/malignant (1)_mask.png", block() > 0)  # 1-bit
    files.picture(f"{base}/normal/normal (1)_mask.png", np.zeros((12, 16), np.uint8))
    files.picture(f"{base}/benign/benign (99)_mask.png", block())
    result = read_all("BUSI")
    assert result.ids == ["benign--1-", "benign--11-", "malignant--1-"]
    lesions = result.structures("benign--1-")["lesion"]
    assert [int(mask.sum()) for mask in lesions] == [25, 25, 9]
    assert len(result.structures("benign--11-")["lesion"]) == 1
    assert int(result.structures("malignant--1-")["lesion"][0].sum()) == 25
    assert result.reasons == {
        "normal/normal (1).png": "normal: no lesion",
        "benign/benign (99)_mask.png": "mask without an image",
    }


def test_a_grey_picture_in_three_channels_becomes_grey(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    files.picture("BUSI/benign/benign (1).png", np.dstack([grey()] * 3))
    files.picture("BUSI/benign/benign (1)_mask.png", block())
    assert np.array_equal(read_all("BUSI").samples[0].image, grey())


def test_nerve_subjects_are_cases_and_empty_masks_are_left_out(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    for name, mask in (("1_1", block()), ("1_2", block(value=0)), ("12_1", block(x=8))):
        files.picture(f"NerveUS/train/{name}.tif", grey())
        files.picture(f"NerveUS/train/{name}_mask.tif", mask)
    files.picture("NerveUS/test/1.tif", grey())
    result = read_all("NerveUS")
    assert result.ids == ["12_1", "1_1"]
    assert {sample.source_id: sample.case_id for sample in result.samples} == {"1_1": "1", "12_1": "12"}
    assert result.reasons == {"train/1_2.tif": "no object: every mask is empty"}


def test_nerve_masks_of_the_table_equal_those_of_the_files(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    runs = " ".join(f"{column * 12 + 3 + 1} 5" for column in range(4, 9))  # rows 3..7 of columns 4..8
    for name in ("1_1", "1_2", "1_3"):
        files.picture(f"NerveUS/train/{name}.tif", grey())
    files.picture("NerveUS/train/1_1_mask.tif", block())
    files.text("NerveUS/train_masks.csv", f"subject,img,pixels\n1,1,1 1\n1,2,{runs}\n1,3,\n")
    result = read_all("NerveUS")
    assert np.array_equal(result.structures("1_2")["nerve"][0], result.structures("1_1")["nerve"][0])
    assert result.reasons == {"train/1_3.tif": "no object: every mask is empty"}
    files.text("NerveUS/train_masks.csv", "subject;img\n")
    with pytest.raises(DataError, match="expected the columns subject, img, pixels"):
        read_all("NerveUS")


@pytest.mark.parametrize("base", ["MuscleUS", "MuscleUS/Polito-Radboud-DeepLearningUS"])
def test_muscle_stems_repeat_and_masks_are_any_value(
    files: Any, read_all: Any, grey: Any, block: Any, base: str
) -> None:
    for place in ("BB", "GM"):
        files.picture(f"{base}/{place}/Images/img1.png", grey())
        files.picture(f"{base}/{place}/Masks/img1.png", block(value=1))
    files.picture(f"{base}/TA/p7/img1.png", grey())
    files.picture(f"{base}/TA/Masks/p7/img1.png", block(value=3))
    files.picture(f"{base}/TA/p8/img1.png", grey())
    result = read_all("MuscleUS")
    assert result.ids == ["BB_img1", "GM_img1", "TA_p7_img1"]
    assert all(int(sample.structures[0].mask.sum()) == 25 for sample in result.samples)
    assert result.reasons == {"TA/p8/img1.png": "mask missing"}


def test_mmotu_masks_of_zero_and_one_and_upper_case_names(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    for number, kinds in (("1", ("_binary", "_binary_binary", "")), ("2", ("_binary_binary",)), ("3", ("",))):
        files.picture(f"MMOTU/OTU_2d/images/{number}.JPG", np.dstack([grey()] * 3), format="JPEG")
        for kind in kinds:
            mask = block(value=1) if kind else np.dstack([block(value=64), block(value=0), block(value=0)])
            files.picture(f"MMOTU/OTU_2d/annotations/{number}{kind}.PNG", mask, format="PNG")
    files.picture("MMOTU/OTU_3d/images/9.JPG", grey(), format="JPEG")
    files.picture("MMOTU/OTU_3d/annotations/9.PNG", block(), format="PNG")
    result = read_all("MMOTU")
    assert result.ids == ["1", "2", "3"]
    for sample in result.samples:
        assert np.array_equal(sample.structures[0].mask, block() > 0)


def _annotation(files: Any, grey: Any, name: str, colours: Any) -> None:
    files.picture(f"abdominalUS/abdominal_US/RUS/images/test/{name}.jpg", grey(40, 40))
    files.picture(f"abdominalUS/abdominal_US/RUS/annotations/test/{name}.png", colours)


def _disk(colour: tuple[int, ...], background: tuple[int, ...] = (0, 0, 0)) -> np.ndarray:
    """A disk with an edge that fades over three pixels, as an anti-aliased drawing has it."""
    y, x = np.mgrid[:40, :40]
    inside = np.clip((12 - np.hypot(y - 20, x - 20)) / 3 + 0.5, 0, 1)[..., None]
    return np.rint(inside * np.array(colour) + (1 - inside) * np.array(background)).astype(np.uint8)


@pytest.mark.parametrize(
    ("organ", "colour"),
    [("kidney", YELLOW), ("liver", PURPLE), ("spleen", (255, 0, 255)), ("bones", (255, 255, 255))],
)
def test_soft_edges_make_no_other_organ(
    files: Any, read_all: Any, grey: Any, organ: str, colour: tuple[int, ...]
) -> None:
    _annotation(files, grey, "a1", _disk(colour))
    structures = read_all("abdominalUS").structures("RUS_test_a1")
    assert list(structures) == [organ]
    y, x = np.mgrid[:40, :40]
    radius = np.hypot(y - 20, x - 20)
    assert structures[organ][0][radius < 10].all() and not structures[organ][0][radius > 14].any()


def test_nearest_colour_alone_would_see_liver_at_the_rim_of_kidney_and_spleen() -> None:
    palette = np.array([(0, 0, 0), PURPLE, YELLOW, (255, 0, 255)])
    for colour in (YELLOW, (255, 0, 255)):
        drawn = _disk(colour)
        assert 1 in shapes.nearest_colour(drawn, palette, pure_within=1e9, core=1)
        assert 1 not in shapes.nearest_colour(drawn, palette, pure_within=48, core=3)


def test_shifted_yellow_off_black_background_and_transparency(files: Any, read_all: Any, grey: Any) -> None:
    pixels = _disk((253, 253, 0), (10, 0, 10))
    pixels[20:, 20:] = np.where(pixels[20:, 20:] == 253, (253, 255, 0), pixels[20:, 20:])
    alpha = np.full((40, 40, 1), 255, np.uint8)
    alpha[20, 20] = 227
    _annotation(files, grey, "g25", np.concatenate([pixels, alpha], axis=2))
    structures = read_all("abdominalUS").structures("RUS_test_g25")
    assert list(structures) == ["kidney"]
    assert 380 < structures["kidney"][0].sum() < 530


def test_several_organs_and_an_annotation_without_an_image(files: Any, read_all: Any, grey: Any) -> None:
    both = np.concatenate([_disk(PURPLE), _disk(YELLOW)])
    files.picture("abdominalUS/AUS/images/train/s1.png", grey(80, 40))
    files.picture("abdominalUS/AUS/annotations/train/s1.png", both)
    files.picture("abdominalUS/RUS/annotations/test/h100.png", both)
    files.picture("abdominalUS/RUS/images/train/t1.jpg", grey(80, 40))
    result = read_all("abdominalUS")
    assert set(result.structures("AUS_train_s1")) == {"liver", "kidney"}
    assert result.reasons == {
        "RUS/annotations/test/h100.png": "mask without an image",
        "RUS/images/train/t1.jpg": "mask missing",
    }


def test_teeth_of_label_greys_and_of_noisy_jpeg_masks(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    files.picture("ToothSeg/images/cate1-00001.jpg", grey())
    teeth = block(value=85) + block(x=10, value=170)
    files.picture("ToothSeg/masks/cate1-00001.png", teeth)
    files.picture("ToothSeg/images/cate1-00002.jpg", grey())
    noisy = np.where(block() > 0, 250, 20).astype(np.uint8)
    files.picture("ToothSeg/masks/cate1-00002.jpg", noisy, quality=95)
    files.picture("ToothSeg/images/cate1-00003.jpg", grey())
    result = read_all("ToothSeg")
    assert [int(sample.structures[0].mask.sum()) for sample in result.samples] == [50, 25]
    assert result.reasons == {"images/cate1-00003.jpg": "mask missing"}


def test_teeth_of_one_file_each_are_united_without_the_background(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    files.picture("ToothSeg/panoramic_x_rays/cate1-00001.jpg", grey())
    for label, mask in (("11", block(value=17)), ("12", block(x=10, value=17)), ("background", 17 - block(value=17))):
        path = files.path(f"ToothSeg/labels/cate1 - export/cate1-00001_{label}.ome.tiff")
        tifffile.imwrite(path, mask.astype(np.int32))
    result = read_all("ToothSeg")
    (teeth,) = result.structures("cate1-00001")["teeth"]
    assert int(teeth.sum()) == 50
    tifffile.imwrite(files.path("ToothSeg/labels/cate1 - export/cate1-00001_13.ome.tiff"), np.ones((5, 5), np.int32))
    with pytest.raises(ImageFileError, match="differ in size"):
        read_all("ToothSeg")
