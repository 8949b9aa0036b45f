"""Outlines and masks in integer arithmetic: the same bits on every machine.

Coordinates are pixels, x right, y down, integer = pixel centre; an outline holds them as int64 in 1/256 px. Random
numbers and template points enter through IEEE additions, products and one rounding, angles through a table of
integers, and masks are filled by integer comparisons, so no library version or processor can move an edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmseg.rng import Stream
from dmseg.types import Mask

UNIT = 256
TURN = 4096
_ONE = 1 << 14
# No entry lies within 1e-6 of a half, so the rounding is the same for every libm (tested).
SINES: NDArray[np.int64] = np.array([round(math.sin(2 * math.pi * k / TURN) * _ONE) for k in range(TURN)], np.int64)

Outline = NDArray[np.int64]
"""A closed polygon: (n, 2) int64, columns x and y, in 1/256 px."""
Shape = tuple[int, int]


def sine(angle: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 2^14 sin of angles in 1/4096 turn."""
    return SINES[angle % TURN]


def cosine(angle: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 2^14 cos of angles in 1/4096 turn."""
    return SINES[(angle + TURN // 4) % TURN]


def to_fixed_point(values: ArrayLike) -> NDArray[np.int64]:
    """Return pixels as 1/256 px, rounded half up."""
    return np.floor(np.asarray(values, dtype=np.float64) * UNIT + 0.5).astype(np.int64)


def rotate(outline: Outline, angle: int, centre: Sequence[float]) -> Outline:
    """Turn an outline by ``angle`` (1/4096 turn, clockwise on the screen) about ``centre`` (px)."""
    middle = to_fixed_point(centre)
    x, y = (outline - middle).T
    turn = np.array([angle], np.int64)
    c, s = cosine(turn), sine(turn)
    return np.stack([(x * c - y * s) >> 14, (x * s + y * c) >> 14], axis=1) + middle


def blob(
    stream: Stream,
    centre: Sequence[float],
    radii: Sequence[float],
    *,
    angle: int = 0,
    irregular: float = 0.1,
    lobes: int = 6,
    points: int = 96,
) -> Outline:
    """Draw an ellipse whose radius is modulated by the harmonics 2..``lobes``.

    Args:
        stream: two numbers are read per harmonic.
        centre: x, y in px.
        radii: the two half axes in px.
        angle: of the first axis, 1/4096 turn.
        irregular: amplitude of harmonic 2 as a part of the radius; harmonic k has 2/k of it.
        lobes: highest harmonic; 1 gives an ellipse.
        points: number of vertices.
    """
    turn = np.arange(points, dtype=np.int64) * TURN // points
    radius = np.full(points, _ONE, np.int64)
    for k in range(2, lobes + 1):
        amplitude = math.floor(_ONE * irregular * stream.uniform(-1, 1) * 2 / k)
        radius += (amplitude * cosine(k * turn + stream.integer(0, TURN - 1))) >> 14
    radius = np.clip(radius, _ONE // 3, 2 * _ONE)
    rx, ry = to_fixed_point(radii)
    outline = np.stack(
        [(rx * ((radius * cosine(turn)) >> 14)) >> 14, (ry * ((radius * sine(turn)) >> 14)) >> 14], axis=1
    )
    return rotate(outline + to_fixed_point(centre), angle, centre)


def ellipse(centre: Sequence[float], radii: Sequence[float], angle: int = 0, points: int = 64) -> Outline:
    """Return an ellipse as an outline; units as in :func:`blob`."""
    return blob(Stream("ellipse"), centre, radii, angle=angle, lobes=1, points=points)


def curve(control: Outline, per: int = 6, closed: bool = True) -> Outline:
    """Return the Catmull-Rom spline through control points, ``per`` vertices a span, in integers."""
    if closed:
        before, after, last = np.roll(control, 1, 0), np.roll(control, -1, 0), np.roll(control, -2, 0)
        here = control
    else:
        padded = np.concatenate([control[:1], control, control[-1:]])
        before, here, after, last = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    spans = []
    for j in range(per):
        cubic, square, line = j**3, j * j * per, j * per * per
        spans.append(
            2 * per**3 * here
            + line * (after - before)
            + square * (2 * before - 5 * here + 4 * after - last)
            + cubic * (3 * (here - after) + last - before)
        )
    smooth = np.stack(spans, axis=1).reshape(-1, 2) // (2 * per**3)
    return smooth if closed else np.concatenate([smooth, control[-1:]])


def ribbon(line: Outline, half_width: Sequence[float] | float) -> Outline:
    """Return the closed outline of a line of given half width in px (one number, or first and last)."""
    ends = (half_width, half_width) if isinstance(half_width, (int, float)) else tuple(half_width)
    n = len(line)
    step = np.arange(n, dtype=np.int64)
    first, last = to_fixed_point(ends)
    width = first + (last - first) * step // max(n - 1, 1)
    along = line[np.minimum(step + 1, n - 1)] - line[np.maximum(step - 1, 0)]
    length = np.array([max(math.isqrt(int(dx * dx + dy * dy)), 1) for dx, dy in along], np.int64)
    offset = np.stack([-along[:, 1] * width // length, along[:, 0] * width // length], axis=1)
    return np.concatenate([line + offset, (line - offset)[::-1]])


def fill(outline: Outline, shape: Shape) -> Mask:
    """Return the pixels whose centres lie inside an outline (even-odd rule), bool ``shape``."""
    height, width = shape
    top = max(int(outline[:, 1].min()) // UNIT, 0)
    bottom = min(int(outline[:, 1].max()) // UNIT + 1, height)
    mask = np.zeros(shape, np.bool_)
    if bottom <= top:
        return mask
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, 0).T
    centres = np.arange(top, bottom, dtype=np.int64)[:, None] * UNIT
    row, edge = np.nonzero((y0 <= centres) != (y1 <= centres))
    rise = y1[edge] - y0[edge]
    reach = x0[edge] * rise + (centres[row, 0] - y0[edge]) * (x1[edge] - x0[edge])
    # First column whose centre lies beyond the crossing; floor division keeps the comparison exact.
    column = np.clip(reach // (rise * UNIT) + 1, 0, width)
    toggles = np.zeros((bottom - top, width + 1), np.int32)
    np.add.at(toggles, (row, column), 1)
    mask[top:bottom] = (np.cumsum(toggles, axis=1)[:, :width] & 1).astype(np.bool_)
    return mask


def fill_all(outlines: Sequence[Outline], shape: Shape) -> Mask:
    """Return the union of several filled outlines."""
    mask = np.zeros(shape, np.bool_)
    for outline in outlines:
        mask |= fill(outline, shape)
    return mask


def shrink(mask: Mask, pixels: int) -> Mask:
    """Return the mask without ``pixels`` layers of border pixels (4-neighbours); the image's edge does not erode."""
    inside = mask
    for _ in range(pixels):
        padded = np.pad(inside, 1, mode="edge")
        inside = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside


def grow(mask: Mask, pixels: int) -> Mask:
    """Return the mask with ``pixels`` more layers (4-neighbours)."""
    return ~shrink(~mask, pixels)


def _body_units(points: ArrayLike) -> NDArray[np.int64]:
    """Return body coordinates as integers, 2^14 = 1."""
    return np.floor(np.asarray(points, dtype=np.float64).reshape(-1, 2) * _ONE + 0.5).astype(np.int64)


def _parts(stream: Stream, size: float) -> int:
    """Return an integer in -size..size, 2^14 = 1."""
    return math.floor(stream.uniform(-size, size) * _ONE)


class BodyFrame:
    """A body's own coordinates: u, v in about -1..1 from its centre, bent by a smooth keyed warp that all parts share.

    Templates given in body coordinates keep their neighbourhood: what touches in the template touches in the image.
    """

    def __init__(self, stream: Stream, centre: Sequence[float], radii: Sequence[float], bend: float = 0.03) -> None:
        self.centre, self.radii = tuple(centre), tuple(radii)
        self._waves = [
            [
                (_parts(stream, bend), fu, fv, stream.integer(0, TURN - 1))
                for fu, fv in ((0, 1), (1, 0), (1, 1), (1, -1))
            ]
            for _ in range(2)
        ]

    def at(self, points: ArrayLike) -> Outline:
        """Return body coordinates (n, 2) as an outline in 1/256 px."""
        return self._bend(_body_units(points))

    def _bend(self, uv: NDArray[np.int64]) -> Outline:
        moved = uv.copy()
        for axis, waves in enumerate(self._waves):
            for amplitude, fu, fv, phase in waves:
                angle = ((fu * uv[:, 0] + fv * uv[:, 1]) * (TURN // 2) >> 14) + phase
                moved[:, axis] += (amplitude * sine(angle)) >> 14
        return ((moved * to_fixed_point(self.radii)) >> 14) + to_fixed_point(self.centre)

    def template(self, stream: Stream, points: ArrayLike, vary: float = 0.06) -> Outline:
        """Return the smooth outline through template points, moved and scaled by keyed parts of at most ``vary``."""
        control = _body_units(points)
        n = len(control)
        middle = control.sum(axis=0) // n
        spread = control.max(axis=0) - control.min(axis=0)
        scale, shift = (np.array([_parts(stream, vary) for _ in range(2)]) for _ in range(2))
        jitter = np.array([[_parts(stream, vary) for _ in range(2)] for _ in range(n)])
        moved = (
            control + ((control - middle) * scale * 3 // 2 + shift * spread + jitter * spread.min() * 5 // 8) // _ONE
        )
        return curve(self._bend(moved))

    def oval(self, stream: Stream, centre: Sequence[float], radii: Sequence[float], irregular: float = 0.06) -> Outline:
        """Return a slightly irregular ellipse; centre and half axes in body coordinates."""
        x, y = self.at([centre])[0] / UNIT
        return blob(stream, (x, y), (radii[0] * self.radii[0], radii[1] * self.radii[1]), irregular=irregular, lobes=5)
