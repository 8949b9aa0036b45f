"""Breast ultrasound with a linear probe (BUSI): skin, fat lobules, gland, lesion, pectoral muscle, ribs."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import Field, grid, smooth_field
from dmseg.phantoms.shapes import Outline, Shape, blob, curve, ellipse, fill, grow, ribbon, to_fixed_point
from dmseg.phantoms.ultrasound import Body, amplitude, compress_log, layer_line
from dmseg.rng import Stream
from dmseg.types import Mask, Structure

LESION_PARTS = {"benign": (0.07, 0.17), "malignant": (0.07, 0.16)}  # first half axis as a part of the width


def breast(stream: Stream, shape: Shape, kind: str, lesions: int = 1) -> Drawing:
    """Draw one breast image.

    Args:
        stream: all randomness.
        shape: height and width in px.
        kind: "benign" (smooth, wider than tall, enhancement behind), "malignant" (spiculated, taller than wide,
            shadow behind) or "normal" (no lesion).
        lesions: how many; ignored for "normal".
    """
    body = Body(stream, shape, "gland")
    _layers(stream, body)
    masks: list[Mask] = []
    for index in range(0 if kind == "normal" else lesions):
        mask = _lesion(stream, shape, kind, small=index > 0, taken=masks)
        tissue = "fluid" if kind == "benign" and stream.uniform() < 0.25 else kind
        body.add(mask, tissue, edge=1.5 if kind == "benign" else 2.5, grain=9)
        if kind == "benign":
            body.interface(mask, 7.0)
        else:
            body.level += 7.0 * np.where(grow(mask, 5) & ~mask, 1.0, 0.0) * (smooth_field(stream, shape, 6) > 0)
        masks.append(mask)
    body.loss += 0.035
    image = compress_log(amplitude(body, axial=0.8, lateral=1.3))
    return Drawing(image, tuple(Structure("lesion", mask) for mask in masks), {"kind": kind})


def _layers(stream: Stream, body: Body) -> None:
    height, width = body.shape
    y, _ = grid(body.shape)
    fat_end = layer_line(stream, body.shape, stream.uniform(0.22, 0.34), 0.025)
    gland_end = layer_line(stream, body.shape, stream.uniform(0.62, 0.72), 0.025)
    muscle_end = gland_end + stream.uniform(0.12, 0.17) * height
    body.level += 5.5 * smooth_field(stream, body.shape, (height / 40, width / 7)) * (y < gland_end)
    body.add(y < fat_end, "fat", edge=2.0)
    _lobules(stream, body, fat_end)
    body.add(y < 0.035 * height, "skin")
    body.add(y < 0.008 * height, "gel")
    deep = (y > gland_end) & (y < gland_end + 0.035 * height)
    body.add(deep, "fat", edge=1.5)
    body.add((y > gland_end + 0.035 * height) & (y < muscle_end), "muscle", edge=1.0)
    striae = smooth_field(stream, body.shape, (2.2, width / 5)) > 0.6
    body.level += 9.0 * (striae & (y > gland_end + 0.04 * height) & (y < muscle_end))
    for line in (gland_end + 0.035 * height, muscle_end):
        body.add(np.abs(y - line) < 1.3, "fascia", edge=0.7)
    body.add(y > muscle_end, "muscle", edge=1.0, gain=-4.0)
    _ribs(stream, body, float(muscle_end.mean()))


def _lobules(stream: Stream, body: Body, fat_end: Field) -> None:
    """Fat lobules under the skin, parted by bright septa that run on into the gland."""
    height, width = body.shape
    for _ in range(stream.integer(7, 11)):
        x = stream.uniform(0, width)
        top = stream.uniform(0.04, 0.3) * height
        lobule = fill(
            blob(stream, (x, top), (stream.uniform(0.07, 0.16) * width, stream.uniform(0.03, 0.06) * height)),
            body.shape,
        )
        body.add(lobule, "fat", edge=1.2)
        body.interface(lobule, 14.0, 0.9)
    for _ in range(stream.integer(6, 10)):
        x, top = stream.uniform(-0.1, 1.0) * width, stream.uniform(0.06, 0.6) * height
        steps = [(x + k * 0.09 * width, top + stream.uniform(-0.03, 0.03) * height) for k in range(5)]
        body.add(fill(ribbon(curve(to_fixed_point(steps), closed=False), (0.6, 1.2)), body.shape), "septum", edge=0.7)


def _ribs(stream: Stream, body: Body, depth: float) -> None:
    height, width = body.shape
    x = stream.uniform(0.05, 0.3) * width
    while x < width:
        centre = (x, depth + stream.uniform(0.05, 0.08) * height)
        rib = ellipse(centre, (stream.uniform(0.06, 0.09) * width, 0.03 * height))
        cap = fill(rib, body.shape) & ~fill(rib + to_fixed_point((0, 4)), body.shape)
        body.add(cap, "bone", edge=0.7)
        x += stream.uniform(0.4, 0.6) * width


def _draw_spiculated(stream: Stream, centre: tuple[float, float], radii: tuple[float, float]) -> Outline:
    outline = blob(stream, centre, radii, irregular=0.22, lobes=9, points=120)
    middle = to_fixed_point(centre)
    for _ in range(stream.integer(6, 11)):
        at, reach = stream.integer(0, 119), stream.integer(270, 350)  # 1/256 of the radius
        outline[at] = middle + (outline[at] - middle) * reach // 256
    return outline


def _lesion(stream: Stream, shape: Shape, kind: str, *, small: bool, taken: list[Mask]) -> Mask:
    height, width = shape
    low, high = LESION_PARTS[kind]
    while True:
        radius = width * (stream.uniform(0.04, 0.06) if small else stream.uniform(low, high))
        flat = stream.uniform(0.5, 0.75) if kind == "benign" else stream.uniform(0.85, 1.2)
        centre = (
            stream.uniform(0.2, 0.8) * width,
            max(stream.uniform(0.3, 0.5) * height, radius * flat + 0.09 * height),
        )
        if kind == "benign":
            tilt = stream.integer(-150, 150)
            outline = blob(stream, centre, (radius, radius * flat), angle=tilt, irregular=0.07, lobes=4)
        else:
            outline = _draw_spiculated(stream, centre, (radius, radius * flat))
        mask = fill(outline, shape)
        if not any((grow(mask, 6) & other).any() for other in taken):
            return mask
