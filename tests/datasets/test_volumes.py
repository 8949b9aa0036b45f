"""FLARE, BraTS and CHAOS: orientation, slices, windows, labels, pairing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmseg.datasets.readers.chaos import middles
from dmseg.datasets.readers.volumes import largest_apart
from dmseg.errors import ImageFileError


def _body(z: int = 8, y: int = 20, x: int = 24) -> NDArray[np.int16]:
    """A volume whose grey names its place, so that a wrong turn shows."""
    zz, yy, xx = np.mgrid[:z, :y, :x]
    return (zz * 10 + yy * 7 - xx * 5).astype(np.int16)


def _flare(files: Any, values: NDArray[Any], labels: NDArray[Any], image_axes: str, label_axes: str) -> None:
    base = "FLARE/FLARE22Train"
    files.volume(f"{base}/images/FLARE22_Tr_0001_0000.nii.gz", values, image_axes)
    files.volume(f"{base}/labels/FLARE22_Tr_0001.nii.gz", labels, label_axes)


@pytest.mark.parametrize("axes", [("RAS", "RAS"), ("LPS", "RAS"), ("RAS", "LAS"), ("ASR", "SPL"), ("IPL", "IPL")])
def test_flare_slices_are_radiological_whatever_the_file_says(files: Any, read_all: Any, axes: tuple[str, str]) -> None:
    values = _body()
    labels = np.zeros(values.shape, np.uint8)
    labels[2:4, 3:9, 2:8] = 1  # liver: patient's right, so the left of the image
    labels[3, 10:14, 15:20] = 13
    _flare(files, values, labels, *axes)
    result = read_all("FLARE")
    assert result.ids == ["FLARE22_Tr_0001_z002", "FLARE22_Tr_0001_z003"]
    first, second = result.samples
    assert [structure.name for structure in first.structures] == ["liver"]
    assert [structure.name for structure in second.structures] == ["liver", "left_kidney"]
    for z, sample in zip((2, 3), result.samples, strict=True):
        expected = np.clip(np.floor((values[z] + 160.0) * 255 / 400 + 0.5), 0, 255)
        assert np.array_equal(sample.image, expected)
        assert np.array_equal(sample.structures[0].mask, labels[z] == 1)
        assert sample.spacing == (2, 1)
        assert sample.source == f"images/FLARE22_Tr_0001_0000.nii.gz#z00{z}"
        assert (sample.case_id, sample.modality) == ("FLARE22_Tr_0001", "ct")
        assert sample.window is not None and (sample.window.center, sample.window.width) == (40, 400)


def test_flare_volumes_that_cannot_be_used(files: Any, read_all: Any) -> None:
    values = _body()
    empty = np.zeros(values.shape, np.uint8)
    _flare(files, values, empty, "RAS", "RAS")
    base = "FLARE/FLARE22Train"
    files.volume(f"{base}/images/FLARE22_Tr_0002_0000.nii.gz", values)
    files.volume(f"{base}/images/FLARE22_Tr_0003_0000.nii.gz", values)
    files.volume(f"{base}/labels/FLARE22_Tr_0003.nii.gz", np.ones((8, 20, 25), np.uint8))
    files.volume(f"{base}/labels/FLARE22_Tr_0004.nii.gz", empty)
    result = read_all("FLARE")
    assert not result.samples
    assert result.reasons == {
        "images/FLARE22_Tr_0001_0000.nii.gz": "no object: no slice has an organ",
        "images/FLARE22_Tr_0002_0000.nii.gz": "label volume missing",
        "images/FLARE22_Tr_0003_0000.nii.gz": (
            "labels in another place: size is 8 x 20 x 25, expected 8 x 20 x 24 voxels (z, y, x)"
        ),
        "labels/FLARE22_Tr_0004.nii.gz": "labels without a volume",
    }


def test_a_truncated_volume_is_an_error_that_names_it(files: Any, read_all: Any) -> None:
    values = _body()
    _flare(files, values, np.ones(values.shape, np.uint8), "RAS", "RAS")
    path = files.root / "FLARE/FLARE22Train/images/FLARE22_Tr_0001_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageFileError, match="FLARE22_Tr_0001_0000"):
        read_all("FLARE")


def _brats(files: Any, labels: NDArray[Any], values: NDArray[Any] | None = None, case: str = "BraTS2021_00000") -> None:
    base = f"BraTS/BraTS2021_Training_Data/{case}/{case}"
    grey = _body(*labels.shape).astype(np.float32) + 500 if values is None else values
    files.volume(f"{base}_flair.nii.gz", grey, "LPS")
    files.volume(f"{base}_t1ce.nii.gz", grey * 0, "LPS")
    files.volume(f"{base}_seg.nii.gz", labels, "LPS")


def _tumour(old_scheme: bool) -> NDArray[np.uint8]:
    labels = np.zeros((40, 20, 24), np.uint8)
    for z in range(5, 35):
        labels[z, 2 : 6 + z // 3, 2:20] = 2
    labels[10:20, 4:7, 4:8] = 1
    labels[12:30, 5:7, 10:14] = 4
    if old_scheme:
        labels[30:35, 5, 5:9] = 3
    return labels


@pytest.mark.parametrize("old_scheme", [False, True])
def test_brats_regions_with_and_without_label_3(files: Any, read_all: Any, old_scheme: bool) -> None:
    labels = _tumour(old_scheme)
    _brats(files, labels)
    result = read_all("BraTS")
    assert 1 <= len(result.samples) <= 6
    for sample in result.samples:
        z = int(sample.source_id[-3:])
        expected = {
            "whole_tumour": labels[z] > 0,
            "tumour_core": np.isin(labels[z], (1, 3, 4)),
            "enhancing_tumour": labels[z] == 4,
        }
        got = {structure.name: structure.mask for structure in sample.structures}
        assert set(got) == {name for name, mask in expected.items() if mask.any()}
        assert all(np.array_equal(got[name], expected[name]) for name in got)
    if old_scheme:
        top = result.structures("BraTS2021_00000_z033")
        assert set(top) == {"whole_tumour", "tumour_core"}


def test_brats_takes_the_largest_slices_apart(files: Any, read_all: Any) -> None:
    _brats(files, _tumour(False))
    zs = [int(name[-3:]) for name in read_all("BraTS").ids]
    # Areas grow in steps of three slices; the first of equal ones is taken, the next at least five away.
    assert zs == [6, 12, 17, 22, 28, 33] or min(np.diff(zs)) >= 5
    assert 33 in zs


def test_brats_window_leaves_out_the_background_even_where_it_is_not_zero(files: Any, read_all: Any) -> None:
    labels = _tumour(False)
    values = np.full(labels.shape, -3.5, np.float32)
    values[:, 2:18, 2:22] = np.linspace(-1, 4, 16 * 20).reshape(16, 20)
    _brats(files, labels, values)
    sample = read_all("BraTS").samples[0]
    assert sample.window is not None
    black = sample.window.center - sample.window.width / 2
    white = sample.window.center + sample.window.width / 2
    assert -1 <= black < -0.9 and 3.9 < white <= 4
    assert sample.image[0, 0] == 0 and sample.image.max() == 255


def test_brats_cases_that_cannot_be_used(files: Any, read_all: Any) -> None:
    _brats(files, np.zeros((8, 20, 24), np.uint8))
    files.volume("BraTS/BraTS2021_Training_Data/BraTS2021_00001/BraTS2021_00001_seg.nii.gz", _tumour(False))
    files.volume("BraTS/BraTS2021_Training_Data/BraTS2021_00002/BraTS2021_00002_flair.nii.gz", _body())
    result = read_all("BraTS")
    assert result.reasons == {
        "BraTS2021_00000/BraTS2021_00000_flair.nii.gz": "no object: no slice has tumour",
        "BraTS2021_00001": "FLAIR volume missing",
        "BraTS2021_00002": "label volume missing",
    }


def test_a_volume_without_contrast_is_an_error(files: Any, read_all: Any) -> None:
    _brats(files, _tumour(False), np.zeros((40, 20, 24), np.float32))
    with pytest.raises(ImageFileError, match="flair"):
        read_all("BraTS")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 7))
def test_chosen_slices_are_apart_present_and_cannot_be_more(areas: list[int], most: int, apart: int) -> None:
    chosen = largest_apart(np.array(areas), most, apart)
    assert chosen == sorted(chosen) and len(chosen) <= most
    assert all(areas[z] > 0 for z in chosen)
    assert all(later - earlier >= apart for earlier, later in itertools.pairwise(chosen))
    if any(areas):
        assert max(areas) in [areas[z] for z in chosen]
    if len(chosen) < most:
        assert all(areas[z] == 0 or any(abs(z - other) < apart for other in chosen) for z in range(len(areas)))


@given(st.integers(0, 300), st.integers(1, 9))
def test_middles_are_spread_evenly(n: int, parts: int) -> None:
    chosen = middles(n, parts)
    assert len(chosen) == min(n, parts)
    assert all(0 <= index < n for index in chosen)
    if n >= parts:
        gaps = np.diff(chosen)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def _ct(
    files: Any, slices: int = 12, intercept: float = -1000, patient: str = "1", upwards: bool = False
) -> NDArray[Any]:
    """A CT series whose file order is from head to feet unless ``upwards``; masks are 1-bit and may be empty."""
    base = f"CHAOS/CHAOS_Train_Sets/Train_Sets/CT/{patient}"
    stored = np.stack([np.full((20, 24), 1000 + 10 * k, np.uint16) for k in range(slices)])
    for k in range(slices):
        z = 5.0 * (k if upwards else -k)
        files.dicom(f"{base}/DICOM_anon/i{k:04d},0000b.dcm", stored[k], z, f"1.2.3.{patient}", intercept, k + 1)
        mask = np.zeros((20, 24), bool)
        if 1 <= k < slices - 1:
            mask[2:8, 3 : 4 + k] = True
        files.picture(f"{base}/Ground/liver_GT_{k:03d}.png", mask)
    return stored


def test_chaos_ct_pairs_by_order_and_runs_from_feet_to_head(files: Any, read_all: Any) -> None:
    _ct(files)
    result = read_all("CHAOS")
    assert result.ids == [f"CT_1_z{z:03d}" for z in (2, 4, 6, 8, 10)]
    for sample in result.samples:
        k = 11 - int(sample.source_id[-3:])  # files run from head to feet
        hounsfield = 10 * k
        assert np.unique(sample.image).tolist() == [int((hounsfield + 140) * 255 / 400 + 0.5)]
        assert int(sample.structures[0].mask.sum()) == 6 * (k + 1)
        assert (sample.case_id, sample.modality, sample.spacing) == ("CT_1", "ct", (0.7, 0.8))
        assert [structure.name for structure in sample.structures] == ["liver"]


def test_chaos_ct_pairs_the_other_naming_scheme_too(files: Any, read_all: Any) -> None:
    _ct(files, upwards=True)
    folder = files.root / "CHAOS/CHAOS_Train_Sets/Train_Sets/CT/1/DICOM_anon"
    for k, path in enumerate(sorted(folder.iterdir()), 1):
        path.rename(folder / f"IMG-0002-{k:05d}.dcm")
    result = read_all("CHAOS")
    for sample in result.samples:
        assert int(sample.structures[0].mask.sum()) == 6 * (int(sample.source_id[-3:]) + 1)


def _mr(files: Any, patient: str = "3") -> None:
    base = f"CHAOS/CHAOS_Train_Sets/Train_Sets/MR/{patient}/T2SPIR"
    greys = {"liver": 63, "right_kidney": 126, "left_kidney": 189, "spleen": 252}
    for k in range(5):
        picture = np.zeros((20, 24), np.uint16)
        picture[2:18, 2:22] = np.arange(16 * 20).reshape(16, 20) + 50
        files.dicom(f"{base}/DICOM_anon/IMG-0002-{k + 1:05d}.dcm", picture, 4.0 * k, f"1.9.{patient}", 0, k + 1)
        mask = np.zeros((20, 24), np.uint8)
        for place, (offset, grey) in enumerate(zip((-6, 7, -13, 0), greys.values(), strict=True)):
            mask[4:8, 3 + 5 * place : 6 + 5 * place] = grey + offset
        mask[12:14, 3:6] = 90  # no organ has this grey
        files.picture(f"{base}/Ground/IMG-0002-{k + 1:05d}.png", mask)


def test_chaos_mr_organs_are_ranges_of_grey(files: Any, read_all: Any) -> None:
    _mr(files)
    result = read_all("CHAOS")
    assert result.ids == [f"MR_3_T2SPIR_z{z:03d}" for z in range(5)]
    sample = result.samples[0]
    assert (sample.case_id, sample.modality) == ("MR_3", "mri")
    assert {s.name: int(s.mask.sum()) for s in sample.structures} == {
        "liver": 12, "right_kidney": 12, "left_kidney": 12, "spleen": 12,
    }  # fmt: skip
    assert sample.window is not None and 50 <= sample.window.center - sample.window.width / 2 < 60
    assert sample.image[0, 0] == 0 and sample.image.max() == 255


def test_chaos_mr_other_sequences_are_not_read(files: Any, read_all: Any) -> None:
    _mr(files)
    files.dicom(
        "CHAOS/CHAOS_Train_Sets/Train_Sets/MR/3/T1DUAL/DICOM_anon/InPhase/IMG-0004-00002.dcm",
        np.zeros((20, 24), np.uint16), 0, "1.8",
    )  # fmt: skip
    assert len(read_all("CHAOS").sources) == 1


def test_chaos_series_that_cannot_be_used(files: Any, read_all: Any) -> None:
    base = "CHAOS/CHAOS_Train_Sets/Train_Sets/CT"
    _ct(files)
    _ct(files, patient="2")
    (files.root / base / "2/Ground/liver_GT_003.png").unlink()
    files.dicom(f"{base}/5/DICOM_anon/i0000,0000b.dcm", np.zeros((20, 24), np.uint16), 0, "1.5")
    files.picture(f"{base}/6/Ground/liver_GT_000.png", np.ones((20, 24), bool))
    files.path(f"{base}/6/DICOM_anon/readme.txt").write_text("")
    files.dicom(f"{base}/7/DICOM_anon/i0000,0000b.dcm", np.zeros((20, 24), np.uint16), 0, "1.7")
    files.picture(f"{base}/7/Ground/liver_GT_000.png", np.zeros((20, 24), bool))
    result = read_all("CHAOS")
    assert len(result.samples) == 5
    assert result.reasons == {
        "CT/2": "12 slices but 11 masks; they pair by order",
        "CT/5": "masks missing (the folder Ground is absent or empty)",
        "CT/6": "DICOM files missing",
        "CT/7/DICOM_anon": "no object: every mask is empty",
    }


def test_a_chaos_mask_of_another_size_names_its_file(files: Any, read_all: Any) -> None:
    _ct(files)
    files.picture("CHAOS/CHAOS_Train_Sets/Train_Sets/CT/1/Ground/liver_GT_004.png", np.ones((9, 9), bool))
    with pytest.raises(ImageFileError, match=r"liver_GT_004.png: mask is uint8 9 x 9, its slice is 20 x 24"):
        read_all("CHAOS")


def test_a_truncated_dicom_file_is_an_error_of_its_series(files: Any, read_all: Any) -> None:
    _ct(files)
    path = files.root / "CHAOS/CHAOS_Train_Sets/Train_Sets/CT/1/DICOM_anon/i0004,0000b.dcm"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageFileError, match=r"i0004,0000b\.dcm"):
        read_all("CHAOS")
