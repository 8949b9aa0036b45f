"""Thyroid ultrasound, transverse (DDTI): strap muscles, lobe with nodules, trachea, carotid artery."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import Field, fractal_field, grid
from dmseg.phantoms.shapes import UNIT, Outline, Shape, blob, ellipse, fill, grow, shrink, to_fixed_point
from dmseg.phantoms.ultrasound import Body, amplitude, compress_log, layer_line, striae
from dmseg.rng import Stream
from dmseg.types import Mask, Structure

FRAME = 0.045  # black margin around the scan, part of the width


def thyroid(anatomy: Stream, view: Stream, shape: Shape) -> Drawing:
    """Draw one lobe with one to three nodules.

    ``facts["polygons"]`` holds each nodule's vertices in whole px; the masks are exactly these polygons.
    """
    height, width = shape
    body = Body(view, shape, "neck")
    y, _ = grid(shape)
    side = 1 if anatomy.uniform() < 0.5 else -1  # where the trachea lies
    tilt = anatomy.integer(-90, 90)
    bulk = anatomy.uniform(0.9, 1.08)
    count = 1 + (anatomy.uniform() < 0.4) + (anatomy.uniform() < 0.2)
    _neck_wall(view, body, y)
    centre = (width * (0.5 - 0.03 * side + view.uniform(-0.02, 0.02)), height * (0.56 + view.uniform(-0.02, 0.02)))
    outline = blob(view, centre, (0.31 * width * bulk, 0.29 * height * bulk), angle=tilt * side, irregular=0.07)
    lobe = fill(outline, shape)
    body.add(lobe, "thyroid", edge=1.2, grain=7)
    body.interface(lobe, 9.0, 1.0)
    _carotid(view, body, side)
    polygons = _nodules(anatomy, view, body, lobe, count)
    _trachea(view, body, side)
    body.loss += 0.03
    echo = amplitude(body, axial=0.8, lateral=1.5)
    margin = int(FRAME * width)
    echo[:margin], echo[-margin:], echo[:, :margin], echo[:, -margin:] = 0, 0, 0, 0
    masks = [fill(to_fixed_point(polygon), shape) for polygon in polygons]
    return Drawing(
        compress_log(echo),
        tuple(Structure("nodule", mask) for mask in masks),
        {"polygons": [p.tolist() for p in polygons]},
    )


def _neck_wall(view: Stream, body: Body, y: Field) -> None:
    height, _ = body.shape
    skin, fat = 0.09 * height, layer_line(view, body.shape, view.uniform(0.15, 0.18), 0.01)
    strap = layer_line(view, body.shape, view.uniform(0.25, 0.29), 0.015)
    body.add(y < strap, "muscle", edge=0.8)
    striae(view, body, y < strap, 0.0, 2.5, 9.0)
    body.add(y < fat, "fat", edge=1.0)
    body.add(y < skin, "skin", edge=1.0)
    for line in (fat, strap):
        body.add(np.abs(y - line) < 1.1, "fascia", edge=0.7, gain=-3.0)
    deep = layer_line(view, body.shape, view.uniform(0.86, 0.9), 0.02)
    body.add(y > deep, "muscle", edge=1.0)
    body.add(np.abs(y - deep) < 1.4, "fascia", edge=0.8)


def _carotid(view: Stream, body: Body, side: int) -> None:
    height, width = body.shape
    centre = (width * (0.5 - side * view.uniform(0.36, 0.39)), height * view.uniform(0.55, 0.66))
    vessel = fill(ellipse(centre, (0.07 * width, 0.095 * height)), body.shape)
    body.add(grow(vessel, 2), "fascia", gain=-6.0)
    body.add(vessel, "vessel", edge=0.8)


def _trachea(view: Stream, body: Body, side: int) -> None:
    """The air-filled trachea: a bright arc of cartilage, reverberation and shadow behind it."""
    height, width = body.shape
    centre = (width * (0.5 + side * 0.44), height * view.uniform(0.52, 0.58))
    outer = fill(ellipse(centre, (0.17 * width, 0.26 * height)), body.shape)
    body.add(outer, "muscle", gain=-12.0)
    body.add(outer & ~shrink(outer, 3), "gas", edge=0.8, gain=-3.0)
    y, _ = grid(body.shape)
    for k in range(1, 4):
        body.add(shrink(outer, 3 + 9 * k) & ~shrink(outer, 5 + 9 * k) & (y < centre[1]), "gas", gain=-10.0 - 6.0 * k)


def _nodules(anatomy: Stream, view: Stream, body: Body, lobe: Mask, count: int) -> list[Outline]:
    """Place nodules inside the lobe; return their polygons in whole px."""
    rows, columns = np.nonzero(lobe)
    shape = (body.shape[0], body.shape[1])
    size = float(np.sqrt(lobe.sum()))
    polygons: list[Outline] = []
    taken = np.zeros(shape, np.bool_)
    for index in range(count):
        radius = size * anatomy.uniform(0.14, 0.32) * (1.0 if index == 0 else 0.5)
        tissue = anatomy.choice(["nodule_dark", "nodule_dark", "nodule_bright", "fluid"])
        flat = anatomy.uniform(0.65, 1.0)
        for _ in range(60):
            pick = view.integer(0, len(rows) - 1)
            centre = (float(columns[pick]), float(rows[pick]))
            outline = blob(
                view, centre, (radius, radius * flat), angle=view.integer(-300, 300), irregular=0.08, points=40
            )
            polygon = (outline + UNIT // 2) // UNIT
            mask = fill(to_fixed_point(polygon), shape)
            if mask.sum() > 60 and not (mask & ~lobe).any() and not (grow(mask, 3) & taken).any():
                break
        else:
            continue
        taken |= mask
        polygons.append(polygon)
        body.add(mask, tissue, edge=1.0, grain=6)
        body.level[mask] += 2.0 * fractal_field(view, shape, 6, 2)[mask]
        body.add(grow(mask, 1) & ~shrink(mask, 1), "nodule_dark", edge=0.8, gain=-4.0)
        if tissue == "nodule_dark" and view.uniform() < 0.5:
            _calcifications(view, body, mask)
    return polygons


def _calcifications(view: Stream, body: Body, mask: Mask) -> None:
    rows, columns = np.nonzero(shrink(mask, 3))
    for _ in range(view.integer(2, 5) if len(rows) else 0):
        pick = view.integer(0, len(rows) - 1)
        spot = ellipse((float(columns[pick]), float(rows[pick])), (view.uniform(1.0, 2.2), 1.0), points=12)
        body.add(fill(spot, (body.shape[0], body.shape[1])), "calcification", edge=0.6)
