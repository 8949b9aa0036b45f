"""``dmseg degrade --op NAME --severity S``: one operation, without a level; on files, folders, volumes and DICOM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

import dmseg
from dmseg import imaging
from dmseg.types import Window

Command = Callable[..., tuple[int, str, str]]


def _picture(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, : side + 16]
    disc = (y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 4) ** 2
    return (40 + 100 * disc + (x % 8) * 4 + y // 2).astype(np.uint8)


def test_a_file_gets_what_the_library_gives(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "a.png", _picture())
    status, out, _ = run(
        "degrade", tmp_path / "a.png", tmp_path / "b.png", "--op", "MR ghosting", "--severity", 2, "--seed", 3
    )
    assert status == 0 and "severity 2" in out and "mr_ghosting (medium)" in out and "LQ" not in out
    expected = dmseg.corrupt(_picture(), "mr_ghosting", 2, key="a", seed=3)
    assert np.array_equal(imaging.read_image(tmp_path / "b.png").pixels, expected)


def test_a_folder_and_a_volume(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "in" / "a.png", _picture())
    volume = np.stack([_picture(48).astype(np.int16) * 3] * 20, axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "in" / "scan.nii.gz")
    status, out, _ = run("degrade", tmp_path / "in", tmp_path / "out", "--op", "bias_field", "--severity", "heavy")
    assert status == 0 and "wrote 2 of 2 files" in out and "at severity 3" in out
    made = np.asarray(nibabel.load(tmp_path / "out" / "scan.nii.gz").dataobj)
    assert made.shape == volume.shape and (made != volume).any(axis=(0, 1)).all()
    assert (tmp_path / "out" / "a.png").is_file()


def test_a_dicom_file_has_the_modality_of_its_tag(tmp_path: Path, run: Command) -> None:
    from pydicom.data import get_testdata_file

    source = Path(str(get_testdata_file("CT_small.dcm")))
    target = tmp_path / "ct.dcm"
    status, out, _ = run("degrade", source, target, "--op", "ct_ring", "--severity", 3, "--window", "40/400")
    assert status == 0 and "grey window 40/400" in out
    before, after = (imaging.open_stored(path).values for path in (source, target))
    assert (before != after).any()
    tag = pydicom.dcmread(source).Modality
    drawn = dmseg.plan("CT_small", modality=tag, window=Window(40, 400))
    assert drawn.modality == "ct" and "ct_ring" in drawn.describe("LQ-3+")


def test_an_operation_of_ct_takes_deep_values_as_ct_without_being_told(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "deep.png", _picture().astype(np.uint16) * 200)
    status, _, err = run("degrade", tmp_path / "deep.png", tmp_path / "o.png", "--op", "ct_ring", "--severity", 1)
    assert status == 2 and "HU" in err and not (tmp_path / "o.png").exists()


def test_order_of_acquisition(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "a.png", _picture())
    options = ("--level", "LQ-3+", "--modality", "MR", "--order", "acquisition")
    status, out, _ = run("degrade", tmp_path / "a.png", tmp_path / "b.png", *options)
    assert status == 0 and "order of acquisition" in out and out.index("bias_field") < out.index("(heavy)")
    expected = dmseg.degrade(_picture(), "lq3plus", modality="mri", key="a", order="acquisition")
    assert np.array_equal(imaging.read_image(tmp_path / "b.png").pixels, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--level LEVEL, or --op NAME"),
        (("--level", "lq1", "--op", "jpeg", "--severity", 1), "either --level"),
        (("--op", "jpeg"), "give --severity 1, 2 or 3"),
        (("--severity", 2), "name it with --op"),
        (("--op", "jpeg", "--severity", 4), "severity '4'; give 1, 2 or 3"),
        (("--op", "jpge", "--severity", 1), 'did you mean "jpeg"'),
        (("--op", "jpeg", "--severity", 1, "--ops", "gamma"), "--ops are operations at a --level"),
        (("--level", "lq3", "--order", "physics"), 'unknown order "physics"'),
    ],
)
def test_wrong_use_is_one_sentence(options: tuple[object, ...], message: str, tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "a.png", _picture())
    status, _, err = run("degrade", tmp_path / "a.png", tmp_path / "b.png", *options)
    assert status == 2 and message in err and "Traceback" not in err and not (tmp_path / "b.png").exists()
