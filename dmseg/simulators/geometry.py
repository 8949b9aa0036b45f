"""Scan geometry of ultrasound images: where the beams run, estimated once on Clear or given by the caller.

A geometry is a JSON-able dictionary in pixels of the image:

* ``{"kind": "convex", "apex": [x, y], "angles": [first, last], "radii": [near, far]}``: beams leave a virtual apex;
angles in
  radians from straight down, positive to the right;
* ``{"kind": "linear", "left": x, "right": x, "top": y, "bottom": y}``: beams run down the columns of a rectangle;
* ``{"kind": "none"}``: no sector found; beams run down the columns of the whole image.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg import canonical
from dmseg.compiled import compile_function
from dmseg.errors import UsageError, unknown_name
from dmseg.simulators import pixels
from dmseg.types import Image

KINDS: tuple[str, ...] = ("convex", "linear", "none")
_KEYS: dict[str, dict[str, int]] = {
    "convex": {"apex": 2, "angles": 2, "radii": 2},
    "linear": {"left": 0, "right": 0, "top": 0, "bottom": 0},
    "none": {},
}

# Of the estimate, in 8-bit greys, shares and radians; chosen on real and synthetic sectors.
_DARK = 6.0
_WORKING_SIDE = 256
_MINIMUM_ANGLE = 0.08
_MAXIMUM_ANGLE = 1.5
_LINE_WIDTH = 1.2
_SECTOR_AGREEMENT = 0.85
_RECTANGLE_AGREEMENT = 0.9


def check_geometry(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a caller's geometry if it is complete, else raise :class:`UsageError` naming what is wrong."""
    kind = str(geometry.get("kind"))
    if kind not in KINDS:
        raise unknown_name("kind of geometry", kind, KINDS)
    wanted = _KEYS[kind]
    if set(geometry) != {"kind", *wanted}:
        raise UsageError(f"a {kind} geometry has the keys {', '.join(['kind', *wanted])}; got {', '.join(geometry)}")
    result: dict[str, Any] = {"kind": kind}
    for name, count in wanted.items():
        value = np.asarray(geometry[name], float)
        if value.shape != ((count,) if count else ()) or not np.isfinite(value).all():
            numbers = "2 numbers" if count else "a number"
            raise UsageError(f"geometry {name} must be {numbers}, got {geometry[name]!r}")
        result[name] = value.tolist()
    return result


@dataclass(frozen=True)
class Beams:
    """Beam coordinates of every pixel.

    Attributes:
        depth: float32 (H, W), px from the probe's face along the beam.
        lateral: float32 (H, W), 0 at the first beam and 1 at the last.
        inside: bool (H, W), the scan sector.
        deepest: largest depth inside, px.
        width: length of the arc (or line) across all beams at the deepest point, px.
        near: radius of the probe's face, px (0 for parallel beams).
        spread: angle between the first and the last beam, radians (0 for parallel beams).
    """

    depth: NDArray[np.float32]
    lateral: NDArray[np.float32]
    inside: NDArray[np.bool_]
    deepest: float
    width: float
    near: float
    spread: float


@compile_function
def _polar(apex_x, apex_y, near, first, scale, depth, lateral):  # type: ignore[no-untyped-def]
    # arctan by Abramowitz and Stegun 4.4.49 (error 2e-8): it vectorises, the library call does not.
    for y in range(depth.shape[0]):
        dy = np.float32(y) - apex_y
        depth_row, lateral_row = depth[y], lateral[y]
        for x in range(depth_row.size):
            dx = np.float32(x) - apex_x
            depth_row[x] = np.sqrt(dx * dx + dy * dy) - near
            large = max(abs(dx), abs(dy)) + np.float32(1e-12)
            a = min(abs(dx), abs(dy)) / large
            s = a * a
            angle = np.float32(0.0028662257)
            angle = angle * s - np.float32(0.0161657367)
            angle = angle * s + np.float32(0.0429096138)
            angle = angle * s - np.float32(0.0752896400)
            angle = angle * s + np.float32(0.1065626393)
            angle = angle * s - np.float32(0.1420889944)
            angle = angle * s + np.float32(0.1999355085)
            angle = angle * s - np.float32(0.3333314528)
            angle = (angle * s + np.float32(1)) * a
            angle = np.float32(1.57079632679) - angle if abs(dx) > abs(dy) else angle
            angle = np.float32(3.14159265359) - angle if dy < 0 else angle
            angle = -angle if dx < 0 else angle
            lateral_row[x] = (angle - first) * scale


