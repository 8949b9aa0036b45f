"""Degradations of cameras with a lamp (endoscopy, dermoscopy, microscopy), and of light fields in general."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function
from dmseg.simulators import fields, pixels
from dmseg.simulators.geometry import Beams
from dmseg.simulators.scene import Scene
from dmseg.types import Image


def vignette(image: Image, scene: Scene, *, transmission: float, x: float, y: float) -> Image:
    """Darken towards the rim: ``I (1 + (r / f)**2)**-2``, the cos**4 law of lenses.

    f is such that the gain at half the diagonal of the field of view is the transmission. In a convex ultrasound sector
    the gain falls with the beam's angle instead, ``cos(phi)**p``, to the transmission at the first and the last beam.

    Args:
        transmission: gain at the corner (or at the edge of the sector).
        x, y: centre, offset from that of the field of view, of its size.
    """
    where = scene.beams(image.shape)
    if where.spread:
        power = math.log(transmission) / math.log(math.cos(where.spread / 2))
        off = (np.clip(where.lateral, 0, 1) - np.float32(0.5)) * np.float32(where.spread)
        # cos through its own square keeps float32: cos**p = (1 - sin**2)**(p/2).
        return pixels.affine(image, np.power(1 - np.sin(off) ** 2, np.float32(power / 2)))
    return pixels.affine(image, lens_gain(scene, image.shape, transmission, x, y))


def lens_gain(scene: Scene, shape: tuple[int, ...], transmission: float, x: float, y: float) -> NDArray[np.float32]:
    """Return the cos**4 gain, float32 (H, W)."""
    down, across = make_lens_factors(scene, shape, transmission, x, y)
    gain = across[None, :] + (down[:, None] + np.float32(1))
    np.multiply(gain, gain, out=gain)
    return np.asarray(np.reciprocal(gain, out=gain), np.float32)


def make_lens_factors(
    scene: Scene, shape: tuple[int, ...], transmission: float, x: float, y: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the two terms of (r / f)**2, float32 (H,) and (W,); see :func:`vignette`."""
    height, width = shape[:2]
    left, upper, right, lower = scene.observed.get("field_of_view", [0, 0, width, height])
    centre_x = (left + right - 1) / 2 + x * (right - left)
    centre_y = (upper + lower - 1) / 2 + y * (lower - upper)
    corner = ((right - left - 1) / 2) ** 2 + ((lower - upper - 1) / 2) ** 2
    focal = corner / (transmission**-0.5 - 1)  # squared
    across = ((np.arange(width) - centre_x) ** 2 / focal).astype(np.float32)
    down = ((np.arange(height) - centre_y) ** 2 / focal).astype(np.float32)
    return down, across


_COARSE = 8
_FINE = 64


def smooth_field(scene: Scene, name: str) -> NDArray[np.float32]:
    """Return a smooth random surface, 8 x 8 normal deviates enlarged by cubic interpolation, float32 (64, 64)."""
    coarse = fields.normals(scene.key(name), _COARSE * _COARSE).reshape(_COARSE, _COARSE).astype(np.float32)
    if scene.z is not None:  # from one surface to another, of equal strength everywhere in between
        last = fields.normals(scene.key(f"{name} last"), _COARSE * _COARSE).reshape(_COARSE, _COARSE)
        turn = math.pi / 4 * (scene.z + 1)
        coarse = coarse * np.float32(math.cos(turn)) + last.astype(np.float32) * np.float32(math.sin(turn))
    blurred = cv2.GaussianBlur(coarse, (0, 0), 1.2, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(blurred, (_FINE, _FINE), interpolation=cv2.INTER_CUBIC))


def shadow_map(scene: Scene, area: float) -> NDArray[np.float32]:
    """Return s in [0, 1], float32 (64, 64): above 1/2 on the share ``area``, largest value 1, soft edge."""
    surface = smooth_field(scene, "shadow")
    threshold = np.float32(np.quantile(surface, 1 - area))
    width = np.float32(0.25 * (surface.max() - surface.min()))
    soft = 1 / (1 + np.exp(-(surface - threshold) / width * 4))
    # The logistic curve is stretched above 1/2 only, so that its largest value is 1 and the outline stays at 1/2.
    above = np.float32(0.5) + (soft - np.float32(0.5)) * np.float32(0.5) / np.float32(soft.max() - 0.5)
    return np.asarray(np.where(soft > 0.5, above, soft), np.float32)


def illumination_shadow(image: Image, scene: Scene, *, depth: float, area: float) -> Image:
    """Darken a smooth patch: ``I exp(-tau s(x))``, s a soft random blob.

    The lamp is off-axis or a fold, tooth or instrument stands before it.

    Args:
        depth: tau; the darkest place keeps exp(-tau).
        area: share of the image where s is above one half.
    """
    gain = np.exp(-np.float32(depth) * shadow_map(scene, area))
    size = (image.shape[1], image.shape[0])
    return pixels.affine(image, np.minimum(cv2.resize(gain, size, interpolation=cv2.INTER_LINEAR), np.float32(1)))


