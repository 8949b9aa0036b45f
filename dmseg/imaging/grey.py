"""Grey windows: from stored values (HU, MR signal, 16 bit) to the 8 bit that is seen, and back for changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import DataError, UsageError
from dmseg.types import Window


def _check(window: Window) -> None:
    if not (np.isfinite(window.center) and np.isfinite(window.width) and window.width > 0):
        raise UsageError(f"a window needs a finite centre and a width above 0, got {window.center}/{window.width}")


def apply_window(values: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Return ``floor(255 (v - black) / width + 1/2)`` limited to 0..255, uint8, of the shape of ``values``.

    Black is at centre - width/2 and white at centre + width/2. NaN is black, infinities saturate. Exact for integers:
    16-bit values go through a table.

    >>> import numpy as np
    >>> apply_window(np.array([-200, -160, 40, 240, 999], np.int16), Window(40, 400)).tolist()
    [0, 0, 128, 255, 255]
    """
    _check(window)
    if values.dtype in (np.uint8, np.int8, np.uint16, np.int16):
        info = np.iinfo(values.dtype)
        table = _apply_window(np.arange(info.min, info.max + 1, dtype=np.float64), window)
        # A negative value indexes from the end, so the table is turned until position 0 is value 0.
        turned: NDArray[np.uint8] = np.roll(table, info.min)[values]
        return turned
    return _apply_window(np.asarray(values, dtype=np.float64), window)


def _apply_window(values: NDArray[np.float64], window: Window) -> NDArray[np.uint8]:
    black = window.center - window.width / 2
    grey = np.floor((values - black) * 255.0 / window.width + 0.5)
    limited = np.clip(np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)
    return np.asarray(limited, dtype=np.uint8)


def percentile_window(
    values: NDArray[Any], low: float = 0.5, high: float = 99.5, background: float | None = None
) -> Window:
    """Return the window between two percentiles of the values above the background, the usual one for MR.

    Args:
        values: any shape; NaN is left out.
        low, high: percentiles, 0..100, low < high. The nearest rank is taken, so both ends are values of the image
            and equal on every machine.
        background: only values above it count; None means the smallest value (air, or what a skull strip left).

    Raises:
        UsageError: the percentiles are out of order.
        DataError: no value lies above the background, or all that do are equal.
    """
    if not 0 <= low < high <= 100:
        raise UsageError(f"percentiles must satisfy 0 <= low < high <= 100, got {low} and {high}")
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    floor = (finite.min() if finite.size else 0) if background is None else background
    tissue = finite[finite > floor]
    if tissue.size == 0:
        raise DataError(f"no value lies above the background {floor}, the image is empty")
    ranks = [int(np.floor(percent / 100 * (tissue.size - 1) + 0.5)) for percent in (low, high)]
    ordered = np.partition(tissue, ranks)
    black, white = float(ordered[ranks[0]]), float(ordered[ranks[1]])
    if white <= black:
        raise DataError(f"the values above the background {floor} all lie at {black}: no window can be set")
    return Window(center=(black + white) / 2, width=white - black)


def normalise(values: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """Return ``(v - black) / width`` limited to 0..1, float32, NaN as 0: the image that degradations work on."""
    _check(window)
    black = window.center - window.width / 2
    image = np.clip((values.astype(np.float64) - black) / window.width, 0.0, 1.0).astype(np.float32)
    return np.nan_to_num(image, copy=False)


def add_change(
    values: NDArray[Any], before: NDArray[np.float32], after: NDArray[np.float32], window: Window
) -> NDArray[Any]:
    """Return ``values + (after - before) * width`` in the type of ``values``, rounded and saturated for integers.

    ``before`` and ``after`` are images of 0..1 from :func:`normalise`. A pixel that did not change keeps its exact
    value. What lies outside the window and did change (noise on air, a dark impulse on bone) gets the value that the
    window shows as ``after``: the result, shown with the window, is ``after`` everywhere.
    """
    _check(window)
    black = window.center - window.width / 2
    change = (after.astype(np.float64) - before) * window.width
    outside = (change != 0) & ((values < black) | (values > black + window.width))
    change[outside] = black + after[outside] * window.width - values[outside]
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        return np.clip(np.floor(values + change + 0.5), info.min, info.max).astype(values.dtype)
    return (values + change).astype(values.dtype)