@functools.lru_cache(4)
def _beams(geometry_text: str, height: int, width: int) -> Beams:
    geometry = json.loads(geometry_text)
    shape = (height, width)
    if geometry["kind"] == "convex":
        (apex_x, apex_y), (first, last), (near, far) = geometry["apex"], geometry["angles"], geometry["radii"]
        depth, lateral = np.empty(shape, np.float32), np.empty(shape, np.float32)
        numbers = [np.float32(value) for value in (apex_x, apex_y, near, first, 1 / (last - first))]
        _polar(*numbers, depth, lateral)
        inside = (lateral >= 0) & (lateral <= 1) & (depth >= 0) & (depth <= far - near)
        return Beams(depth, lateral, inside, far - near, far * (last - first), near, last - first)
    left, right = geometry.get("left", 0.0), geometry.get("right", width - 1.0)
    upper, lower = geometry.get("top", 0.0), geometry.get("bottom", height - 1.0)
    across = ((np.arange(width) - left) / max(right - left, 1.0)).astype(np.float32)
    down = (np.arange(height) - upper).astype(np.float32)
    depth = np.repeat(down[:, None], width, axis=1)
    lateral = np.repeat(across[None, :], height, axis=0)
    inside = ((down >= 0) & (down <= lower - upper))[:, None] & ((across >= 0) & (across <= 1))[None, :]
    return Beams(depth, lateral, inside, lower - upper, right - left, 0.0, 0.0)


def beams(geometry: Mapping[str, Any], shape: tuple[int, ...]) -> Beams:
    """Return the beam coordinates of an image (the last few are kept: operations of one image share them)."""
    return _beams(canonical.canonical_json(geometry), shape[0], shape[1])


def estimate(clear: Image) -> dict[str, Any]:
    """Estimate the scan geometry of an undegraded ultrasound image (uint8, uint16 or float32).

    The non-black region is filled column by column; the two straight flanks of its upper outline meet in the apex. A
    sector that does not explain the hull is not used.
    """
    height, width = clear.shape[:2]
    step = max(1.0, max(height, width) / _WORKING_SIDE)
    small = (max(8, round(width / step)), max(8, round(height / step)))
    grey = clear if clear.ndim == 2 else clear.max(axis=2)
    grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(
        255 / pixels.top(clear)
    )
    body = _body(grey)
    if body is None:
        return {"kind": "none"}
    seen = np.cumsum(body, axis=0) > 0
    hull = seen & (np.cumsum(body[::-1], axis=0)[::-1] > 0)
    scale_x, scale_y = width / small[0], height / small[1]
    found = _convex(hull, body, scale_x, scale_y) or _linear(hull, scale_x, scale_y)
    return found or {"kind": "none"}


