"""TIFF by tifffile: every sample type, planar or not. Packed ones need imagecodecs; the usual of them Pillow can do.

Pillow alone would not do: it reads planar 16-bit colour wrongly without an error, turns some rotated files twice, takes
signed bytes for unsigned ones, and has no 64-bit samples.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, MissingDependencyError
from dmseg.imaging.formats import MAX_PIXELS, TIFF, catch_decoder_errors, check_size
from dmseg.imaging.samples import DecodedSamples, orient, turn_back

_PLAIN = (1, 8, 32946)  # unpacked by tifffile itself: none, and both deflates
_ORIENTATION = "Orientation"
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_KNOWN = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS)
_PLANES = 2
_ALPHA = {0: "ignored", 1: "associated", 2: "straight"}
_UNITS = (1, 2, 3)  # none, inch, centimetre
_CCITT = (2, 3, 4)
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what matters is raised, and said as an error
_EXTRA = 'pip install "dmseg-bench[formats]" (imagecodecs)'


def _pages(path: Path, file: tifffile.TiffFile) -> list[Any]:
    """Return the full-size pages, their sizes checked, and all their segments inside the file."""
    pages = _list_pages(path, file)
    full = [page for page in pages if not page.is_reduced] or pages[:1]
    for page in full:
        check_size(path, int(page.imagelength), int(page.imagewidth), int(page.imagedepth) * int(page.samplesperpixel))
        if int(page.imagedepth) != 1:
            raise ImageFileError(f"{path}: a page of {page.imagedepth} planes (ImageDepth); save one plane per page")
        for side in (page.tilelength, page.tilewidth, page.tilelength * page.tilewidth):
            if int(side) > MAX_PIXELS:
                raise ImageFileError(
                    f"{path}: tiles of {page.tilewidth} x {page.tilelength} pixels; the file is broken"
                )
        ends = (int(start) + int(n) for start, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        if (end := max(ends, default=0)) > path.stat().st_size:
            raise ImageFileError(f"{path}: cannot be read as TIFF, truncated ({path.stat().st_size} of {end} bytes)")
    return full


def _list_pages(path: Path, file: tifffile.TiffFile) -> list[Any]:
    """Return all pages; a chain of pages that comes back to one of them would never end, and is refused."""
    pages: list[Any] = []
    seen = set[int]()
    for page in file.pages:
        if page.offset in seen:
            raise ImageFileError(f"{path}: page {len(pages) + 1} is one of the pages before it; the file is broken")
        seen.add(page.offset)
        pages.append(page.aspage())
    return pages


def _only_page(path: Path, file: tifffile.TiffFile) -> Any:
    pages = _pages(path, file)
    if len(pages) != 1:
        raise ImageFileError(f"{path}: holds {len(pages)} pages; give one image per file")
    return pages[0]


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    value = int(tag.value) if tag is not None else 1
    return value if 1 <= value <= 8 else 1


def header(path: Path) -> tuple[int, int]:
    """Return (height, width) of the upright image."""
    with catch_decoder_errors(path, TIFF), tifffile.TiffFile(path) as file:
        page = _only_page(path, file)
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if _orientation(page) in (5, 6, 7, 8) else (height, width)


def samples(path: Path) -> DecodedSamples | None:
    """Decode the only page, or give None where Pillow has the codec or the colour space and tifffile has not.

    Raises:
        ImageFileError: broken, truncated, too large, or several pages.
        MissingDependencyError: it is packed in a way that needs imagecodecs.
    """
    with catch_decoder_errors(path, TIFF), tifffile.TiffFile(path) as file:
        return _decode(path, _only_page(path, file))


def all_pages(path: Path) -> list[DecodedSamples | None]:
    """Decode every full-size page; None as in :func:`samples`."""
    with catch_decoder_errors(path, TIFF), tifffile.TiffFile(path) as file:
        pages = _pages(path, file)
        check_size(path, int(pages[0].imagelength), int(pages[0].imagewidth), len(pages))
        return [_decode(path, page) for page in pages]


def _decode(path: Path, page: Any) -> DecodedSamples | None:
    plain = page.compression in _PLAIN and page.bitspersample in (1, 8, 16, 32, 64) and page.predictor in (1, 2)
    if page.photometric not in (*_KNOWN, _YCBCR) or page.compression in _CCITT:
        return None
    if page.photometric == _YCBCR and (page.compression not in (6, 7) or find_spec("imagecodecs") is None):
        return None
    if not plain and find_spec("imagecodecs") is None:
        # Pillow reads these rightly: unsigned bytes, bits, and one channel of 16 bits.
        simple = page.dtype is not None and page.dtype.kind in "ub" and page.bitspersample in (1, 2, 4, 8)
        deep = page.dtype == np.uint16 and page.samplesperpixel == 1 and page.bitspersample == 16
        if (simple or deep) and page.photometric != _INKS:
            return None
        packing = f"{page.bitspersample}-bit samples, compression {page.compression.name}"
        raise MissingDependencyError(f"{path}: TIFF with {packing} needs a further package: {_EXTRA}")
    if page.compression == 6 and page.photometric == _YCBCR:
        return None  # old-style JPEG, whose tables lie anywhere
    values = page.asarray()
    if page.planarconfig == _PLANES and values.ndim == 3 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    if page.bitspersample == 1:
        values = values.astype(np.uint8 if page.photometric == _PALETTE else np.bool_)
    orientation = _orientation(page)
    values = orient(values.astype(values.dtype.newbyteorder("="), copy=False), orientation)
    white_is_zero = page.photometric == _WHITE_IS_ZERO and values.dtype.kind in "ub"
    bits = (
        int(page.bitspersample) if page.bitspersample not in (1, 8, 16, 32, 64) and values.dtype.kind == "u" else None
    )
    if white_is_zero:
        values = ~values if bits is None else (values.dtype.type((1 << bits) - 1) - values)
    return DecodedSamples(
        values,
        _palette(page) if page.photometric == _PALETTE else None,
        alpha=_ALPHA.get(int(page.extrasamples[0]), "ignored") if page.extrasamples else "straight",
        inks=page.photometric == _INKS and values.ndim == 3 and values.shape[2] == 4,
        orientation=orientation,
        bits=bits,
        white_is_zero=white_is_zero,
    )


def _palette(page: Any) -> NDArray[np.uint8]:
    """Return (N, 3) colours; some writers leave 8-bit numbers in the 16-bit table."""
    table = np.asarray(page.colormap).T
    return np.asarray(table >> 8 if table.max(initial=0) > 255 else table, dtype=np.uint8)


def encode(path: Path, pages: Sequence[tuple[DecodedSamples, NDArray[Any]]]) -> bytes:
    """Return a TIFF of upright samples in the depth, channels and orientation of those that were read from ``path``.

    Lossless (deflate where the source was packed); resolution and description of the source's first page are kept.

    Args:
        path: the source.
        pages: what was read, and the new samples as :func:`dmseg.imaging.samples.recombine` gives them.
    """
    with tifffile.TiffFile(path) as file:
        first: Any = file.pages.first
        packed = first.compression != 1
        tags = {name: first.tags[name].value for name in ("XResolution", "YResolution") if name in first.tags}
        stated = first.tags["ResolutionUnit"].value if "ResolutionUnit" in first.tags else None
        unit = stated if stated in _UNITS else None
        text = first.tags["ImageDescription"].value if first.is_imagej and "ImageDescription" in first.tags else None
    resolution: tuple[float, float] | None = None
    with contextlib.suppress(ZeroDivisionError, KeyError, TypeError):
        resolution = (
            tags["XResolution"][0] / tags["XResolution"][1],
            tags["YResolution"][0] / tags["YResolution"][1],
        )
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for number, (read, values) in enumerate(pages):
            layout = _layout(read, values)
            if layout["photometric"] == "miniswhite":
                values = values.dtype.type((1 << read.bits) - 1) - values if read.bits else ~values
            writer.write(
                np.ascontiguousarray(turn_back(values, read.orientation)),
                resolution=resolution,
                resolutionunit=unit,
                description=text if number == 0 else None,
                extratags=[(274, "H", 1, read.orientation, True)] if read.orientation != 1 else (),
                metadata=None,
                software=False,
                contiguous=False,
                compression="zlib" if packed and "bitspersample" not in layout else None,
                **layout,
            )
    return buffer.getvalue()


def _layout(read: DecodedSamples, values: NDArray[Any]) -> dict[str, Any]:
    """Return the arguments of tifffile that say what the channels are."""
    same = values.dtype == read.values.dtype
    # Odd depths are packed by imagecodecs; without it they keep their numbers in 16 bit.
    packed = {"bitspersample": read.bits} if same and read.bits and find_spec("imagecodecs") else {}
    if values.ndim == 2:
        return {"photometric": "miniswhite" if read.white_is_zero and same else "minisblack", **packed}
    channels = values.shape[2]
    names = {"straight": "unassalpha", "associated": "assocalpha", "ignored": "unspecified"}
    if read.inks:
        return {"photometric": "separated", "planarconfig": "contig"}
    extra = {"extrasamples": [names[read.alpha]]} if channels in (2, 4) else {}
    return {"photometric": "rgb" if channels > 2 else "minisblack", "planarconfig": "contig", **extra, **packed}
