"""DICOM images and series: decoding, rescale, MONOCHROME1, spacing, window, and the order of slices.

Values keep their meaning, images their look: CT (and whatever declares HU) is never inverted, any other MONOCHROME1
image is, so that more signal is brighter as on the viewer. Compressed pixel data are checked to be complete, since
some decoders fill what is missing with grey.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.encaps
import pydicom.pixels.processing
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from dmseg.errors import DataError, ImageFileError
from dmseg.imaging.formats import DICOM, check_size, decoding, kind_of
from dmseg.imaging.volumes import Volume, axes_of, rescale
from dmseg.types import Window

_END_OF_IMAGE = b"\xff\xd9"
_PADDING = 16  # bytes in which the end mark must lie; writers pad frames to even length with any byte
_SAME_PLACE_MM = 1e-3
_SAME_DIRECTION = 0.01
_CM = 3  # code of Physical Units in an ultrasound region


@dataclass(frozen=True, slots=True)
class DicomImage:
    """One decoded DICOM image and the way from its stored numbers to its values.

    ``stored`` is (H, W) integer or (H, W, 3) uint8 RGB. ``mirror`` is the sum that a stored value and its inverse add
    up to (MONOCHROME1), or None.
    """

    dataset: FileDataset
    stored: NDArray[Any]
    slope: float
    intercept: float
    mirror: int | None

    def values(self) -> NDArray[Any]:
        """Return the values: HU for CT, otherwise the image with bright = much."""
        if self.mirror is None:
            return rescale(self.stored, self.slope, self.intercept)
        kind = np.result_type(self.stored.dtype, np.uint8)
        return rescale((self.mirror - self.stored.astype(np.int64)).astype(kind), self.slope, self.intercept)

    def to_stored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`values`, rounded and limited to what the file's bits can hold."""
        if values.ndim == 3:
            return values.astype(np.uint8)
        stored = np.floor((values.astype(np.float64) - self.intercept) / self.slope + 0.5)
        if self.mirror is not None:
            stored = self.mirror - stored
        low, high = find_stored_range(self.dataset)
        return np.clip(stored, low, high).astype(self.stored.dtype)

    def window(self) -> Window | None:
        """Return the first window that the file declares, in the units of :meth:`values`."""
        center, width = _first(self.dataset.get("WindowCenter")), _first(self.dataset.get("WindowWidth"))
        if center is None or width is None or not width > 0:
            return None
        if self.mirror is not None:
            center = self.slope * self.mirror + 2 * self.intercept - center
        return Window(center, width)


def find_stored_range(dataset: Dataset) -> tuple[int, int]:
    """Return the smallest and largest stored value that BitsStored and PixelRepresentation allow."""
    bits = int(dataset.BitsStored)
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dataset.PixelRepresentation else (0, (1 << bits) - 1)


