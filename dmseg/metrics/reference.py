"""Boundary distances written for reading: any spacing, both boundary conventions, both HD95 rules.

The fast path (``fast.py``) computes the default definition and must agree with this module to 1e-9; everything that is
not the default (anisotropic pixels, ``boundary="pixel"``, ``hd95="pooled"``) is computed here.

Vertex boundary (as DeepMind's surface-distance): the points where four pixels meet and are not all alike, with the
length of the marching-squares contour at that point as weight. Pixel boundary (as MONAI, MedPy): centres of mask pixels
that have a background 4-neighbour, all of weight 1. Outside of the image is background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

QUANTILE = 0.95
TIE = 1e-9
"""Slack, relative to the unit of length, that keeps a quantile or a tolerance from hanging on the last bit."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Boundary points of one mask.

    Attributes:
        points: (n, 2) int64, row and column on the grid of the convention.
        pieces: (n, k) int64, how many pieces of each of k lengths belong to a point.
        lengths: (k,) float64, those lengths in units of the spacing. The weight of a point is ``pieces @ lengths``;
            keeping the integers makes sums exact whatever their order.
    """

    points: NDArray[np.int64]
    pieces: NDArray[np.int64]
    lengths: NDArray[np.float64]


def vertex_boundary(mask: NDArray[np.uint8], spacing: tuple[float, float]) -> Boundary:
    """Return the vertices of a (H, W) 0/1 mask whose four pixels differ; vertex (i, j) is the corner above-left of
    pixel (i, j), so coordinates run to H and W."""
    padded = np.pad(mask, 1)
    top_left, top_right, bottom_left, bottom_right = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    count = top_left + top_right + bottom_left + bottom_right
    points = np.argwhere((count > 0) & (count < 4))
    rows, columns = points[:, 0], points[:, 1]
    two = count[rows, columns] == 2
    same_column = top_left[rows, columns] == bottom_left[rows, columns]
    same_row = top_left[rows, columns] == top_right[rows, columns]
    halves = np.where(two, np.where(same_column | same_row, 0, 2), 1)
    pieces = np.stack([two & same_column, two & same_row, halves], axis=1).astype(np.int64)
    lengths = np.array([spacing[0], spacing[1], 0.5 * math.hypot(*spacing)])
    return Boundary(points.astype(np.int64), pieces, lengths)


def pixel_boundary(mask: NDArray[np.uint8], spacing: tuple[float, float]) -> Boundary:
    """Return the pixels of a (H, W) 0/1 mask that a 4-neighbour erosion removes, each of weight 1."""
    inner = ndimage.binary_erosion(mask, border_value=0)
    points = np.argwhere((mask != 0) & ~inner).astype(np.int64)
    return Boundary(points, np.ones((len(points), 1), dtype=np.int64), np.ones(1))


def nearest_distances(
    points: NDArray[np.int64], others: NDArray[np.int64], spacing: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the distance of each point to the nearest of ``others``, (n,) float64 in units of the spacing.

    With unit spacing each value is the correctly rounded root of an integer.
    """
    scale = np.array(spacing)
    _, index = cKDTree(others * scale).query(points * scale)
    offset = (points - others[index]) * scale
    result: NDArray[np.float64] = np.sqrt((offset * offset).sum(axis=1))
    return result


def step_quantile(distances: NDArray[np.float64], boundary: Boundary, tie: float) -> float:
    """Return the smallest distance at which the accumulated boundary length reaches 95 % of the whole."""
    order = np.argsort(distances, kind="stable")
    reached = np.cumsum(boundary.pieces[order], axis=0) @ boundary.lengths
    first = int(np.argmax(reached >= QUANTILE * reached[-1] - tie))
    return float(distances[order[first]])


def length_within(distances: NDArray[np.float64], boundary: Boundary, tolerance: float) -> float:
    """Return the boundary length whose distance is at most ``tolerance``."""
    within = distances <= tolerance * (1 + TIE)
    return float(boundary.pieces[within].sum(axis=0) @ boundary.lengths)


def boundary_scores(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    spacing: tuple[float, float],
    tolerances: Sequence[float],
    boundary: str,
    hd95: str,
) -> tuple[list[float], float, float]:
    """Return NSD per tolerance, HD95 and HD of two non-empty (H, W) 0/1 masks."""
    extract = vertex_boundary if boundary == "vertex" else pixel_boundary
    a, b = extract(reference, spacing), extract(prediction, spacing)
    from_a = nearest_distances(a.points, b.points, spacing)
    from_b = nearest_distances(b.points, a.points, spacing)
    both = np.concatenate([from_a, from_b])
    pooled = Boundary(np.concatenate([a.points, b.points]), np.concatenate([a.pieces, b.pieces]), a.lengths)
    length = float(pooled.pieces.sum(axis=0) @ pooled.lengths)
    nsd = [length_within(both, pooled, tolerance) / length for tolerance in tolerances]
    groups = [(both, pooled)] if hd95 == "pooled" else [(from_a, a), (from_b, b)]
    if boundary == "vertex":
        quantile = max(step_quantile(distances, part, TIE * min(spacing)) for distances, part in groups)
    else:
        quantile = max(float(np.percentile(distances, 100 * QUANTILE)) for distances, _ in groups)
    return nsd, quantile, float(both.max())
