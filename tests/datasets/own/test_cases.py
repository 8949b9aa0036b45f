"""What goes wrong in silence elsewhere: affines, values, orientations, CT scales of one's own data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from own_folders import SHAPE, Read, Writer, disc, scene, write_slice
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from dmseg import datasets
from dmseg.datasets import LeftOut
from dmseg.errors import DataError
from dmseg.types import Sample, Window

Guessed = Callable[..., Read]
LPS = np.diag([-1.0, -1.0, 3.0, 1.0])


def _again(found: Read, old: str, new: str) -> list[Sample | LeftOut]:
    """Read all again with a corrected recipe."""
    assert old in found.guess.text
    path = found.root.parent / "corrected.toml"
    path.write_text(found.guess.text.replace(old, new), encoding="utf-8")
    reader = datasets.reader_of(datasets.from_file(path))
    return [item for source in reader.sources(found.root) for item in reader.read(found.root, source)]


def _volume() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((*SHAPE[::-1], 5), np.uint8)
    labels[..., 2] = disc(15, 12).T
    return np.stack([scene(labels[..., z] > 0, z) for z in range(5)], axis=-1).astype(np.int16), labels


def _check_bright(items: list[Sample | LeftOut]) -> None:
    samples = [item for item in items if isinstance(item, Sample)]
    assert samples
    for sample in samples:
        assert sample.image[sample.structures[0].mask].mean() > 2 * sample.image[~sample.structures[0].mask].mean()


def test_labels_that_do_not_say_where_they_lie_are_left_out_until_trusted(write: Writer, read: Guessed) -> None:
    values, labels = _volume()
    write.volume("imagesTr/c0_0000.nii.gz", values, LPS)
    write.volume("labelsTr/c0.nii.gz", labels, np.eye(4))
    found = read("mri")
    assert not found.samples and any("mask_affine" in item.reason for item in found.reports)
    assert any("labels in another place" in note for note in found.guess.notes)
    _check_bright(_again(found, 'mask_affine = "own"', 'mask_affine = "image"'))


def test_labels_of_the_same_space_stored_the_other_way_are_turned(write: Writer, read: Guessed) -> None:
    values, labels = _volume()
    flipped = np.diag([1.0, 1.0, 3.0, 1.0])
    flipped[:2, 3] = -(SHAPE[1] - 1), -(SHAPE[0] - 1)
    write.volume("images/c.nii.gz", values, LPS)
    write.volume("labels/c.nii.gz", np.ascontiguousarray(labels[::-1, ::-1]), flipped)
    read("mri").check_objects()


def test_labels_at_another_origin_are_left_out_with_the_reason(write: Writer, read: Guessed) -> None:
    values, labels = _volume()
    moved = LPS.copy()
    moved[0, 3] = 7
    write.volume("images/c.nii.gz", values, LPS)
    write.volume("labels/c.nii.gz", labels, moved)
    found = read("mri")
    assert not found.samples and any("origin" in item.reason for item in found.reports)


def _resize(mask: np.ndarray) -> np.ndarray:
    """A mask as bilinear interpolation leaves it."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((30, 24)).resize(SHAPE[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("values", "above"),
    [
        ([lambda m: m * 1], 0),
        ([lambda m: m * 255], 127),
        ([lambda m: m * 1, lambda m: m * 255], "half"),
        ([lambda m: _resize(m)], 127),
        ([lambda m: m * 1, lambda m: _resize(m)], "half"),
        ([lambda m: m * 128], 0),
    ],
)
def test_binary_masks_of_all_kinds(write: Writer, read: Guessed, values: list[Any], above: Any) -> None:
    for k in range(4):
        mask = disc(20 + 5 * k, 20, 10)
        write.image(f"images/{k}.png", scene(mask, k))
        write.image(f"masks/{k}.png", np.asarray(values[k % len(values)](mask)).astype(np.uint8))
    found = read()
    assert found.names() == ["object"] and found.recipe.parameters["mask_above"] == above
    found.check_objects()


def test_a_class_that_is_in_the_last_mask_alone_is_found(write: Writer, read: Guessed) -> None:
    for k in range(45):
        mask = disc(30, 20).astype(np.uint8)
        mask[:, 30:] *= 2 if k else 3
        write.image(f"images/{k:02d}.png", scene(mask > 0, k))
        write.image(f"masks/{k:02d}.png", mask if k != 44 else np.where(mask == 2, 9, mask).astype(np.uint8))
    found = read()
    assert found.names() == ["label_1", "label_2", "label_3", "label_9"]
    assert "values 0, 1, 2, 3, 9 in 45 masks" in found.guess.text
    found.check_objects()


