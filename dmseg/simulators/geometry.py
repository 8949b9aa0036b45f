"""Scan geometry of ultrasound pictures: where the beams run, estimated once on Clear or given by the caller.

A geometry is a JSON-able dictionary in pixels of the picture:

* ``{"kind": "convex", "apex": [x, y], "angles": [first, last], "radii": [near, far]}``: beams leave a virtual apex; angles in
  radians from straight down, positive to the right;
* ``{"kind": "linear", "left": x, "right": x, "top": y, "bottom": y}``: beams run down the columns of a rectangle;
* ``{"kind": "none"}``: no sector found; beams run down the columns of the whole picture.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from dmseg import canonical
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
_MINIMUM_SLOPE = 0.08
_SECTOR_AGREEMENT = 0.9
_RECTANGLE_AGREEMENT = 0.9


def checked_geometry(geometry: Mapping[str, Any]) -> dict[str, Any]:
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


@numba.njit(cache=True, nogil=True)
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
    import json

    geometry = json.loads(geometry_text)
    shape = (height, width)
    if geometry["kind"] == "convex":
        (apex_x, apex_y), (first, last), (near, far) = geometry["apex"], geometry["angles"], geometry["radii"]
        depth, lateral = np.empty(shape, np.float32), np.empty(shape, np.float32)
        numbers = (np.float32(value) for value in (apex_x, apex_y, near, first, 1 / (last - first)))
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
    """Return the beam coordinates of a picture (kept for the last few geometries: operations of one image share them)."""
    return _beams(canonical.canonical_json(geometry), shape[0], shape[1])


def estimate(clear: Image) -> dict[str, Any]:
    """Estimate the scan geometry of an undegraded ultrasound picture (uint8, uint16 or float32).

    The non-black hull is outlined row by row; its two slanted sides meet in the apex. A sector that does not explain the
    hull is not used.
    """
    height, width = clear.shape[:2]
    step = max(1.0, max(height, width) / _WORKING_SIDE)
    small = (max(8, round(width / step)), max(8, round(height / step)))
    grey = clear if clear.ndim == 2 else clear.max(axis=2)
    grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(
        255 / pixels.top(clear)
    )
    hull = _hull(grey)
    if hull is None:
        return {"kind": "none"}
    scale_x, scale_y = width / small[0], height / small[1]
    found = _convex(hull, scale_x, scale_y) or _linear(hull, scale_x, scale_y)
    return found or {"kind": "none"}


def _hull(grey: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Return the filled outline of the largest lit region: for every row all pixels from its first to its last lit one."""
    lit = (cv2.blur(grey, (3, 3)) > _DARK).astype(np.uint8)
    lit = cv2.morphologyEx(lit, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    lit = cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit, connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < 0.05 * grey.size:
        return None
    body = labels == largest
    seen = np.cumsum(body, axis=1) > 0
    return np.asarray(seen & (np.cumsum(body[:, ::-1], axis=1)[:, ::-1] > 0))


def _side(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return (intercept, slope) of the line x = intercept + slope y on which most outline points lie, or None."""
    if rows.size < 8:
        return None
    picked = np.unique(np.linspace(0, rows.size - 1, 48).astype(int))
    first, second = np.triu_indices(picked.size, 6)
    y0, y1, x0, x1 = rows[picked[first]], rows[picked[second]], columns[picked[first]], columns[picked[second]]
    slopes = (x1 - x0) / (y1 - y0)
    intercepts = x0 - slopes * y0
    away = np.abs(columns[None, :] - intercepts[:, None] - slopes[:, None] * rows[None, :])
    votes = (away < 1.2).sum(axis=1)
    best = int(np.argmax(votes))
    if votes[best] < 0.3 * rows.size:
        return None
    near = away[best] < 1.2
    slope, intercept = np.polyfit(rows[near], columns[near], 1)
    return float(intercept), float(slope)


def _convex(hull: NDArray[np.bool_], scale_x: float, scale_y: float) -> dict[str, Any] | None:
    """Return the convex sector that explains the hull, or None."""
    height, width = hull.shape
    rows = np.flatnonzero(hull.any(axis=1))
    left = hull[rows].argmax(axis=1)
    right = width - 1 - hull[rows][:, ::-1].argmax(axis=1)
    sides = []
    for columns, outermost, edge in ((left, left.min(), left > 1), (right, right.max(), right < width - 2)):
        until = int(np.flatnonzero(columns == outermost)[0]) + 1
        kept = edge[:until]
        line = _side(rows[:until][kept].astype(float), columns[:until][kept].astype(float))
        if line is None:
            return None
        sides.append(line)
    (left_0, left_slope), (right_0, right_slope) = sides
    if left_slope > -_MINIMUM_SLOPE or right_slope < _MINIMUM_SLOPE:
        return None
    # From here in pixels of the full picture.
    left_slope, right_slope = left_slope * scale_x / scale_y, right_slope * scale_x / scale_y
    left_0, right_0 = left_0 * scale_x, right_0 * scale_x
    apex_y = (left_0 - right_0) / (right_slope - left_slope)
    apex_x = left_0 + left_slope * apex_y
    lit_y, lit_x = np.nonzero(hull)
    radius = np.hypot(lit_x * scale_x - apex_x, lit_y * scale_y - apex_y)
    angle = np.arctan2(lit_x * scale_x - apex_x, lit_y * scale_y - apex_y)
    first, last = math.atan(left_slope), math.atan(right_slope)
    within = (angle > first) & (angle < last)
    if not within.any():
        return None
    near, far = float(np.quantile(radius[within], 0.002)), float(np.quantile(radius[within], 0.9995))
    grid_y, grid_x = np.mgrid[: hull.shape[0], : hull.shape[1]]
    all_radius = np.hypot(grid_x * scale_x - apex_x, grid_y * scale_y - apex_y)
    all_angle = np.arctan2(grid_x * scale_x - apex_x, grid_y * scale_y - apex_y)
    sector = (all_angle >= first) & (all_angle <= last) & (all_radius >= near) & (all_radius <= far)
    agreement = (sector & hull).sum() / max(1, (sector | hull).sum())
    if agreement < _SECTOR_AGREEMENT or far - near < 8:
        return None
    return _rounded({"kind": "convex", "apex": [apex_x, apex_y], "angles": [first, last], "radii": [near, far]})


def _linear(hull: NDArray[np.bool_], scale_x: float, scale_y: float) -> dict[str, Any] | None:
    """Return the rectangle that explains the hull, or None."""
    rows, columns = np.flatnonzero(hull.mean(axis=1) > 0.1), np.flatnonzero(hull.mean(axis=0) > 0.1)
    if rows.size < 8 or columns.size < 8:
        return None
    box = hull[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if box.mean() < _RECTANGLE_AGREEMENT:
        return None
    return _rounded(
        {
            "kind": "linear",
            "left": columns[0] * scale_x,
            "right": (columns[-1] + 1) * scale_x - 1,
            "top": rows[0] * scale_y,
            "bottom": (rows[-1] + 1) * scale_y - 1,
        }
    )


def _rounded(geometry: dict[str, Any]) -> dict[str, Any]:
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
