"""Grey values of every accepted type: checks, the range [0, 1] they stand for, and saturating arithmetic on them.

Accepted: uint8 and uint16 (full range), float32 in [0, 1], int16 with a declared window; (H, W) or (H, W, 3), at least
16 px a side. Operations see uint8, uint16 or float32, contiguous; results are rounded half up and saturate.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function, compile_inline
from dmseg.errors import UsageError
from dmseg.types import Image

MINIMUM_SIDE = 16
_TOPS: dict[np.dtype[Any], float] = {
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
    np.dtype(np.float32): 1.0,
}


def check_image(image: Any) -> Image:
    """Return ``image`` as a contiguous, writeable array in the machine's byte order (a copy only where needed).

    Raises:
        UsageError: wrong type, shape or size, values outside [0, 1] (float32), NaN or infinity.
    """
    if not isinstance(image, np.ndarray):
        raise UsageError(f"an image must be a numpy array, got {type(image).__name__}")
    kind = image.dtype if image.dtype.isnative else image.dtype.newbyteorder("=")
    if kind not in (*_TOPS, np.dtype(np.int16)):
        raise UsageError(
            f"image of type {image.dtype.name}; allowed: uint8, uint16, float32 in [0, 1], int16 with a window"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise UsageError(
            f"image of shape {image.shape}; allowed: (height, width) or (height, width, 3); for a volume "
            "of slices draw one plan: dmseg.simulators.plan_volume(key, volume)"
        )
    if min(image.shape[:2]) < MINIMUM_SIDE:
        raise UsageError(f"image of {image.shape[0]} x {image.shape[1]} px; the shorter side must be at least 16 px")
    if kind == np.float32:
        low, high = float(image.min()), float(image.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UsageError("the image contains NaN or infinity; replace them before degrading")
        if low < 0 or high > 1:
            raise UsageError(
                f"float32 image with values {low:g}..{high:g}; scale it to [0, 1], or give int16 with a window"
            )
    # Kernels are compiled once per array type: arrays that are read-only, unaligned or of the other byte order are
    # copied instead of compiled for.
    if image.flags.carray and image.dtype.isnative:
        return image
    return np.require(image, kind, ["C", "A", "W"])


def top(image: Image) -> float:
    """Return the value that stands for white: 255, 65535 or 1."""
    return _TOPS[image.dtype]


def unit(image: Image) -> NDArray[np.float32]:
    """Return the image as float32 in [0, 1]."""
    if image.dtype == np.float32:
        return np.asarray(image, np.float32)
    return np.asarray(np.multiply(image, 1.0 / top(image), dtype=np.float32))


@compile_function
def _quantise(values, white, half, ceiling, out):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        out[i] = min(max(values[i] * white + half, np.float32(0)), ceiling)


def to_type_of(values: NDArray[Any], like: Image) -> Image:
    """Return values in [0, 1] in the type of ``like``: rounded half up, saturating."""
    white = top(like)
    half = 0.5 if white > 1 else 0.0
    out = np.empty(values.shape, like.dtype)
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    _quantise(flat, np.float32(white), np.float32(half), np.float32(white + half), out.reshape(-1))
    return out


def is_grey(image: Image) -> bool:
    """Return whether the image has one channel, or three equal ones."""
    if image.ndim == 2:
        return True
    few = image[::16, ::16]
    if not np.array_equal(few[..., 0], few[..., 1]):
        return False  # colour shows almost anywhere
    first = image[..., 0]
    return bool(np.array_equal(first, image[..., 1]) and np.array_equal(first, image[..., 2]))


@functools.cache
def _levels(white: int) -> NDArray[np.float64]:
    return np.arange(white + 1) / white


@compile_function
def _look_up(image, table, out):  # type: ignore[no-untyped-def]
    # Two pixels a turn, through a table of all pairs: twice as fast as one by one, once the image is larger than that.
    if image.size < 100_000:
        for i in range(image.size):
            out[i] = table[image[i]]
        return
    pairs = np.empty(65536, np.uint16)
    for high in range(256):
        for low in range(256):
            pairs[high * 256 + low] = np.uint16(table[high]) << np.uint16(8) | np.uint16(table[low])
    even = image.size // 2 * 2
    given, made = image[:even].view(np.uint16), out[:even].view(np.uint16)
    for i in range(given.size):
        made[i] = pairs[given[i]]
    for i in range(even, image.size):
        out[i] = table[image[i]]


def pointwise(image: Image, curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Image:
    """Return ``curve`` (on [0, 1]) of every value; integer types go through a table, so equal values stay equal."""
    if image.dtype == np.float32:
        return to_type_of(curve(image.astype(np.float64)), image)
    white = int(top(image))
    values = np.floor(curve(_levels(white)) * white + 0.5)
    table = np.minimum(np.maximum(values, 0), white).astype(image.dtype)
    if image.dtype != np.uint8:
        return np.asarray(table[image])
    out = np.empty_like(image)
    _look_up(image.reshape(-1), table, out.reshape(-1))
    return out


@compile_inline
def _limit(value, ceiling):  # type: ignore[no-untyped-def]
    return min(max(value, np.float32(0)), ceiling)


@compile_function
def _affine_grey(image, gain, offset, white, half, out):  # type: ignore[no-untyped-def]
    # An empty gain is 1, an empty offset 0.
    top = white + half
    for y in range(image.shape[0]):
        row, target = image[y], out[y]
        if gain.size == 0:
            add = offset[y]
            for x in range(row.size):
                target[x] = _limit(row[x] + add[x] * white + half, top)
        elif offset.size == 0:
            times = gain[y]
            for x in range(row.size):
                target[x] = _limit(row[x] * times[x] + half, top)
        else:
            times, add = gain[y], offset[y]
            for x in range(row.size):
                target[x] = _limit(row[x] * times[x] + add[x] * white + half, top)


@compile_function
def _affine_colour(image, gain, offset, white, half, out):  # type: ignore[no-untyped-def]
    top = white + half
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            times = gain[y, x] if gain.size else np.float32(1)
            add = offset[y, x] * white + half if offset.size else half
            for channel in range(3):
                out[y, x, channel] = _limit(image[y, x, channel] * times + add, top)


_NONE = np.empty((0, 0), np.float32)


def affine(image: Image, gain: NDArray[np.float32] | None, offset: NDArray[np.float32] | None = None) -> Image:
    """Return ``image * gain + offset``, where gain is a factor and offset is in units of full scale.

    Args:
        gain: float32 (H, W), shared by the channels; None: 1.
        offset: float32 (H, W), shared by the channels; None: 0.
    """
    white = np.float32(top(image))
    # Truncation of value + 1/2 rounds half up; white is below the next integer, so the addition never wraps.
    half = np.float32(0.5 if white > 1 else 0.0)
    gains = _NONE if gain is None else np.ascontiguousarray(gain, np.float32)
    offsets = _NONE if offset is None else np.ascontiguousarray(offset, np.float32)
    out = np.empty_like(image)
    kernel = _affine_grey if image.ndim == 2 else _affine_colour
    kernel(image, gains, offsets, white, half, out)
    return out
