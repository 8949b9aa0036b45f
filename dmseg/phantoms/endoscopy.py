"""White-light colonoscopy (Kvasir-SEG, CVC-ClinicDB): a lit tube with haustral folds, a polyp, the scope's octagon.

The mucosa is a height field seen from its light source: brightness is Lambert's cosine times a fall-off with distance.
"""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import (
    Field,
    blur,
    depth_inside,
    fractal_field,
    grid,
    normal_field,
    paint,
    smooth_field,
    to_bytes,
)
from dmseg.phantoms.shapes import Shape, blob, ellipse, fill, grow, to_fixed_point
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_TABLE = read_packaged_table("dmseg.phantoms", "endoscopy.toml")


def colon(anatomy: Stream, view: Stream, shape: Shape, *, inset: bool = False) -> Drawing:
    """Draw one frame with one polyp, sometimes two.

    Args:
        anatomy: colour of the mucosa, kind of polyp: shared by the frames of a patient.
        view: where the scope looks.
        shape: height and width in px.
        inset: cover the lower left corner with the black box of the endoscope's position display (Kvasir).
    """
    mucosa = np.array(anatomy.choice(_TABLE["mucosa"]["colours"]))
    gain = np.array(anatomy.choice(_TABLE["mucosa"]["polyp_gains"]))
    scope = _octagon(anatomy, shape)
    if inset:
        scope[int(0.68 * shape[0]) :, : int(0.3 * shape[1])] = False
    height, distance, lumen = _tube(anatomy, view, shape)
    polyps = _polyps(anatomy, view, shape, scope)
    texture = np.zeros(shape)
    for polyp in polyps:
        lumen = lumen * (1 - blur(polyp, 1.0))
        dome, grain = _dome(view, polyp, shape)
        height = np.where(polyp, blur(height, 12) + dome, height)
        texture += grain
        distance = np.where(blur(polyp, 2) > 0.5, np.minimum(distance, np.median(distance[polyp])), distance)
    light = _light(height, blur(distance, 2.5), view, shape)
    colour = np.ones((*shape, 3)) * mucosa
    _vessels(view, colour, np.any(polyps, axis=0))
    for polyp in polyps:
        paint(colour, polyp, colour * gain, 3.0)
    warmth = smooth_field(view, shape, shape[0] / 3)[..., None] * np.array([0.02, -0.035, -0.04])
    image = (colour * (1 + warmth)) * (light * (1 + 0.1 * texture + 0.06 * fractal_field(view, shape, 9, 3)))[..., None]
    image += (np.array(_TABLE["mucosa"]["lumen"]) - image) * np.clip(lumen, 0, 1)[..., None]
    _highlights(view, image, height, light)
    image += 0.012 * normal_field(view, shape)[..., None]
    return Drawing(
        to_bytes(np.where(scope[..., None], image, 0.02)),
        tuple(Structure("polyp", polyp & scope) for polyp in polyps),
    )


def _octagon(stream: Stream, shape: Shape) -> Mask:
    """Return the visible part of the sensor: a rectangle with cut corners."""
    height, width = shape
    side = min(shape)
    low, high = _TABLE["scope"]["corner"]
    cut = stream.uniform(low, high) * side
    edge = stream.uniform(*_TABLE["scope"]["border"]) * side
    left, right, top, bottom = edge, width - 1 - edge, edge * 0.6, height - 1 - edge * 0.6
    corners = [
        (left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut),
        (right - cut, bottom), (left + cut, bottom), (left, bottom - cut), (left, top + cut),
    ]  # fmt: skip
    return fill(to_fixed_point(corners), shape)


def _tube(anatomy: Stream, view: Stream, shape: Shape) -> tuple[Field, Field, Field]:
    """Return the mucosa's height (px), its distance from the lamp (half widths) and the darkness of the lumen 0..1."""
    h, w = shape
    y, x = grid(shape)
    cx, cy = view.uniform(0.15, 0.85) * w, view.uniform(0.1, 0.6) * h
    squeeze = view.uniform(0.8, 1.25)
    wobble = 0.2 * smooth_field(view, shape, h / 2.5)
    radius = np.hypot((x - cx) * squeeze, (y - cy) / squeeze) / h * (1 + wobble)
    radius = np.maximum(radius, 0.02)
    # Rings of folds get closer with depth: depth goes as 1 / radius.
    period = anatomy.uniform(0.9, 1.5)
    phase = 1 / (radius + 0.12) * period + 0.5 * smooth_field(view, shape, h / 2.5)
    turn = phase - np.floor(phase)
    ridge = np.exp(-(((turn - 0.5) / 0.16) ** 2))
    arc = 0.55 + 0.45 * np.tanh(2 * smooth_field(view, shape, h / 2.2))
    fade = 1 / (1 + np.exp(-(0.62 - radius) / 0.08))
    height = 0.045 * h * ridge * arc * fade + 0.02 * h * fractal_field(view, shape, h / 5, 3)
    step = 0.16 * np.where(turn < 0.5, turn * 2, 0.0) * arc * fade
    distance = 0.35 / (radius + 0.16) + step
    lumen = 1 / (1 + np.exp((radius - view.uniform(0.07, 0.15)) / 0.018))
    return height, distance, lumen


