"""TIFF by tifffile: every sample type, planar or not. What it cannot unpack (LZW, JPEG, CCITT) is left to Pillow.

Pillow alone would not do: it reads planar 16-bit colour wrongly without an error, turns some rotated files twice, and
has no 64-bit samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dmseg.errors import ImageFileError
from dmseg.imaging.formats import TIFF, check_size, decoding
from dmseg.imaging.samples import DecodedSamples, orient

_UNPACKED_HERE = (1, 8, 32946)  # none, and both deflates
_ORIENTATION = "Orientation"
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_PLANES = 2


def _first_page(path: Path, file: tifffile.TiffFile) -> Any:
    """Return the only page, its size checked, and all its segments inside the file."""
    if len(file.pages) != 1:
        raise ImageFileError(f"{path}: holds {len(file.pages)} pages; give one image per file")
    page: Any = file.pages.first
    check_size(path, int(page.imagelength), int(page.imagewidth))
    end = max((int(start) + int(n) for start, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > path.stat().st_size:
        raise ImageFileError(f"{path}: cannot be read as TIFF, truncated ({path.stat().st_size} of {end} bytes)")
    return page


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None else 1


def orientation(path: Path) -> int:
    """Return the orientation that the only page declares."""
    with decoding(path, TIFF), tifffile.TiffFile(path) as file:
        return _orientation(_first_page(path, file))


def header(path: Path) -> tuple[int, int]:
    """Return (height, width) of the upright image."""
    with decoding(path, TIFF), tifffile.TiffFile(path) as file:
        page = _first_page(path, file)
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if _orientation(page) in (5, 6, 7, 8) else (height, width)


def samples(path: Path) -> DecodedSamples | None:
    """Decode, or give None where Pillow has the codec or the colour space and tifffile has not.

    Raises:
        ImageFileError: broken, truncated, too large, or several pages.
    """
    with decoding(path, TIFF), tifffile.TiffFile(path) as file:
        page = _first_page(path, file)
        deep_colour = page.samplesperpixel > 2 and page.bitspersample > 8
        if page.compression not in _UNPACKED_HERE or page.photometric > _PALETTE:
            if deep_colour:
                raise ImageFileError(
                    f"{path}: {page.bitspersample}-bit colour with compression {page.compression.name} is not "
                    "supported; save it uncompressed or as 8-bit colour"
                )
            return None
        if page.bitspersample not in (1, 8, 16, 32, 64):
            return None
        values = page.asarray()
        if page.planarconfig == _PLANES and values.ndim == 3:
            values = np.moveaxis(values, 0, -1)
        if page.bitspersample == 1:
            values = values.astype(np.bool_)
        values = orient(values.astype(values.dtype.newbyteorder("="), copy=False), _orientation(page))
        if page.photometric == _WHITE_IS_ZERO and values.dtype.kind in "ub":
            values = ~values
        palette = None
        if page.photometric == _PALETTE:
            palette = np.asarray(page.colormap.T >> 8, dtype=np.uint8)
        return DecodedSamples(values, palette)