CORE_SHARE = 0.75
"""Radius of the saturated core of a reflection, of the lobe's radius."""


@compile_function
def _lobes(places, radii, core, out):  # type: ignore[no-untyped-def]
    for k in range(places.shape[0]):
        x0, y0, long, short, cosine, sine = (
            places[k, 0],
            places[k, 1],
            radii[k, 0],
            radii[k, 1],
            radii[k, 2],
            radii[k, 3],
        )
        for y in range(max(0, int(y0 - long)), min(out.shape[0], int(y0 + long) + 2)):
            for x in range(max(0, int(x0 - long)), min(out.shape[1], int(x0 + long) + 2)):
                u = ((x - x0) * cosine + (y - y0) * sine) / long
                v = ((y - y0) * cosine - (x - x0) * sine) / short
                d = np.sqrt(u * u + v * v)
                if d < 1:
                    fall = min((1 - d) / (1 - core), 1.0)
                    out[y, x] = max(out[y, x], np.float32(fall * fall * (3 - 2 * fall)))


def reflection_lobes(scene: Scene, shape: tuple[int, ...], spots: int, radius: float) -> NDArray[np.float64]:
    """Return one row per spot: x, y (px), long and short radius (px), cosine, sine; float64 (spots, 6).

    Places are drawn from the bright and steep sites of Clear, the front of the list more often.
    """
    height, width = shape[:2]
    stream = scene.stream("spots")
    sites = scene.observed.get("sites") or []
    rows = np.empty((spots, 6))
    for k in range(spots):
        u, jitter_x, jitter_y, size, aspect, turn = stream.uniforms(6)
        x, y = sites[int(u * u * len(sites))] if sites else (jitter_x, jitter_y)
        x, y = x + (jitter_x - 0.5) / 16, y + (jitter_y - 0.5) / 16
        round_disc = scene.modality == "microscopy"
        share = 0.4 + 0.6 * size if round_disc else 0.25 + 0.75 * size**2
        long = max(1.5, radius * min(height, width) * share)
        short = max(1.2, long * (0.8 + 0.2 * aspect if round_disc else 0.2 + 0.5 * aspect))
        rows[k] = (x * (width - 1), y * (height - 1), long, short, math.cos(math.pi * turn), math.sin(math.pi * turn))
    return rows


def specular_reflection(image: Image, scene: Scene, *, spots: float, radius: float, strength: float = 1.0) -> Image:
    """Add spots where a surface mirrors the lamp: ``I + (1 - I) m``, m an elongated lobe with a flat core.

    Wet tissue and skin: the core is white in all channels. A microscope has no such surface in focus; its lens mirrors
    light back as a few large, round, soft discs: ``I + a B m``, B the bright level of Clear, m without a core. Outside
    the lobes nothing changes.

    Args:
        spots: how many.
        radius: of the largest spot, of the short side; most are much smaller.
        strength: a, microscopy only.
    """
    rows = reflection_lobes(scene, image.shape, int(spots), radius)
    lobes = np.zeros(image.shape[:2], np.float32)
    soft = scene.modality == "microscopy"
    _lobes(np.ascontiguousarray(rows[:, :2]), np.ascontiguousarray(rows[:, 2:]), 0.0 if soft else CORE_SHARE, lobes)
    if soft:
        return pixels.affine(image, None, lobes * np.float32(strength * float(scene.observed.get("bright", 1.0))))
    return pixels.affine(image, 1 - lobes, lobes)


def double_exposure(image: Image, scene: Scene, *, weight: float, distance: float, angle: float) -> Image:
    """Add a shifted copy: ``(1 - a) I(x) + a I(x - d)``, whole pixels, reflecting border.

    The hand moved between two exposures, or a second surface mirrors the image. The mask belongs to the unshifted
    copy.

    Args:
        weight: a.
        distance: length of d, px of the image.
        angle: direction of d, degrees from the x axis towards the y axis.
    """
    dx = round(distance * math.cos(math.radians(angle)))
    dy = round(distance * math.sin(math.radians(angle)))
    pad = max(abs(dx), abs(dy))
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    moved = padded[pad - dy : pad - dy + image.shape[0], pad - dx : pad - dx + image.shape[1]]
    if image.dtype != np.uint8:
        return pixels.to_type_of(
            pixels.unit(image) * np.float32(1 - weight) + pixels.unit(moved) * np.float32(weight), image
        )
    return np.asarray(cv2.addWeighted(image, 1 - weight, moved, weight, 0))


def fog(image: Image, scene: Scene, *, transmission: float, airlight: float) -> Image:
    """Veil the image: ``I t + A (1 - t)``, t = exp(ln(t0) d(x)), d smooth between .5 and 1.5.

    Condensation, debris or out-of-focus light above the focal plane.

    Args:
        transmission: t0, kept contrast where d = 1.
        airlight: brightness of the veil over the bright level (95th percentile) of Clear.
    """
    share = make_fog_share(scene, transmission)
    size = (image.shape[1], image.shape[0])
    share = np.asarray(cv2.resize(share, size, interpolation=cv2.INTER_LINEAR), np.float32)
    veil = np.float32(airlight * float(scene.observed.get("bright", 1.0)))
    return pixels.affine(image, share, (1 - share) * veil)


