"""Chest radiographs, frontal and lateral (PAXRay): optical densities of overlapping parts, masks that overlap too."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import Field, blur, depth_inside, fractal_field, normal_field, rim, smooth_field, to_bytes
from dmseg.phantoms.shapes import BodyFrame, Outline, Shape, curve, ellipse, fill, fill_all, ribbon
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_OUTLINES = read_packaged_table("dmseg.phantoms", "templates.toml")["chest_film"]

_TABLE = read_packaged_table("dmseg.phantoms", "xray.toml")
DENSITY: dict[str, float] = _TABLE["chest"]
CATEGORIES = (
    "right lung", "left lung", "heart", "spine", "right clavicle", "left clavicle", "ribs", "aorta", "diaphragm",
)  # fmt: skip
VIEWS = ("frontal", "lateral")


def chest_film(anatomy: Stream, view: Stream, size: int, projection: str) -> Drawing:
    """Draw one film ("frontal" or "lateral") of ``size`` x ``size`` px; a structure's name is one of CATEGORIES."""
    shape = (size, size)
    centre = (size * view.uniform(0.48, 0.52), size * view.uniform(0.49, 0.52))
    frame = BodyFrame(anatomy, centre, (size * anatomy.uniform(0.6, 0.66), size * anatomy.uniform(0.47, 0.51)), 0.02)
    draw = _frontal if projection == "frontal" else _lateral
    density, structures = draw(anatomy, view, frame, shape)
    image = 1 - np.exp(-np.clip(density, 0, None))
    image += DENSITY["noise"] * normal_field(view, shape)
    return Drawing(to_bytes(1.12 * image), tuple(structures), {"view": projection})


def _thickness(mask: Mask, reach: float) -> Field:
    """Return how much of a rounded body the ray crosses: 0 at its border, 1 from ``reach`` px inside."""
    depth = np.clip(depth_inside(mask) / reach, 0, 1)
    return np.sqrt(depth * (2 - depth))


def _frontal(anatomy: Stream, view: Stream, frame: BodyFrame, shape: Shape) -> tuple[Field, list[Structure]]:
    size = shape[0]
    torso = fill(curve(frame.at(_OUTLINES["torso"])), shape)
    right, left = (
        fill(frame.template(anatomy, points, 0.02), shape) & torso
        for points in (_OUTLINES["right_lung"], _OUTLINES["left_lung"])
    )
    heart = fill(frame.template(anatomy, _OUTLINES["heart"], 0.035), shape)
    aorta = fill(frame.template(anatomy, _OUTLINES["aorta"], 0.03), shape)
    lungs = right | left
    density = DENSITY["body"] * _thickness(torso, 0.22 * size)
    density += DENSITY["abdomen"] * _below(lungs, shape) * torso
    density += (
        DENSITY["lung"] * _thickness(lungs & ~heart, 0.09 * size) * (1 + 0.05 * fractal_field(view, shape, 30, 3))
    )
    _lung_vessels(view, density, lungs, frame, shape)
    density += DENSITY["heart"] * _thickness(heart, 0.16 * size) + 0.2 * _thickness(aorta, 0.05 * size)
    ribs = [curve(frame.at(points), closed=False) for points in _rib_lines(anatomy)]
    bands = [ribbon(line, 0.0115 * size) for line in ribs]
    for band in bands:
        mask = fill(band, shape) & torso
        density += DENSITY["rib"] * (0.35 * blur(mask, 0.8) + 0.65 * rim(mask, 1.3))
    clavicles = {side: fill(_clavicle(anatomy, frame, side, size), shape) for side in (-1, 1)}
    for side, mask in clavicles.items():
        density += DENSITY["clavicle"] * (0.5 * blur(mask, 0.8) + 0.6 * rim(mask, 1.3))
        blade = [(side * 0.5, -0.62), (side * 0.66, -0.6), (side * 0.7, -0.3), (side * 0.62, 0.0), (side * 0.54, -0.3)]
        plate = fill(frame.template(anatomy, blade, 0.03), shape)
        density += DENSITY["scapula"] * (0.6 * blur(plate, 1.2) + 0.6 * rim(plate, 1.5))
    spine = _spine(density, frame, shape, [(0.0, -1.0 + 0.1 * k) for k in range(21)], 0.062, 0.045)
    masks = [right, left, heart, spine, clavicles[-1], clavicles[1], fill_all(bands, shape) & torso, aorta]
    return density, [Structure(name, mask) for name, mask in zip(CATEGORIES, masks, strict=False)]


