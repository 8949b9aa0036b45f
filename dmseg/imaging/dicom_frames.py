"""Frames of DICOM images: their pixels, whatever packs them, and what is said of each (rescale, window, place)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.encaps
import pydicom.pixels.processing
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.decoders.base import get_decoder

from dmseg.errors import ImageFileError, MissingDependencyError
from dmseg.types import Window

_END_OF_IMAGE = b"\xff\xd9"
_PADDING = 16  # bytes in which the end mark must lie; writers pad frames to even length with any byte
_JPEG_DEEP = ("1.2.840.10008.1.2.4.51",)
_VIDEO = ("MPEG", "HEVC")
_FLOATS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}
_PALETTE = "PALETTE COLOR"


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What the header says of one frame (or of all): rescale, window in the units after it, place."""

    slope: float
    intercept: float
    window: Window | None
    spacing: tuple[float, float] | None
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None


def first_number(value: Any) -> float | None:
    """Return the first number of a DICOM value that may be absent, empty, one or many."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, float, int)):
        return float(value)
    return float(value[0]) if len(value) and value[0] not in (None, "") else None


def _group(dataset: Dataset, name: str, frame: int) -> Dataset:
    """Return a functional group of one frame: its own, else the shared one, else the dataset itself."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (frames[frame : frame + 1], shared[:1]):
        for item in groups:
            if item.get(name):
                found: Dataset = item[name].value[0]
                return found
    return dataset


def _numbers(value: Any, n: int) -> tuple[float, ...] | None:
    return tuple(float(number) for number in value) if value is not None and len(value) == n else None


def count_frames(dataset: Dataset) -> int:
    """Return NumberOfFrames; 1 where it is absent, or no number (pydicom stumbles over it: it is taken out)."""
    try:
        return int(dataset.get("NumberOfFrames") or 1)
    except ValueError:
        del dataset["NumberOfFrames"]
        return 1


def frame_facts(dataset: Dataset, frame: int) -> FrameFacts:
    """Return what is said of a frame, from its functional groups where it has them."""
    scaling = _group(dataset, "PixelValueTransformationSequence", frame)
    window = _group(dataset, "FrameVOILUTSequence", frame)
    measures = _group(dataset, "PixelMeasuresSequence", frame)
    center, width = first_number(window.get("WindowCenter")), first_number(window.get("WindowWidth"))
    declared = None if center is None or width is None or not width > 0 else Window(center, width)
    spacing = _numbers(measures.get("PixelSpacing"), 2)
    position = _numbers(_group(dataset, "PlanePositionSequence", frame).get("ImagePositionPatient"), 3)
    return FrameFacts(
        first_number(scaling.get("RescaleSlope")) or 1.0,
        first_number(scaling.get("RescaleIntercept")) or 0.0,
        declared,
        None if spacing is None or min(spacing) <= 0 else (spacing[0], spacing[1]),
        None if position is None else (position[0], position[1], position[2]),
        _numbers(_group(dataset, "PlaneOrientationSequence", frame).get("ImageOrientationPatient"), 6),
    )


