"""Photographs: textured scenes with one object of thin parts, one salient object, or many objects that hide each other.

Nothing is cut out by its colour alone: an object's colour is mixed with that of the ground, ground and objects have
texture of the same strength, and the ground holds shapes that are no object.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms import fields, shapes
from dmseg.phantoms.drawing import Drawing
from dmseg.rng import Stream
from dmseg.types import Mask, Structure

SIZES = ((288, 320), (216, 240))
"""Ranges of width and height in px."""
KINDS = ("ball", "box", "star", "cord")
LEAST_VISIBLE = 40
"""Pixels of an object that must stay visible; one that is hidden more is not annotated."""
_LEAST_CONTRAST = 0.16


def draw_thin(key: str) -> Drawing:
    """Return a scene with one object: a body with arms of 2 to 5 px width."""
    shape, canvas = _draw_ground(key)
    stream = Stream(key, "thin")
    mask = _draw_thin_object(stream, shape)
    _paint_object(canvas, mask, stream)
    return Drawing(_finish(canvas, key), (Structure("object", mask),))


def draw_salient(key: str) -> Drawing:
    """Return a scene with one large object near the middle, sometimes with a hole."""
    shape, canvas = _draw_ground(key)
    stream = Stream(key, "salient")
    height, width = shape
    centre = (width * stream.uniform(0.38, 0.62), height * stream.uniform(0.38, 0.62))
    radius = height * stream.uniform(0.16, 0.28)
    body = shapes.blob(
        stream, centre, (radius, radius * stream.uniform(0.6, 1.0)), angle=stream.integer(0, 4095), irregular=0.18
    )
    mask = shapes.fill(body, shape)
    offset = radius * stream.uniform(0.7, 1.0)
    side = shapes.blob(stream, (centre[0] + offset, centre[1] - offset * 0.5), (radius * 0.45, radius * 0.3))
    mask |= shapes.fill(side, shape)
    if stream.uniform() < 0.3:
        mask &= ~shapes.fill(shapes.ellipse(centre, (radius * 0.3, radius * 0.22)), shape)
    _paint_object(canvas, mask, stream)
    return Drawing(_finish(canvas, key), (Structure("object", mask),))


def draw_many(key: str, names: tuple[str, ...] = KINDS) -> Drawing:
    """Return a scene with three to eight objects; later ones hide earlier ones, and masks are what stays visible.

    Args:
        key: names all randomness.
        names: what the four kinds of shape are called; more names are dealt out among them.
    """
    shape, canvas = _draw_ground(key)
    stream = Stream(key, "many")
    height, width = shape
    number = stream.integer(3, 8)
    places = stream.sample([(row, column) for row in range(3) for column in range(4)], number)
    found: list[tuple[str, Mask]] = []
    for index, (row, column) in enumerate(places):
        own = Stream(key, "object", index)
        centre = (width * (column + own.uniform(0.2, 0.8)) / 4, height * (row + own.uniform(0.2, 0.8)) / 3)
        kind = own.integer(0, len(KINDS) - 1)
        mask = _draw_kind(KINDS[kind], own, centre, own.uniform(9, 38), shape)
        found = [(name, before & ~mask) for name, before in found]
        found.append((own.choice(names[kind :: len(KINDS)]), mask))
        _paint_object(canvas, mask, own)
    kept = tuple(Structure(name, mask) for name, mask in found if np.count_nonzero(mask) >= LEAST_VISIBLE)
    return Drawing(_finish(canvas, key), kept)


def darken(drawing: Drawing, key: str) -> Drawing:
    """Return a scene at about a hundredth of the light: few photons, read noise, gain; the masks stay."""
    stream = Stream(key, "dark")
    light = (drawing.image.astype(np.float64) / 255) ** 2.2
    photons = light * stream.uniform(60, 140)
    noise = np.stack([fields.normal_field(Stream(key, "shot", c), light.shape[:2]) for c in range(3)], axis=-1)
    counted = np.clip(photons + noise * np.sqrt(photons + 4.0), 0, None)
    return Drawing(fields.to_bytes((counted / 160) ** (1 / 2.2) * 0.5), drawing.structures, drawing.facts)


def add_weather(drawing: Drawing, key: str) -> Drawing:
    """Return a scene in fog with drops or flakes; the masks stay."""
    stream = Stream(key, "weather")
    image = drawing.image.astype(np.float64) / 255
    shape = image.shape[:2]
    depth = np.clip(0.45 + 0.15 * fields.smooth_field(Stream(key, "fog"), shape, 70), 0.15, 0.75)[..., None]
    image = image * (1 - depth) + depth * stream.uniform(0.65, 0.85)
    for index in range(stream.integer(40, 90)):
        own = Stream(key, "drop", index)
        x, y = own.uniform(0, shape[1]), own.uniform(0, shape[0])
        line = shapes.to_fixed_point([(x, y), (x + 1.5, y + own.uniform(2, 9))])
        fields.paint(image, shapes.fill(shapes.ribbon(line, own.uniform(0.6, 1.4)), shape), 0.9, 0.8, 0.6)
    return Drawing(fields.to_bytes(image), drawing.structures, drawing.facts)


def sink(drawing: Drawing, key: str) -> Drawing:
    """Return a scene under water: red light is lost, the rest scattered; the masks stay."""
    image = drawing.image.astype(np.float64) / 255
    haze = np.clip(0.4 + 0.1 * fields.smooth_field(Stream(key, "haze"), image.shape[:2], 80), 0.2, 0.6)[..., None]
    water = np.array([0.12, 0.42, 0.45])
    return Drawing(
        fields.to_bytes(image * np.array([0.45, 0.85, 0.9]) * (1 - haze) + water * haze),
        drawing.structures,
        drawing.facts,
    )


def _draw_colour(stream: Stream) -> NDArray[np.float64]:
    return 0.15 + 0.7 * stream.uniforms(3)


def _draw_ground(key: str) -> tuple[tuple[int, int], fields.Field]:
    """Return the size and the ground: two colours in patches, texture, and shapes that are no object."""
    stream = Stream(key, "ground")
    width, height = stream.integer(*SIZES[0]), stream.integer(*SIZES[1])
    shape = (height, width)
    share = 0.5 + 0.3 * fields.fractal_field(Stream(key, "patches"), shape, 60)
    first, second = _draw_colour(stream), _draw_colour(stream)
    canvas = first + np.clip(share, 0, 1)[..., None] * (second - first)
    for index in range(stream.integer(5, 11)):
        own = Stream(key, "clutter", index)
        centre = (own.uniform(0, width), own.uniform(0, height))
        size = own.uniform(6, 45)
        mask = shapes.fill(shapes.blob(own, centre, (size, size * own.uniform(0.3, 1)), irregular=0.2), shape)
        there = canvas[mask].mean(axis=0) if mask.any() else first
        fields.paint(canvas, mask, 0.6 * there + 0.4 * _draw_colour(own), 1.2)
    canvas += _draw_texture(stream, shape)[..., None]
    return shape, canvas


def _draw_texture(stream: Stream, shape: tuple[int, int]) -> fields.Field:
    """Return grain of its own size, or a grating bent by a slow field; standard deviation about 0.05."""
    grain = 0.05 * fields.fractal_field(Stream("grain", stream.integer(0, 2**31)), shape, stream.uniform(2.5, 9))
    if stream.uniform() < 0.4:
        y, x = fields.grid(shape)
        slope = stream.uniform(-1, 1)
        bend = 2 * fields.smooth_field(Stream("bend", stream.integer(0, 2**31)), shape, 50)
        wave: fields.Field = 0.06 * np.sin((x + slope * y) * 6.283 / stream.uniform(6, 16) + bend)
        return grain * 0.6 + wave
    return grain


def _paint_object(canvas: fields.Field, mask: Mask, stream: Stream) -> None:
    """Paint an object whose colour lies between the ground's and one of its own, at least a little apart."""
    if not mask.any():
        return
    around = canvas[mask].mean(axis=0)
    colour = _draw_colour(stream)
    mixed = around + stream.uniform(0.35, 0.75) * (colour - around)
    distance = float(np.sqrt(((mixed - around) ** 2).sum()))
    if distance < _LEAST_CONTRAST:
        away = np.where(around > 0.5, -1.0, 1.0) / np.sqrt(3)
        mixed = around + away * _LEAST_CONTRAST
    texture = _draw_texture(stream, mask.shape)
    shade = 0.08 * fields.smooth_field(Stream("shade", stream.integer(0, 2**31)), mask.shape, 30)
    fields.paint(canvas, mask, mixed + (texture + shade)[..., None], 0.6)
    # A part of the object is nearly of the ground's colour: its border there is weak, and the object has edges inside.
    wanted = 0.7 * around + 0.3 * mixed
    grain = max(6.0, 0.35 * float(np.sqrt(np.count_nonzero(mask))))
    part = fields.smooth_field(Stream("part", stream.integer(0, 2**31)), mask.shape, grain) > stream.uniform(0.0, 0.7)
    fields.paint(canvas, mask & part, wanted + (texture + shade)[..., None], 0.6)


