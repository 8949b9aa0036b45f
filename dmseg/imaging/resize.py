"""Down-sampling to the stored grid: images by area average, masks by exact area coverage."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError


def compute_stored_size(height: int, width: int, longest: int = 1024) -> tuple[int, int]:
    """Return (height, width) with the longest side at most ``longest``, the other rounded half up, never enlarged.

    >>> stored_size(2000, 3008), stored_size(480, 640)
    ((681, 1024), (480, 640))
    """
    side = max(height, width)
    if side <= longest:
        return height, width
    return max(1, (2 * height * longest + side) // (2 * side)), max(1, (2 * width * longest + side) // (2 * side))


def _check(given: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if min(wanted) < 1 or wanted[0] > given[0] or wanted[1] > given[1]:
        raise UsageError(f"down-sampling goes from {given[0]} x {given[1]} to at most that size, not to {wanted}")


def resize_image(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the area average of (H, W) or (H, W, 3) on a grid of ``size`` (height, width), same dtype.

    Raises:
        UsageError: ``size`` is larger than the image on a side.
    """
    _check(image.shape, size)
    if image.shape[:2] == size:
        return image
    smaller: NDArray[Any] = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return smaller


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which cells of a coarser grid of ``size`` are covered by at least one half, (h, w) bool.

    Coverage is computed in integers, so that a cell of exactly one half counts on every machine. Nearest-neighbour
    sampling would move the centroid by up to half a pixel and lose small objects.

    Raises:
        UsageError: ``size`` is larger than the mask on a side.
    """
    _check(mask.shape, size)
    if mask.shape == size:
        return mask
    small = np.zeros(size, dtype=np.bool_)
    if not mask.any():
        return small
    y, x = (_extent(np.asarray(mask.any(axis=1 - axis))) for axis in (0, 1))
    cells_y, rows = _area_sums(mask[y, x].astype(np.int64), y.start, mask.shape[0], size[0])
    cells_x, covered = _area_sums(rows.T, x.start, mask.shape[1], size[1])
    # Each cell has height x width units, a unit being one source pixel cut into size[0] x size[1] parts.
    doubled = 2 * covered.T
    small[cells_y, cells_x] = doubled >= mask.shape[0] * mask.shape[1]
    return small


def _extent(occupied: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(occupied)
    return slice(int(places[0]), int(places[-1]) + 1)


def _area_sums(values: NDArray[np.int64], start: int, length: int, n: int) -> tuple[slice, NDArray[np.int64]]:
    """Integrate over those of ``n`` equal cells of an axis of ``length`` that some rows reach.

    Args:
        values: (R, M), the rows ``start`` to ``start + R`` of the axis; all others are 0.

    Returns:
        The cells, and the integral over each, in units of 1/n of a row.
    """
    cells = slice(start * n // length, -(-(start + len(values)) * n // length))
    whole, rest = np.divmod(np.arange(cells.start, cells.stop + 1, dtype=np.int64) * length, n)
    padded = np.concatenate([values, np.zeros_like(values[:1])])
    below = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    row = np.clip(whole - start, 0, len(values))
    inside = np.where((whole >= start)[:, None], padded[row] * rest[:, None], 0)
    return cells, np.diff(below[row] * n + inside, axis=0)
