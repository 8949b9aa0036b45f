"""DICOM series with DICOM segmentations: guessed, listed by their tags, read slice by slice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from dmseg import datasets
from dmseg.datasets import LeftOut, own
from dmseg.errors import DmsegError, ImageFileError, MissingDependencyError
from dmseg.types import Sample, Window

SHAPE = (4, 12, 16)


def _series(files: Any, folder: str, patient: str, uid: str, axes: Sequence[float] = (1, 0, 0, 0, 1, 0)) -> list[Path]:
    """Write a series of four slices, in the order of names opposite to that of positions; values rise with z."""
    paths = []
    for z in range(SHAPE[0]):
        stored = np.full(SHAPE[1:], 1000 + 100 * z, np.uint16)
        stored[0, 0] = 0
        path = files.dicom(f"{folder}/IM{SHAPE[0] - z}", stored, 5.0 * z, uid, number=z + 1)
        data = pydicom.dcmread(path)
        data.PatientID, data.StudyInstanceUID, data.FrameOfReferenceUID = patient, f"{uid}.7", f"{uid}.8"
        data.PatientName = data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = ""
        data.AccessionNumber = data.StudyID = data.Manufacturer = ""
        data.SliceThickness, data.ImageOrientationPatient = 5, list(axes)
        pydicom.dcmwrite(path, data)
        paths.append(path)
    return paths


def _segmentation(
    path: Path, pictures: Sequence[Path], masks: NDArray[Any], labels: Sequence[str], **named: Any
) -> Path:
    """Write a segmentation of a series; masks are (Z, Y, X, segments) in the order of the images."""
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicomseg)")
    from highdicom.sr.coding import CodedConcept

    tissue = CodedConcept("85756007", "SCT", "Tissue")
    described = [
        hd.seg.SegmentDescription(
            segment_number=k + 1,
            segment_label=label,
            segmented_property_category=tissue,
            segmented_property_type=tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for k, label in enumerate(labels)
    ]
    made = hd.seg.Segmentation(
        source_images=[pydicom.dcmread(picture) for picture in pictures],
        pixel_array=masks,
        segmentation_type=named.get("kind", hd.seg.SegmentationTypeValues.BINARY),
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(path)
    return path


def _masks() -> NDArray[np.uint8]:
    """Return liver on slices 1 and 2, spleen on slice 2 alone; both begin at row 2, and columns 3 and 9."""
    masks = np.zeros((*SHAPE, 2), np.uint8)
    masks[1:3, 2:7, 3:8, 0] = 1
    masks[2, 2:7, 9:14, 1] = 1
    return masks


@pytest.fixture
def folder(files: Any) -> Path:
    pictures = _series(files, "mine/p1/s", "Anna M\u00fcller", "1.2.3")
    _segmentation(files.path("mine/p1/seg"), pictures, _masks(), ["Liver", "Spleen (left)"])
    _series(files, "mine/p2/s", "B", "1.2.4")
    return Path(files.root) / "mine"


def _guess(folder: Path) -> own.Guess:
    return own.guess(folder, modality="ct", domain=["ct_ring"], window=Window(1200, 800), rescale="hu")


def _items(guessed: own.Guess, root: Path) -> list[Sample | LeftOut]:
    reader = datasets.reader_of(guessed.recipe)
    return [item for source in reader.sources(root) for item in reader.read(root, source)]


def test_series_and_segmentations_are_paired_by_their_tags(folder: Path) -> None:
    guessed = _guess(folder)
    assert guessed.recipe.reader == "own_dicom" and guessed.n_sources == 1
    assert guessed.recipe.structures == ("liver", "spleen_-left")
    assert guessed.recipe.parameters["segments"] == {"liver": "Liver", "spleen_-left": "Spleen (left)"}
    assert [item.reason for item in guessed.left_out] == ["series without a segmentation"]
    first, second = (item for item in _items(guessed, folder) if isinstance(item, Sample))
    assert (
        first.case_id.startswith("Anna-Muller-")
        and first.source_id.endswith("_z001")
        and second.source_id.endswith("_z002")
    )
    assert [s.name for s in first.structures] == ["liver"]
    assert [s.name for s in second.structures] == ["liver", "spleen_-left"]
    assert np.array_equal(second.structures[0].mask, _masks()[2, ..., 0] == 1)
    assert np.array_equal(second.structures[1].mask, _masks()[2, ..., 1] == 1)
    # 1100 and 1200 in a window of 800..1600: the slice, not the file order, decides.
    assert first.image[5, 5] == round(300 / 800 * 255) and second.image[5, 5] == round(400 / 800 * 255 + 1e-9)
    assert first.spacing == (0.7, 0.8)


def test_pictures_and_masks_are_turned_together(files: Any) -> None:
    # Columns run from the patient's left to the right: the radiological view mirrors them.
    pictures = _series(files, "mine/s", "P", "1.2.3", axes=(-1, 0, 0, 0, 1, 0))
    _segmentation(files.path("mine/seg.dcm"), pictures, _masks(), ["Liver", "Spleen"])
    guessed = _guess(files.root / "mine")
    sample = next(item for item in _items(guessed, files.root / "mine") if isinstance(item, Sample))
    _, columns = np.nonzero(sample.structures[0].mask)
    assert (columns.min(), columns.max()) == (SHAPE[2] - 8, SHAPE[2] - 4)
    assert sample.image[0, -1] == 0 and sample.image[0, 0] > 0


def test_fractional_segmentations_are_set_from_one_half_on(files: Any) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicomseg)")
    pictures = _series(files, "mine/s", "P", "1.2.3")
    fraction = _masks()[..., :1].astype(np.float64)
    fraction[1, 2, 3:8] = 0.4
    fraction[1, 3, 3:8] = 0.6
    _segmentation(files.path("mine/seg"), pictures, fraction, ["Liver"], kind=hd.seg.SegmentationTypeValues.FRACTIONAL)
    sample = next(item for item in _items(_guess(files.root / "mine"), files.root / "mine") if isinstance(item, Sample))
    assert int(sample.structures[0].mask.sum()) == 20


def test_a_segmentation_on_another_grid_is_an_error_that_names_both(folder: Path) -> None:
    guessed = _guess(folder)
    path = folder / "p1" / "seg"
    data = pydicom.dcmread(path)
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.4, 1.6]
    pydicom.dcmwrite(path, data)
    with pytest.raises(ImageFileError, match=r"seg: PixelSpacing .* differs from"):
        _items(guessed, folder)


def test_a_truncated_segmentation_is_an_error_that_names_it(folder: Path) -> None:
    guessed = _guess(folder)
    path = folder / "p1" / "seg"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ImageFileError, match="seg"):
        _items(guessed, folder)


def test_a_segmentation_without_its_series_is_named(files: Any) -> None:
    pictures = _series(files, "mine/s", "P", "1.2.3")
    _segmentation(files.path("mine/seg"), pictures, _masks(), ["Liver", "Spleen"])
    for picture in pictures:
        picture.unlink()
    guessed = _guess(files.root / "mine")
    assert guessed.n_sources == 0
    assert [item.reason for item in guessed.left_out] == ["drawn on a series that is not there"]


def test_a_recipe_that_names_none_of_the_segments_says_so(folder: Path) -> None:
    guessed = _guess(folder)
    guessed.recipe.parameters["segments"] = {"heart": "Heart"}
    assert [item.reason for item in _items(guessed, folder) if isinstance(item, LeftOut)] == [
        'segment "Liver" is not in the recipe',
        'segment "Spleen (left)" is not in the recipe',
        "no object: no slice has one of the recipe's segments",
    ]


def test_without_highdicom_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingDependencyError, match=r"highdicom: pip install .dmseg-bench\[dicomseg\]"):
        _guess(folder)
    assert issubclass(MissingDependencyError, DmsegError)
