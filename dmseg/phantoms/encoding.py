"""Pixels to file bytes: PNG, JPEG, TIFF, NIfTI, DICOM, each the same bytes for the same library versions."""

from __future__ import annotations

import gzip
import hashlib
import io
from typing import Any

import nibabel
import numpy as np
import tifffile
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from dmseg.types import Mask

Pixels = NDArray[Any]


def png(pixels: Pixels) -> bytes:
    """Encode uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; a bool array becomes a 1-bit PNG."""
    return _pillow(pixels, "PNG", compress_level=4)


def jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """Encode uint8 grey or RGB as JPEG without chroma subsampling."""
    return _pillow(pixels, "JPEG", quality=quality, subsampling=0)


def _pillow(pixels: Pixels, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=kind, **options)
    return buffer.getvalue()


def tiff(pixels: Pixels) -> bytes:
    """Encode uint8 grey or RGB as uncompressed TIFF."""
    buffer = io.BytesIO()
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(buffer, np.ascontiguousarray(pixels), photometric=photometric, metadata=None, software=False)
    return buffer.getvalue()


def grey_mask(mask: Mask, value: int = 255) -> NDArray[np.uint8]:
    """Return a mask as uint8 0 / ``value``."""
    return mask.astype(np.uint8) * np.uint8(value)


def nifti(volume: Pixels, spacing: tuple[float, float, float], orientation: str) -> bytes:
    """Encode a volume as .nii.gz in the given axis order.

    Args:
        volume: (Z, H, W), slices feet to head, rows anterior to posterior, columns patient right to left.
        spacing: (z, y, x) mm.
        orientation: axis codes such as "RAS" or "LPS": the direction in which each stored axis grows.
    """
    z, y, x = spacing
    depth, height, width = volume.shape
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = [x * (width - 1) / 2, y * (height - 1) / 2, -z * (depth - 1) / 2]
    # Columns grow to the patient's left and rows to the back: that is "LPS" in nibabel's codes.
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)  # type: ignore[no-untyped-call]
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(orientation)))  # type: ignore[no-untyped-call]
    image = image.as_reoriented(turn)  # type: ignore[no-untyped-call]
    return gzip.compress(image.to_bytes(), compresslevel=3, mtime=0)


def _uid(*parts: str | int) -> UID:
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=15).digest()
    return UID(f"2.25.{int.from_bytes(digest, 'big')}")


def dicom(
    stored: NDArray[np.uint16],
    *,
    modality: str,
    series: str,
    number: int,
    position_z: float,
    spacing: tuple[float, float],
    thickness: float,
    intercept: float | None,
) -> bytes:
    """Encode one axial slice of a supine patient as a DICOM file.

    Args:
        stored: (H, W) uint16, rows anterior to posterior, columns patient right to left.
        modality: "CT" (implicit VR, as CHAOS's CT) or "MR" (explicit VR).
        series: key of the series; the UIDs are hashes of it.
        number: instance number.
        position_z: mm, growing to the head.
        spacing: (y, x) mm.
        thickness: mm.
        intercept: rescale intercept, or None for no rescale tags.
    """
    kind = CTImageStorage if modality == "CT" else MRImageStorage
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = _uid(series, number)
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if modality == "CT" else ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("dmseg phantoms")
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = kind, meta.MediaStorageSOPInstanceUID, modality
    data.PatientName = data.PatientID = "phantom"
    data.PatientPosition = "HFS"
    data.SliceThickness = f"{thickness:g}"
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(series, "study"), _uid(series, "series")
    data.FrameOfReferenceUID = _uid(series, "frame")
    data.InstanceNumber = number
    height, width = stored.shape
    data.ImagePositionPatient = [f"{-spacing[1] * width / 2:g}", f"{-spacing[0] * height / 2:g}", f"{position_z:g}"]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = height, width
    data.PixelSpacing = [f"{spacing[0]:g}", f"{spacing[1]:g}"]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    if intercept is not None:
        data.RescaleIntercept, data.RescaleSlope = f"{intercept:g}", "1"
    data.PixelData = np.ascontiguousarray(stored, dtype="<u2").tobytes()
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