def _lateral(anatomy: Stream, view: Stream, frame: BodyFrame, shape: Shape) -> tuple[Field, list[Structure]]:
    size = shape[0]
    torso = fill(curve(frame.at(_OUTLINES["side_torso"])), shape)
    lung = fill(frame.template(anatomy, _OUTLINES["side_lung"], 0.02), shape) & torso
    heart = fill(frame.template(anatomy, _OUTLINES["side_heart"], 0.035), shape)
    density = (DENSITY["body"] + 0.25) * _thickness(torso, 0.25 * size)
    density += DENSITY["abdomen"] * _below(lung, shape) * torso
    density += DENSITY["lung"] * _thickness(lung & ~heart, 0.13 * size) * (1 + 0.05 * fractal_field(view, shape, 30, 3))
    _lung_vessels(view, density, lung, frame, shape)
    density += DENSITY["heart"] * _thickness(heart, 0.14 * size)
    for k in range(10):
        line = [(0.5, -0.66 + 0.13 * k), (0.2, -0.6 + 0.13 * k), (-0.2, -0.42 + 0.13 * k), (-0.5, -0.2 + 0.13 * k)]
        mask = fill(ribbon(curve(frame.at(line), closed=False), 0.011 * size), shape) & torso
        density += 0.7 * DENSITY["rib"] * (0.35 * blur(mask, 0.8) + 0.65 * rim(mask, 1.3))
    back = [(0.5 - 0.1 * (0.1 * k - 0.9) * (0.1 * k - 0.9), -1.0 + 0.1 * k) for k in range(21)]
    spine = _spine(density, frame, shape, back, 0.06, 0.044)
    front = curve(frame.at([(-0.4, -0.6), (-0.54, -0.3), (-0.6, 0.0), (-0.6, 0.2)]), closed=False)
    sternum = fill(ribbon(front, 0.016 * size), shape)
    density += DENSITY["clavicle"] * (0.6 * blur(sternum, 1.0) + 0.6 * rim(sternum, 1.3))
    dome = fill(
        ribbon(curve(frame.at([(-0.52, 0.3), (-0.2, 0.26), (0.1, 0.36), (0.44, 0.62)]), closed=False), 0.008 * size),
        shape,
    )
    named = {"left lung": lung, "heart": heart, "spine": spine, "diaphragm": dome & torso}
    return density, [Structure(name, mask) for name, mask in named.items()]


def _below(lungs: Mask, shape: Shape) -> Field:
    """Return what lies under the lungs, 0..1: per column below their lowest pixel, filled across the middle."""
    rows = np.arange(shape[0])[:, None]
    lowest = np.where(lungs.any(axis=0), shape[0] - 1 - np.argmax(lungs[::-1], axis=0), shape[0])
    known = np.flatnonzero(lowest < shape[0])
    level = np.interp(np.arange(shape[1]), known, lowest[known])
    below = (rows > level[None, :]) & ~lungs
    known_columns = (np.arange(shape[1]) >= known[0]) & (np.arange(shape[1]) <= known[-1])
    # Beside the lungs there is no edge to see, only the body getting thicker.
    return np.where(known_columns[None, :], blur(below, 2.5), blur(below, 0.06 * shape[0]))


def _lung_vessels(view: Stream, density: Field, lungs: Mask, frame: BodyFrame, shape: Shape) -> None:
    """Vessels spread from both hila, thinner outwards."""
    drawn = np.zeros(shape)
    for side in (-1, 1):
        for _ in range(16):
            u, v = side * 0.14, -0.08 + view.uniform(-0.06, 0.1)
            angle = view.uniform(-1.2, 1.3)
            points = [(u, v)]
            for _ in range(4):
                u, v = u + side * view.uniform(0.05, 0.11), v + angle * 0.1 + view.uniform(-0.03, 0.03)
                points.append((u, v))
            line = curve(frame.at(points), closed=False)
            drawn += blur(fill(ribbon(line, (1.8, 0.4)), shape), 0.9)
    density += DENSITY["vessel"] * drawn * lungs
    density += 0.03 * np.clip(smooth_field(view, shape, 6), 0, None) * lungs


def _rib_lines(anatomy: Stream) -> list[list[tuple[float, float]]]:
    """Return the centre lines of the ribs: the back part runs outwards, the front part returns lower."""
    lines = []
    tilt = anatomy.uniform(0.9, 1.1)
    for k in range(9):
        top = -0.78 + 0.125 * k
        wide = 0.36 + 0.26 * min(k / 4, 1.0)
        for side in (-1, 1):
            drop = tilt * (0.1 + 0.012 * k)
            away = ((0.06, 0.0), (0.45 * wide, -0.02), (0.8 * wide, 0.6 * drop), (wide, 1.9 * drop))
            front = ((0.92 * wide, 2.9 * drop), (0.6 * wide, 3.5 * drop))
            lines.append([(side * u, top + v) for u, v in away + front])
    return lines


def _clavicle(anatomy: Stream, frame: BodyFrame, side: int, size: int) -> Outline:
    lift = anatomy.uniform(-0.03, 0.03)
    points = [
        (side * 0.05, -0.55),
        (side * 0.2, -0.62 + lift),
        (side * 0.38, -0.67 + lift),
        (side * 0.56, -0.73 + lift),
    ]
    return ribbon(curve(frame.at(points), closed=False), (0.018 * size, 0.012 * size))


def _spine(
    density: Field, frame: BodyFrame, shape: Shape, places: list[tuple[float, float]], wide: float, tall: float
) -> Mask:
    """Add vertebral bodies with their dense end plates; return the column's mask."""
    size = shape[0]
    column = np.zeros(shape, np.bool_)
    for u, v in places:
        x, y = frame.at([(u, v)])[0] / 256
        body = fill(ellipse((x, y), (wide * size, tall * size / 2 * 1.05), points=40), shape)
        density += DENSITY["spine"] * (0.5 * blur(body, 1.2) + 0.25 * rim(body, 1.2))
        spinous = fill(ellipse((x, y + 0.01 * size), (0.008 * size, 0.012 * size), points=16), shape)
        density += 0.25 * DENSITY["spine"] * blur(spinous, 0.8)
        column |= body
    return column
