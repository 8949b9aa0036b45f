"""DICOM segmentation objects (DICOM-SEG): what they refer to, by pydicom; their frames, by highdicom (an extra)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, MissingDependencyError
from dmseg.imaging.dicom_rtstruct import region_names, structure_set_series
from dmseg.imaging.formats import DICOM, catch_decoder_errors, check_size
from dmseg.types import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

_SET = 0.5  # a fractional segment is set from here on
_SAME_SPACING = 0.01
_SAME_DIRECTION = 0.001


@dataclass(frozen=True, slots=True)
class DicomTags:
    """What the listing of a DICOM folder needs of one file.

    Attributes:
        patient: patient id, or empty.
        series, instance: unique ids of the series and of the object.
        image: it has rows and columns, and is no segmentation.
        segments: labels of the segments of a segmentation, in order; None for everything else.
        of_series: unique ids of the series that a segmentation or structure set was drawn on.
        contours: names of the regions of a structure set (RTSTRUCT), in order; None for everything else.
    """

    patient: str
    series: str
    instance: str
    is_image: bool
    segments: tuple[str, ...] | None = None
    of_series: tuple[str, ...] = ()
    contours: tuple[str, ...] | None = None


def highdicom() -> ModuleType:
    """Return the package highdicom.

    Raises:
        MissingDependencyError: it is not installed; the message names the extra.
    """
    try:
        import highdicom as package
    except ImportError:
        raise MissingDependencyError(
            'DICOM segmentations need highdicom: pip install "dmseg-bench[dicomseg]"'
        ) from None
    found: ModuleType = package
    return found


def dicom_tags(path: Path) -> DicomTags:
    """Read the tags of a DICOM file, without its pixels.

    Raises:
        ImageFileError: not DICOM, or broken.
    """
    import pydicom  # takes a third of a second, which most commands have no use for
    from pydicom.uid import RTStructureSetStorage, SegmentationStorage

    with catch_decoder_errors(path, DICOM):
        data = pydicom.dcmread(path, stop_before_pixels=True)
        is_structure_set = data.get("SOPClassUID") == RTStructureSetStorage
        is_segmentation = data.get("SOPClassUID") == SegmentationStorage
        segments = tuple(str(item.SegmentLabel) for item in data.SegmentSequence) if is_segmentation else None
        series = tuple(str(item.SeriesInstanceUID) for item in data.get("ReferencedSeriesSequence") or ())
        return DicomTags(
            patient=str(data.get("PatientID") or ""),
            series=str(data.get("SeriesInstanceUID") or ""),
            instance=str(data.get("SOPInstanceUID") or ""),
            is_image=not is_segmentation and "Rows" in data,
            segments=segments,
            of_series=series if is_segmentation else structure_set_series(data) if is_structure_set else (),
            contours=region_names(data) if is_structure_set else None,
        )


def read_dicom_segments(path: Path, images: Sequence[Path]) -> Iterator[list[tuple[str, Mask]]]:
    """Yield, for each image of the series, the (label, bool (H, W)) of the segments that are set on it.

    One image's frames are decoded at a time. A frame belongs to the image that it refers to.

    Args:
        path: the segmentation.
        images: the files of the series, in the order wanted.

    Raises:
        ImageFileError: broken, or drawn on another grid than that of the images.
        MissingDependencyError: highdicom is not installed.
    """
    import pydicom

    package = highdicom()
    with catch_decoder_errors(path, DICOM):
        segmentation = package.seg.segread(path)
        check_size(path, int(segmentation.Rows), int(segmentation.Columns))
        labels = [str(item.SegmentLabel) for item in segmentation.SegmentSequence]
        if not segmentation.get_source_image_uids():
            raise ImageFileError(f"{path}: its frames do not say on which images they were drawn")
    for image in images:
        with catch_decoder_errors(path, DICOM):
            header = pydicom.dcmread(image, stop_before_pixels=True)
            _check_grid(path, segmentation, image, header)
            frames = segmentation.get_pixels_by_source_instance(
                [header.SOPInstanceUID], assert_missing_frames_are_empty=True, ignore_spatial_locations=True
            )[0]
        masks = ((label, np.ascontiguousarray(frames[..., k] >= _SET)) for k, label in enumerate(labels))
        yield [(label, mask) for label, mask in masks if mask.any()]


def _check_grid(path: Path, segmentation: Dataset, image: Path, header: Dataset) -> None:
    """Refuse a segmentation whose frames have another size, direction or spacing than the image."""
    size, given = ((int(data.Rows), int(data.Columns)) for data in (segmentation, header))
    if size != given:
        raise ImageFileError(
            f"{path}: frames of {size[1]} x {size[0]}, but {image.name} has {given[1]} x {given[0]} pixels"
        )
    shared = segmentation.get("SharedFunctionalGroupsSequence") or [{}]
    for group, tag, tolerance in (
        ("PlaneOrientationSequence", "ImageOrientationPatient", _SAME_DIRECTION),
        ("PixelMeasuresSequence", "PixelSpacing", _SAME_SPACING),
    ):
        if group in shared[0] and tag in header:
            of_frames, of_image = _numbers(shared[0][group][0][tag].value), _numbers(header[tag].value)
            if not np.allclose(of_frames, of_image, rtol=tolerance, atol=tolerance):
                raise ImageFileError(f"{path}: {tag} {of_frames} differs from {of_image} of {image.name}")


def _numbers(value: Sequence[float]) -> NDArray[np.float64]:
    return np.array([float(number) for number in value])
