"""PNG, JPEG and TIFF: decoding with Pillow, or tifffile for the TIFF samples that Pillow does not know.

Pillow's format classes are used directly: no other decoder can be reached by a disguised file, and the size limit is
ours (see ``formats.py``) instead of Pillow's global one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from dmseg.errors import ImageFileError, UsageError
from dmseg.imaging.formats import JPEG, PNG, TIFF, check_size, decoding

Pixels = NDArray[Any]

_READERS: dict[str, type[ImageFile.ImageFile]] = {PNG: PngImageFile, JPEG: JpegImageFile, TIFF: TiffImageFile}
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_COLOUR = ("RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[ImageFile.ImageFile]:
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
            raise ImageFileError(f"{path}: holds {pages} pages; give one picture per file")
        yield image


def header(path: Path, kind: str) -> tuple[int, int]:
    """Return (height, width) as :func:`pixels` will give them, from the header alone."""
    with _opened(path, kind) as image:
        turned = kind != TIFF and "exif" in image.info and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def pixels(path: Path, kind: str) -> Pixels:
    """Decode to what is seen: (H, W) uint8, uint16, int16 or float32, or (H, W, 3) uint8 RGB."""
    try:
        with _opened(path, kind) as image:
            return _seen(_upright(image), path, image)
    except ImageFileError:
        if kind == TIFF and (values := _scientific_tiff(path)) is not None:
            return values
        raise


def raw_grey(path: Path, kind: str) -> Pixels:
    """Decode to the stored integers, (H, W): palette indices, grey values; 1-bit gives 0 and 255; alpha is dropped."""
    with _opened(path, kind) as image:
        upright = _upright(image)
        if upright.mode == "1":
            return np.asarray(upright.convert("L"))
        values = np.asarray(upright)
        if values.ndim == 3 and upright.mode in ("LA", "La", "PA"):
            values = values[..., 0]
        if values.ndim == 3:
            colours = np.asarray(upright.convert("RGB"))
            if (colours != colours[..., :1]).any():
                raise ImageFileError(f"{path}: a colour picture, expected grey values or labels in one channel")
            values = colours[..., 0]
        return _whole_numbers(values, path)


def luminance(path: Path, kind: str) -> Pixels:
    """Decode to grey as it is seen, (H, W) uint8 (wider samples stay wide): for masks drawn in any mode."""
    values = pixels(path, kind)
    return np.asarray(Image.fromarray(values).convert("L")) if values.ndim == 3 else values


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return ImageOps.exif_transpose(image)


def _seen(image: Image.Image, path: Path, source: ImageFile.ImageFile) -> Pixels:
    mode = image.mode
    if mode == "1":
        return np.asarray(image.convert("L"))
    if mode in ("L", "RGB"):
        return np.asarray(image)
    if mode in _WITH_ALPHA or (mode == "P" and "transparency" in image.info):
        return _over_black(np.asarray(image.convert("RGBA")), keep_colour=mode not in ("LA", "La"))
    if mode == "P":
        return grey_if_colourless(np.asarray(image.convert("RGB")))
    if mode in _COLOUR:
        return np.asarray(image.convert("RGB"))
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "I":
        return _wide_integers(np.asarray(image), path, source)
    if mode == "F":
        return np.asarray(image, dtype=np.float32)
    raise ImageFileError(
        f'{path}: pixels of kind "{mode}" are not supported; save it as 8-bit or 16-bit grey or as RGB'
    )


def _over_black(rgba: Pixels, *, keep_colour: bool) -> Pixels:
    """Lay RGBA over black in integers, rounding half up."""
    colours = ((rgba[..., :3].astype(np.uint16) * rgba[..., 3:] + 127) // 255).astype(np.uint8)
    return colours if keep_colour else colours[..., 0]


def _wide_integers(values: Pixels, path: Path, source: ImageFile.ImageFile) -> Pixels:
    """Pillow widens 16-bit samples to 32: give the stored type back. True 32-bit integers become exact float32."""
    tags = source.tag_v2 if isinstance(source, TiffImageFile) else {_BITS_PER_SAMPLE: (16,)}
    if tags.get(_BITS_PER_SAMPLE, (1,))[0] <= 16:
        return values.astype(np.int16 if tags.get(_SAMPLE_FORMAT, (1,))[0] == 2 else np.uint16)
    if np.abs(values.astype(np.int64)).max() > 1 << 24:
        raise ImageFileError(f"{path}: 32-bit integers above 2^24 cannot be held exactly; save it as 16-bit")
    return values.astype(np.float32)


def _whole_numbers(values: Pixels, path: Path) -> Pixels:
    if values.dtype.kind in "iu":
        return values
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and np.abs(values).max() < 2**31):
        raise ImageFileError(f"{path}: holds fractions, expected grey values or labels as whole numbers")
    return values.astype(np.int32)


def _scientific_tiff(path: Path) -> Pixels | None:
    """Decode a one-page TIFF that Pillow does not know (64-bit floats, planar or 16-bit colour), or give None."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            check_size(path, page.shape[0], page.shape[1])
            if len(file.pages) > 1:
                return None
            values: Pixels = page.asarray()
            planar = file.pages.first.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    except ImageFileError:
        raise
    except Exception:
        return None  # Pillow's sentence about the same file is the one to show
    if values.ndim == 3 and planar:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[-1] in (3, 4) and values.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(values[..., :3] >> (8 * (values.itemsize - 1))).astype(np.uint8)
    if values.ndim == 2 and values.dtype.kind == "f":
        return values.astype(np.float32)
    return None


def grey_if_colourless(image: Pixels) -> Pixels:
    """Return (H, W) where the three channels of an (H, W, 3) picture are equal, else the picture itself."""
    if image.ndim == 3 and (image == image[..., :1]).all():
        return np.ascontiguousarray(image[..., 0])
    return image
