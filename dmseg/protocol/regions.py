"""Regions of a mask in integer arithmetic: components in a fixed order, their inmost pixel, their middle pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.types import Mask

Pixel = tuple[int, int]
"""Row and column."""


def components(region: Mask) -> list[Mask]:
    """Return the 8-connected components of a (H, W) region, largest first, ties by the first pixel in raster order."""
    labels, n = ndimage.label(region, structure=np.ones((3, 3), dtype=int))
    flat = labels.ravel()
    areas = np.bincount(flat, minlength=n + 1)[1:]
    _, first = np.unique(flat, return_index=True)
    first = first[-n:] if n else first[:0]
    return [labels == index + 1 for index in np.lexsort((first, -areas))]


def squared_depth(region: Mask) -> NDArray[np.int64]:
    """Return the squared distance of each pixel of a (H, W) region to the nearest pixel outside of it, 0 elsewhere.

    What lies beyond the frame is outside of the region.
    """
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    result: NDArray[np.int64] = np.rint(depth * depth).astype(np.int64)
    return result


def inmost_pixel(region: Mask) -> Pixel:
    """Return the deepest pixel of a component; among equals the nearest to its centroid, then the first in raster
    order."""
    depth = squared_depth(region)
    return nearest_to_centroid(region, depth == depth.max())


def nearest_to_centroid(region: Mask, among: Mask | None = None) -> Pixel:
    """Return the pixel of ``among`` (default: the region itself) that is nearest to the centroid of the region, the
    first in raster order among equals."""
    rows, columns = np.nonzero(region)
    sum_y, sum_x, n = int(rows.sum()), int(columns.sum()), len(rows)
    if among is not None:
        rows, columns = np.nonzero(among)
    # n * |p - c|^2 without the part that is the same for all p
    badness = n * (rows * rows + columns * columns) - 2 * (rows * sum_y + columns * sum_x)
    best = int(np.argmin(badness))
    return int(rows[best]), int(columns[best])
