"""``dmseg score`` on what people really have: names, geometry, values, volumes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dmseg import metrics

Command = Callable[..., tuple[int, str, str]]
STEPS = (0.8, 0.8, 3.0)
LPS = np.diag([-0.8, -0.8, 3.0, 1.0])


def _ball(centre: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    index = np.ogrid[:30, :26, :9]
    return np.asarray(sum(((i - c) * s) ** 2 for i, c, s in zip(index, centre, STEPS, strict=True)) <= radius**2)


REF = np.where(_ball((9, 12, 4), 5), 1, 2 * _ball((22, 12, 4), 4)).astype(np.uint8)
PRED = np.where(_ball((10, 12, 4), 5), 1, 2 * _ball((22, 13, 4), 4)).astype(np.uint8)


def _save(path: Path, values: NDArray[Any], affine: NDArray[Any] = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def _draw(path: Path, mask: NDArray[Any], white: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * white).astype(np.uint8)).save(path)


@pytest.fixture
def score(tmp_path: Path, run: Command) -> Callable[..., tuple[int, str, list[dict[str, str]]]]:
    """Score ``ref`` against ``pred``: exit code, all that was printed, rows."""

    def call(*options: object) -> tuple[int, str, list[dict[str, str]]]:
        status, out, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv", *options)
        rows = list(csv.DictReader((tmp_path / "s.csv").open(newline=""))) if (tmp_path / "s.csv").exists() else []
        return status, out + err, rows

    return call


def _volumes(folder: Path, reference: NDArray[Any], prediction: NDArray[Any], affine: NDArray[Any] = LPS) -> None:
    _save(folder / "ref/c1.nii.gz", reference)
    _save(folder / "pred/c1.nii.gz", prediction, affine)


def test_another_patients_mask_is_never_taken(tmp_path: Path, score: Any) -> None:
    for patient in (1, 2, 3):
        _draw(tmp_path / f"ref/p{patient}/mask.png", REF[..., 4] > 0)
    for patient in (1, 2, 4):
        _draw(tmp_path / f"pred/p{patient}/mask.png", REF[..., 4] > 0)
    status, said, rows = score()
    assert status == 1 and "1 without prediction, 1 without reference" in said
    assert {row["name"]: row["status"] for row in rows} == {
        "p1/mask": "ok",
        "p2/mask": "ok",
        "p3/mask": "no prediction",
        "p4/mask": "no reference",
    }


def test_one_file_each_in_folders_of_other_patients_is_no_pair(tmp_path: Path, run: Command) -> None:
    _draw(tmp_path / "ref/p3/mask.png", REF[..., 4] > 0)
    _draw(tmp_path / "pred/p4/mask.png", REF[..., 4] > 0)
    status, _, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    assert status == 2 and "matched by name" in err


def test_letter_case_and_deeper_folders_match_where_only_one_is_meant(tmp_path: Path, score: Any) -> None:
    _draw(tmp_path / "ref/A.PNG", REF[..., 4] > 0)
    _draw(tmp_path / "pred/a.png", REF[..., 4] > 0)
    _draw(tmp_path / "ref/set/p7/b.png", REF[..., 4] > 0)
    _draw(tmp_path / "pred/p7/b.png", REF[..., 4] > 0)
    status, _, rows = score()
    assert status == 0 and [row["dice"] for row in rows] == ["1.0", "1.0"]


def test_endings_are_taken_off_by_name_and_proposed(tmp_path: Path, score: Any, run: Command) -> None:
    for k in range(2):
        _draw(tmp_path / f"ref/{k}_segmentation.png", REF[..., 4] > 0)
        _draw(tmp_path / f"pred/{k}.png", REF[..., 4] > 0)
    status, _, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    assert status == 2 and "--strip-suffix _segmentation" in err
    assert score("--strip-suffix", "_segmentation")[0] == 0


@pytest.mark.parametrize("kind", ["eye", "moved", "finer", "turned"])
def test_volumes_in_another_place_are_refused_and_resolved_by_name(tmp_path: Path, score: Any, kind: str) -> None:
    moved = LPS.copy()
    moved[0, 3] = 10
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = {"eye": np.eye(4), "moved": moved, "finer": LPS @ np.diag([2, 2, 1, 1]), "turned": turn @ LPS}[kind]
    _volumes(tmp_path, REF, REF, affine)
    status, said, rows = score()
    assert status == 1 and "lies in another place" in said and {row["status"] for row in rows} == {"error"}
    status, said, rows = score("--geometry", "voxels")
    assert status == 0 and {row["dice"] for row in rows} == {"1.0"}


def test_the_same_place_stored_the_other_way_is_the_same(tmp_path: Path, score: Any) -> None:
    flipped = np.diag([0.8, 0.8, 3.0, 1.0])
    flipped[:2, 3] = -0.8 * 29, -0.8 * 25
    _volumes(tmp_path, REF, np.ascontiguousarray(REF[::-1, ::-1]), flipped)
    assert score()[0] == 0


def test_whole_volumes_have_rows_beside_their_slices_in_mm(tmp_path: Path, score: Any) -> None:
    _volumes(tmp_path, REF, PRED)
    (tmp_path / "ref/dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 2}}))
    status, said, rows = score("--3d", "--tolerances", "1,2")
    whole = {row["structure"]: row for row in rows if row["slice"] == "3d"}
    assert status == 0 and set(whole) == {"liver", "spleen"} and {row["unit"] for row in rows} == {"mm"}
    for label, name in ((1, "liver"), (2, "spleen")):
        arrays = [np.ascontiguousarray((each == label).transpose(2, 1, 0)) for each in (REF, PRED)]
        expected = metrics.score_volume(*arrays, spacing=(3.0, 0.8, 0.8), tolerances=(1, 2))
        assert float(whole[name]["hd95"]) == pytest.approx(expected.hd95, abs=1e-6)  # NIfTI keeps 32-bit steps
        assert (
            float(whole[name]["nsd_2"]) == pytest.approx(expected.nsd[2])
            and float(whole[name]["dice"]) == expected.dice
        )
    assert "in mm" in said and "as whole volumes" in said


def test_two_empty_volumes_count_as_two_empty_images(tmp_path: Path, score: Any) -> None:
    _volumes(tmp_path, REF * 0, REF * 0)
    status, _, rows = score("--3d")
    assert status == 0 and [row["dice"] for row in rows] == ["1.0", "1.0"]


@pytest.mark.parametrize("volumes", [True, False])
def test_0_1_against_0_255_is_recognised_and_said(tmp_path: Path, score: Any, volumes: bool) -> None:
    if volumes:
        _volumes(tmp_path, (REF > 0).astype(np.uint8), (REF > 0).astype(np.uint8) * 255)
    else:
        _draw(tmp_path / "ref/a.png", REF[..., 4] > 0, 1)
        _draw(tmp_path / "pred/a.png", REF[..., 4] > 0)
    status, said, rows = score()
    assert status == 0 and {row["dice"] for row in rows} == {"1.0"} and "255 is taken for 1" in said


@pytest.mark.parametrize(
    ("prediction", "words", "options"),
    [
        (REF * np.float32(0.9), "holds fractions", ["--threshold", "0.5"]),
        (REF.astype(np.int16) - 1, "labels below 0", ["--ignore", "-1"]),
        (np.where(REF == 1, np.nan, REF).astype(np.float32), "no numbers", None),
        (np.stack([REF, REF], axis=-1), "volumes", None),
        (REF[..., 4], "size", None),
        (REF[..., :7], "size", None),
    ],
)
def test_values_that_are_no_labels_are_refused(
    tmp_path: Path, score: Any, prediction: NDArray[Any], words: str, options: Any
) -> None:
    _volumes(tmp_path, REF, prediction)
    status, said, _ = score()
    assert status == 1 and words in said
    if options:
        assert score(*options)[0] == 0


def test_labels_stored_as_almost_whole_numbers_are_labels(tmp_path: Path, score: Any) -> None:
    _volumes(tmp_path, REF, REF * 0.9999999)
    assert {row["dice"] for row in score()[2]} == {"1.0"}


def test_ignored_pixels_count_on_neither_side(tmp_path: Path, score: Any) -> None:
    plane = (REF[..., 4] > 0).astype(np.uint8)
    border = plane.copy()
    border[:4] = 255
    wrong = plane.copy()
    wrong[:4] = 1
    for folder, values in (("ref", border), ("pred", wrong)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / "a.png")
    assert score("--ignore", "255")[2][0]["dice"] == "1.0"


def test_masks_drawn_in_alpha_count(tmp_path: Path, score: Any) -> None:
    mask = REF[..., 4] > 0
    drawn = np.zeros((*mask.shape, 4), np.uint8)
    drawn[..., 3] = mask * 255
    _draw(tmp_path / "ref/a.png", mask)
    (tmp_path / "pred").mkdir()
    Image.fromarray(drawn).save(tmp_path / "pred/a.png")
    assert score()[2][0]["dice"] == "1.0"
    drawn[..., :3] = 255
    Image.fromarray(drawn).save(tmp_path / "pred/a.png")
    assert score()[2][0]["dice"] == "1.0"
