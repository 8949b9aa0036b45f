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


def test_ct_that_is_not_in_hounsfield_units_is_refused_or_converted_by_name(tmp_path: Path, run: Command) -> None:
    hu = _picture().astype(np.int32) * 2 - 200
    hu[:6] = -1000
    (tmp_path / "a.png").write_bytes(imaging.png_bytes((hu + 32768).astype(np.uint16)))
    arguments = ("degrade", tmp_path / "a.png", tmp_path / "b.png", "--level", "lq3plus", "--modality", "ct")
    status, _, err = run(*arguments)
    assert status == 2
    assert "give --rescale hu+32768" in err
    assert "values 31768.." in err
    assert not (tmp_path / "b.png").exists()
    status, out, _ = run(*arguments, "--rescale", "hu+32768")
    assert status == 0
    assert "grey window 40/400" in out
    expected = dmseg.degrade(hu.astype(np.int16), "lq3plus", modality="ct", key="a", window=Window(40, 400))
    again = imaging.read_image(tmp_path / "b.png").pixels
    assert again.dtype == np.uint16
    assert np.array_equal(again.astype(int) - 32768, expected)
    status, _, err = run(*arguments, "--rescale", "hu*3")
    assert status == 2
    assert "hu+N" in err
    status, _, err = run("degrade", tmp_path / "a.png", tmp_path / "c.png", "--level", "lq1", "--rescale", "hu+1024")
    assert status == 2
    assert "--modality ct" in err


@pytest.mark.parametrize(("kind", "low", "high"), [(np.float32, 0, 1), (np.int16, 0, 255), (np.float64, -1, 1)])
def test_ct_saved_through_a_window_is_refused_or_spread_over_it(
    tmp_path: Path, run: Command, kind: type, low: float, high: float
) -> None:
    hu = np.stack([_picture(48).astype(float) * 2 - 200 + 5 * z for z in range(3)])
    hu[:, :6] = -1000
    seen = np.clip((hu + 160) / 400, 0, 1)
    stored = (low + seen * (high - low)).astype(kind)
    nibabel.save(nibabel.Nifti1Image(stored.transpose(2, 1, 0), np.diag([0.8, 0.8, 4, 1])), tmp_path / "a.nii.gz")
    arguments = ("degrade", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "--level", "lq2", "--modality", "ct")
    status, _, err = run(*arguments)
    assert status == 2
    assert f"--rescale {low}..{high}" in err
    status, out, _ = run(*arguments, "--rescale", f"{low}..{high}")
    assert status == 0, out
    again = nibabel.load(tmp_path / "b.nii.gz")
    assert again.get_data_dtype() == kind
    values = np.asarray(again.dataobj, float).transpose(2, 1, 0)
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    for z in range(3):
        assert np.corrcoef(values[z].ravel(), stored[z].ravel())[0, 1] > 0.5
    assert (values != stored).mean() > 0.3


def test_a_window_that_shows_nothing_is_an_error_and_writes_nothing(tmp_path: Path, run: Command) -> None:
    _slice(tmp_path / "a.dcm")
    arguments = ("degrade", tmp_path / "a.dcm", tmp_path / "b.dcm", "--level", "lq1", "--window", "9000/400")
    status, _, err = run(*arguments)
    assert status == 2
    assert "the window 9000/400 (8800..9200) shows nothing" in err
    assert not (tmp_path / "b.dcm").exists()
    _slice(tmp_path / "c.dcm", WindowCenter=9000, WindowWidth=400)
    status, out, _ = run("degrade", tmp_path / "c.dcm", tmp_path / "d.dcm", "--level", "lq1")
    assert status == 0
    assert "note: the file's window 9000/400 shows nothing" in out
    assert "grey window 40/400" in out


def test_the_dicom_tags_say_the_modality_and_the_window_and_may_be_empty(tmp_path: Path, run: Command) -> None:
    _slice(tmp_path / "a.dcm", WindowCenter=-50, WindowWidth=700)
    status, out, _ = run("degrade", tmp_path / "a.dcm", tmp_path / "b.dcm", "--level", "lq3plus")
    assert status == 0
    assert "ct_ring" in out
    assert "grey window -50/700" in out
    _slice(tmp_path / "c.dcm", WindowCenter="", WindowWidth="")
    status, out, _ = run("degrade", tmp_path / "c.dcm", tmp_path / "d.dcm", "--level", "lq3plus", "--modality", "mri")
    assert status == 0
    assert "the file says CT, degraded as mri" in out


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
    options = ("--level", "lq3plus", "--modality", "ct", "--per-slice")
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


def test_a_volume_has_one_plan_and_blank_slices_stay(tmp_path: Path, run: Command) -> None:
    slices = np.stack([_picture(48).astype(np.int16) * 2 - 200 + 5 * z for z in range(4)])
    slices[3] = -1000
    nibabel.save(nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.diag([-0.8, -0.8, 4, 1])), tmp_path / "v.nii")
    status, out, _ = run(
        "degrade", tmp_path / "v.nii", tmp_path / "o.nii", "--level", "lq3", "--modality", "ct", "--ops", "gamma"
    )
    assert status == 0
    assert "4 axial slices, 1 blank ones copied, one plan for all" in out
    made = imaging.read_volume(tmp_path / "o.nii").values
    assert (made[3] == -1000).all()
    # One curve for all: what is equal before, in whatever slice, is equal after.
    for value in np.unique(slices[:3]):
        assert np.unique(made[:3][slices[:3] == value]).size == 1


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


