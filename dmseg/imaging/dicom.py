"""DICOM images and series: decoding, rescale, MONOCHROME1, spacing, window, and the order of slices.

Values keep their meaning, images their look: CT (and whatever declares HU) is never inverted, any other MONOCHROME1
image is, so that more signal is brighter as on the viewer. Compressed pixel data are checked to be complete, since
some decoders fill what is missing with grey.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.pixels.processing
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from dmseg.errors import DataError, ImageFileError
from dmseg.imaging.dicom_frames import FrameFacts, count_frames, first_number, frame_facts, read_frames
from dmseg.imaging.formats import DICOM, catch_decoder_errors, check_size, kind_of
from dmseg.imaging.volumes import Volume, axes_of, rescale
from dmseg.types import Window

_SAME_PLACE_MM = 1e-3
_SAME_DIRECTION = 0.01
_CM = 3  # code of Physical Units in an ultrasound region


@dataclass(frozen=True, slots=True)
class DicomImage:
    """Decoded frames of a DICOM image and the way from their stored numbers to their values.

    ``stored`` is (N, H, W) integer or float, or (N, H, W, 3) uint8 RGB. ``facts`` are those of each frame. ``mirror``
    is the sum that a stored value and its inverse add up to (MONOCHROME1), or None. ``table`` says that the values come
    from a modality look-up table, which ``stored`` went through already.
    """

    dataset: FileDataset
    stored: NDArray[Any]
    facts: tuple[FrameFacts, ...]
    mirror: int | None
    table: bool = False

    @property
    def slope(self) -> float:
        """Rescale slope of the first frame."""
        return self.facts[0].slope

    @property
    def intercept(self) -> float:
        """Rescale intercept of the first frame."""
        return self.facts[0].intercept

    def scaling(self) -> tuple[float, float] | None:
        """Return (slope, intercept) where all frames share it, else None."""
        found = {(facts.slope, facts.intercept) for facts in self.facts}
        return found.pop() if len(found) == 1 else None

    def values(self) -> NDArray[Any]:
        """Return the values, of the shape of ``stored``: HU for CT, otherwise the image with bright = much."""
        stored: NDArray[Any] = self.stored
        if stored.ndim == 4:
            return np.asarray(stored)
        if self.mirror is not None:
            kind = np.result_type(stored.dtype, np.uint8)
            stored = (self.mirror - stored.astype(np.int64)).astype(kind)
        if (shared := self.scaling()) is not None:
            return np.asarray(rescale(stored, *shared))
        pairs = zip(stored, self.facts, strict=True)
        return np.stack([rescale(frame, f.slope, f.intercept).astype(np.float32) for frame, f in pairs])

    def to_stored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`values`, rounded and limited to what the file's bits can hold."""
        if values.ndim == 4:
            return values.astype(np.uint8)
        slopes: NDArray[np.float64] = np.array([facts.slope for facts in self.facts])[:, None, None]
        intercepts = np.array([facts.intercept for facts in self.facts])[:, None, None]
        stored = (values.astype(np.float64) - intercepts) / slopes
        if self.stored.dtype.kind == "f":
            return np.asarray(stored, dtype=self.stored.dtype)
        stored = np.asarray(np.floor(stored + 0.5))
        if self.mirror is not None:
            stored = self.mirror - stored
        low, high = (0, 65535) if self.table else find_stored_range(self.dataset)
        if self.stored.dtype == np.uint8 and int(self.dataset.BitsAllocated) == 1:
            low, high = 0, 255
        return np.asarray(np.clip(stored, low, high), dtype=self.stored.dtype)

    def windows(self) -> tuple[Window, ...]:
        """Return the first window that each frame declares, in the units of :meth:`values`; () where one has none."""
        found = [facts.window for facts in self.facts]
        if any(window is None for window in found):
            return ()
        if self.mirror is not None:
            turned = [f.slope * self.mirror + 2 * f.intercept for f in self.facts]
            found = [Window(t - w.center, w.width) for t, w in zip(turned, found, strict=True) if w is not None]
        return tuple(window for window in found if window is not None)

    def window(self) -> Window | None:
        """Return the window of the middle frame, or None."""
        windows = self.windows()
        return windows[len(windows) // 2] if windows else None

    def padding(self) -> NDArray[np.bool_] | None:
        """Return where the stored numbers are PixelPaddingValue (or in its range), or None."""
        value = first_number(self.dataset.get("PixelPaddingValue"))
        if value is None or self.stored.ndim == 4 or self.table:
            return None
        limit = first_number(self.dataset.get("PixelPaddingRangeLimit"))
        ends = sorted((_as_stored(value, self), _as_stored(value if limit is None else limit, self)))
        return np.asarray((self.stored >= ends[0]) & (self.stored <= ends[1]))


def _as_stored(value: float, image: DicomImage) -> float:
    """Return a padding value in the sign of the pixels: some writers state it in the other one."""
    if image.stored.dtype.kind not in "iu":
        return value
    whole = 1 << int(image.dataset.BitsAllocated)
    if image.stored.dtype.kind == "u" and value < 0:
        return value + whole
    return value - whole if image.stored.dtype.kind == "i" and value >= whole / 2 else value


def find_stored_range(dataset: Dataset) -> tuple[int, int]:
    """Return the smallest and largest stored value that BitsStored and PixelRepresentation allow."""
    bits = int(dataset.BitsStored)
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dataset.PixelRepresentation else (0, (1 << bits) - 1)


def _dataset(path: Path, *, pixels: bool, several: bool = False) -> FileDataset:
    """Read the tags (and the pixel data) of a DICOM image and check its size."""
    with catch_decoder_errors(path, DICOM):
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
        if "Rows" not in dataset or "Columns" not in dataset:
            kind = dataset.SOPClassUID.name if "SOPClassUID" in dataset else "no image tags"
            raise ImageFileError(f"{path}: DICOM without an image ({kind})")
        frames = count_frames(dataset)
        depth = max(1, int(dataset.get("SamplesPerPixel") or 1))
        check_size(path, int(dataset.Rows), int(dataset.Columns), frames * depth)
        if frames > 1 and not several:
            raise ImageFileError(
                f"{path}: holds {frames} frames; export them as single images, or read them with read_volume"
            )
        return dataset


def header(path: Path) -> tuple[int, int]:
    """Return (height, width) from the tags alone."""
    dataset = _dataset(path, pixels=False, several=True)
    return int(dataset.Rows), int(dataset.Columns)


def load(path: Path, *, several: bool = False) -> DicomImage:
    """Decode an image.

    Args:
        path: the file.
        several: whether several frames are welcome.

    Raises:
        ImageFileError: not DICOM, no image, too large, truncated, an unknown compression, or several frames.
        MissingDependencyError: a compression that needs a package which is not installed.
    """
    dataset = _dataset(path, pixels=True, several=several)
    with catch_decoder_errors(path, DICOM):
        stored = read_frames(path, dataset)
        facts = tuple(frame_facts(dataset, number) for number in range(len(stored)))
        if "ModalityLUTSequence" in dataset and stored.ndim == 3:
            stored = np.asarray(pydicom.pixels.processing.apply_modality_lut(stored, dataset))
            return DicomImage(dataset, stored.astype(np.uint16), facts, None, table=True)
        return DicomImage(dataset, stored, facts, _mirror(dataset))


def _mirror(dataset: FileDataset) -> int | None:
    if dataset.PhotometricInterpretation != "MONOCHROME1" or "PixelData" not in dataset:
        return None
    if dataset.get("Modality") == "CT" or dataset.get("RescaleType") == "HU":
        return None
    return sum(find_stored_range(dataset))


def pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Return (y, x) mm: PixelSpacing, else ImagerPixelSpacing (at the detector), else the one ultrasound region."""
    if (shared := frame_facts(dataset, 0).spacing) is not None:
        return shared
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
    files, image, spacing = load_series(source)
    axes = _series_axes(image.dataset)
    positions = [facts.position for facts in image.facts]
    affine = None
    if axes is not None and spacing is not None and None not in positions:
        affine = _series_affine(image.facts, spacing)
    return Volume(image.values(), spacing, axes, tuple(files), affine, axes)


def is_volume(files: Sequence[Path]) -> bool:
    """Return whether single-frame grey files of one series are slices at different places of one stack."""
    headers = [_dataset(path, pixels=False) for path in files]
    if any(not str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME") for dataset in headers):
        return False
    _check_one_series(files, files, headers)
    _, positions = _slice_order(files, files, headers)
    return positions is not None


def load_series(
    source: Path | Sequence[Path],
) -> tuple[list[Path], DicomImage, tuple[float, float, float] | None]:
    """Return the files of one series in slice order, their images as the frames of one, and the (z, y, x) spacing."""
    files = _series_files(source)
    headers = [_dataset(path, pixels=False) for path in files]
    _check_one_series(source, files, headers)
    check_size(files[0], int(headers[0].Rows), int(headers[0].Columns), len(files))
    order, positions = _slice_order(source, files, headers)
    images = [load(files[i]) for i in order]
    if any(image.stored.ndim != 3 for image in images):
        raise DataError(f"{_name_source(source)}: a series of colour images is not a volume")
    return [files[i] for i in order], _join_series(images), _spacing(images[0].dataset, positions)


def _join_series(images: Sequence[DicomImage]) -> DicomImage:
    """Return the images of a series as the frames of one."""
    mirrors = {image.mirror for image in images}
    first = images[0]
    if len(mirrors) == 1 and not any(image.table for image in images):
        stored = np.concatenate([image.stored for image in images])
        return DicomImage(first.dataset, stored, tuple(f for image in images for f in image.facts), first.mirror)
    stored = np.concatenate([image.values().astype(np.float32) for image in images])
    facts = tuple(replace(f, slope=1.0, intercept=0.0, window=None) for image in images for f in image.facts)
    return DicomImage(first.dataset, stored, facts, None)


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


def _series_affine(facts: Sequence[FrameFacts], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the (4, 4) affine from the index (z, y, x) of sorted slices with positions to LPS mm."""
    first, last = np.array(facts[0].position), np.array(facts[-1].position)
    cosines = np.array(facts[0].orientation).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(facts) - 1) if len(facts) > 1 else _normal(cosines) * spacing[0]
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
        between = first_number(dataset.get("SpacingBetweenSlices")) or first_number(dataset.get("SliceThickness"))
    return None if in_plane is None or between is None else (between, *in_plane)
