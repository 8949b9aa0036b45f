"""Masks from what annotation files hold: polygons, runs of pixels, colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.types import Image, Mask


def polygon_mask(points: Sequence[tuple[float, float]], shape: tuple[int, int]) -> Mask:
    """Return the filled polygon, boundary included, as bool (H, W).

    Args:
        points: at least three (x, y) in pixels, integer = pixel centre; rounded to whole pixels.
        shape: height and width.

    Raises:
        ValueError: fewer than three points, or a coordinate that is no finite number.
    """
    corners = np.array(points, dtype=np.float64)
    if corners.ndim != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("a polygon needs three or more finite points")
    # Far outside any image the exact place of a corner is the same; it keeps the integers of the fill small.
    corners = np.clip(np.rint(corners), -1e6, 1e6).astype(np.int32)
    mask = np.zeros(shape, dtype=np.uint8)
    cv2.fillPoly(mask, [corners], 1)
    return mask.astype(np.bool_)


def coco_polygon_mask(numbers: Sequence[float], shape: tuple[int, int]) -> Mask:
    """Return a polygon of a COCO annotation as pycocotools fills it, bool (H, W), bit for bit.

    The outline is traced on a grid five times as fine, and a pixel belongs to the object where its centre lies inside.
    Fewer than three corners give an empty mask.

    Args:
        numbers: x, y, x, y, ... in pixels from the image's corner (a pixel's centre is at .5).
        shape: height and width.

    Raises:
        ValueError: an odd number of numbers, or one that is not finite.
    """
    corners = np.asarray(numbers, dtype=np.float64)
    if corners.ndim != 1 or len(corners) % 2 or not np.isfinite(corners).all():
        raise ValueError("a polygon needs pairs of finite numbers")
    height, width = shape
    if len(corners) < 6:
        return np.zeros(shape, dtype=np.bool_)
    fine = np.trunc(np.clip(corners, -1e6, 1e6) * 5 + 0.5).astype(np.int64).reshape(-1, 2)
    u, v = _trace(fine)
    # Where the outline steps to another fine column, the pixel column in the middle of that step is crossed.
    step = np.flatnonzero(u[1:] != u[:-1]) + 1
    column = (np.minimum(u[step], u[step - 1]) + 0.5) / 5 - 0.5
    row = np.ceil(np.clip((np.minimum(v[step], v[step - 1]) + 0.5) / 5 - 0.5, 0, height)).astype(np.int64)
    crossed = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    toggles = np.zeros(height * width + 1, dtype=np.int64)
    np.add.at(toggles, column[crossed].astype(np.int64) * height + row[crossed], 1)
    inside = np.cumsum(toggles[:-1]) % 2 == 1
    return np.ascontiguousarray(inside.reshape(width, height).T)


def _trace(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return x and y of the points of a closed outline, one for each unit of an edge's longer direction."""
    xs, ys = [], []
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        across, down = abs(int(x1) - int(x0)), abs(int(y1) - int(y0))
        # Each edge is traced in the direction in which its longer coordinate grows, so that rounding has one direction.
        turned = (across >= down and x0 > x1) or (across < down and y0 > y1)
        (xa, ya), (xb, yb) = ((x1, y1), (x0, y0)) if turned else ((x0, y0), (x1, y1))
        count = max(across, down)
        along = np.arange(count + 1)
        along = along[::-1] if turned else along
        slope = (yb - ya) / count if across >= down and count else (xb - xa) / count if count else 0.0
        if across >= down:
            xs.append(along + xa)
            ys.append(np.trunc(ya + slope * along + 0.5).astype(np.int64))
        else:
            ys.append(along + ya)
            xs.append(np.trunc(xa + slope * along + 0.5).astype(np.int64))
    return np.concatenate(xs), np.concatenate(ys)


def starts_lengths_mask(text: str, shape: tuple[int, int]) -> Mask:
    """Return the mask of Kaggle's runs: ``start length start length ...``, column by column, 1-based.

    Raises:
        ValueError: not pairs of numbers, or a run that leaves the image.
    """
    numbers = np.array(text.split(), dtype=np.int64)
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    size = shape[0] * shape[1]
    if len(starts) != len(lengths) or (starts < 0).any() or (lengths < 0).any() or (starts + lengths > size).any():
        raise ValueError(f"runs do not fit an image of {shape[1]}x{shape[0]}")
    edges = np.zeros(size + 1, dtype=np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + lengths, -1)
    return np.ascontiguousarray((np.cumsum(edges[:-1]) > 0).reshape(shape, order="F"))


def nearest_colour(pixels: Image, palette: NDArray[Any], pure_within: float, core: int) -> NDArray[np.intp]:
    """Return the palette index of each pixel, (H, W), of a drawing whose edges are soft.

    A soft edge passes through the colours between its two sides, and these can be near, or exactly, a third colour of
    the palette: half yellow on black is nearest to purple, 39 % magenta on black is purple itself. So the nearest
    colour is believed only where a pixel is near it and part of an area of that colour; every other pixel takes the
    index of the nearest believed one.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        palette: (N, 3) RGB 0..255.
        pure_within: Euclidean RGB distance up to which a pixel has a palette colour.
        core: side in pixels of the square that an area must hold somewhere; narrower ones are edges.
    """
    # One number per colour: sorting those is many times faster than sorting triples.
    codes, inverse = np.unique(pixels.reshape(-1, 3) @ np.array([65536, 256, 1]), return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    distance = np.linalg.norm(colours[:, None, :].astype(np.float64) - palette[None].astype(np.float64), axis=2)
    shape = pixels.shape[:2]
    nearest = distance.argmin(axis=1)[inverse].reshape(shape)
    pure = (distance.min(axis=1) <= pure_within)[inverse].reshape(shape)
    square = np.ones((core, core), dtype=np.bool_)
    believed = np.zeros(shape, dtype=np.bool_)
    for index in np.unique(nearest):
        believed |= ndimage.binary_opening(pure & (nearest == index), square)
    if believed.any():
        rows, columns = ndimage.distance_transform_edt(~believed, return_distances=False, return_indices=True)
        nearest = nearest[rows, columns]
    return np.asarray(nearest, dtype=np.intp)