def _polyps(anatomy: Stream, view: Stream, shape: Shape, scope: Mask) -> list[Mask]:
    height, width = shape
    side = min(shape)
    low, high = _TABLE["polyp"]["sessile"]
    size = anatomy.uniform(low, high) * anatomy.uniform(0.6, 1.0)
    count = 2 if anatomy.uniform() < 0.15 else 1
    masks: list[Mask] = []
    while len(masks) < count:
        radius = max(size * view.uniform(0.85, 1.15) * (1.0 if not masks else 0.6), 0.05) * side
        centre = (view.uniform(0.28, 0.78) * width, view.uniform(0.3, 0.78) * height)
        turn = view.integer(0, 2047)
        outline = blob(view, centre, (radius, radius * view.uniform(0.65, 0.95)), angle=turn, irregular=0.12, lobes=5)
        mask = fill(outline, shape) & scope
        if mask.sum() > 2 * radius * radius and not any((grow(mask, 4) & other).any() for other in masks):
            masks.append(mask)
    return masks


def _dome(view: Stream, polyp: Mask, shape: Shape) -> tuple[Field, Field]:
    """Return the polyp's dome (px above the mucosa) and its pit pattern (about -1..1, 0 outside)."""
    depth = depth_inside(polyp)
    top = float(depth.max())
    rise = view.uniform(*_TABLE["polyp"]["dome"]) * top
    swell = blur(polyp, 0.4 * top)
    round_off = np.clip((swell - 0.3) / max(float(swell.max()) - 0.3, 0.1), 0, 1)
    lumps = fractal_field(view, shape, max(top / 2.5, 3.0), 3)
    pits = smooth_field(view, shape, max(top / 9, 2.0))
    inside = blur(polyp, 1.0)
    return rise * round_off * (1 + 0.06 * lumps), pits * inside


def _light(height: Field, distance: Field, view: Stream, shape: Shape) -> Field:
    """Return the brightness of the mucosa: Lambert's law under a lamp beside the lens, falling off with distance."""
    h, w = shape
    y, x = grid(shape)
    smooth = blur(height, 1.2)
    gy, gx = np.gradient(smooth)
    lamp_x, lamp_y = w * view.uniform(0.4, 0.6), h * view.uniform(0.35, 0.65)
    lx, ly = (lamp_x - x) / w * 0.9, (lamp_y - y) / h * 0.9
    cosine = (1 - gx * lx * 1.6 - gy * ly * 1.6) / (np.sqrt(1 + gx**2 + gy**2) * np.sqrt(1 + 0.4 * (lx**2 + ly**2)))
    away = np.hypot((x - lamp_x) / w, (y - lamp_y) / h)
    fall = 1 / (1 + _TABLE["scope"]["falloff"] * (0.55 * distance**2 + 0.35 * away**2))
    occluded = np.clip(blur(height, 9) - smooth, 0, None) / (0.035 * h)
    result: Field = 1.45 * np.clip(cosine, 0.3, 1.6) * fall * (1 - 0.35 * np.clip(occluded, 0, 1))
    return result


def _vessels(view: Stream, colour: Field, polyp: Mask) -> None:
    """Draw the branching submucosal vessels: zero lines of a smooth field, thinning out."""
    shape = (colour.shape[0], colour.shape[1])
    vein = np.array(_TABLE["mucosa"]["vessel"])
    for cell, strength in ((shape[0] / 6, 0.5), (shape[0] / 11, 0.35)):
        field = smooth_field(view, shape, cell)
        gy, gx = np.gradient(field)
        line = np.exp(-((field / (np.hypot(gx, gy) * 1.1 + 1e-6)) ** 2))
        here = strength * line * (smooth_field(view, shape, shape[0] / 4) > 0) * ~polyp
        colour += blur(here, 0.5)[..., None] * (vein - colour)


def _highlights(view: Stream, image: Field, height: Field, light: Field) -> None:
    """Saturate small wet spots where the surface faces the lamp."""
    h, w = height.shape
    bright = np.argsort(-(light + 0.25 * normal_field(view, height.shape)), axis=None, kind="stable")[: h * w // 12]
    for _ in range(view.integer(10, 26)):
        y, x = divmod(int(bright[view.integer(0, len(bright) - 1)]), w)
        radii = (view.uniform(1.2, 0.022 * w), view.uniform(1.0, 0.012 * h))
        paint(image, fill(ellipse((x, y), radii, view.integer(0, 2047), 20), (h, w)), 1.0, 0.8)
