"""``dmseg score``: masks of any usual encoding matched by name; what is missing counts and is named."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from dmseg import imaging, metrics

Command = Callable[..., tuple[int, str, str]]


def _box(y: int, x: int, side: int = 12, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_figures_are_those_of_the_library(tmp_path: Path, run: Command) -> None:
    reference, prediction = _box(10, 10), _box(12, 11)
    imaging.write_mask(tmp_path / "ref" / "sub" / "a.png", reference)
    imaging.write_mask(tmp_path / "pred" / "sub" / "a.png", prediction)
    status, out, _ = run(
        "score",
        tmp_path / "ref",
        tmp_path / "pred",
        "-o",
        tmp_path / "s.csv",
        "--spacing",
        "0.5,2",
        "--tolerances",
        "1,2.5",
    )
    expected = metrics.score(reference, prediction, spacing=(0.5, 2), tolerances=(1, 2.5))
    (row,) = _rows(tmp_path / "s.csv")
    assert status == 0
    assert (row["name"], row["label"], row["slice"], row["status"]) == ("sub/a", "1", "", "ok")
    for name, value in [("iou", expected.iou), ("dice", expected.dice), ("pixel_accuracy", expected.pixel_accuracy)]:
        assert float(row[name]) == value
    assert [float(row["nsd_1"]), float(row["nsd_2.5"])] == list(expected.nsd.values())
    assert [float(row["hd95"]), float(row["hd"])] == [expected.hd95, expected.hd]
    assert row["hd95_defined"] == "true"
    assert f"Dice {expected.dice:.4f}" in out
    assert f"wrote {tmp_path / 's.csv'}" in out


def test_encodings_and_extensions_mix(tmp_path: Path, run: Command) -> None:
    mask = _box(8, 16, 16)
    saved = {
        "bit.png": Image.fromarray(mask),
        "zero_one.tif": Image.fromarray(mask.astype(np.uint8)),
        "rgb.png": Image.fromarray(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255),
        "lossy.jpg": Image.fromarray(mask.astype(np.uint8) * 255),
    }
    (tmp_path / "pred").mkdir()
    for name, picture in saved.items():
        imaging.write_mask(tmp_path / "ref" / f"{Path(name).stem}.png", mask)
        picture.save(tmp_path / "pred" / name)
    status, out, _ = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    assert status == 0
    assert [row["dice"] for row in _rows(tmp_path / "s.csv")] == ["1.0"] * 4
    assert "mean over 4 objects" in out


def test_a_flat_folder_of_predictions_is_matched_by_unique_names(tmp_path: Path, run: Command) -> None:
    for case in ("p1/a", "p2/b", "p3/same", "p4/same"):
        imaging.write_mask(tmp_path / "ref" / f"{case}.png", _box(10, 10))
    for name in ("a", "b", "same"):
        imaging.write_mask(tmp_path / "pred" / f"{name}.png", _box(10, 10))
    status, _, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    rows = {row["name"]: row["status"] for row in _rows(tmp_path / "s.csv")}
    assert status == 1
    assert rows == {
        "p1/a": "ok",
        "p2/b": "ok",
        "p3/same": "no prediction",
        "p4/same": "no prediction",
        "same": "no reference",
    }
    assert "no prediction: p3/same" in err


def test_what_fails_counts_as_zero_and_is_named(tmp_path: Path, run: Command) -> None:
    for name in ("good", "missing", "other_size", "cut", "grey", "missed"):
        imaging.write_mask(tmp_path / "ref" / f"{name}.png", _box(10, 10))
    imaging.write_mask(tmp_path / "pred" / "good.png", _box(10, 10))
    imaging.write_mask(tmp_path / "pred" / "missed.png", _box(10, 10) & False)
    imaging.write_mask(tmp_path / "pred" / "other_size.png", _box(10, 10, shape=(40, 51)))
    imaging.write_mask(tmp_path / "pred" / "extra.png", _box(10, 10))
    (tmp_path / "pred" / "cut.png").write_bytes((tmp_path / "ref" / "good.png").read_bytes()[:60])
    imaging.write_png(tmp_path / "pred" / "grey.png", np.arange(2000, dtype=np.uint16).reshape(40, 50).astype(np.uint8))
    status, out, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    rows = {row["name"]: row for row in _rows(tmp_path / "s.csv")}
    assert status == 1
    assert {name: row["status"] for name, row in rows.items()} == {
        "good": "ok",
        "missed": "ok",
        "missing": "no prediction",
        "other_size": "error",
        "cut": "error",
        "grey": "error",
        "extra": "no reference",
    }
    diagonal = np.hypot(40, 50)
    for name in ("missing", "other_size", "cut", "grey", "missed"):
        assert float(rows[name]["dice"]) == float(rows[name]["nsd_5"]) == 0
        assert float(rows[name]["hd95"]) == pytest.approx(diagonal)
        assert rows[name]["hd95_defined"] == "false"
    assert rows["extra"]["dice"] == ""
    assert "40 x 51" in rows["other_size"]["message"]
    assert "40 x 50" in rows["other_size"]["message"]
    assert "--threshold" in rows["grey"]["message"]
    assert "mean over 6 objects, 4 of them failed and counted as 0" in out
    assert f"Dice {1 / 6:.4f}" in out
    assert "5 files matched, 1 without prediction, 1 without reference" in out
    assert "cut.png" in err


def test_label_pictures_and_thresholds(tmp_path: Path, run: Command) -> None:
    labels = _box(2, 2).astype(np.uint8) * 1 + _box(20, 20).astype(np.uint8) * 7
    moved = _box(2, 3).astype(np.uint8) * 1 + _box(20, 20).astype(np.uint8) * 7 + _box(2, 30, 4).astype(np.uint8) * 9
    imaging.write_png(tmp_path / "ref" / "a.png", labels)
    imaging.write_png(tmp_path / "pred" / "a.png", moved)
    both = (tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    status, _, err = run("score", *both)
    assert status == 1
    assert "--labels" in err
    assert run("score", *both, "--labels")[0] == 0
    rows = {row["label"]: float(row["dice"]) for row in _rows(tmp_path / "s.csv")}
    assert rows == {"1": metrics.score(labels == 1, moved == 1).dice, "7": 1.0, "9": 0.0}
    assert run("score", *both, "--threshold", 0)[0] == 0
    (row,) = _rows(tmp_path / "s.csv")
    assert float(row["dice"]) == metrics.score(labels > 0, moved > 0).dice


def test_label_volumes_are_compared_in_the_patient_not_in_the_file(tmp_path: Path, run: Command) -> None:
    labels = np.zeros((30, 24, 4), np.uint8)
    labels[3:12, 5:15, 1:3] = 2
    labels[15:25, 5:15, 2] = 5
    image = nibabel.Nifti1Image(labels, np.diag([1, 1, 3, 1]))
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("PIR")
        )
    )
    for folder in ("ref", "pred"):
        (tmp_path / folder).mkdir()
    nibabel.save(image, tmp_path / "ref" / "v.nii.gz")
    nibabel.save(turned, tmp_path / "pred" / "v.nii")
    assert run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")[0] == 0
    rows = _rows(tmp_path / "s.csv")
    assert [(row["slice"], row["label"], row["dice"]) for row in rows] == [
        ("1", "2", "1.0"),
        ("2", "2", "1.0"),
        ("2", "5", "1.0"),
    ]


def test_two_files_of_one_name_are_an_error_row(tmp_path: Path, run: Command) -> None:
    for name in ("a.png", "b.png"):
        imaging.write_mask(tmp_path / "ref" / name, _box(10, 10))
        imaging.write_mask(tmp_path / "pred" / name, _box(10, 10))
    Image.fromarray(_box(0, 0)).save(tmp_path / "pred" / "b.tif")
    status, _, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    assert status == 1
    assert "same name" in err


def test_an_unreadable_reference_is_left_out_of_the_mean_and_named(tmp_path: Path, run: Command) -> None:
    for name in ("a.png", "b.png"):
        imaging.write_mask(tmp_path / "ref" / name, _box(10, 10))
        imaging.write_mask(tmp_path / "pred" / name, _box(10, 10))
    (tmp_path / "ref" / "b.png").write_bytes(b"x")
    status, out, err = run("score", tmp_path / "ref", tmp_path / "pred", "-o", tmp_path / "s.csv")
    assert status == 1
    assert "mean over 1 objects" in out
    assert "b.png" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ref", "nothing"], "no such folder"),
        (["ref", "empty"], "no PNG"),
        (["ref", "strangers"], "matched by name"),
        (["ref", "pred", "--spacing", "1"], "two sizes"),
        (["ref", "pred", "--spacing", "0,1"], "two sizes"),
        (["ref", "pred", "--spacing", "a,1"], "give numbers"),
        (["ref", "pred", "--tolerances", "-1"], "0 or more"),
        (["ref", "pred", "--labels", "--threshold", "3"], "exclude each other"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(
    tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    imaging.write_mask("ref/a.png", _box(10, 10))
    imaging.write_mask("pred/a.png", _box(10, 10))
    imaging.write_mask("strangers/z.png", _box(10, 10))
    Path("empty").mkdir()
    status, _, err = run("score", *arguments, "-o", "s.csv")
    assert status == 2
    assert words in err
    assert not Path("s.csv").exists()


def test_help_shows_an_example(run: Command) -> None:
    status, out, _ = run("score", "--help")
    assert status == 0
    assert "dmseg score reference/ predicted/ -o scores.csv" in out