def _body(grey: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Return the largest lit region, or None."""
    lit = (cv2.blur(grey, (3, 3)) > _DARK).astype(np.uint8)
    closed = cv2.morphologyEx(lit, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < 0.05 * grey.size:
        return None
    return np.asarray(labels == largest)


def _side(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return (point, unit direction pointing down) of the line on which most outline points lie, or None.

    Every pair of 48 evenly spaced points votes; points are (n, 2), x and y.
    """
    if len(points) < 8:
        return None
    picked = points[np.unique(np.linspace(0, len(points) - 1, 48).astype(int))]
    first, second = np.triu_indices(len(picked), 5)
    direction = picked[second] - picked[first]
    length = np.hypot(direction[:, 0], direction[:, 1])
    direction, first = direction[length > 6] / length[length > 6, None], first[length > 6]
    if len(first) == 0:
        return None
    offset = points[None, :, :] - picked[first][:, None, :]
    away = np.abs(offset[..., 0] * direction[:, None, 1] - offset[..., 1] * direction[:, None, 0])
    votes = (away < _LINE_WIDTH).sum(axis=1)
    best = int(np.argmax(votes))
    if votes[best] < 0.3 * len(points):
        return None
    near = points[away[best] < _LINE_WIDTH]
    centre = near.mean(axis=0)
    axis = np.linalg.svd(near - centre, full_matrices=False)[2][0]
    return centre, axis if axis[1] > 0 else -axis


def _flanks(hull: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the upper outline from either end to the near corner of the probe's face; (n, 2) each."""
    columns = np.flatnonzero(hull.any(axis=0))
    upper = hull[:, columns].argmax(axis=0)
    # The face is near the middle; scales and letters at the rim of the image may reach higher.
    first, middle = columns.size // 6, columns.size // 2
    left_corner = first + int(np.argmin(upper[first : middle + 1]))
    right_corner = columns.size - 1 - first - int(np.argmin(upper[middle : columns.size - first][::-1]))
    parts = (slice(0, left_corner + 1), slice(right_corner, None))
    points = [np.stack([columns[part], upper[part]], axis=1).astype(np.float64) for part in parts]
    return [part[part[:, 1] > 1] for part in points]


def _convex(hull: NDArray[np.bool_], body: NDArray[np.bool_], scale_x: float, scale_y: float) -> dict[str, Any] | None:
    """Return the convex sector that explains the hull, or None."""
    scale = np.array([scale_x, scale_y])
    left_line, right_line = (_side(points) for points in _flanks(hull))
    if left_line is None or right_line is None:
        return None
    # From here in pixels of the full image.
    left_point, left, right_point, right = (part * scale for part in left_line + right_line)
    first, last = math.atan2(left[0], left[1]), math.atan2(right[0], right[1])
    if first > -_MINIMUM_ANGLE or last < _MINIMUM_ANGLE or max(-first, last) > _MAXIMUM_ANGLE:
        return None
    along = np.linalg.solve(np.stack([left, -right], axis=1), right_point - left_point)[0]
    apex_x, apex_y = left_point + along * left
    grid_y, grid_x = np.mgrid[: hull.shape[0], : hull.shape[1]]
    radius = np.hypot(grid_x * scale_x - apex_x, grid_y * scale_y - apex_y)
    angle = np.arctan2(grid_x * scale_x - apex_x, grid_y * scale_y - apex_y)
    between = (angle >= first) & (angle <= last)
    if not (between & body).any():
        return None
    near, far = (float(value) for value in np.quantile(radius[between & body], (0.002, 0.9995)))
    sector = between & (radius >= near) & (radius <= far)
    agreement = (sector & hull).sum() / max(1, (sector | (hull & (radius >= near))).sum())
    if agreement < _SECTOR_AGREEMENT or far - near < 8:
        return None
    return _round_numbers({"kind": "convex", "apex": [apex_x, apex_y], "angles": [first, last], "radii": [near, far]})


def _linear(hull: NDArray[np.bool_], scale_x: float, scale_y: float) -> dict[str, Any] | None:
    """Return the rectangle that explains the hull, or None."""
    rows, columns = np.flatnonzero(hull.mean(axis=1) > 0.1), np.flatnonzero(hull.mean(axis=0) > 0.1)
    if rows.size < 8 or columns.size < 8:
        return None
    box = hull[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if box.mean() < _RECTANGLE_AGREEMENT:
        return None
    return _round_numbers(
        {
            "kind": "linear",
            "left": columns[0] * scale_x,
            "right": (columns[-1] + 1) * scale_x - 1,
            "top": rows[0] * scale_y,
            "bottom": (rows[-1] + 1) * scale_y - 1,
        }
    )


def _round_numbers(geometry: dict[str, Any]) -> dict[str, Any]:
    """Return measured numbers with 6 significant digits."""

    def short(value: Any) -> Any:
        return [short(item) for item in value] if isinstance(value, list) else float(f"{float(value):.6g}")

    return {name: value if name == "kind" else short(value) for name, value in geometry.items()}


REFLECTOR_BEAMS = 32
_DEPTH_BINS = 64


def reflectors(clear: Image, geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the bright interfaces lie, as shares of the depth.

    Returns:
        ``reflectors``: for each of 32 beams the depth of its brightest smoothed echo between 15 and 65 % of the depth;
        ``interface``: depth of the brightest echo of all beams together between 4 and 35 %.
    """
    where = beams(geometry, clear.shape)
    step = max(1, min(clear.shape[:2]) // 256)
    part = (slice(None, None, step), slice(None, None, step))
    inside = where.inside[part]
    grey = pixels.unit(clear[part] if clear.ndim == 2 else np.ascontiguousarray(clear[part].max(axis=2)))[inside]
    beam = np.minimum((where.lateral[part][inside] * REFLECTOR_BEAMS).astype(int), REFLECTOR_BEAMS - 1)
    row = np.minimum((where.depth[part][inside] / max(where.deepest, 1) * _DEPTH_BINS).astype(int), _DEPTH_BINS - 1)
    cells = np.bincount(beam * _DEPTH_BINS + row, grey, REFLECTOR_BEAMS * _DEPTH_BINS)
    counts = np.bincount(beam * _DEPTH_BINS + row, None, REFLECTOR_BEAMS * _DEPTH_BINS)
    mean = (cells / np.maximum(counts, 1)).reshape(REFLECTOR_BEAMS, _DEPTH_BINS)
    smooth = cv2.GaussianBlur(mean, (0, 0), 1.0)

    def brightest(profile: NDArray[np.float64], low: float, high: float) -> float:
        first, last = int(low * _DEPTH_BINS), int(high * _DEPTH_BINS)
        return round((first + int(np.argmax(profile[first:last])) + 0.5) / _DEPTH_BINS, 4)

    return {
        "reflectors": [brightest(profile, 0.15, 0.65) for profile in smooth],
        "interface": brightest(mean.mean(axis=0), 0.04, 0.35),
    }
