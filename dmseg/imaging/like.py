"""Write changed pixels back in the format of the file that they came from: PNG, JPEG, TIFF, DICOM, NIfTI."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmseg.errors import UsageError
from dmseg.files import write_bytes
from dmseg.imaging.formats import DICOM, EXTENSIONS, JPEG, NIFTI, PNG, extension, kind_of
from dmseg.imaging.reading import image_header
from dmseg.imaging.writing import png_bytes

_JPEG_QUALITY = 95  # with full colour resolution: the loss is small beside any degradation


def write_like(
    source: str | Path,
    out: str | Path,
    pixels: NDArray[Any],
    *,
    derivation: str = "",
    series: str = "",
    keep_patient: bool = False,
) -> None:
    """Write ``pixels`` to ``out`` in the format of ``source``; the file is whole or absent.

    PNG and TIFF are lossless, JPEG has quality 95 without colour sub-sampling; they carry the pixels upright and no
    other metadata. NIfTI keeps its whole header (affine, scaling, type). DICOM keeps geometry and study, gets new
    SOP and series identifiers and the image type DERIVED, SECONDARY, is uncompressed, and loses private tags and the
    patient module; other header fields (dates, institution, physicians) stay, so this is no anonymisation.

    Args:
        source: the file that was read.
        out: where to write; its extension must be one of the source's format.
        pixels: as :func:`read_image` gave them (shape, type, units), or ``values`` of :func:`read_volume`, changed.
        derivation: what was done, for the DICOM tag DerivationDescription; identifiers depend on it and the source.
        series: what all files of one derived series have in common; their series identifier depends on it.
        keep_patient: keep the patient module of DICOM.

    Raises:
        UsageError: another extension or shape, or ``out`` is the source itself.
        ImageFileError: the source cannot be read.
    """
    source, out = Path(source), Path(out)
    kind = kind_of(source)
    check_target(source, out, kind)
    if kind == NIFTI:
        from dmseg.imaging import nifti

        content = nifti.rewritten(source, pixels)
        write_bytes(out, gzip.compress(content, mtime=0) if extension(out) == ".nii.gz" else content)
        return
    if pixels.shape[:2] != image_header(source):
        raise UsageError(f"{source} is {image_header(source)}, the new pixels are {pixels.shape[:2]}")
    if kind == DICOM:
        from dmseg.imaging import dicom_writing

        write_bytes(out, dicom_writing.derive_dataset(source, pixels, derivation, series, keep_patient=keep_patient))
    else:
        write_bytes(out, _raster_bytes(kind, pixels))


def check_target(source: Path, out: Path, kind: str) -> None:
    """Refuse to write a file over itself, or under an extension of another format.

    Raises:
        UsageError: one of these.
    """
    if out.exists() and out.samefile(source):
        raise UsageError(f"{out}: this is the source file; give another place to write to")
    ending = extension(out)
    if EXTENSIONS.get(ending, kind if kind == DICOM else "") != kind:
        allowed = ", ".join(name for name, what in EXTENSIONS.items() if what == kind)
        raise UsageError(f"{out}: {source.name} is {kind}, and the same format is written; name it {allowed}")


def _raster_bytes(kind: str, pixels: NDArray[Any]) -> bytes:
    if kind == PNG:
        return png_bytes(pixels)
    buffer = io.BytesIO()
    if kind == JPEG:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        import tifffile

        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(buffer, np.ascontiguousarray(pixels), photometric=photometric, metadata=None, software=False)
    return buffer.getvalue()
