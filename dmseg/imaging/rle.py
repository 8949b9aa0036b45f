"""Masks as COCO run-length text: runs along columns, first run of zeros, counts in COCO's compressed characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import pycocotools.mask
from numpy.typing import NDArray

from dmseg.errors import DataError
from dmseg.imaging.formats import MAX_PIXELS
from dmseg.reading import parse_json


class Rle(TypedDict):
    """``size`` is [height, width]; ``counts`` the compressed text."""

    size: list[int]
    counts: str


def encode_rle(mask: NDArray[Any]) -> Rle:
    """Return the run-length text of a bool (H, W) mask."""
    encoded = pycocotools.mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in mask.shape], "counts": encoded["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any] | str) -> NDArray[np.bool_]:
    """Return the bool (H, W) mask of a COCO run-length record, or of its JSON text as a manifest has it.

    ``counts`` may be text, bytes or a list of runs.

    Decoded here and not by pycocotools, which on damaged counts returns uninitialised memory.

    Raises:
        DataError: the record is incomplete, or its runs do not fill the size.
    """
    record: Any = parse_json(rle, "run lengths of a mask") if isinstance(rle, str) else rle
    try:
        height, width = (int(side) for side in record["size"])
        counts = record["counts"]
        runs = _whole_runs(counts) if isinstance(counts, list) else _runs(counts)
    except (KeyError, TypeError, ValueError, UnicodeError, OverflowError) as error:
        raise DataError(f"not a COCO run-length record ({error})") from None
    if min(height, width) < 0 or height * width > MAX_PIXELS:
        raise DataError(f"a run-length record of {height} x {width} pixels; at most {MAX_PIXELS // 1_000_000} million")
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise DataError(f"the runs of a mask of {height} x {width} do not add up to {height * width} pixels: damaged")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(values.reshape(width, height).T)


def _whole_runs(counts: list[Any]) -> NDArray[np.int64]:
    if not all(isinstance(run, int | np.integer) and not isinstance(run, bool) for run in counts):
        raise TypeError("counts hold what is no whole number")
    return np.asarray(counts, dtype=np.int64)


def _runs(counts: str | bytes) -> NDArray[np.int64]:
    """Undo COCO's text: groups of 5 bits, low first, bit 5 = more follows; from the 4th run on, differences to i-2."""
    text = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    last = codes & 32 == 0
    if ((codes < 0) | (codes > 63)).any() or not last[-1]:
        raise ValueError("counts hold characters that COCO does not use, or end in the middle of a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    if place.max() > 6:
        raise ValueError("a run is longer than any image")
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    negative = codes[ends] & 16 != 0
    runs[negative] -= np.int64(1) << (5 * (place[ends][negative] + 1))
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