def make_fog_share(scene: Scene, transmission: float) -> NDArray[np.float32]:
    """Return the share of the light that passes the fog, float32 (64, 64); see :func:`fog`."""
    surface = smooth_field(scene, "fog")
    low, high = surface.min(), surface.max()
    path = np.float32(0.5) + (surface - low) / max(high - low, np.float32(1e-6))
    return np.asarray(np.exp(np.float32(math.log(transmission)) * path), np.float32)


def dead_pixels(image: Image, scene: Scene, *, share: float, lines: float) -> Image:
    """Set isolated pixels and whole lines to a fixed value; all others keep their bits.

    Camera: stuck pixels, black or white, under a Bayer filter (RGGB), so in colour images only their channel is
    wrong; whole columns are black or white in all channels. Ultrasound: pixels of the scan sector are black, and dead
    elements of the probe leave stripes below it that blur and fade with depth.

    Args:
        share: of all pixels (of the sector).
        lines: number of columns, or of dead (groups of) elements.
    """
    out = image.copy()
    if scene.modality == "ultrasound":
        return _lose_elements(out, scene, share, int(lines))
    (places, white), columns = choose_dead(scene, image.shape, share, int(lines))
    rows, across = places // image.shape[1], places % image.shape[1]
    stuck = np.where(white, pixels.top(image), 0).astype(image.dtype)
    if image.ndim == 2:
        out[rows, across] = stuck
    else:
        out[rows, across, find_mosaic(places, image.shape[1])] = stuck
    for column, lit in columns.items():
        out[:, column] = pixels.top(image) if lit else 0
    return out


def choose_dead(
    scene: Scene, shape: tuple[int, ...], share: float, lines: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.bool_]], dict[int, bool]]:
    """Return the dead pixels of a camera, where and whether white, each (count,); column -> whether it is white."""
    height, width = shape[:2]
    size = height * width
    count = max(1, round(share * size)) if share > 0 else 0
    places = fields.places(scene.key("places"), size, 0, count)
    white = fields.normals(scene.key("polarity"), count) > 0
    stream = scene.stream("columns")
    columns = {}
    for _ in range(lines):
        column = stream.integer(0, width - 1)
        columns[column] = stream.uniform() < 0.5
    return (places, white), columns


def find_mosaic(places: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return the channel that the Bayer filter (RGGB) lets through at each place."""
    return np.asarray(places // width % 2 + places % width % 2)


ELEMENT_COUNT = 128
"""Elements of a common probe: the width of a lost one."""
NEAR_LOSS = 0.96
"""Share of the amplitude that is lost right below a dead element."""
APERTURE_GROWTH = 0.06
"""Depth, of the deepest, over which the aperture grows by the width of the dead element."""


def _lose_elements(out: Image, scene: Scene, share: float, lines: int) -> Image:
    """Darken below dead elements of the probe, and set dead pixels of the sector to black.

    An echo from depth r is summed over an aperture that grows with r, so a dead element costs it the share
    ``w0 / w(r)`` of its amplitude, spread over the width w(r): a dark stripe below the probe that blurs and fades.
    """
    where = scene.beams(out.shape)
    sector = np.flatnonzero(where.inside)
    kept = np.ones(out.shape[:2], np.float32)
    depth = np.maximum(where.depth, 0) / np.float32(max(where.deepest, 1))
    for element, first in choose_elements(scene, where, lines):
        wide = first * (1 + depth / np.float32(APERTURE_GROWTH))
        off = (where.lateral - element) / wide
        kept *= 1 - np.float32(NEAR_LOSS) * first / wide * np.exp(-(off * off) / 2)
    if lines:
        decibels = 20 * np.log10(np.where(where.inside, kept, np.float32(1)))
        out = pixels.affine(out, None, np.asarray(decibels / np.float32(DYNAMIC_RANGE), np.float32))
    count = max(1, round(share * sector.size)) if share > 0 else 0
    flat = out.reshape(where.inside.size, -1)
    flat[sector[fields.places(scene.key("places"), sector.size, 0, count)]] = 0
    return out


def choose_elements(scene: Scene, where: Beams, lines: int) -> list[tuple[np.float32, np.float32]]:
    """Return the lateral position and the half width of each dead group of elements, of the fan."""
    stream = scene.stream("beams")
    chosen = []
    for _ in range(lines):
        element = stream.integer(ELEMENT_COUNT // 10, ELEMENT_COUNT - ELEMENT_COUNT // 10) / ELEMENT_COUNT
        group = stream.uniform(1.0, 2.5) / ELEMENT_COUNT
        chosen.append((np.float32(element), np.float32(max(group / 2, 0.75 / max(where.width, 1)))))
    return chosen


DYNAMIC_RANGE = 60.0
"""dB between black and white of an ultrasound image whose own is not known."""
