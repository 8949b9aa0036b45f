"""Panoramic dental radiographs (ToothSeg): both jaws unrolled, teeth with enamel, dentine, pulp, roots and fillings."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import Field, blur, fractal_field, grid, normal_field, paint, rim, smooth_field, to_bytes
from dmseg.phantoms.shapes import Outline, Shape, curve, ellipse, fill, ribbon, rotate, shrink, to_fixed_point
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_OUTLINES = read_packaged_table("dmseg.phantoms", "templates.toml")["tooth"]

DENSITY: dict[str, float] = read_packaged_table("dmseg.phantoms", "xray.toml")["panoramic"]
PER_SIDE = 8
# Relative crown widths from the middle outwards: incisors, canine, premolars, molars.
UPPER = (1.0, 0.8, 0.92, 0.88, 0.88, 1.25, 1.2, 1.05)
LOWER = (0.68, 0.74, 0.86, 0.88, 0.9, 1.35, 1.3, 1.2)


def panoramic(stream: Stream, shape: Shape) -> Drawing:
    """Draw one film; the structure "teeth" is the union of all teeth."""
    height, width = shape
    density = DENSITY["soft"] * (1 + 0.12 * smooth_field(stream, shape, height / 3))
    _jaws(stream, density, shape)
    teeth = np.zeros(shape, np.bool_)
    bend = stream.uniform(0.1, 0.17) * height
    middle = (width * stream.uniform(0.485, 0.515), height * stream.uniform(0.5, 0.54))
    for upper in (True, False):
        for mask, outline in _row(stream, shape, middle, bend, upper, teeth):
            _tooth(stream, density, mask, outline, upper)
            teeth |= mask
    image = 1 - np.exp(-np.clip(density, 0, None))
    image += DENSITY["noise"] * normal_field(stream, shape)
    _, x = grid(shape)
    edge = np.clip(np.minimum(x, width - 1 - x) / (0.05 * width), 0, 1)
    return Drawing(to_bytes(image * (0.35 + 0.65 * edge)), (Structure("teeth", teeth),))


def _jaws(stream: Stream, density: Field, shape: Shape) -> None:
    """Mandible with its branches and canal, palate, sinuses, nose, and the blurred shadow of the spine."""
    height, width = shape
    x0 = width / 2
    side = np.array([(-0.4, 0.16), (-0.415, 0.34), (-0.37, 0.62), (-0.27, 0.82), (-0.12, 0.92)])
    line = np.concatenate([side, [(0.0, 0.935)], side[::-1] * (-1, 1)]) * (width, height) + (x0, 0)
    inner = np.array([(-0.33, 0.14), (-0.335, 0.36), (-0.31, 0.54), (-0.2, 0.6), (-0.08, 0.62)])
    top = np.concatenate([inner, inner[::-1] * (-1, 1)]) * (width, height) + (x0, 0)
    mandible = fill(
        np.concatenate([curve(to_fixed_point(line), closed=False), curve(to_fixed_point(top), closed=False)[::-1]]),
        shape,
    )
    grain = fractal_field(stream, shape, 5, 2)
    density += DENSITY["bone"] * blur(mandible, 1.5) * (1 + 0.14 * grain)
    lower_edge = fill(ribbon(curve(to_fixed_point(line), closed=False), 2.2), shape)
    density += DENSITY["cortex"] * blur(lower_edge, 1.0)
    canal = [(x0 + s * width * u, height * v) for s in (1,) for u, v in ((-0.34, 0.5), (-0.28, 0.68), (-0.18, 0.78))]
    for sign in (-1, 1):
        points = [(x0 + sign * (x - x0), y) for x, y in canal]
        density -= 0.1 * blur(fill(ribbon(curve(to_fixed_point(points), closed=False), 2.2), shape), 1.2)
    maxilla = fill(ellipse((x0, height * 0.3), (0.27 * width, 0.23 * height)), shape)
    density += 0.7 * DENSITY["bone"] * blur(maxilla, 3) * (1 + 0.12 * grain)
    for sign in (-1, 1):
        sinus = fill(
            ellipse((x0 + sign * 0.17 * width, height * 0.2), (0.09 * width, 0.11 * height), sign * 120), shape
        )
        density += DENSITY["air"] * blur(sinus, 2.0) + 0.22 * rim(sinus, 1.2)
    nose = fill(ellipse((x0, height * 0.14), (0.055 * width, 0.12 * height)), shape)
    density += DENSITY["air"] * blur(nose, 2.0)
    density += 0.2 * blur(fill(ribbon(to_fixed_point([(x0, 0), (x0, height * 0.22)]), 1.2), shape), 0.8)
    palate = curve(
        to_fixed_point([(x0 + t * width, height * (0.29 + 0.12 * t * t)) for t in (-0.3, -0.15, 0.0, 0.15, 0.3)]),
        closed=False,
    )
    density += 0.3 * blur(fill(ribbon(palate, 1.3), shape), 1.0)
    _, x = grid(shape)
    density += DENSITY["spine_ghost"] * np.exp(-(((x - x0) / (0.06 * width)) ** 2))
    for sign in (-1, 1):
        density += 0.7 * DENSITY["spine_ghost"] * np.exp(-(((x - x0 - sign * 0.47 * width) / (0.05 * width)) ** 2))


def _row(
    stream: Stream, shape: Shape, middle: tuple[float, float], bend: float, upper: bool, taken: Mask
) -> list[tuple[Mask, Outline]]:
    """Return the teeth of one jaw, from the middle outwards on both sides, some missing."""
    height, width = shape
    sizes = UPPER if upper else LOWER
    unit = width * stream.uniform(0.0185, 0.0205)
    away = -1 if upper else 1
    row: list[tuple[Mask, Outline]] = []
    covered = taken.copy()
    for side in (-1, 1):
        x = middle[0] + side * 0.004 * width
        for index in range(PER_SIDE):
            half = unit * sizes[index] * stream.uniform(0.94, 1.05)
            x += side * (half + 0.4)
            place = (x - middle[0]) / (0.5 * width)
            face = middle[1] - bend * place * place * 2.2 + away * height * 0.012
            x += side * half
            if stream.uniform() < (0.35 if index == PER_SIDE - 1 else 0.07):
                continue
            long = height * (0.115 if index in (2,) else 0.1) * stream.uniform(0.92, 1.08)
            template = np.array(_OUTLINES["molar"] if index >= 5 else _OUTLINES["single"], np.float64) * (
                half * 0.97,
                -away * long,
            )
            centre = (x - side * half, face + away * long)
            lean = round(away * side * (40 + 160 * abs(place)) * stream.uniform(0.4, 1.0))
            outline = rotate(curve(to_fixed_point(template + centre)), lean, centre)
            mask = fill(outline, shape) & ~covered
            if mask.sum() < 60:
                continue
            covered |= mask
            row.append((mask, outline))
    return row


def _tooth(stream: Stream, density: Field, mask: Mask, outline: Outline, upper: bool) -> None:
    """Add one tooth: dentine, denser enamel, pulp, the dark ligament around the root, sometimes a filling."""
    shape = (mask.shape[0], mask.shape[1])
    ligament = blur(mask, 1.6) - blur(mask, 0.7)
    density -= 0.22 * np.clip(ligament, 0, None)
    density += DENSITY["dentine"] * stream.uniform(0.85, 1.1) * blur(mask, 0.6)
    rows = np.flatnonzero(mask.any(axis=1))
    line = rows[0] + int(len(rows) * (0.62 if upper else 0.38))
    y, _ = grid(shape)
    crown = mask & ((y > line) if upper else (y < line))
    density += DENSITY["enamel"] * (0.35 * blur(crown, 0.8) + 0.4 * rim(crown, 1.2) * mask)
    middle = outline.sum(axis=0) // len(outline)
    pulp = fill((outline - middle) * np.array([60, 150]) // 256 + middle, shape) & mask
    density += DENSITY["pulp"] * blur(pulp, 0.8)
    if stream.uniform() < 0.16:
        spot = shrink(crown, 2)
        if spot.sum() > 12:
            paint(density, spot, DENSITY["filling"], 0.7)
