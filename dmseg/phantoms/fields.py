"""Grey values: keyed random fields, soft edges and painting, in float64.

Values may differ in the last bits between libraries; images are rounded to integers once, at the end. Masks never
come from here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.phantoms.shapes import Shape
from dmseg.rng import Stream
from dmseg.types import Mask

Field = NDArray[np.float64]
_HALF = np.uint64(32)


def normal_field(stream: Stream, shape: Shape) -> Field:
    """Return independent standard normal numbers, float64 ``shape`` (Box-Muller, both branches, one word a pair)."""
    n = shape[0] * shape[1]
    words = stream.words((n + 1) // 2)
    first = ((words >> _HALF).astype(np.float64) + 0.5) * 2.0**-32
    second = (words & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0**-32 * 2 * np.pi)
    radius = np.sqrt(-2.0 * np.log(first))
    return np.concatenate([radius * np.cos(second), radius * np.sin(second)])[:n].reshape(shape)


def _spline_taps(n: int, cell: float) -> tuple[NDArray[np.int64], Field]:
    """Return, for n pixels over knots ``cell`` px apart, the first of four knots (n,) and the cubic weights (4, n)."""
    place = np.arange(n) / cell
    first = np.floor(place).astype(np.int64)
    t = place - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return first, weights


def smooth_field(stream: Stream, shape: Shape, cell: float | tuple[float, float]) -> Field:
    """Return a smooth random field of mean 0 and standard deviation about 1; ``cell`` px (y, x) is its grain."""
    cy, cx = (cell, cell) if isinstance(cell, (int, float)) else cell
    (row, down), (column, across) = (_spline_taps(n, max(c, 1.0)) for n, c in zip(shape, (cy, cx), strict=True))
    knots = normal_field(stream, (int(row[-1]) + 4, int(column[-1]) + 4))
    # Sums of four taps instead of a matrix product: no BLAS threads, and the same order of additions everywhere.
    rows = sum(down[k][:, None] * knots[row + k] for k in range(4))
    field: Field = sum(across[k] * rows[:, column + k] for k in range(4))
    # 0.4794 is the mean sum of squares of cubic B-spline weights per axis: it makes the variance 1 on average.
    return field / 0.4794


def fractal_field(stream: Stream, shape: Shape, cell: float | tuple[float, float], octaves: int = 3) -> Field:
    """Return a sum of smooth fields, each of half the grain and half the strength; standard deviation about 1."""
    cy, cx = (cell, cell) if isinstance(cell, (int, float)) else cell
    total, power = np.zeros(shape), 0.0
    for octave in range(octaves):
        gain = 0.5**octave
        total += gain * smooth_field(stream, shape, (cy * gain, cx * gain))
        power += gain * gain
    field: Field = total / np.sqrt(power)
    return field


def grid(shape: Shape) -> tuple[Field, Field]:
    """Return the y and x of each pixel, two float64 ``shape`` arrays."""
    y, x = np.indices(shape, dtype=np.float64)
    return y, x


def blur(field: NDArray[Any], sigma: float | tuple[float, float]) -> Field:
    """Return the Gaussian blur of a field, sigma in px (y, x)."""
    result: Field = ndimage.gaussian_filter(np.asarray(field, np.float64), sigma, mode="nearest", truncate=3.0)
    return result


def _window(mask: Mask, margin: int) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


def paint(canvas: Field, mask: Mask, value: NDArray[Any] | float, sigma: float = 0.6, opacity: float = 1.0) -> None:
    """Blend ``value`` into ``canvas`` (H, W) or (H, W, 3) in place, with an edge blurred by ``sigma`` px.

    ``value`` is a number, a colour (3,), or an array of the canvas's shape.
    """
    window = _window(mask, int(3 * sigma) + 2)
    if window is None:
        return
    alpha = opacity * (blur(mask[window], sigma) if sigma > 0 else mask[window].astype(np.float64))
    new = np.asarray(value, np.float64)
    if new.ndim >= 2:
        new = new[window]
    alpha = alpha[..., None] if canvas.ndim == 3 else alpha
    canvas[window] += alpha * (new - canvas[window])


def rim(mask: Mask, sigma: float) -> Field:
    """Return a line along the border of a mask: 1 on the edge, falling off over ``sigma`` px."""
    result = np.zeros(mask.shape)
    window = _window(mask, int(3 * sigma) + 2)
    if window is not None:
        soft = blur(mask[window], sigma)
        result[window] = 4 * soft * (1 - soft)
    return result


def depth_inside(mask: Mask) -> Field:
    """Return the distance of each pixel of the mask to its border in px, 0 outside."""
    result = np.zeros(mask.shape)
    window = _window(mask, 1)
    if window is not None:
        padded = np.pad(mask[window], 1)
        result[window] = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
    return result


def to_bytes(image: Field) -> NDArray[np.uint8]:
    """Return an image in [0, 1] as uint8, rounded half up and saturated."""
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