def _draw_kind(kind: str, stream: Stream, centre: tuple[float, float], size: float, shape: tuple[int, int]) -> Mask:
    x, y = centre
    if kind == "cord":
        ends = [(x + size * stream.uniform(-1.5, 1.5), y + size * stream.uniform(-1.5, 1.5)) for _ in range(4)]
        return shapes.fill(shapes.ribbon(shapes.curve(shapes.to_fixed_point(ends), closed=False), 2.5), shape)
    if kind == "ball":
        return shapes.fill(shapes.blob(stream, centre, (size, size * stream.uniform(0.7, 1)), irregular=0.06), shape)
    if kind == "box":
        wide, high = size, size * stream.uniform(0.4, 1)
        corners = shapes.to_fixed_point(
            [(x - wide, y - high), (x + wide, y - high), (x + wide, y + high), (x - wide, y + high)]
        )
        return shapes.fill(shapes.rotate(corners, stream.integer(0, 4095), centre), shape)
    points = stream.integer(4, 7)
    angles = np.arange(2 * points, dtype=np.int64) * shapes.TURN // (2 * points) + stream.integer(0, 4095)
    radii = np.where(np.arange(2 * points) % 2 == 0, size, size * 0.45)
    star = [
        (x + r * c / 16384, y + r * s / 16384)
        for r, c, s in zip(radii, shapes.cosine(angles), shapes.sine(angles), strict=True)
    ]
    return shapes.fill(shapes.to_fixed_point(star), shape)


