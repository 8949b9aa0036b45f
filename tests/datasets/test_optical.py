"""Kvasir-SEG, CVC-ClinicDB, ISIC, LGG and BBBC038 in tiny copies of their layouts, traps included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dmseg.errors import ImageFileError


def test_kvasir_noise_of_jpeg_masks_is_not_polyp(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    noisy = block(value=245)
    noisy[noisy == 0] = 9
    files.picture("Kvasir-SEG/images/a.jpg", np.dstack([grey(), grey()[::-1], grey()]))
    files.picture("Kvasir-SEG/masks/a.png", noisy)
    (mask,) = read_all("Kvasir-SEG").structures("a")["polyp"]
    assert np.array_equal(mask, block() > 0)


@pytest.mark.parametrize("prefix", ["CVC-ClinicDB", "CVC-ClinicDB/CVC-ClinicDB", "CVC-ClinicDB/PNG"])
def test_cvc_folder_with_a_space_and_the_kaggle_copy(
    files: Any, read_all: Any, grey: Any, block: Any, prefix: str
) -> None:
    suffix = "png" if prefix.endswith("PNG") else "tif"
    for number in (2, 10):
        files.picture(f"{prefix}/Original/{number}.{suffix}", np.dstack([grey(), grey()[::-1], grey()]))
        files.picture(f"{prefix}/Ground Truth/{number}.{suffix}", block())
    result = read_all("CVC-ClinicDB")
    assert result.ids == ["10", "2"]
    assert result.samples[0].image.shape == (12, 16, 3)
    assert {sample.modality for sample in result.samples} == {"endoscopy"}


def test_isic_reads_three_stages_and_no_other_task(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    for stage, number in (("Training", "0000001"), ("Validation", "0000002"), ("Test", "0000003")):
        files.picture(f"ISIC2018/ISIC2018_Task1-2_{stage}_Input/ISIC_{number}.jpg", np.dstack([grey()] * 3))
        files.picture(f"ISIC2018/ISIC2018_Task1_{stage}_GroundTruth/ISIC_{number}_segmentation.png", block())
    files.text("ISIC2018/ISIC2018_Task1-2_Training_Input/ATTRIBUTION.txt", "")
    files.picture("ISIC2018/ISIC2018_Task2_Training_GroundTruth_v3/ISIC_0000001_attribute_globules.png", block())
    files.picture("ISIC2018/ISIC2018_Task3_Training_Input/ISIC_9999999.jpg", np.dstack([grey()] * 3))
    result = read_all("ISIC")
    assert result.ids == ["ISIC_0000001", "ISIC_0000002", "ISIC_0000003"]
    assert not result.left_out


def test_lgg_slices_of_a_patient_are_one_case_and_the_second_copy_is_not_read(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    for tree in ("LGG/kaggle_3m", "LGG/lgg-mri-segmentation/kaggle_3m"):
        folder = f"{tree}/TCGA_CS_4941_19960909"
        for number, mask in ((1, np.zeros((12, 16), np.uint8)), (2, block()), (11, block(x=6))):
            files.picture(f"{folder}/TCGA_CS_4941_19960909_{number}.tif", np.dstack([grey(), grey()[::-1], grey()]))
            files.picture(f"{folder}/TCGA_CS_4941_19960909_{number}_mask.tif", mask)
    files.text("LGG/kaggle_3m/data.csv", "Patient\n")
    result = read_all("LGG")
    assert result.ids == ["TCGA_CS_4941_19960909_11", "TCGA_CS_4941_19960909_2"]
    assert {sample.case_id for sample in result.samples} == {"TCGA_CS_4941"}
    assert list(result.reasons.values()) == ["no object: every mask is empty"]


def _nucleus(files: Any, grey: Any, block: Any, stage: str, name: str, masks: int) -> None:
    rgba = np.dstack([grey(), grey(), grey(), np.full((12, 16), 255, np.uint8)])
    files.picture(f"BBBC038/{stage}/{name}/images/{name}.png", rgba)
    for k in range(masks):
        files.picture(f"BBBC038/{stage}/{name}/masks/m{k}.png", block(x=5 * k, size=3))


def test_every_nucleus_is_an_object_and_transparency_does_not_matter(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    _nucleus(files, grey, block, "stage1_train", "abc", 3)
    _nucleus(files, grey, block, "stage1_train", "nomask", 0)
    result = read_all("BBBC038")
    assert result.ids == ["abc"]
    assert np.array_equal(result.samples[0].image, grey())
    masks = result.structures("abc")["nucleus"]
    assert [int(mask.sum()) for mask in masks] == [9, 9, 9]
    assert not (masks[0] & masks[1]).any()
    assert result.reader.recipe.evaluate_at_most == 8
    assert result.reasons == {"stage1_train/nomask/images/nomask.png": "mask missing"}


def test_nuclei_of_the_test_stages_come_from_the_solution_tables(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    _nucleus(files, grey, block, "stage1_train", "train1", 1)
    for name in ("test1", "ignored", "unlisted"):
        _nucleus(files, grey, block, "stage2_test_final", name, 0)
    files.text(
        "BBBC038/stage2_solution_final.csv",
        "ImageId,EncodedPixels,Height,Width,Usage\n"
        "test1,1 2 13 1,12,16,Private\ntest1,25 12,12,16,Private\nignored,1 1,12,16,Ignored\n",
    )
    result = read_all("BBBC038")
    assert result.ids == ["test1", "train1"]
    first, second = result.structures("test1")["nucleus"]
    assert sorted(zip(*np.nonzero(first), strict=True)) == [(0, 0), (0, 1), (1, 0)]  # column by column
    assert second[:, 2].all() and second.sum() == 12
    assert set(result.reasons.values()) == {"not annotated in the solution table"}


def test_runs_that_leave_the_picture_are_an_error_of_that_image(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    _nucleus(files, grey, block, "stage1_test", "test1", 0)
    files.text("BBBC038/stage1_solution.csv", "ImageId,EncodedPixels\ntest1,190 10\n")
    with pytest.raises(ImageFileError, match=r"test1.png: its row of the solution table: runs do not fit"):
        read_all("BBBC038")


def test_a_truncated_picture_names_its_file(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    files.picture("Kvasir-SEG/masks/a.png", block())
    path = files.picture("Kvasir-SEG/images/a.jpg", np.dstack([grey(200, 200)] * 3))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ImageFileError, match=r"a\.jpg"):
        read_all("Kvasir-SEG")


def test_a_16_bit_picture_is_refused_where_8_bit_is_expected(files: Any, read_all: Any, block: Any) -> None:
    files.picture("CVC-ClinicDB/Original/1.tif", np.zeros((12, 16), np.uint16))
    files.picture("CVC-ClinicDB/Ground Truth/1.tif", block())
    with pytest.raises(ImageFileError, match="uint16; expected an 8-bit image"):
        read_all("CVC-ClinicDB")
