"""PNG, JPEG, BMP, GIF and the TIFF files that need libtiff: decoding with Pillow, deep PNG with OpenCV.

Pillow's format classes are used directly: no other decoder can be reached by a disguised file, and the size limit is
ours (see ``formats.py``) instead of Pillow's global one.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from dmseg.errors import ImageFileError, UsageError
from dmseg.imaging import tiff
from dmseg.imaging.formats import BMP, GIF, JPEG, PNG, TIFF, catch_decoder_errors, check_size
from dmseg.imaging.samples import DecodedSamples, orient, over_black, turn_back
from dmseg.imaging.writing import png_bytes

_READERS: dict[str, type[ImageFile.ImageFile]] = {PNG: PngImageFile, JPEG: JpegImageFile, TIFF: TiffImageFile}
_READERS |= {BMP: BmpImageFile, GIF: GifImageFile}
_ORIENTATION = 0x0112
_JPEG_QUALITY = 95  # with full colour resolution: the loss is small beside any degradation
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
    with catch_decoder_errors(path, kind), path.open("rb") as handle, _READERS[kind](handle, str(path)) as image:
        check_size(path, image.height, image.width)
        if kind == TIFF and (pages := getattr(image, "n_frames", 1)) > 1:
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
    with _open_raster(path, kind) as image:
        found = int(image.getexif().get(_ORIENTATION, 1)) if kind != GIF else 1
    return found if 1 <= found <= 8 else 1


def samples(path: Path, kind: str) -> DecodedSamples:
    """Decode a PNG, JPEG, TIFF, BMP or GIF file (of several frames the first, said in the notes).

    Raises:
        ImageFileError: broken, truncated, too large, several pages, or an exotic pixel type.
        UsageError: Pillow was told to accept truncated files.
    """
    if kind == TIFF and (decoded := tiff.samples(path)) is not None:
        return decoded
    with _open_raster(path, kind) as image:
        frames = getattr(image, "n_frames", 1)
        stated = int(image.getexif().get(_ORIENTATION, 1)) if kind != GIF else 1
        orientation = stated if 1 <= stated <= 8 else 1
        image.load()
        # Only a PNG's header says that 16-bit colour was cut to 8 bit by Pillow.
        deep = _deep_png(path) if kind == PNG and image.mode not in ("P", "1") else None
        if deep is not None:
            found = DecodedSamples(orient(deep, orientation))
        else:
            found = _samples(image, path, kind)
            if kind != TIFF:  # which Pillow turns by itself
                found = replace(found, values=orient(found.values, orientation))
        notes = (f"the first of {frames} frames",) if frames > 1 else ()
        inks = kind == JPEG and image.mode == "CMYK"
        return replace(found, orientation=orientation, notes=notes, inks=inks)


def all_pages(path: Path, kind: str) -> list[DecodedSamples]:
    """Decode every page of a TIFF file, the one image of the others."""
    if kind != TIFF:
        return [samples(path, kind)]
    decoded = tiff.all_pages(path)
    if len(decoded) == 1 and decoded[0] is None:
        return [samples(path, kind)]
    found = [page for page in decoded if page is not None]
    if len(found) < len(decoded):
        return [_page(path, number) for number in range(len(decoded))]
    return found


def _page(path: Path, number: int) -> DecodedSamples:
    """Decode one page of a TIFF file with Pillow."""
    with catch_decoder_errors(path, TIFF), path.open("rb") as handle, TiffImageFile(handle, str(path)) as image:
        image.seek(number)
        check_size(path, image.height, image.width)
        stated = int(image.getexif().get(_ORIENTATION, 1))
        image.load()
        return replace(_samples(image, path, TIFF), orientation=stated if 1 <= stated <= 8 else 1)


def _deep_png(path: Path) -> NDArray[np.uint16] | None:
    """Return 16-bit RGB(A) or grey with alpha as it is stored, None for every other PNG (Pillow reads those whole)."""
    content = path.read_bytes()
    bits, colours = content[24], content[25]
    if bits != 16 or colours not in (2, 4, 6):
        return None
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ImageFileError(f"{path}: its 16-bit colours cannot be read; save it again")
    if colours == 4:
        return np.ascontiguousarray(values[..., 2:])
    return np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[2]]])


def _samples(image: Image.Image, path: Path, kind: str) -> DecodedSamples:
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    mode = image.mode
    if mode in ("P", "PA"):
        indices = np.asarray(image) if mode == "P" else np.asarray(image)[..., 0]
        colours, alpha = _palette(image)
        return DecodedSamples(indices, colours, palette_alpha=alpha)
    if mode in _CHANNELS:
        return DecodedSamples(np.asarray(image.convert(_CHANNELS[mode])))
    if mode == "CMYK" and kind == JPEG:
        return DecodedSamples(np.asarray(image))
    if mode in _COLOUR:
        return DecodedSamples(np.asarray(image.convert("RGB")))
    if mode.startswith("I;16") or (mode == "I" and kind == PNG):
        return DecodedSamples(np.asarray(image).astype(np.uint16))
    if mode == "I":
        return DecodedSamples(np.asarray(image))
    raise ImageFileError(
        f'{path}: pixels of kind "{mode}" are not supported; save it as 8-bit or 16-bit grey or as RGB'
    )


def _palette(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the (N, 3) colours of a palette image, transparent ones over black, and their alpha if not all opaque."""
    colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    alpha = np.full(len(colours), 255, dtype=np.uint8)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        known = min(len(transparency), len(alpha))
        alpha[:known] = np.frombuffer(transparency, dtype=np.uint8)[:known]
    elif isinstance(transparency, int) and transparency < len(alpha):
        alpha[transparency] = 0
    over = np.asarray(over_black(colours, alpha[:, None]), dtype=np.uint8)
    return over, None if (alpha == 255).all() else alpha


def encode(read: DecodedSamples, values: NDArray[Any], kind: str) -> bytes:
    """Return a PNG, JPEG or BMP of upright samples in the orientation of those that were read.

    Args:
        read: what was read.
        values: new samples as :func:`dmseg.imaging.samples.recombine` gives them.
        kind: PNG, JPEG or BMP; JPEG gets quality 95 without colour sub-sampling.

    Raises:
        ImageFileError: the format cannot hold such samples.
    """
    stored = np.ascontiguousarray(turn_back(values, read.orientation))
    if kind == PNG:
        return png_bytes(stored, orientation=read.orientation)
    if stored.dtype != np.uint8:
        raise ImageFileError(f"{kind} holds 8-bit samples, these are {stored.dtype}; save it as PNG or TIFF")
    exif = Image.Exif()
    if read.orientation != 1:
        exif[_ORIENTATION] = read.orientation
    image = Image.fromarray(stored, "CMYK") if read.inks else Image.fromarray(stored)
    buffer = io.BytesIO()
    if kind == JPEG:
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, exif=exif)
    else:
        image.save(buffer, "BMP")
    return buffer.getvalue()
