"""Microscopy of nuclei (BBBC038): dark fluorescence, purple and pink histology, bright field; some nuclei touch."""

from __future__ import annotations

from typing import Any

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import (
    Field,
    blur,
    depth_inside,
    fractal_field,
    normal_field,
    paint,
    rim,
    smooth_field,
    to_bytes,
)
from dmseg.phantoms.shapes import Outline, Shape, blob, fill, grow
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_TABLE = read_packaged_table("dmseg.phantoms", "microscopy.toml")
APPEARANCES = ("fluorescence", "histology", "brightfield")


def appearance(anatomy: Stream) -> str:
    """Return which of :data:`APPEARANCES` a specimen has, by the shares of the table; reads one number."""
    draw = anatomy.uniform()
    for name in APPEARANCES[:-1]:
        draw -= _TABLE[name]["share"]
        if draw < 0:
            return name
    return APPEARANCES[-1]


def nuclei(anatomy: Stream, view: Stream) -> Drawing:
    """Draw one field of view; appearance, size and density belong to the specimen (``anatomy``)."""
    name = appearance(anatomy)
    numbers = _TABLE[name]
    height, width = anatomy.choice(numbers["sizes"])
    masks = _scatter(anatomy, view, (height, width), numbers)
    image = {"fluorescence": _fluorescence, "histology": _histology, "brightfield": _brightfield}[name](
        anatomy, view, (height, width), masks, numbers
    )
    return Drawing(image, tuple(Structure("nucleus", mask) for mask in masks), {"appearance": name})


def _scatter(anatomy: Stream, view: Stream, shape: Shape, numbers: dict[str, Any]) -> list[Mask]:
    """Place nuclei until the wanted part of the image is covered; about a third are put beside another one."""
    height, width = shape
    typical = anatomy.uniform(*numbers["radius"])
    wanted = anatomy.uniform(*numbers["density"]) * height * width
    stretch = anatomy.uniform(1.0, 1.7)
    masks: list[Mask] = []
    centres: list[tuple[float, float, float]] = []
    taken = np.zeros(shape, np.bool_)
    for _ in range(800):
        if taken.sum() >= wanted:
            break
        radius = typical * view.uniform(0.75, 1.25)
        if centres and view.uniform() < 0.35:
            x, y, other = view.choice(centres)
            reach = (radius + other) * view.uniform(0.9, 1.15)
            side = view.integer(0, 7)
            x += reach * (-1, -0.7, 0, 0.7, 1, 0.7, 0, -0.7)[side]
            y += reach * (0, 0.7, 1, 0.7, 0, -0.7, -1, -0.7)[side]
        else:
            x, y = view.uniform(0, width), view.uniform(0, height)
        mask = fill(_nucleus(view, (x, y), radius, stretch), shape)
        area = int(mask.sum())
        overlap = int((mask & taken).sum())
        if (
            area * 900 < height * width
            or overlap * 5 > area
            or (overlap == 0 and (grow(mask, 1) & taken).any() and view.uniform() < 0.4)
        ):
            continue
        mask = mask & ~taken
        taken |= mask
        masks.append(mask)
        centres.append((x, y, radius))
    return masks


def _nucleus(view: Stream, centre: tuple[float, float], radius: float, stretch: float) -> Outline:
    long = radius * view.uniform(1.0, stretch)
    return blob(view, centre, (long, radius * radius / long), angle=view.integer(0, 2047), irregular=0.09, points=48)


def _fluorescence(
    anatomy: Stream, view: Stream, shape: Shape, masks: list[Mask], numbers: dict[str, Any]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    base = anatomy.uniform(*numbers["background"])
    level = anatomy.uniform(*numbers["brightness"])
    signal = np.full(shape, base) * (1 + 0.25 * smooth_field(view, shape, shape[0] / 2))
    chromatin = fractal_field(view, shape, 6, 3)
    for mask in masks:
        own = level * view.uniform(0.45, 1.25)
        edge = np.clip(depth_inside(mask) / 4, 0.45, 1)
        paint(signal, mask, own * (edge + 0.14 * chromatin), view.uniform(0.6, 1.3))
        if view.uniform() < 0.1:
            signal[mask] *= 1.6
    signal += 0.18 * level * blur(signal > base + 0.25 * level, 14)
    shot = 0.035 * np.sqrt(np.clip(signal, 0, 1)) * normal_field(view, shape) + 0.01 * normal_field(view, shape)
    return np.repeat(to_bytes(signal + shot)[..., None], 3, axis=2)


def _histology(
    anatomy: Stream, view: Stream, shape: Shape, masks: list[Mask], numbers: dict[str, Any]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Multiply the transmissions of eosin and haematoxylin (Beer-Lambert) over white light."""
    eosin, haematoxylin = (np.log(np.array(anatomy.choice(numbers[dye]))) for dye in ("eosin", "haematoxylin"))
    fibres = smooth_field(view, shape, (5, 22)) + smooth_field(view, shape, (18, 6))
    pink = np.clip(1 + 0.35 * fractal_field(view, shape, 28, 4) + 0.3 * fibres, 0.15, None)
    gaps = fractal_field(view, shape, 24, 3) > 1.4
    pink *= 1 - 0.85 * blur(gaps, 1.5)
    blue = 0.08 * np.clip(fractal_field(view, shape, 9, 3), 0, None)
    chromatin = fractal_field(view, shape, 4.5, 2)
    for mask in masks:
        density = view.uniform(0.55, 1.15)
        paint(blue, mask, density * (0.82 + 0.26 * chromatin), view.uniform(0.5, 1.1))
        blue += 0.35 * density * rim(mask, 0.8)
        paint(pink, mask, 0.5, 1.0)
    image = np.exp(pink[..., None] * eosin + np.clip(blue, 0, None)[..., None] * haematoxylin)
    return to_bytes(image + 0.012 * normal_field(view, shape)[..., None])


def _brightfield(
    anatomy: Stream, view: Stream, shape: Shape, masks: list[Mask], numbers: dict[str, Any]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Absorbing nuclei in pale cytoplasm under uneven light, purple or grey."""
    level = anatomy.uniform(*numbers["background"])
    tint = np.array(anatomy.choice([[0.0, 0.0, 0.0], [0.02, 0.16, 0.02]]))
    dark: Field = 0.05 * np.clip(fractal_field(view, shape, 16, 3), 0, None)
    for mask in masks:
        cell = grow(mask, view.integer(4, 9))
        paint(dark, cell & ~mask, dark + view.uniform(0.04, 0.1), 1.5)
        paint(dark, mask, view.uniform(0.25, 0.5) * (1 + 0.2 * fractal_field(view, shape, 7, 2)), 0.9)
        dark += 0.07 * rim(mask, 0.9)
    light = level * (1 + 0.05 * smooth_field(view, shape, shape[0] / 2))
    image = light[..., None] - dark[..., None] * (0.9 + 3 * tint)
    return to_bytes(image + 0.015 * normal_field(view, shape)[..., None])
