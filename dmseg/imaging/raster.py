"""PNG, JPEG and the TIFF files that need libtiff: decoding with Pillow.

Pillow's format classes are used directly: no other decoder can be reached by a disguised file, and the size limit is
ours (see ``formats.py``) instead of Pillow's global one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from dmseg.errors import ImageFileError, UsageError
from dmseg.imaging import tiff
from dmseg.imaging.formats import JPEG, PNG, TIFF, check_size, decoding
from dmseg.imaging.samples import DecodedSamples, over_black

_READERS: dict[str, type[ImageFile.ImageFile]] = {PNG: PngImageFile, JPEG: JpegImageFile, TIFF: TiffImageFile}
_ORIENTATION = 0x0112
_CHANNELS = {"1": "1", "L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA", "F": "F"}
_COLOUR = ("RGBX", "CMYK", "YCbCr", "LAB", "HSV")


@contextlib.contextmanager
def _open_raster(path: Path, kind: str) -> Iterator[ImageFile.ImageFile]:
    """Open a file with the reader of its kind and check its size; pixels are not decoded yet."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is switched on in this process, so broken files would be read half "
            "grey without a word; set it to False"
        )
    with decoding(path, kind), path.open("rb") as handle, _READERS[kind](handle, str(path)) as image:
        check_size(path, image.height, image.width)
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise ImageFileError(f"{path}: holds {pages} pages; give one image per file")
        yield image


def header(path: Path, kind: str) -> tuple[int, int]:
    """Return (height, width) of the upright image, from the header alone."""
    if kind == TIFF:
        return tiff.header(path)
    with _open_raster(path, kind) as image:
        turned = "exif" in image.info and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def orientation(path: Path, kind: str) -> int:
    """Return the orientation 1..8 that a file declares, 1 where it declares none or none that exists."""
    if kind == TIFF:
        found = tiff.orientation(path)
    else:
        with _opened(path, kind) as image:
            found = int(image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else 1
    return found if found in range(1, 9) else 1


def samples(path: Path, kind: str) -> DecodedSamples:
    """Decode a PNG, JPEG or TIFF file.

    Raises:
        ImageFileError: broken, truncated, too large, several pages, or an exotic pixel type.
        UsageError: Pillow was told to accept truncated files.
    """
    if kind == TIFF and (decoded := tiff.samples(path)) is not None:
        return decoded
    with _open_raster(path, kind) as image:
        image.load()
        return _samples(ImageOps.exif_transpose(image), path, kind)


def _samples(image: Image.Image, path: Path, kind: str) -> DecodedSamples:
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    mode = image.mode
    if mode in ("P", "PA"):
        indices = np.asarray(image) if mode == "P" else np.asarray(image)[..., 0]
        return DecodedSamples(indices, _palette(image))
    if mode in _CHANNELS:
        return DecodedSamples(np.asarray(image.convert(_CHANNELS[mode])))
    if mode in _COLOUR:
        return DecodedSamples(np.asarray(image.convert("RGB")))
    if mode.startswith("I;16") or (mode == "I" and kind == PNG):
        return DecodedSamples(np.asarray(image).astype(np.uint16))
    if mode == "I":
        return DecodedSamples(np.asarray(image))
    raise ImageFileError(
        f'{path}: pixels of kind "{mode}" are not supported; save it as 8-bit or 16-bit grey or as RGB'
    )


def _palette(image: Image.Image) -> NDArray[np.uint8]:
    """Return the (N, 3) colours of a palette image, transparent ones over black."""
    colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    alpha = np.full(len(colours), 255, dtype=np.uint8)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        known = min(len(transparency), len(alpha))
        alpha[:known] = np.frombuffer(transparency, dtype=np.uint8)[:known]
    elif isinstance(transparency, int) and transparency < len(alpha):
        alpha[transparency] = 0
    return over_black(colours, alpha[:, None])