def test_masks_and_label_files_are_left_alone(tmp_path: Path, run: Command) -> None:
    labels = (_picture() > 90).astype(np.uint8) + (_picture() > 130)
    folder = tmp_path / "in"
    imaging.write_png(folder / "imagesTr" / "a.png", _picture())
    imaging.write_png(folder / "labelsTr" / "a.png", labels)
    imaging.write_png(folder / "imagesTr" / "a_mask.png", _picture())
    imaging.write_png(folder / "imagesTr" / "quiet.png", labels)
    imaging.write_mask(folder / "imagesTr" / "outline.png", _picture() > 90)
    status, out, _ = run("degrade", folder, tmp_path / "out", "--level", "lq1")
    assert status == 0
    assert [path.name for path in sorted((tmp_path / "out").rglob("*.png"))] == ["a.png"]
    for name in ("labelsTr/a.png: a mask by its name", "a_mask.png: a mask by its name", "quiet.png: its values"):
        assert name in out
    assert "left alone: 4 masks and label files" in out
    assert "wrote 1 of 1 files" in out
    status, out, _ = run("degrade", folder, tmp_path / "more", "--level", "lq1", "--include", "*quiet*")
    assert sorted(path.name for path in (tmp_path / "more").rglob("*.png")) == ["a.png", "quiet.png"]
    status, out, _ = run("degrade", folder / "imagesTr" / "outline.png", tmp_path / "o.png", "--level", "lq1")
    assert status == 0
    assert "look like labels; if this is a mask" in out


def test_a_folder_prints_one_line_per_file_and_plans_on_demand(tmp_path: Path, run: Command) -> None:
    for name in ("a", "b"):
        imaging.write_png(tmp_path / "in" / f"{name}.png", _picture())
    _, out, _ = run("degrade", tmp_path / "in", tmp_path / "out", "--level", "lq1", "--ops", "jpeg,gamma")
    assert [line.split(": ")[1] for line in out.splitlines()[:2]] == ["jpeg, gamma"] * 2
    assert "1. jpeg (light)" not in out
    _, out, _ = run("degrade", tmp_path / "in", tmp_path / "more", "--level", "lq1", "--ops", "jpeg", "-v")
    assert out.count("1. jpeg (light)") == 2


def test_nothing_is_replaced_without_being_asked(tmp_path: Path, run: Command) -> None:
    imaging.write_png(tmp_path / "in" / "a.png", _picture())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    for arguments in ((tmp_path / "in", tmp_path / "out"), (tmp_path / "in" / "a.png", tmp_path / "out" / "a.png")):
        status, _, err = run("degrade", *arguments, "--level", "lq1")
        assert status == 2
        assert "--overwrite" in err
        assert (tmp_path / "out" / "a.png").read_text() == "mine"
    assert run("degrade", tmp_path / "in", tmp_path / "out", "--level", "lq1", "--overwrite")[0] == 0
    assert imaging.read_image(tmp_path / "out" / "a.png").pixels.shape == (64, 80)


def test_dicom_segmentations_are_never_degraded(tmp_path: Path, run: Command) -> None:
    seg = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG", "SegmentSequence": []}
    _slice(tmp_path / "in" / "tumour.dcm", 7, SeriesInstanceUID="1.2.9", **seg)
    _slice(tmp_path / "in" / "ct.dcm")
    status, _, err = run("degrade", tmp_path / "in" / "tumour.dcm", tmp_path / "o.dcm", "--level", "lq1")
    assert status == 2
    assert "a DICOM segmentation" in err
    assert not (tmp_path / "o.dcm").exists()
    status, out, _ = run("degrade", tmp_path / "in", tmp_path / "out", "--level", "lq1")
    assert status == 0
    assert "tumour.dcm: a DICOM segmentation" in out
    assert "left alone: 1 masks and label files" in out
    assert "excluded or no images" not in out  # a file is counted once
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ct.dcm"]


def test_padding_pixels_stay_and_do_not_set_the_window(tmp_path: Path, run: Command) -> None:
    hu = _slice(tmp_path / "a.dcm", PixelPaddingValue=0)
    status, _, _ = run("degrade", tmp_path / "a.dcm", tmp_path / "b.dcm", "--level", "lq3", "--ops", "gaussian_noise")
    assert status == 0
    again = imaging.read_image(tmp_path / "b.dcm").pixels
    assert (again[hu == -1000] == -1000).all()
    assert (again != hu)[hu != -1000].mean() > 0.5
    run("degrade", tmp_path / "a.dcm", tmp_path / "c.dcm", "--level", "clear")
    assert np.array_equal(imaging.read_image(tmp_path / "c.dcm").pixels, hu)


def test_twelve_bit_samples_are_degraded_within_their_bits(tmp_path: Path, run: Command) -> None:
    values = _picture().astype(np.uint16) * 16
    (tmp_path / "a.png").write_bytes(imaging.png_bytes(values))
    arguments = ("--level", "lq3", "--ops", "salt_pepper")
    status, out, _ = run("degrade", tmp_path / "a.png", tmp_path / "b.png", "--bits", 12, *arguments)
    assert status == 0
    assert "grey window 2047.5/4095" in out
    assert imaging.read_image(tmp_path / "b.png").pixels.max() == 4095
    _slice(tmp_path / "d.dcm", Modality="DX", BitsStored=12, HighBit=11, PixelRepresentation=0, RescaleIntercept=0)
    _, out, _ = run("degrade", tmp_path / "d.dcm", tmp_path / "e.dcm", *arguments)
    assert "grey window 2047.5/4095" in out
    status, _, err = run("degrade", tmp_path / "a.png", tmp_path / "c.png", "--bits", 10, *arguments)
    assert status == 2
    assert "do not fit 10 bits" in err


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
        (["a.png", "b.png", "--level", "lq1", "--modality", "mrx"], 'did you mean "mri"'),
        (["a.png", "b.png", "--level", "lq1", "--ops", "jpge"], 'did you mean "jpeg"'),
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
