"""Axial chest CT (LungRads): lungs with branching vessels, mediastinum, ribs, spine, one nodule per slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms.ct import AIR, HU, NOISE, noise, table, tissues
from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import Field, paint, smooth_field
from dmseg.phantoms.shapes import BodyFrame, Shape, blob, curve, ellipse, fill, ribbon, shrink, to_fixed_point
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_OUTLINES = read_packaged_table("dmseg.phantoms", "templates.toml")["chest_ct"]

CATEGORIES = ("LR2", "LR3", "LR4A", "LR4B")
# Lung-RADS v1.1, baseline: category -> (ground glass?, smallest and largest diameter in mm). Ground glass below 30 mm
# is category 2, from 30 mm category 3; solid 8-15 mm 4A, from 15 mm 4B. All cover at least 0.1 % of the slice.
NODULES = {
    "LR2": (True, 14.0, 28.0),
    "LR3": (True, 30.0, 36.0),
    "LR4A": (False, 13.0, 15.0),
    "LR4B": (False, 16.0, 36.0),
}
FIELD_MM = 350.0


def chest(stream: Stream, size: int, category: str) -> Drawing:
    """Draw one slice with one nodule of a Lung-RADS category.

    The drawing's image is int16 HU (size, size); ``facts`` holds "lung" (bool mask of both lungs) and "category".
    """
    shape = (size, size)
    values = tissues(stream)
    centre = (size * stream.uniform(0.48, 0.52), size * stream.uniform(0.45, 0.48))
    frame = BodyFrame(stream, centre, (size * stream.uniform(0.43, 0.47), size * stream.uniform(0.31, 0.35)), 0.02)
    trunk = fill(curve(frame.at(_OUTLINES["body"])), shape)
    image = np.full(shape, AIR)
    shell, foam = table(shape, trunk)
    paint(image, foam, HU["table_foam"], 0.4)
    paint(image, shell, HU["table_shell"], 0.4)
    _soft_parts(stream, frame, shape, image, trunk, values)
    heart = fill(frame.template(stream, _OUTLINES["heart"], 0.03), shape)
    lungs = [
        fill(frame.template(stream, points, 0.02), shape) & ~heart
        for points in (_OUTLINES["right_lung"], _OUTLINES["left_lung"])
    ]
    for lung in lungs:
        gradient = 60 * (np.indices(shape)[0] - centre[1]) / size
        paint(image, lung, values["lung"] + gradient + 12 * smooth_field(stream, shape, 6), 0.6)
        _vessels(stream, image, lung, centre, shape)
    paint(image, heart, values["heart"] + 5 * smooth_field(stream, shape, 6), 0.6)
    _great_vessels(stream, frame, shape, image, values)
    nodule, subsolid = _nodule(stream, lungs, category, shape)
    level = values["nodule_subsolid" if subsolid else "nodule_solid"]
    paint(image, nodule, level + 20 * smooth_field(stream, shape, 3), 0.5)
    image += noise(stream, shape, stream.uniform(*NOISE["sharp"]))
    hounsfield: NDArray[np.int16] = np.floor(np.clip(image, -1024, 3071) + 0.5).astype(np.int16)
    facts = {"lung": lungs[0] | lungs[1], "category": category}
    return Drawing(hounsfield, (Structure("lesion", nodule),), facts)


def _soft_parts(
    stream: Stream, frame: BodyFrame, shape: Shape, image: Field, trunk: Mask, values: dict[str, float]
) -> None:
    """Fat, the muscular wall, ribs, breast bone, shoulder blades and spine."""
    body = np.array(_OUTLINES["body"])
    grain = smooth_field(stream, shape, 5)
    paint(image, trunk, values["fat"] + 4 * grain, 0.5)
    paint(image, fill(curve(frame.at(body * 0.93)), shape), values["muscle"] + 5 * grain, 0.6)
    paint(
        image,
        fill(curve(frame.at(body * 0.86)), shape) & fill(frame.oval(stream, (0, -0.3), (0.3, 0.4)), shape),
        values["fat"],
        0.8,
    )

    def bone(mask: Mask) -> None:
        paint(image, mask, values["bone"], 0.5)
        paint(image, shrink(mask, 1), values["marrow"] + 40 * grain, 0.5)

    count = 13
    for index in range(count):
        u, v = body[index] * 0.885
        nxt = body[(index + 1) % count] * 0.885
        t = stream.uniform(0.2, 0.8)
        x, y = frame.at([(u + (nxt[0] - u) * t, v + (nxt[1] - v) * t)])[0] / 256
        slope = np.array([(nxt[0] - u) * frame.radii[0], (nxt[1] - v) * frame.radii[1]])
        long = 0.075 * frame.radii[0]
        tip = slope * (long / max(float(np.abs(slope).max()), 1e-6))
        ends = np.array([[x - tip[0], y - tip[1]], [x, y], [x + tip[0], y + tip[1]]])
        bone(fill(ribbon(to_fixed_point(ends), 0.028 * frame.radii[0]), shape))
    bone(fill(frame.oval(stream, (0, -0.8), (0.13, 0.05)), shape))
    for side in (-1, 1):
        blade = [(side * 0.66, 0.72), (side * 0.84, 0.42), (side * 0.88, 0.44), (side * 0.72, 0.76)]
        bone(fill(frame.template(stream, blade, 0.03), shape))
    bone(
        fill(
            frame.template(
                stream,
                [
                    (-0.1, 0.62),
                    (-0.26, 0.7),
                    (-0.1, 0.74),
                    (-0.02, 0.9),
                    (0.02, 0.9),
                    (0.1, 0.74),
                    (0.26, 0.7),
                    (0.1, 0.62),
                ],
                0.02,
            ),
            shape,
        )
    )
    bone(fill(frame.oval(stream, (0, 0.52), (0.13, 0.14)), shape))
    paint(image, fill(frame.oval(stream, (0, 0.68), (0.05, 0.05)), shape), values["canal"], 0.5)


def _vessels(stream: Stream, image: Field, lung: Mask, centre: tuple[float, float], shape: Shape) -> None:
    """Vessels in cross-section: many small spots, larger and denser towards the hilum."""
    rows, columns = np.nonzero(shrink(lung, 2))
    spread = float(np.sqrt(lung.sum()))
    for _ in range(110):
        pick = stream.integer(0, len(rows) - 1)
        x, y = float(columns[pick]), float(rows[pick])
        near = 1 - min(float(np.hypot(x - centre[0], y - centre[1])) / spread, 1.0)
        radius = 0.5 + 2.4 * near * stream.uniform(0.2, 1.0)
        stretch = stream.uniform(1.0, 3.2)
        spot = fill(ellipse((x, y), (radius * stretch, radius), stream.integer(0, 2047), 16), shape) & lung
        paint(image, spot, stream.uniform(-150.0, 40.0), 0.5, opacity=0.85)


def _great_vessels(stream: Stream, frame: BodyFrame, shape: Shape, image: Field, values: dict[str, float]) -> None:
    for tissue, place, radii in (
        ("aorta", (0.15, 0.36), (0.085, 0.11)),
        ("gut_wall", (0.03, 0.33), (0.045, 0.05)),
        ("aorta", (0.0, -0.12), (0.1, 0.13)),
        ("vein", (-0.13, -0.1), (0.055, 0.08)),
    ):
        paint(image, fill(frame.oval(stream, place, radii), shape), values[tissue] + 15, 0.5)
    for side in (-1, 1):
        airway = fill(frame.oval(stream, (side * 0.09, 0.18), (0.045, 0.06)), shape)
        paint(image, airway, values["trachea"], 0.5)


def _nodule(stream: Stream, lungs: list[Mask], category: str, shape: Shape) -> tuple[Mask, bool]:
    """Place the nodule; return its mask and whether it is subsolid (ground glass)."""
    subsolid, low, high = NODULES[category]
    radius = stream.uniform(low, high) * shape[1] / FIELD_MM / 2
    rows, columns = np.nonzero(shrink(lungs[stream.integer(0, 1)], int(radius) + 1))
    pick = stream.integer(0, len(rows) - 1)
    centre = (float(columns[pick]), float(rows[pick]))
    radii = (radius, radius * stream.uniform(0.85, 1.0))
    spiky = 0.2 if category == "LR4B" else 0.1
    outline = blob(stream, centre, radii, angle=stream.integer(0, 2047), irregular=spiky, lobes=9)
    return fill(outline, shape) & (lungs[0] | lungs[1]), subsolid


def lung_only(hounsfield: NDArray[np.int16], lung: Mask) -> NDArray[np.float64]:
    """Return HU inside the lungs and -0.0 outside, float64, the published ``hu_array``."""
    return np.where(lung, hounsfield.astype(np.float64), -0.0)


def pad_like_scanner(hounsfield: NDArray[np.int16], stream: Stream) -> NDArray[np.int16]:
    """Return the slice with the value outside the scanner's circle at -2048 in a third of the cases, as published."""
    if stream.uniform() >= 1 / 3:
        return hounsfield
    size = hounsfield.shape[0]
    y, x = np.indices(hounsfield.shape)
    outside = (2 * x - size + 1) ** 2 + (2 * y - size + 1) ** 2 > size * size
    return np.where(outside, np.int16(-2048), hounsfield)