def _first(value: Any) -> float | None:
    """Return the first number of a DICOM value that may be absent, empty, one or many."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, float, int)):
        return float(value)
    return float(value[0]) if len(value) else None


def _dataset(path: Path, *, pixels: bool) -> FileDataset:
    """Read the tags (and the pixel data) of a DICOM image and check its size."""
    with decoding(path, DICOM):
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
        if "Rows" not in dataset or "Columns" not in dataset:
            kind = dataset.SOPClassUID.name if "SOPClassUID" in dataset else "no image tags"
            raise ImageFileError(f"{path}: DICOM without an image ({kind})")
        frames = int(dataset.get("NumberOfFrames") or 1)
        check_size(path, int(dataset.Rows), int(dataset.Columns), frames)
        if frames > 1:
            raise ImageFileError(f"{path}: holds {frames} frames; export them as single images first")
        return dataset


def header(path: Path) -> tuple[int, int]:
    """Return (height, width) from the tags alone."""
    dataset = _dataset(path, pixels=False)
    return int(dataset.Rows), int(dataset.Columns)


def load(path: Path) -> DicomImage:
    """Decode one image.

    Raises:
        ImageFileError: not DICOM, no image, several frames, too large, truncated, an unknown compression, or a
            look-up table instead of a linear rescale.
    """
    dataset = _dataset(path, pixels=True)
    with decoding(path, DICOM):
        if "PixelData" not in dataset:
            raise ImageFileError(f"{path}: DICOM without pixel data; the file is truncated or was stripped")
        if "ModalityLUTSequence" in dataset:
            raise ImageFileError(f"{path}: uses a modality look-up table; only linear rescale is supported")
        if "TransferSyntaxUID" not in dataset.file_meta:
            # Without the meta header the standard's default applies; pydicom found out the encoding while reading.
            explicit, little = dataset.original_encoding[0] is False, dataset.original_encoding[1] is not False
            dataset.file_meta.TransferSyntaxUID = _plain_syntax(explicit=explicit, little=little)
        _check_complete(path, dataset)
        stored = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            stored = pydicom.pixels.processing.apply_color_lut(stored, dataset)
        if stored.ndim == 3:
            stored = (stored >> (8 * (stored.itemsize - 1))).astype(np.uint8)
        if stored.ndim not in (2, 3) or stored.shape[:2] != (dataset.Rows, dataset.Columns):
            raise ImageFileError(f"{path}: its pixels have the shape {stored.shape}, its header says otherwise")
        slope, intercept = _first(dataset.get("RescaleSlope")), _first(dataset.get("RescaleIntercept"))
        return DicomImage(dataset, stored, slope or 1.0, intercept or 0.0, _mirror(dataset))


def _plain_syntax(*, explicit: bool, little: bool) -> pydicom.uid.UID:
    if not little:
        return pydicom.uid.ExplicitVRBigEndian
    return pydicom.uid.ExplicitVRLittleEndian if explicit else pydicom.uid.ImplicitVRLittleEndian


def _check_complete(path: Path, dataset: FileDataset) -> None:
    """Refuse JPEG-family pixel data that stop before their end mark."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == pydicom.uid.RLELossless:
        return
    if syntax in (pydicom.uid.DeflatedExplicitVRLittleEndian, *pydicom.uid.UncompressedTransferSyntaxes):
        return
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    if _END_OF_IMAGE not in frame[-_PADDING:]:
        raise ImageFileError(f"{path}: truncated, its compressed pixel data ({syntax.name}) stop before the end mark")


def _mirror(dataset: FileDataset) -> int | None:
    if dataset.PhotometricInterpretation != "MONOCHROME1":
        return None
    if dataset.get("Modality") == "CT" or dataset.get("RescaleType") == "HU":
        return None
    return sum(find_stored_range(dataset))


def pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Return (y, x) mm: PixelSpacing, else ImagerPixelSpacing (at the detector), else the one ultrasound region."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(name)
        if value is not None and len(value) == 2 and min(map(float, value)) > 0:
            return float(value[0]), float(value[1])
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    if (
        len(regions) == 1
        and regions[0].get("PhysicalUnitsXDirection") == regions[0].get("PhysicalUnitsYDirection") == _CM
    ):
        y, x = abs(float(regions[0].PhysicalDeltaY)) * 10, abs(float(regions[0].PhysicalDeltaX)) * 10
        return (y, x) if min(y, x) > 0 else None
    return None


def read_series(source: Path | Sequence[Path]) -> Volume:
    """Read one series, slices in order of their position, images as they are stored (not flipped in-plane).

    See :func:`dmseg.imaging.read_dicom_series`.
    """
    files = _series_files(source)
    headers = [_dataset(path, pixels=False) for path in files]
    _check_one_series(source, files, headers)
    order, positions = _slice_order(source, files, headers)
    images = [load(files[i]) for i in order]
    if any(image.stored.ndim != 2 for image in images):
        raise DataError(f"{_name_source(source)}: a series of colour images is not a volume")
    same = len({(image.slope, image.intercept, image.mirror) for image in images}) == 1
    if same:
        stack = np.stack([image.stored for image in images])
        values = DicomImage(images[0].dataset, stack, images[0].slope, images[0].intercept, images[0].mirror).values()
    else:
        values = np.stack([image.values().astype(np.float32) for image in images])
    first, spacing = images[0].dataset, _spacing(images[0].dataset, positions)
    axes = _series_axes(first)
    affine = None if positions is None or spacing is None else _series_affine([p.dataset for p in images], spacing)
    return Volume(values, spacing, axes, tuple(files[i] for i in order), affine, axes)


def _name_source(source: Path | Sequence[Path]) -> str:
    if isinstance(source, Path):
        return str(source)
    return str(source[0]) if len(source) == 1 else f"{source[0]} and {len(source) - 1} more"


def _series_files(source: Path | Sequence[Path]) -> list[Path]:
    if not isinstance(source, Path):
        files = list(source)
    else:
        if not source.is_dir():
            raise DataError(f"{source}: no such folder; give the folder of a DICOM series, or its files")
        files = []
        for path in sorted(source.iterdir()):
            if path.is_file() and not path.name.startswith(".") and path.name != "DICOMDIR" and _is_dicom(path):
                files.append(path)
    if not files:
        raise DataError(f"{source}: no DICOM files there")
    return files


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    try:
        return kind_of(path) == DICOM
    except ImageFileError:
        return False


