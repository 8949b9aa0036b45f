"""What kind of file a path is, by its content, and the limits that hold before anything is decoded."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from dmseg.errors import DataError, DmsegError, ImageFileError
from dmseg.reading import require_regular

PNG, JPEG, TIFF, BMP, GIF = "PNG", "JPEG", "TIFF", "BMP", "GIF"
DICOM, NIFTI = "DICOM", "NIfTI"
META, NRRD, MGH, ANALYZE = "MetaImage", "NRRD", "MGH", "Analyze"
RASTER = (PNG, JPEG, TIFF, BMP, GIF)
VOLUMES = (NIFTI, META, NRRD, MGH, ANALYZE)
"""Formats of whole volumes in one file (MetaImage, NRRD and Analyze: or a header beside its data)."""
EXTENSIONS: dict[str, str] = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".bmp": BMP,
    ".gif": GIF,
    ".dcm": DICOM,
    ".dicom": DICOM,
    ".nii": NIFTI,
    ".nii.gz": NIFTI,
    ".mha": META,
    ".mhd": META,
    ".nrrd": NRRD,
    ".nhdr": NRRD,
    ".mgh": MGH,
    ".mgz": MGH,
    ".hdr": ANALYZE,
}

MAX_PIXELS = 200_000_000
"""Largest image (or slice of a volume) that is decoded, in pixels; more is refused from the header alone."""
MAX_VOXELS = 1_500_000_000
"""Largest volume that is decoded, in voxels: a whole-body CT has about 400 million."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NOT_SUPPORTED = ("not support", "unsupported", "not implemented", "requires the", "no available")
_DICOM_MARK = slice(128, 132)


FORMATS = "PNG, JPEG, TIFF, BMP, GIF, DICOM, NIfTI, MetaImage, NRRD, MGH or Analyze"


def extension(path: Path) -> str:
    """Return the lower-case extension with its dot; ``.nii.gz`` counts as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem(path: Path) -> str:
    """Return the file name without the extension that :func:`extension` names."""
    ending = extension(path)
    return path.name[: len(path.name) - len(ending)] if ending else path.name


def kind_of(path: Path) -> str:
    """Return which format a file has, from its first bytes (volumes: from its name).

    Raises:
        ImageFileError: no such file, a folder, a pipe or device, an empty file, or none of the known formats.
    """
    if path.is_dir():
        raise ImageFileError(f"{path}: a folder, expected an image file")
    try:
        require_regular(path)  # a pipe would wait for ever, a device never end
        with path.open("rb") as handle:
            head = handle.read(_DICOM_MARK.stop)
    except DataError as error:
        raise ImageFileError(str(error)) from None
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be opened ({error.strerror})") from None
    if not head:
        raise ImageFileError(f"{path}: an empty file (0 bytes); download or copy it again")
    # DICOM first: a file may be TIFF and DICOM at once, by a TIFF header in the preamble.
    if head[_DICOM_MARK] == b"DICM":
        return DICOM
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(_TIFF_STARTS):
        return TIFF
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return BMP
    if head.startswith(b"NRRD000"):
        return NRRD
    by_name = EXTENSIONS.get(extension(path))
    # A few scanners write DICOM without the preamble, so the name counts too; the reader then looks for the tags.
    if by_name == DICOM and head[:2] in (b"\x08\0", b"\0\x08", b"\x02\0"):
        return DICOM
    if by_name in VOLUMES and by_name != NRRD:
        # An Analyze header that calls itself NIfTI ("ni1": header and data in two files) is read as NIfTI is.
        return by_name
    raise ImageFileError(f"{path}: not an image that dmseg reads (it begins with {head[:24]!r}); {FORMATS} expected")


def check_size(path: Path, height: int, width: int, slices: int = 1) -> None:
    """Refuse a size read from a header: empty, or more than the limits of this module.

    Raises:
        ImageFileError: a side is 0, or ``height * width`` or the volume exceeds :data:`MAX_PIXELS`, :data:`MAX_VOXELS`.
    """
    if min(height, width, slices) < 1:
        raise ImageFileError(f"{path}: its header says {height} x {width} x {slices} pixels; the file is broken")
    if height * width > MAX_PIXELS:
        raise ImageFileError(
            f"{path}: {height} x {width} = {height * width / 1e6:.0f} megapixels, more than the limit of "
            f"{MAX_PIXELS // 1_000_000}; cut or down-sample it first"
        )
    if height * width * slices > MAX_VOXELS:
        raise ImageFileError(
            f"{path}: {height} x {width} x {slices} voxels, more than the limit of {MAX_VOXELS // 1_000_000} million; "
            "cut it first"
        )


@contextlib.contextmanager
def catch_decoder_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into an :class:`ImageFileError` that names the file.

    Decoders meet untrusted bytes and raise almost any type (OSError, SyntaxError, struct.error, zlib.error, KeyError,
    RuntimeError ...), which is why everything but our own errors is caught here, at the boundary, and nowhere else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is checked, and said as an error
            yield
    except (DmsegError, MemoryError):
        raise
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, NotImplementedError) or any(word in detail.lower() for word in _NOT_SUPPORTED):
            raise ImageFileError(f"{path}: {kind} of a kind that is not read ({detail})") from error
        raise ImageFileError(f"{path}: cannot be read as {kind}, broken or truncated ({detail})") from error
