"""Brachial plexus ultrasound (NerveUS): scalene muscles and the bundle of dark fascicles between them."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import grid
from dmseg.phantoms.shapes import Shape, blob, ellipse, fill, grow, rotate, shrink
from dmseg.phantoms.ultrasound import Body, amplitude, compress_log, layer_line, striae
from dmseg.rng import Stream
from dmseg.types import Mask, Structure


def plexus(anatomy: Stream, view: Stream, shape: Shape, *, present: bool = True) -> Drawing:
    """Draw one frame; without ``present`` the probe has slid off the nerve and there is no structure."""
    height, width = shape
    body = Body(view, shape, "connective")
    side = 1 if anatomy.uniform() < 0.5 else -1
    depth = anatomy.uniform(0.44, 0.54)
    size = anatomy.uniform(0.11, 0.15)
    _muscles(anatomy, view, body, side, depth)
    masks: list[Mask] = []
    if present:
        centre = (width * (0.5 + view.uniform(-0.08, 0.08)), height * (depth + view.uniform(-0.03, 0.03)))
        masks.append(_bundle(anatomy, view, body, centre, size * width, side))
    _vessels(anatomy, view, body, side)
    body.loss += 0.05
    image = compress_log(amplitude(body, axial=0.8, lateral=1.7))
    return Drawing(image, tuple(Structure("nerve", mask) for mask in masks))


def _muscles(anatomy: Stream, view: Stream, body: Body, side: int, depth: float) -> None:
    height, width = body.shape
    y, _ = grid(body.shape)
    shape = (height, width)
    fat = layer_line(view, shape, anatomy.uniform(0.1, 0.16), 0.012)
    sternomastoid = layer_line(view, shape, anatomy.uniform(0.26, 0.32), 0.03)
    layer = (y >= fat) & (y < sternomastoid)
    body.add(layer, "muscle", edge=1.0)
    striae(view, body, layer, 0.03 * side, 3.0, 9.0)
    body.add(y < fat, "fat", edge=1.0)
    body.add(y < 0.035 * height, "skin", edge=1.0)
    for line in (fat, sternomastoid):
        body.add(np.abs(y - line) < 1.3, "fascia", edge=0.8)
    for where, tilt in ((-0.29, -0.35), (0.31, 0.3)):
        centre = (width * (0.5 + side * where), height * (depth + 0.07 + view.uniform(-0.02, 0.02)))
        muscle = fill(blob(view, centre, (0.19 * width, 0.2 * height), irregular=0.1, lobes=5), shape)
        muscle &= y > sternomastoid + 4
        body.add(muscle, "muscle", edge=1.2)
        striae(view, body, muscle, tilt * side, 4.0, 10.0)
        body.interface(muscle, 15.0, 1.0)
    bottom = layer_line(view, shape, anatomy.uniform(0.84, 0.9), 0.03)
    body.add(np.abs(y - bottom) < 2.0, "bone", edge=0.8, gain=-4.0)


def _bundle(anatomy: Stream, view: Stream, body: Body, centre: tuple[float, float], radius: float, side: int) -> Mask:
    """Draw the nerve: an oval of bright tissue packed with dark round fascicles. Return its outline's mask."""
    shape = (body.shape[0], body.shape[1])
    flat = anatomy.uniform(0.55, 0.75)
    angle = side * anatomy.integer(250, 600)
    nerve = fill(blob(view, centre, (radius, radius * flat), angle=angle, irregular=0.06, lobes=5), shape)
    body.add(nerve, "nerve", edge=1.0)
    body.interface(nerve, 8.0, 1.0)
    count = anatomy.integer(4, 6)
    for index in range(count):
        along = (index + 0.5) / count * 2 - 1
        x = centre[0] + radius * 0.8 * along
        y = centre[1] + radius * flat * 0.35 * (1 if index % 2 else -1)
        middle = rotate(np.array([[int(x * 256), int(y * 256)]], np.int64), angle, centre)[0] / 256
        size = radius * view.uniform(0.17, 0.26)
        fascicle = (
            fill(blob(view, (middle[0], middle[1]), (size, size * 0.85), irregular=0.08, points=32), shape) & nerve
        )
        body.add(fascicle & ~shrink(fascicle, 1), "septum", edge=0.7)
        body.add(shrink(fascicle, 1), "nerve_fascicle", edge=0.7)
    return nerve


def _vessels(anatomy: Stream, view: Stream, body: Body, side: int) -> None:
    height, width = body.shape
    if anatomy.uniform() < 0.6:
        centre = (width * (0.5 - side * 0.4), height * (0.62 + view.uniform(-0.03, 0.03)))
        vessel = fill(ellipse(centre, (0.055 * width, 0.07 * height)), (height, width))
        body.add(grow(vessel, 2), "fascia", gain=-6.0)
        body.add(vessel, "vessel", edge=0.8)