def _check_one_series(source: Path | Sequence[Path], files: Sequence[Path], headers: Sequence[FileDataset]) -> None:
    series = {str(dataset.get("SeriesInstanceUID", "")) for dataset in headers}
    if len(series) > 1:
        raise DataError(f"{_name_source(source)}: {len(series)} DICOM series; give one series per folder, or its files")
    shapes = {(int(dataset.Rows), int(dataset.Columns)): path for path, dataset in zip(files, headers, strict=True)}
    if len(shapes) > 1:
        sizes = "; ".join(f"{path.name} {height} x {width}" for (height, width), path in shapes.items())
        raise DataError(f"{_name_source(source)}: slices of different size ({sizes})")


def _cosines(dataset: Dataset) -> NDArray[np.float64] | None:
    """Return (2, 3): the patient directions of rising column index and rising row index, LPS; None if not given."""
    value = dataset.get("ImageOrientationPatient")
    if value is None or len(value) != 6:
        return None
    return np.array([float(number) for number in value]).reshape(2, 3)


def _normal(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the slice normal, turned to the positive side of its main axis: towards head, back or left."""
    normal = np.cross(cosines[0], cosines[1])
    return -normal if normal[np.argmax(np.abs(normal))] < 0 else normal


def _series_axes(dataset: Dataset) -> str | None:
    cosines = _cosines(dataset)
    return None if cosines is None else axes_of(np.stack([_normal(cosines), cosines[1], cosines[0]]))


def _series_affine(headers: Sequence[FileDataset], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the (4, 4) affine from the index (z, y, x) of sorted slices to LPS mm."""
    first, last = (np.array([float(n) for n in headers[end].ImagePositionPatient]) for end in (0, -1))
    cosines = _cosines(headers[0])
    assert cosines is not None  # slices with positions have directions
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(headers) - 1) if len(headers) > 1 else _normal(cosines) * spacing[0]
    affine[:3, 1], affine[:3, 2], affine[:3, 3] = cosines[1] * spacing[1], cosines[0] * spacing[2], first
    return affine


def _slice_order(
    source: Path | Sequence[Path], files: Sequence[Path], headers: Sequence[FileDataset]
) -> tuple[list[int], list[float] | None]:
    """Return the order of slices, and their positions in mm where every file gives one."""
    directions = [_cosines(dataset) for dataset in headers]
    places = [dataset.get("ImagePositionPatient") for dataset in headers]
    first = directions[0]
    if first is None or any(way is None for way in directions) or any(not p or len(p) != 3 for p in places):
        return _instance_order(source, headers), None
    if any(np.abs(way - first).max() > _SAME_DIRECTION for way in directions if way is not None):
        raise DataError(f"{_name_source(source)}: slices of different orientation; give the files of one stack")
    normal = _normal(first)
    along = [float(np.dot(normal, [float(number) for number in place])) for place in places]
    order = sorted(range(len(along)), key=lambda i: along[i])
    for before, after in itertools.pairwise(order):
        if along[after] - along[before] < _SAME_PLACE_MM:
            raise DataError(
                f"{_name_source(source)}: {files[before].name} and {files[after].name} lie at the same place "
                f"({along[after]:.2f} mm); give the files of one phase or echo"
            )
    return order, [along[i] for i in order]


def _instance_order(source: Path | Sequence[Path], headers: Sequence[FileDataset]) -> list[int]:
    if len(headers) == 1:
        return [0]
    numbers = [dataset.get("InstanceNumber") for dataset in headers]
    if any(number is None for number in numbers) or len(set(numbers)) < len(numbers):
        raise DataError(
            f"{_name_source(source)}: slices have neither positions nor different instance numbers to sort by"
        )
    return sorted(range(len(numbers)), key=lambda i: int(numbers[i]))


def _spacing(dataset: Dataset, positions: list[float] | None) -> tuple[float, float, float] | None:
    in_plane = pixel_spacing(dataset)
    if positions is not None and len(positions) > 1:
        between: float | None = float(np.median(np.diff(positions)))
    else:
        between = _first(dataset.get("SpacingBetweenSlices")) or _first(dataset.get("SliceThickness"))
    return None if in_plane is None or between is None else (between, *in_plane)
