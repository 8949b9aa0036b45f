"""Dermoscopy (ISIC): skin with its lines, a pigmented lesion with network and globules, hairs, gel bubbles."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import (
    Field,
    blur,
    depth_inside,
    fractal_field,
    grid,
    normal_field,
    paint,
    smooth_field,
    to_bytes,
)
from dmseg.phantoms.shapes import Shape, blob, curve, ellipse, fill, ribbon, to_fixed_point
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_TABLE = read_packaged_table("dmseg.phantoms", "dermoscopy.toml")


def skin_lesion(stream: Stream, shape: Shape) -> Drawing:
    """Draw one lesion on skin; the structure is the lesion's outline as a dermatologist would trace it."""
    height, width = shape
    side = min(shape)
    skin = np.array(stream.choice(_TABLE["skin"]))
    tone = 1 + 0.035 * fractal_field(stream, shape, side / 3, 3) + 0.03 * _skin_lines(stream, shape)
    image = np.ones((*shape, 3)) * skin * tone[..., None]
    image += 0.02 * smooth_field(stream, shape, side / 5)[..., None] * np.array([1.0, -0.4, -0.2])
    mask = _outline(stream, shape)
    _pigment(stream, image, mask, skin)
    if stream.uniform() < 0.5:
        _hairs(stream, image)
    if stream.uniform() < 0.35:
        _bubbles(stream, image)
    if stream.uniform() < 0.3:
        _ruler(stream, image)
    y, x = grid(shape)
    away = np.hypot((x - width / 2) / width, (y - height / 2) / height)
    image *= (1 - 0.5 * away**2)[..., None]
    if stream.uniform() < 0.35:
        disc = fill(ellipse((width / 2, height / 2), (0.56 * width, 0.56 * width), points=96), shape)
        paint(image, ~disc, 0.03, 2.5)
    image += 0.012 * normal_field(stream, shape)[..., None]
    return Drawing(to_bytes(image), (Structure("lesion", mask),))


def _skin_lines(stream: Stream, shape: Shape) -> Field:
    """Return the rhomboid relief of skin: a mesh of fine lines."""
    mesh = np.abs(smooth_field(stream, shape, 7)) + np.abs(smooth_field(stream, shape, (5, 9)))
    return 0.8 * mesh - 1.2 + 0.4 * smooth_field(stream, shape, 2.5)


def _outline(stream: Stream, shape: Shape) -> Mask:
    height, width = shape
    side = min(shape)
    radius = side * stream.uniform(*_TABLE["radius"])
    centre = (width * stream.uniform(0.38, 0.62), height * stream.uniform(0.4, 0.6))
    radii = (radius * 1.15, radius * stream.uniform(0.7, 1.0))
    irregular = stream.uniform(*_TABLE["irregular"])
    outline = blob(stream, centre, radii, angle=stream.integer(0, 2047), irregular=irregular, lobes=14, points=160)
    return fill(outline, shape)


def _pigment(stream: Stream, image: Field, mask: Mask, skin: Field) -> None:
    """Absorb light in the lesion: uneven brown, network at the rim, globules, regression, red and dark parts."""
    shape = (mask.shape[0], mask.shape[1])
    side = min(shape)
    colour = np.array(stream.choice(_TABLE["lesion"]))
    opacity = stream.uniform(*_TABLE["opacity"])
    depth = depth_inside(mask)
    top = max(float(depth.max()), 1.0)
    soft = blur(mask, stream.uniform(2.0, 7.0))
    uneven = np.clip(0.74 + 0.32 * fractal_field(stream, shape, side / 7, 4), 0.1, 1.2)
    amount = soft * uneven * opacity * (0.72 + 0.28 * np.clip(depth / top * 2, 0, 1))
    image *= 1 - np.clip(amount, 0, 1)[..., None] * (1 - colour / skin)
    patch = blur(mask & (fractal_field(stream, shape, side / 6, 2) > 0.9), 2.0)
    other = np.array(_TABLE[stream.choice(["dark", "blue", "red", "dark"])])
    image += 0.65 * patch[..., None] * (other - image)
    if stream.uniform() < 0.6:
        net = smooth_field(stream, shape, 3.2)
        lines = np.exp(-((net / 0.28) ** 2)) * soft * np.clip(1.3 - depth / top, 0, 1)
        image *= 1 - 0.3 * lines[..., None]
    if stream.uniform() < 0.5:
        rows, columns = np.nonzero(mask)
        for _ in range(stream.integer(10, 40)):
            pick = stream.integer(0, len(rows) - 1)
            spot = ellipse(
                (float(columns[pick]), float(rows[pick])),
                (stream.uniform(1.2, 2.6), stream.uniform(1.2, 2.2)),
                points=16,
            )
            paint(image, fill(spot, shape), image * 0.6, 0.8)


def _hairs(stream: Stream, image: Field) -> None:
    height, width = image.shape[:2]
    for _ in range(stream.integer(4, 16)):
        x, y = stream.uniform(0, width), stream.uniform(0, height)
        dx, dy = stream.uniform(-1, 1) * width * 0.12, stream.uniform(-1, 1) * height * 0.12
        points = [(x, y)]
        for _ in range(4):
            dx, dy = dx + stream.uniform(-0.03, 0.03) * width, dy + stream.uniform(-0.03, 0.03) * height
            x, y = x + dx, y + dy
            points.append((x, y))
        line = ribbon(curve(to_fixed_point(points), closed=False), stream.uniform(0.5, 1.1))
        paint(image, fill(line, (height, width)), np.array(_TABLE["hair"]), 0.5, opacity=0.85)


def _bubbles(stream: Stream, image: Field) -> None:
    """Air in the immersion gel: bright rings."""
    height, width = image.shape[:2]
    for _ in range(stream.integer(2, 7)):
        centre = (stream.uniform(0, width), stream.uniform(0, height))
        radius = stream.uniform(0.008, 0.025) * width
        outer = fill(ellipse(centre, (radius, radius)), (height, width))
        inner = fill(ellipse(centre, (radius * 0.75, radius * 0.75)), (height, width))
        paint(image, outer & ~inner, image * 0.6 + 0.4, 0.6)


def _ruler(stream: Stream, image: Field) -> None:
    """Millimetre marks along the lower border, or an ink dot of the surgeon's pen."""
    height, width = image.shape[:2]
    if stream.uniform() < 0.5:
        ink = blob(
            stream,
            (stream.uniform(0.05, 0.2) * width, stream.uniform(0.1, 0.9) * height),
            (0.05 * width, 0.02 * width),
            irregular=0.3,
        )
        paint(image, fill(ink, (height, width)), np.array(_TABLE["ink"]), 1.5, opacity=0.6)
        return
    base = 0.95 * height
    for k in range(24):
        x = (0.08 + 0.035 * k) * width
        tall = (0.035 if k % 5 == 0 else 0.02) * height
        mark = ribbon(to_fixed_point([(x, base), (x, base - tall)]), 0.6)
        paint(image, fill(mark, (height, width)), 0.15, 0.4, opacity=0.8)