@pytest.mark.parametrize("many", [True, False])
def test_values_that_the_recipe_does_not_know_are_reported(write: Writer, read: Guessed, many: bool) -> None:
    mask = disc(30, 20).astype(np.uint8)
    if many:
        mask[:, 30:] *= 2
    write.image("images/a.png", scene(mask > 0))
    write.image("masks/a.png", mask)
    found = read()
    later = mask.copy()
    later[0, :5] = 7
    write.image("masks/a.png", later)
    notes = [item for item in _again(found, "version = 1", "version = 2") if isinstance(item, LeftOut)]
    assert [(item.kind, item.source) for item in notes] == [("note", "masks/a.png")] and "7 (5 px)" in notes[0].reason


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("square", [True, False])
def test_masks_of_turned_images_are_turned_or_refused(
    write: Writer, read: Guessed, orientation: int, square: bool
) -> None:
    shape = (48, 48) if square else SHAPE
    mask = disc(14, 12, 7, shape)
    exif = Image.Exif()
    exif[0x0112] = orientation
    write.image("images/a.jpg", scene(mask), exif=exif, quality=95)
    write.image("masks/a.png", mask.astype(np.uint8) * 255)
    found = read("dermoscopy")
    assert any("1 of 1 images are turned" in line for line in found.guess.said)
    if square or orientation == 3:
        assert not found.samples and any("mask_orientation" in item.reason for item in found.reports)
    else:
        found.check_objects()
    _check_bright(_again(found, 'mask_orientation = ""', 'mask_orientation = "stored"'))


def test_ct_that_is_not_in_hu_is_recognised_or_refused(write: Writer, read: Guessed) -> None:
    mask = disc(30, 20)
    hu = np.full(SHAPE, -1000)
    hu[4:44, 5:55] = 20
    hu[mask] = 90
    write.image("images/a.png", (hu + 32768).astype(np.uint16))
    write.image("masks/a.png", mask.astype(np.uint8) * 255)
    found = read("ct", window=Window(40, 400))
    assert found.recipe.parameters["rescale"] == "hu+32768"
    (sample,) = found.samples
    assert sample.image[0, 0] == 0 and sample.image[mask].min() > sample.image[6, 6] > 100
    with pytest.raises(DataError, match=r"not in Hounsfield units.*hu\+32768"):
        _again(found, 'rescale = "hu+32768"', 'rescale = ""')


def test_masks_drawn_in_alpha(write: Writer, read: Guessed) -> None:
    mask = disc(30, 20)
    drawn = np.zeros((*SHAPE, 4), np.uint8)
    drawn[..., 3] = mask * 255
    write.image("images/a.png", scene(mask))
    write.image("masks/a.png", drawn)
    read().check_objects()


def _series(files: Writer, folder: str, uid: str) -> tuple[list[Path], np.ndarray]:
    """Write five axial slices without extensions, 2 mm apart, 0.7 x 0.8 mm, bright in a disc."""
    masks = np.stack([disc(20 + z, 18) if 0 < z < 4 else np.zeros(SHAPE, bool) for z in range(5)])
    return [
        write_slice(files.path(f"{folder}/IM{z}"), scene(mask, z), 2.0 * z, uid) for z, mask in enumerate(masks)
    ], masks


def _contours(path: Path, uid: str, masks: np.ndarray) -> None:
    """Write a structure set with the outline of each slice's disc and, as a hole, a smaller one."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = RTStructureSetStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.9"
    data.SeriesInstanceUID, data.PatientID, data.Modality = "1.2.8", "P1", "RTSTRUCT"
    region, series, study, frame = Dataset(), Dataset(), Dataset(), Dataset()
    region.ROINumber, region.ROIName = 1, "GTV 1"
    data.StructureSetROISequence = [region]
    series.SeriesInstanceUID = uid
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    drawn = Dataset()
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, []
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for z in range(1, 4):
        for radius in (8.2, 3.2):
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            x, y = (20 + z + radius * np.cos(angles)) * 0.8, (18 + radius * np.sin(angles)) * 0.7
            points = np.stack([x, y, np.full_like(x, 2.0 * z)], axis=1)
            contour.NumberOfContourPoints, contour.ContourData = len(points), [f"{n:.4f}" for n in points.ravel()]
            drawn.ContourSequence.append(contour)
    data.ROIContourSequence = [drawn]
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def test_structure_sets_are_drawn_on_their_series(write: Writer, read: Guessed) -> None:
    _, masks = _series(write, "series", "1.2.3")
    _contours(write.path("struct"), "1.2.3", masks)
    found = read("mri")
    assert found.names() == ["gtv_1"] and len(found.samples) == 3
    given = found.samples[0].structures[0].mask
    assert np.array_equal(given, disc(21, 18, 8.2) & ~disc(21, 18, 3.2))


@pytest.mark.parametrize("layout", ["{0}/dicom|{0}/seg.nii.gz", "scans/{0}|labels/{0}.nii.gz"])
def test_label_volumes_of_dicom_series(write: Writer, read: Guessed, layout: str) -> None:
    for patient in ("P01", "P02"):
        series, labels = layout.format(patient).split("|")
        _, masks = _series(write, series, f"1.2.{patient[1:].strip('0')}")
        # NIfTI in RAS order of the same places: x and y run the other way than in DICOM.
        affine = np.diag([0.8, 0.7, 2.0, 1.0])
        affine[:2, 3] = -0.8 * (SHAPE[1] - 1), -0.7 * (SHAPE[0] - 1)
        write.volume(labels, np.ascontiguousarray(masks.transpose(2, 1, 0)[::-1, ::-1]).astype(np.uint8), affine)
    found = read("mri")
    assert len(found.sources) == 2 and len(found.samples) == 6
    found.check_objects()


def test_dicom_images_without_extension_with_mask_files(write: Writer, read: Guessed) -> None:
    _, masks = _series(write, "images", "1.2.3")
    for z, mask in enumerate(masks):
        write.image(f"masks/IM{z}.png", mask.astype(np.uint8) * 255)
    found = read("mri")
    assert len(found.sources) == 5 and len(found.samples) == 3
    found.check_objects()