def read_frames(path: Path, dataset: FileDataset) -> NDArray[Any]:
    """Return the stored numbers: (N, H, W), or (N, H, W, 3) uint8 RGB; integers, or float32 / float64.

    Raises:
        ImageFileError: no pixel data, truncated, video, or pixels that do not fit the header.
        MissingDependencyError: a compression that needs a package which is not installed.
    """
    frames = count_frames(dataset)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Without the meta header the standard's default applies; pydicom found out the encoding while reading.
        explicit, little = dataset.original_encoding[0] is False, dataset.original_encoding[1] is not False
        dataset.file_meta.TransferSyntaxUID = _plain_syntax(explicit=explicit, little=little)
    for name, kind in _FLOATS.items():
        if name in dataset:
            return _float_frames(path, dataset, name, kind, frames)
    if "PixelData" not in dataset:
        raise ImageFileError(f"{path}: DICOM without pixel data; the file is truncated or was stripped")
    syntax = dataset.file_meta.TransferSyntaxUID
    if any(word in syntax.name for word in _VIDEO):
        raise ImageFileError(f"{path}: a video ({syntax.name}); export its frames as images first")
    _check_complete(path, dataset, frames)
    stored = _decode(path, dataset, frames)
    if dataset.PhotometricInterpretation == _PALETTE:
        stored = pydicom.pixels.processing.apply_color_lut(stored, dataset)
    colour = stored.ndim == (4 if frames > 1 else 3)
    if colour:
        stored = (stored[..., :3] >> (8 * (stored.itemsize - 1))).astype(np.uint8)
    if int(dataset.BitsAllocated) == 1:
        stored = stored.astype(np.uint8) * np.uint8(255)
    shaped = stored if frames > 1 else stored[None]
    if shaped.shape[:3] != (frames, dataset.Rows, dataset.Columns) or shaped.ndim not in (3, 4):
        raise ImageFileError(f"{path}: its pixels have the shape {stored.shape}, its header says otherwise")
    return shaped


def _plain_syntax(*, explicit: bool, little: bool) -> pydicom.uid.UID:
    if not little:
        return pydicom.uid.ExplicitVRBigEndian
    return pydicom.uid.ExplicitVRLittleEndian if explicit else pydicom.uid.ImplicitVRLittleEndian


def _float_frames(path: Path, dataset: FileDataset, name: str, kind: str, frames: int) -> NDArray[Any]:
    big = dataset.original_encoding[1] is False
    values = np.frombuffer(dataset[name].value, np.dtype(kind).newbyteorder(">" if big else "<"))
    wanted = frames * int(dataset.Rows) * int(dataset.Columns)
    if values.size < wanted:
        raise ImageFileError(f"{path}: truncated, {values.size} of {wanted} pixels")
    native = values[:wanted].astype(values.dtype.newbyteorder("="))
    return native.reshape(frames, int(dataset.Rows), int(dataset.Columns))


def _check_complete(path: Path, dataset: FileDataset, frames: int) -> None:
    """Refuse JPEG-family pixel data that stop before their end mark."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == pydicom.uid.RLELossless:
        return
    if syntax in (pydicom.uid.DeflatedExplicitVRLittleEndian, *pydicom.uid.UncompressedTransferSyntaxes):
        return
    packed = [frame[-_PADDING:] for frame in pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=frames)]
    if len(packed) < frames or not all(_END_OF_IMAGE in end for end in packed):
        raise ImageFileError(f"{path}: truncated, its compressed pixel data ({syntax.name}) stop before the end mark")


def _decode(path: Path, dataset: FileDataset, frames: int) -> NDArray[Any]:
    """Return pydicom's array; 12-bit JPEG, which its plugins cannot do, by imagecodecs."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _JPEG_DEEP and _jpeg_precision(dataset, frames) > 8 and find_spec("pylibjpeg_libjpeg") is None:
        if find_spec("imagecodecs") is None:
            raise MissingDependencyError(
                f'{path}: 12-bit JPEG needs a further package: pip install "dmseg-bench[formats]" (imagecodecs)'
            )
        import imagecodecs

        packed = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=frames)
        unpacked = [np.asarray(imagecodecs.jpeg_decode(frame)) for frame in packed]
        return np.stack(unpacked) if frames > 1 else unpacked[0]
    if not get_decoder(syntax).is_available:
        missing = "; ".join(get_decoder(syntax).missing_dependencies)
        raise MissingDependencyError(f"{path}: {syntax.name} needs a further package: pip install one of: {missing}")
    return dataset.pixel_array


def _jpeg_precision(dataset: FileDataset, frames: int) -> int:
    """Return the bits per sample that the first frame's JPEG header states (start of frame, marker FFC0 to FFC3)."""
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=frames))
    at = 2
    while at + 5 <= len(frame) and frame[at] == 0xFF:
        if 0xC0 <= frame[at + 1] <= 0xC3:
            return frame[at + 4]
        at += 2 + struct.unpack(">H", frame[at + 2 : at + 4])[0]
    return 8
