"""``dmseg degrade``: every format in, the same format out, what was done in words, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import dmseg
from dmseg import imaging, simulators
from dmseg.types import Window

Command = Callable[..., tuple[int, str, str]]


def _picture(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, : side + 16]
    disc = (y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 4) ** 2
    return (40 + 100 * disc + (x % 8) * 4 + y // 2).astype(np.uint8)


def _slice(path: Path, instance: int = 1, **tags: object) -> np.ndarray:
    """Write a CT slice whose body lies in the soft-tissue window, with air and metal outside; return its HU."""
    hu = _picture().astype(np.int16) * 2 - 200
    hu[:6] = -1000
    hu[40:44, 30:40] = 3000
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.9.{instance}"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.Modality, dataset.PatientName = "1.2.3.4", "CT", "Doe^Jane"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 1, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1000
    dataset.PixelSpacing = [0.7, 0.7]
    for key, value in tags.items():
        setattr(dataset, key, value)
    dataset.PixelData = (hu + 1000).astype(np.int16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return hu


def test_a_picture_gets_exactly_what_the_library_gives(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "liver.png", _picture())
    status, out, _ = run("degrade", tmp_path / "liver.png", tmp_path / "new" / "l.png", "--level", "lq2", "--seed", 3)
    assert status == 0
    expected = dmseg.degrade(_picture(), "lq2", key="liver", seed=3)
    assert np.array_equal(imaging.read_image(tmp_path / "new" / "l.png").pixels, expected)
    assert not np.array_equal(expected, _picture())
    assert simulators.plan("liver", seed=3, image=_picture()).describe("lq2") in out
    assert str(tmp_path / "new" / "l.png") in out


def test_key_operations_and_dataset_are_passed_on(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "a.png", _picture())
    source = tmp_path / "a.png"
    status, out, _ = run("degrade", source, tmp_path / "b.png", "--level", "lq1", "--ops", "jpeg", "--key", "k")
    assert status == 0
    assert "1. jpeg (light)" in out
    assert np.array_equal(
        imaging.read_image(tmp_path / "b.png").pixels, dmseg.degrade(_picture(), "lq1", ops=["jpeg"], key="k")
    )
    run("degrade", source, tmp_path / "c.png", "--level", "lq3plus", "--dataset", "CHAOS", "--modality", "ct")
    assert np.array_equal(
        imaging.read_image(tmp_path / "c.png").pixels,
        dmseg.degrade(_picture(), "lq3plus", dataset="CHAOS", modality="ct", key="a", window=Window(60, 400)),
    )


def test_hounsfield_units_look_in_the_window_as_degraded(tmp_path: Path, run: Command) -> None:
    hu = _slice(tmp_path / "a.dcm")
    window = Window(40, 400)
    status, out, _ = run("degrade", tmp_path / "a.dcm", tmp_path / "b.dcm", "--level", "lq3plus", "--modality", "ct")
    assert status == 0
    assert "grey window 40/400" in out
    picture = np.clip((hu - (40 - 200)) / 400, 0, 1).astype(np.float32)
    plan = simulators.plan("a", modality="ct", image=picture, window=window)
    degraded = plan.apply(picture, "lq3plus")
    again = imaging.read_image(tmp_path / "b.dcm").pixels
    assert np.abs(imaging.normalise(again, window) - degraded).max() <= 0.51 / 400
    assert np.array_equal(again[degraded == picture], hu[degraded == picture])
    written = pydicom.dcmread(tmp_path / "b.dcm")
    assert plan.digest("lq3plus") == written.DerivationDescription
    assert list(written.ImageType) == ["DERIVED", "SECONDARY"]
    assert written.PatientName == ""
    run("degrade", tmp_path / "a.dcm", tmp_path / "c.dcm", "--level", "lq3plus", "--modality", "ct", "--keep-patient")
    assert pydicom.dcmread(tmp_path / "c.dcm").PatientName == "Doe^Jane"
    _, out, _ = run(
        "degrade", tmp_path / "a.dcm", tmp_path / "d.dcm", "--level", "lq1", "--modality", "ct", "--window", "-600/1500"
    )
    assert "grey window -600/1500" in out


def test_the_window_of_the_file_counts_where_the_modality_has_none(tmp_path: Path, run: Command) -> None:
    _slice(tmp_path / "a.dcm", Modality="MR", WindowCenter=100, WindowWidth=300)
    _, out, _ = run("degrade", tmp_path / "a.dcm", tmp_path / "b.dcm", "--level", "lq1", "--modality", "mri")
    assert "grey window 100/300" in out


def test_deep_pictures_without_any_window_use_their_own_range(tmp_path: Path, run: Command) -> None:
    values = _picture().astype(np.uint16) * 150 + 900
    (tmp_path / "a.png").write_bytes(imaging.png_bytes(values))
    status, out, _ = run("degrade", tmp_path / "a.png", tmp_path / "b.png", "--level", "lq1", "--ops", "gaussian_noise")
    assert status == 0
    window = imaging.percentile_window(values)
    assert f"grey window {window.center:g}/{window.width:g}" in out
    again = imaging.read_image(tmp_path / "b.png").pixels
    assert again.dtype == np.uint16
    spread = float((again.astype(float) - values).std() / window.width)
    assert 0.01 < spread < 0.05  # the noise of lq1, relative to the window; clipping takes a part


def test_unsigned_deep_values_are_no_hounsfield_units(tmp_path: Path, run: Command) -> None:
    values = _picture().astype(np.uint16) * 8 + 30_000  # a CT slice exported with an offset, as some archives do
    (tmp_path / "a.png").write_bytes(imaging.png_bytes(values))
    _, out, _ = run("degrade", tmp_path / "a.png", tmp_path / "b.png", "--level", "lq1", "--modality", "ct")
    assert "grey window 40/400" not in out
    again = imaging.read_image(tmp_path / "b.png").pixels
    assert (again != values).mean() > 0.5
    _, out, _ = run(
        "degrade",
        tmp_path / "a.png",
        tmp_path / "b.png",
        "--level",
        "lq1",
        "--modality",
        "ct",
        "--window",
        "30800/1600",
    )
    assert "grey window 30800/1600" in out


def test_every_axial_slice_of_a_volume_is_degraded_whatever_its_orientation(tmp_path: Path, run: Command) -> None:
    slices = np.stack([_picture(48).astype(np.int16) * 2 - 200 + 5 * z for z in range(3)])
    ras = np.flip(slices.transpose(2, 1, 0), (0, 1))
    affine = np.diag([0.8, 0.8, 4, 1])
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(ras), affine), tmp_path / "in" / "v.nii.gz")
    sagittal = nibabel.Nifti1Image(np.ascontiguousarray(ras), affine).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt("PSL")
        )
    )
    (tmp_path / "turned").mkdir()
    nibabel.save(sagittal, tmp_path / "turned" / "v.nii.gz")
    options = ("--level", "lq3plus", "--modality", "ct")
    for name in ("in", "turned"):
        status, out, _ = run("degrade", tmp_path / name / "v.nii.gz", tmp_path / f"{name}.nii.gz", *options)
        assert status == 0
        assert "3 axial slices" in out
        assert "v_z001" in out
    straight, turned = (imaging.read_volume(tmp_path / f"{name}.nii.gz").values for name in ("in", "turned"))
    assert np.array_equal(straight, turned)
    for z in range(3):
        expected = dmseg.degrade(slices[z], "lq3plus", modality="ct", key=f"v_z{z:03d}", window=Window(40, 400))
        assert np.array_equal(straight[z], expected)
    assert np.array_equal(
        nibabel.load(tmp_path / "turned.nii.gz").affine, nibabel.load(tmp_path / "turned/v.nii.gz").affine
    )


def _tree(folder: Path) -> None:
    imaging.write_png(folder / "a" / "one.png", _picture())
    imaging.write_png(folder / "a" / "one_mask.png", _picture())
    Image.fromarray(np.dstack([_picture()] * 3)).save(folder / "two.jpg")
    for number in (1, 2):
        _slice(folder / "ct" / f"IM{number}", number)
    (folder / "readme.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"")


def test_a_folder_is_mirrored_and_jobs_change_nothing(tmp_path: Path, run: Command) -> None:
    _tree(tmp_path / "in")
    options = ("--level", "lq3plus", "--modality", "ct", "--exclude", "*_mask*")
    for jobs in (1, 2):
        status, out, _ = run("degrade", tmp_path / "in", tmp_path / f"out{jobs}", *options, "--jobs", jobs)
        assert status == 0
        assert "wrote 4 of 4 files" in out
        assert "left alone: 2" in out
    written = [
        sorted(
            p.relative_to(tmp_path / f"out{j}") for j2 in [j] for p in (tmp_path / f"out{j}").rglob("*") if p.is_file()
        )
        for j in (1, 2)
    ]
    assert [path.as_posix() for path in written[0]] == ["a/one.png", "ct/IM1", "ct/IM2", "two.jpg"]
    assert written[0] == written[1]
    for path in written[0]:
        assert (tmp_path / "out1" / path).read_bytes() == (tmp_path / "out2" / path).read_bytes()
    first, second = (pydicom.dcmread(tmp_path / "out1" / "ct" / name) for name in ("IM1", "IM2"))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != "1.2.3.4"
    assert first.DerivationDescription != second.DerivationDescription
    assert np.array_equal(
        imaging.read_image(tmp_path / "out1" / "a" / "one.png").pixels,
        dmseg.degrade(_picture(), "lq3plus", modality="ct", key="a/one", window=Window(40, 400)),
    )


def test_what_looks_like_a_mask_is_pointed_out(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "in" / "a.png", _picture())
    _, out, _ = run("degrade", tmp_path / "in", tmp_path / "out", "--level", "lq1")
    assert "if this is a mask" not in out
    imaging.write_mask(tmp_path / "in" / "a_mask.png", _picture() > 90)
    _, out, _ = run("degrade", tmp_path / "in", tmp_path / "out", "--level", "lq1")
    assert out.count("if this is a mask, leave it out with --exclude") == 1


def test_broken_files_are_named_and_the_rest_is_done(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "in" / "good.png", _picture())
    content = (tmp_path / "in" / "good.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "in" / "page.jpg").write_bytes(b"<html>")
    imaging.write_png(tmp_path / "in" / "tiny.png", _picture()[:8, :8])
    status, out, err = run("degrade", tmp_path / "in", tmp_path / "out", "--level", "lq1")
    assert status == 1
    assert "wrote 1 of 4" in out
    for name in ("cut.png", "page.jpg", "tiny.png"):
        assert name in err
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["good.png"]
    (tmp_path / "in" / "good.png").unlink()
    status, _, err = run("degrade", tmp_path / "in", tmp_path / "none", "--level", "lq1")
    assert status == 2
    assert "none of the 3 files" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png", "b.png", "--level", "lq4"], 'did you mean "lq'),
        (["a.png", "b.png", "--level", "lq1", "--modality", "mr"], 'did you mean "mri"'),
        (["a.png", "b.png", "--level", "lq1", "--ops", "jpg"], 'did you mean "jpeg"'),
        (["a.png", "b.png", "--level", "lq1", "--dataset", "CHAO"], 'did you mean "CHAOS"'),
        (["a.png", "b.png", "--level", "lq1", "--dataset", "CHAOS"], "ct and mri"),
        (["a.png", "b.png", "--level", "lq3plus"], "--modality"),
        (["a.png", "b.png", "--level", "lq1", "--window", "40"], "center/width"),
        (["a.png", "b.png", "--level", "lq1", "--window", "40/0"], "above 0"),
        (["a.png", "b.jpg", "--level", "lq1"], "same format"),
        (["a.png", "a.png", "--level", "lq1"], "source file"),
        (["missing.png", "b.png", "--level", "lq1"], "no such file"),
        ([".", ".", "--level", "lq1"], "source folder"),
        ([".", "a.png", "--level", "lq1"], "a folder to write to"),
        (["flat.tif", "b.tif", "--level", "lq1"], "flat.tif: the values above the background"),
        (["empty", "out", "--level", "lq1"], "no PNG"),
    ],
)
def test_wrong_use_is_one_sentence_and_changes_nothing(
    tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    imaging.write_png("a.png", _picture())
    flat = np.full((32, 32), 7, np.uint16)
    flat[0, 0] = 0
    Image.fromarray(flat).save("flat.tif")
    Path("empty").mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status, _, err = run("degrade", *arguments)
    assert status == 2
    assert words in err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "a.png", _picture())
    (tmp_path / "file").write_text("in the way")
    status, _, err = run("degrade", tmp_path / "a.png", tmp_path / "file" / "b.png", "--level", "lq1")
    assert status == 2
    assert "b.png: cannot be written" in err
    imaging.write_mask(tmp_path / "ref" / "a.png", _picture() > 90)
    status, _, err = run("score", tmp_path / "ref", tmp_path / "ref", "-o", tmp_path / "file" / "s.csv")
    assert status == 2
    assert "error:" in err


def test_a_single_file_goes_into_a_folder_that_exists(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "a.png", _picture())
    (tmp_path / "out").mkdir()
    assert run("degrade", tmp_path / "a.png", tmp_path / "out", "--level", "clear")[0] == 0
    assert np.array_equal(imaging.read_image(tmp_path / "out" / "a.png").pixels, _picture())


@pytest.mark.real
def test_a_real_series_stays_one_series_in_its_place(real_data: Path, tmp_path: Path, run: Command) -> None:
    folder = next((real_data / "CHAOS").rglob("CT/1/DICOM_anon"))
    for path in sorted(folder.iterdir())[:3]:
        (tmp_path / "in" / path.name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    assert (
        run(
            "degrade", tmp_path / "in", tmp_path / "out", "--level", "lq3plus", "--dataset", "CHAOS", "--modality", "ct"
        )[0]
        == 0
    )
    before, after = (imaging.read_dicom_series(tmp_path / name) for name in ("in", "out"))
    assert [path.name for path in after.files] == [path.name for path in before.files]
    assert (after.spacing, after.axes, after.values.dtype) == (before.spacing, before.axes, before.values.dtype)
    low, high = 60 - 200, 60 + 200  # the data set's window
    inside = (before.values > low) & (before.values < high)
    assert np.abs(after.values.astype(int) - before.values)[inside].max() <= 400  # at most the width of the window
    changed = after.values != before.values
    assert changed.any() and after.values[changed].min() >= low and after.values[changed].max() <= high


def test_help_shows_an_example(run: Command) -> None:
    status, out, _ = run("degrade", "--help")
    assert status == 0
    assert "dmseg degrade chest.dcm" in out
