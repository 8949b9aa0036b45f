"""Agreement of two 3-D masks: overlap, and distances of their surfaces with the spacing of the voxels.

The definition is that of DeepMind's surface-distance, in three dimensions what ``pairs.py`` has in two. The surface of
a mask is the set of voxel corners whose eight voxels are not all alike; each weighs as much as the area of the surface
that marching cubes (Lorensen and Cline, 1987) draws in the cell around it. Where more than half of the eight voxels are
set, the cell is drawn for the others, so that a mask and its complement have one surface.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from dmseg.errors import UsageError
from dmseg.metrics.pairs import TOLERANCES, Score
from dmseg.metrics.reference import QUANTILE, TIE

Spacing = tuple[float, float, float]


def score_volume(
    reference: Any,
    prediction: Any,
    *,
    spacing: Spacing = (1.0, 1.0, 1.0),
    tolerances: Sequence[float] = TOLERANCES,
) -> Score:
    """Score one predicted 3-D mask against its reference.

    Args:
        reference: (Z, Y, X) bool, or numbers that are all 0 or 1.
        prediction: the same shape.
        spacing: size of a voxel (z, y, x), usually mm; distances and tolerances are in this unit.
        tolerances: NSD tolerances.

    Returns:
        A :class:`~dmseg.metrics.Score`; ``pixel_accuracy`` counts voxels. Empty masks as in ``score``.

    Raises:
        UsageError: not 3-D, different shapes, values other than 0 and 1, or a spacing that is not positive.
    """
    a, b = _as_mask(reference, "reference"), _as_mask(prediction, "prediction")
    if a.shape != b.shape:
        raise UsageError(f"reference is {a.shape} but prediction is {b.shape}; bring both to one grid first")
    sides = tuple(float(value) for value in spacing)
    if len(sides) != 3 or not all(math.isfinite(value) and value > 0 for value in sides):
        raise UsageError(f"spacing {spacing!r}: expected three positive numbers, the voxel size (z, y, x)")
    in_a, in_b, both = (int(np.count_nonzero(mask)) for mask in (a, b, a & b))
    union = in_a + in_b - both
    accuracy = (a.size - union + both) / a.size
    if union == 0:
        return Score(1.0, 1.0, accuracy, dict.fromkeys(tolerances, 1.0), 0.0, 0.0)
    if in_a == 0 or in_b == 0:
        return Score(0.0, 0.0, accuracy, dict.fromkeys(tolerances, 0.0), math.inf, math.inf)
    nsd, quantile, largest = _surface_scores(a, b, (sides[0], sides[1], sides[2]), tolerances)
    return Score(
        both / union, 2 * both / (in_a + in_b), accuracy, dict(zip(tolerances, nsd, strict=True)), quantile, largest
    )


def _as_mask(array: Any, name: str) -> NDArray[np.bool_]:
    values = np.asarray(array)
    if values.ndim != 3 or values.size == 0:
        raise UsageError(f"{name} has shape {values.shape}; a volume is (slices, height, width), at least one voxel")
    if values.dtype == np.bool_:
        return values
    mask = values != 0
    if values.dtype.kind not in "iuf" or not np.array_equal(values, mask):
        raise UsageError(f"{name} has values other than 0 and 1; threshold it first")
    return np.asarray(mask)


def _surface_scores(
    a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: Spacing, tolerances: Sequence[float]
) -> tuple[list[float], float, float]:
    """Return NSD per tolerance, HD95 and HD of two non-empty masks."""
    surfaces = [_surface(mask, spacing) for mask in (a, b)]
    (points_a, areas_a), (points_b, areas_b) = surfaces
    from_a, from_b = _nearest(points_a, points_b), _nearest(points_b, points_a)
    whole = areas_a.sum() + areas_b.sum()
    nsd = [
        float((areas_a[from_a <= limit].sum() + areas_b[from_b <= limit].sum()) / whole)
        for limit in (tolerance * (1 + TIE) for tolerance in tolerances)
    ]
    quantile = max(_quantile(from_a, areas_a), _quantile(from_b, areas_b))
    return nsd, quantile, float(max(from_a.max(), from_b.max()))


def _surface(mask: NDArray[np.bool_], spacing: Spacing) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the surface corners of a mask, (n, 3) in units of the spacing, and their areas (n,)."""
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    cells = np.pad(mask[box], 1).view(np.uint8)
    codes = np.zeros([side - 1 for side in cells.shape], np.uint8)
    for bit, (z, y, x) in enumerate(np.ndindex(2, 2, 2)):
        shape = codes.shape
        codes |= cells[z : z + shape[0], y : y + shape[1], x : x + shape[2]] << (7 - bit)
    points = np.argwhere((codes != 0) & (codes != 255))
    areas = cell_areas(spacing)[codes[tuple(points.T)]]
    start = np.array([part.start for part in box])
    return (points + start) * np.array(spacing), areas


def cell_areas(spacing: Spacing) -> NDArray[np.float64]:
    """Return the area of the surface in a cell of eight voxels, (256,) by code, in units of the spacing.

    Bit ``7 - (4 z + 2 y + x)`` of a code is the voxel at (z, y, x) of the cell.
    """
    z, y, x = spacing
    owner, normals = _cell_triangles()
    scaled = np.linalg.norm(normals * np.array([y * x, z * x, z * y]), axis=1)
    areas: NDArray[np.float64] = np.bincount(owner, weights=scaled, minlength=256).astype(np.float64)
    return areas


@functools.cache
def _cell_triangles() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the codes (n,) and area vectors (n, 3) of all triangles that marching cubes draws in cells of side 1."""
    from skimage.measure import marching_cubes

    owners, vectors = [], []
    for code in range(1, 255):
        drawn = code if code.bit_count() <= 4 else 255 - code
        cell = np.array([drawn >> (7 - bit) & 1 for bit in range(8)], np.float32).reshape(2, 2, 2)
        corners, faces, _, _ = marching_cubes(cell, 0.5, method="lorensen", allow_degenerate=False)  # type: ignore[no-untyped-call]
        first, second, third = (corners[faces[:, k]].astype(np.float64) for k in range(3))
        vectors.append(np.cross(second - first, third - first) / 2)
        owners.append(np.full(len(faces), code))
    return np.concatenate(owners), np.concatenate(vectors)


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = cKDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]
    return distances


def _quantile(distances: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
    """Return the smallest distance within which 95 % of the surface lies."""
    order = np.argsort(distances, kind="stable")
    reached = np.cumsum(areas[order])
    return float(distances[order[int(np.argmax(reached >= (QUANTILE - TIE) * reached[-1]))]])
