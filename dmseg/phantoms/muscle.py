"""Transverse musculoskeletal ultrasound (MuscleUS): biceps brachii, gastrocnemius medialis, tibialis anterior."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import Field, grid, smooth_field
from dmseg.phantoms.shapes import Shape, blob, curve, ellipse, fill, ribbon, shrink, to_fixed_point
from dmseg.phantoms.ultrasound import Body, amplitude, compress_log, layer_line
from dmseg.rng import Stream
from dmseg.types import Mask, Structure

MUSCLES = ("BB", "GM", "TA")


def muscle(anatomy: Stream, view: Stream, shape: Shape, name: str) -> Drawing:
    """Draw the cross-section of one muscle ("BB", "GM" or "TA") under skin and fat, with what lies below it."""
    height = shape[0]
    body = Body(view, shape, "muscle")
    y, _ = grid(shape)
    fat_part = anatomy.uniform(0.1, 0.2)
    fat = layer_line(view, shape, fat_part, 0.012)
    _perimysium(view, body, np.ones(shape, np.bool_), 260, 4.0)
    _deep(anatomy, view, body, name, y)
    belly = _belly(anatomy, view, shape, name, fat_part)
    body.add(belly, "muscle", edge=0.8, gain=anatomy.choice([-3.0, 2.5, 4.0]), grain=20)
    _perimysium(view, body, belly, anatomy.integer(160, 320), 9.0)
    _epimysium(view, body, belly)
    body.add(y < fat, "fat", edge=1.0)
    _septa(view, body, fat_part)
    body.add(y < 0.03 * height, "skin", edge=0.9)
    body.add(np.abs(y - fat) < 1.2, "fascia", edge=0.8)
    body.loss += 0.045
    image = compress_log(amplitude(body, axial=0.75, lateral=1.6))
    return Drawing(image, (Structure("muscle", belly),), {"muscle": name})


def _belly(anatomy: Stream, view: Stream, shape: Shape, name: str, fat_part: float) -> Mask:
    height, width = shape
    x = width * (0.5 + view.uniform(-0.05, 0.05))
    if name == "GM":
        radii, tilt, drop = (0.47, 0.17), anatomy.integer(-60, 60), 0.16
    elif name == "BB":
        radii, tilt, drop = (0.4, 0.23), anatomy.integer(-40, 40), 0.22
    else:
        radii, tilt, drop = (0.32, 0.25), anatomy.integer(80, 200), 0.25
    scale = anatomy.uniform(0.85, 1.05)
    centre = (x, height * (fat_part + drop * scale + 0.04))
    outline = blob(
        view, centre, (radii[0] * width * scale, radii[1] * height * scale), angle=tilt, irregular=0.09, lobes=5
    )
    return fill(outline, shape)


def _epimysium(view: Stream, body: Body, belly: Mask) -> None:
    """The muscle's fascia: bright where it lies across the beam, with gaps."""
    shape = (body.shape[0], body.shape[1])
    seen = np.clip(0.5 + 0.6 * smooth_field(view, shape, (shape[0] / 6, shape[1] / 8)), 0, 1)
    line = Body(view, shape, "muscle")
    line.level[:] = 0
    line.interface(belly, 15.0, 1.2)
    body.level += line.level * seen


def _perimysium(view: Stream, body: Body, mask: Mask, count: int, gain: float) -> None:
    """Bright specks and short strands of connective tissue between the fibres of a cross-section."""
    rows, columns = np.nonzero(mask)
    flecks: Field = np.zeros(body.shape)
    height, width = body.shape
    for _ in range(count if len(rows) else 0):
        pick = view.integer(0, len(rows) - 1)
        y, x = int(rows[pick]), int(columns[pick])
        length, rise = view.integer(2, 9), view.integer(-1, 1)
        for step in range(length):
            row, column = y + rise * step // 3, x + step
            if 0 <= row < height and 0 <= column < width:
                flecks[row, column] = 1.0
    body.level += gain * flecks * mask + 1.5 * mask * smooth_field(view, (height, width), (3, 9))


def _deep(anatomy: Stream, view: Stream, body: Body, name: str, y: Field) -> None:
    """What lies under the muscle: soleus with its aponeurosis, or a bone with its shadow."""
    height, width = body.shape
    shape = (height, width)
    if name == "GM":
        line = layer_line(view, shape, anatomy.uniform(0.68, 0.76), 0.03)
        body.add(np.abs(y - line) < 1.5, "fascia", edge=0.9)
        return
    where = {"BB": (0.5 + view.uniform(-0.1, 0.1), 0.83), "TA": (0.14, 0.55)}[name]
    radii = {"BB": (0.15, 0.16), "TA": (0.2, 0.28)}[name]
    bone = fill(ellipse((where[0] * width, where[1] * height), (radii[0] * width, radii[1] * height)), shape)
    cortex = bone & ~shrink(bone, 3)
    body.add(cortex & (y < where[1] * height), "bone", edge=0.8)
    if name == "TA":
        membrane = to_fixed_point([(width * t, height * (0.84 + 0.05 * t)) for t in (0.3, 0.5, 0.7, 0.9, 1.05)])
        body.add(fill(ribbon(curve(membrane, closed=False), 1.4), shape), "fascia", edge=0.8)


def _septa(view: Stream, body: Body, fat_part: float) -> None:
    height, width = body.shape
    for _ in range(view.integer(4, 7)):
        x, top = view.uniform(-0.1, 0.9) * width, view.uniform(0.04, fat_part) * height
        points = [(x + k * 0.1 * width, top + view.uniform(-0.012, 0.012) * height) for k in range(4)]
        body.add(fill(ribbon(curve(to_fixed_point(points), closed=False), 0.7), (height, width)), "septum", edge=0.7)
