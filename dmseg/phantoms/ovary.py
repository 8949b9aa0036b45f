"""Ovarian tumours in transvaginal ultrasound (MMOTU): a wide convex sector, cysts with septa, plugs and solid parts."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import fractal_field, smooth_field
from dmseg.phantoms.shapes import Shape, blob, curve, ellipse, fill, grow, ribbon, shrink, to_fixed_point
from dmseg.phantoms.ultrasound import Body, Convex, amplitude, compress_log
from dmseg.rng import Stream
from dmseg.types import Mask, Structure

CLASSES = (
    "chocolate cyst", "serous cystadenoma", "teratoma", "theca cell tumour", "simple cyst", "normal ovary",
    "mucinous cystadenoma", "high grade serous",
)  # fmt: skip


def ovary(stream: Stream, shape: Shape, kind: int) -> Drawing:
    """Draw one ovary of class ``kind`` (index into :data:`CLASSES`); the structure is its whole outline."""
    height, width = shape
    half = stream.integer(620, 860)
    near = stream.uniform(0.1, 0.14) * height
    probe = Convex(
        (width * stream.uniform(0.48, 0.52), stream.uniform(-0.06, 0.02) * height), near, height * 0.97, half
    )
    body = Body(stream, shape, "pelvis")
    body.level += 4.0 * fractal_field(stream, shape, (height / 9, width / 6), 3)
    _bowel(stream, body)
    sector = probe.sector(shape)
    scale = 0.6 if CLASSES[kind] == "normal ovary" else stream.uniform(0.5, 0.95)
    centre = (width * stream.uniform(0.4, 0.6), height * stream.uniform(0.5, 0.58))
    radii = (0.23 * width * scale, 0.27 * height * scale * stream.uniform(0.75, 1.0))
    outline = blob(stream, centre, radii, angle=stream.integer(-300, 300), irregular=0.09, lobes=5)
    mass = fill(outline, shape) & shrink(sector, 3)
    _neighbours(stream, body, mass)
    body.add(grow(mass, 3), "connective", edge=2.5, gain=1.0)
    _fill_mass(stream, body, mass, CLASSES[kind], min(radii))
    body.interface(mass, 4.0, 1.0)
    body.loss += 0.05
    image = compress_log(amplitude(body, probe, axial=0.9, lateral=1.5))
    return Drawing(image, (Structure("tumour", mass),), {"class": kind})


def _bowel(stream: Stream, body: Body) -> None:
    """Loops and tissue planes around the ovary."""
    height, width = body.shape
    for _ in range(stream.integer(5, 8)):
        centre = (stream.uniform(0.1, 0.9) * width, stream.uniform(0.3, 0.95) * height)
        loop = fill(
            blob(
                stream, centre, (stream.uniform(0.05, 0.13) * width, stream.uniform(0.04, 0.08) * height), irregular=0.2
            ),
            (height, width),
        )
        body.add(loop, stream.choice(["muscle", "connective", "nodule_dark"]), edge=2.0)
        body.interface(loop, 6.0, 1.0)


def _neighbours(stream: Stream, body: Body, mass: Mask) -> None:
    """Dark structures that touch the ovary: follicles of the other side, bowel, free fluid."""
    rows, columns = np.nonzero(grow(mass, 4) & ~mass)
    for _ in range(stream.integer(2, 4) if len(rows) else 0):
        pick = stream.integer(0, len(rows) - 1)
        centre = (float(columns[pick]), float(rows[pick]))
        size = stream.uniform(0.05, 0.1) * body.shape[1]
        shape = (body.shape[0], body.shape[1])
        loop = fill(blob(stream, centre, (size, size * 0.7), angle=stream.integer(0, 2047), irregular=0.15), shape)
        body.add(loop, stream.choice(["fluid", "ovary_low_level", "ovary_solid"]), edge=1.8)


def _fill_mass(stream: Stream, body: Body, mass: Mask, kind: str, radius: float) -> None:
    shape = (body.shape[0], body.shape[1])
    background = {
        "chocolate cyst": "ovary_low_level", "theca cell tumour": "ovary_solid", "high grade serous": "ovary_solid",
        "normal ovary": "ovary_stroma", "mucinous cystadenoma": "ovary_low_level",
    }.get(kind, "fluid")  # fmt: skip
    body.add(mass, background, edge=2.0, grain=9)
    if background == "fluid" and stream.uniform() < 0.7:
        _solid_part(stream, body, mass)
    if kind == "normal ovary":
        _spots(stream, body, mass, stream.integer(4, 7), radius * 0.22, "fluid")
    elif kind in ("mucinous cystadenoma", "serous cystadenoma"):
        _septate(stream, body, mass, 3 if kind[0] == "m" else 1)
    elif kind == "teratoma":
        _spots(stream, body, mass, 1, radius * 0.55, "calcification", gain=-4.0)
        body.level[mass] += 5.0 * (smooth_field(stream, shape, (2, 12)) > 1.2)[mass]
    elif kind == "high grade serous":
        _spots(stream, body, mass, stream.integer(2, 4), radius * 0.3, "fluid")
        _spots(stream, body, mass, 2, radius * 0.25, "nodule_bright")
    elif kind == "theca cell tumour":
        body.loss += 0.09 * mass


def _solid_part(stream: Stream, body: Body, mass: Mask) -> None:
    """Fill one side of a cyst with tissue hardly darker than what surrounds it."""
    rows, columns = np.nonzero(mass)
    pick = stream.integer(0, len(rows) - 1)
    reach = float(np.sqrt(mass.sum())) * stream.uniform(0.4, 0.6)
    centre = (float(columns[pick]), float(rows[pick]))
    part = fill(blob(stream, centre, (reach, reach * 0.8), irregular=0.15), (body.shape[0], body.shape[1])) & mass
    body.add(part, "ovary_solid", edge=1.2, gain=2.0)


def _spots(stream: Stream, body: Body, mass: Mask, count: int, radius: float, tissue: str, gain: float = 0.0) -> None:
    """Put round parts inside the mass."""
    shape = (body.shape[0], body.shape[1])
    rows, columns = np.nonzero(shrink(mass, max(int(radius * 0.7), 1)))
    for _ in range(count if len(rows) else 0):
        pick = stream.integer(0, len(rows) - 1)
        centre = (float(columns[pick]), float(rows[pick]))
        size = radius * stream.uniform(0.7, 1.15)
        spot = (
            fill(blob(stream, centre, (size, size * stream.uniform(0.75, 1.0)), irregular=0.1, points=40), shape) & mass
        )
        body.add(spot, tissue, edge=1.0, gain=gain)
        if tissue == "fluid":
            body.interface(spot, 8.0, 0.9)


def _septate(stream: Stream, body: Body, mass: Mask, count: int) -> None:
    """Thin bright septa across the cyst."""
    shape = (body.shape[0], body.shape[1])
    rows, columns = np.nonzero(mass)
    middle = (float(columns.mean()), float(rows.mean()))
    reach = float(np.sqrt(mass.sum()))
    for _ in range(count):
        x = middle[0] + stream.uniform(-0.3, 0.3) * reach
        lean = stream.uniform(-0.4, 0.4) * reach
        points = [
            (x + lean * t + 0.06 * reach * stream.uniform(-1, 1), middle[1] + reach * t)
            for t in (-0.7, -0.35, 0, 0.35, 0.7)
        ]
        line = fill(ribbon(curve(to_fixed_point(points), closed=False), 1.1), shape) & mass
        body.add(line, "septum", edge=0.7)
    if stream.uniform() < 0.5:
        knob = ellipse((middle[0] + 0.3 * reach, middle[1] + 0.25 * reach), (0.09 * reach, 0.08 * reach), points=32)
        body.add(fill(knob, shape) & mass, "ovary_stroma", edge=1.0)