def _draw_thin_object(stream: Stream, shape: tuple[int, int]) -> Mask:
    height, width = shape
    x, y = width * stream.uniform(0.35, 0.65), height * stream.uniform(0.35, 0.65)
    radius = height * stream.uniform(0.07, 0.13)
    mask = shapes.fill(shapes.blob(stream, (x, y), (radius, radius * 0.8), irregular=0.12), shape)
    for index in range(stream.integer(4, 8)):
        own = Stream("arm", stream.integer(0, 2**31), index)
        angle = np.array([own.integer(0, 4095)], np.int64)
        c, s = float(shapes.cosine(angle)[0]) / 16384, float(shapes.sine(angle)[0]) / 16384
        bends = [0.0, own.uniform(-0.25, 0.25), own.uniform(-0.35, 0.35), own.uniform(-0.5, 0.5)]
        reach = height * own.uniform(0.25, 0.42)
        line = [
            (x + reach * t * (c - bend * s), y + reach * t * (s + bend * c))
            for t, bend in zip((0.15, 0.45, 0.75, 1.0), bends, strict=True)
        ]
        arm = shapes.ribbon(shapes.curve(shapes.to_fixed_point(line), closed=False), (own.uniform(1.6, 2.6), 0.9))
        mask |= shapes.fill(arm, shape)
    return mask


def _finish(canvas: fields.Field, key: str) -> NDArray[np.uint8]:
    """Return the scene as a camera gives it: uneven light and a little noise."""
    shape = canvas.shape[:2]
    light = 1 + 0.15 * fields.smooth_field(Stream(key, "light"), shape, 120)
    noise = np.stack([fields.normal_field(Stream(key, "camera", c), shape) for c in range(3)], axis=-1)
    return fields.to_bytes(canvas * light[..., None] + 0.008 * noise)
