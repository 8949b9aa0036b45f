"""CT degradations: errors of the measured line integrals, carried to the image by the filtered back-projection.

Reconstruction is linear, so each operation adds the reconstruction of the error alone: ``I' = I + FBP(p' - p)``.
The grey scale is that of the window in the scene (HU); parallel beams over the full turn.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function
from dmseg.simulators import fields, pixels, xray
from dmseg.simulators.observe import BLACK
from dmseg.simulators.scene import Scene
from dmseg.simulators.tables import spectrum_table
from dmseg.simulators.tomography import (
    Array,
    back_project,
    compute_hardening_error,
    polychromatic,
    project,
    ramp_filter,
    starve,
)
from dmseg.types import Image, Window

WATER_PER_MM = 0.0192
"""Linear attenuation of water at 70 keV (NIST XCOM), 1/mm."""


RADIAL_STEP = 0.25
"""Spacing of radial profiles, px."""


@functools.lru_cache(4)
def turn_average(radii: int, step: float) -> NDArray[np.float32]:
    """Return the matrix that averages a detector profile over the turn: ``r(rho) = 1/2 int q(rho cos t) dt`` over 2 pi.

    q is linear between whole detector positions -radii..radii, and the integral over each piece is closed:
    with u = rho cos t, ``dt = -du / sqrt(rho**2 - u**2)``.

    Args:
        radii: outermost detector position and radius, px.
        step: spacing of the radii, px.

    Returns:
        float32 (radii + 1, number of radii): row s weighs q(s) + q(-s) (row 0: q(0) once).
    """
    rho = np.arange(0, radii, step)[:, None] + 1e-6
    edges = np.clip(np.arange(-radii, radii + 1)[None, :], -rho, rho)
    angle = np.arcsin(edges / rho)
    first_moment = -np.sqrt(np.maximum(rho**2 - edges**2, 0))
    time, moment = np.diff(angle, axis=1), np.diff(first_moment, axis=1)
    left = np.arange(-radii, radii)[None, :]
    matrix = np.zeros((rho.shape[0], 2 * radii + 1))
    matrix[:, :-1] += (left + 1) * time - moment
    matrix[:, 1:] += moment - left * time
    # The average sees q(s) + q(-s) alone, so both sides share one row.
    return np.ascontiguousarray(matrix[:, radii:].T, np.float32)


@compile_function
def _sum_weighted(rows, weights, out):  # type: ignore[no-untyped-def]
    # Not a BLAS product: its threads wait for each other on busy machines.
    for i in range(weights.size):
        row, weight = rows[i], weights[i]
        for j in range(out.size):
            out[j] += row[j] * weight


def ring_profile(log_gain: NDArray[np.float64], step: float = RADIAL_STEP) -> NDArray[np.float32]:
    """Return the radial profile that a constant detector error leaves in the image, per px of path.

    Args:
        log_gain: ln g of the channels at -R..R px from the rotation axis, float64 (2 R + 1,).
        step: spacing of the radii in px.

    Returns:
        attenuation error at radii 0, step, 2 step, ..., in 1/px, float32.
    """
    radii = log_gain.size // 2
    filtered = np.convolve(ramp_filter(2 * radii), -log_gain, mode="valid").astype(np.float32)
    folded = filtered[radii:] + filtered[radii::-1]
    folded[0] = filtered[radii]
    matrix = turn_average(radii, step)
    profile = np.zeros(matrix.shape[1], np.float32)
    _sum_weighted(matrix, folded, profile)
    return profile


@compile_function
def _spread(profile, step, x0, y0, out):  # type: ignore[no-untyped-def]
    # Two passes a row: the first vectorises, the second only looks up.
    place, index = np.empty(out.shape[1], np.float32), np.empty(out.shape[1], np.int32)
    for y in range(out.shape[0]):
        dy = np.float32(y) - y0
        row = out[y]
        for x in range(row.size):
            dx = np.float32(x) - x0
            place[x] = np.sqrt(dx * dx + dy * dy) / step
            index[x] = min(np.int32(place[x]), np.int32(profile.size - 2))
        for x in range(row.size):
            at = np.uint32(index[x])
            share = min(place[x] - np.float32(index[x]), np.float32(1))
            row[x] = profile[at] + share * (profile[at + np.uint32(1)] - profile[at])


def detector_errors(scene: Scene, radii: int, channels: int, gain: float, drift: float) -> NDArray[np.float64]:
    """Return ln g of every detector channel: small errors everywhere, large ones in a few, the mean removed.

    The bad channels are drawn without replacement from the inner 90 % of the field; the calibration of the scanner
    removes what is common to all, so the mean is 0.
    """
    errors = fields.normals(scene.key("drift"), 2 * radii + 1) * (drift / 2**fields.NORMAL_BITS)
    reach = max(2, int(0.9 * radii / math.sqrt(2)))
    offsets = fields.places(scene.key("channels"), 2 * reach, 0, min(channels, 2 * reach)) - reach
    signs = scene.stream("signs")
    for offset in offsets:
        errors[radii + int(offset)] += gain * (1 if signs.uniform() < 0.5 else -1) * signs.uniform(0.7, 1.3)
    return np.asarray(errors - errors.mean())


def ct_ring(
    image: Image,
    scene: Scene,
    *,
    channels: float,
    gain: float,
    drift: float,
    x: float,
    y: float,
    field_of_view: float,
) -> Image:
    """Add the rings of detector channels whose gain g is off: the turn average of the ramp-filtered ``-ln g``.

    A channel sees the same error in every view, so the artefact is radial about the rotation axis and the same for
    every object; its peak falls as radius ** -1/2 and has dark side lobes. Air and bone outside the window stay as
    they are shown: see :func:`add_hounsfield`.

    Args:
        channels: number of bad channels.
        gain: absolute ln g of a bad channel, before a spread of +-30 %.
        drift: standard deviation of ln g of all channels.
        x, y: rotation centre, of width and height.
        field_of_view: mm along the short side.
    """
    height, width = image.shape[:2]
    profile = make_ring_profile(scene, (height, width), channels, gain, drift, field_of_view)
    rings = np.empty((height, width), np.float32)
    _spread(profile, np.float32(RADIAL_STEP), np.float32(x * (width - 1)), np.float32(y * (height - 1)), rings)
    return add_hounsfield(image, scene, rings)


def make_ring_profile(
    scene: Scene, shape: tuple[int, int], channels: float, gain: float, drift: float, field_of_view: float
) -> NDArray[np.float32]:
    """Return the rings' profile along the radius, of full scale, float32; see :func:`ct_ring`."""
    height, width = shape
    radii = math.ceil(math.hypot(height, width) / 2 * 1.05) + 2
    profile = ring_profile(detector_errors(scene, radii, int(channels), gain, drift))
    water_per_px = WATER_PER_MM * field_of_view / min(height, width)
    profile *= np.float32(1000.0 / water_per_px / scene.window.width)
    return profile


GRID = 192
VIEWS = 144
"""Grid and views of the error image; against 512 px and 720 views the correlation is above .99 (tested)."""


MATERIAL_SIDE = 320
"""Larger images are shrunk to this before grey becomes material."""


WHITE = 1 - BLACK
"""Greys of Clear at which a pixel counts as clipped by the window: coding moves clipped pixels by a grey or two."""
DARK, LIT = 0.1, 0.3
"""Local mean grey from which, and up to which, a pixel that Clear shows black counts as smeared over by its
neighbours (a blur): it is then treated like the rest, else the edges of Clear would be drawn again."""


def materials(scene: Scene, size: int) -> tuple[Array, Array]:
    """Return water-like and bone-like attenuation of Clear over that of water, float32 (size, size) each.

    Grey becomes HU by the window; black is air, and white, where bone is clipped, at least 800 HU. Above 100 HU the
    share of bone rises to 1 at 1500 HU. The image is put in the middle of a square.
    """
    image = scene.clear if scene.clear.ndim == 2 else np.ascontiguousarray(scene.clear[..., 0])
    finest = max(size, MATERIAL_SIDE)
    if max(image.shape) > finest:
        shrink = finest / max(image.shape)
        small = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA))
    grey = pixels.unit(image)
    table, window = spectrum_table(), scene.window
    hounsfield = (grey - np.float32(0.5)) * np.float32(window.width) + np.float32(window.center)
    hounsfield[grey > WHITE] = max(table.clipped_hu, window.center + window.width / 2)
    density = np.where(grey >= BLACK, np.maximum(1 + hounsfield / 1000, 0), 0).astype(np.float32)
    span = np.float32(table.bone_full_hu - table.bone_from_hu)
    bony = density * np.clip((hounsfield - np.float32(table.bone_from_hu)) / span, 0, 1)
    return _square(density - bony, size), _square(bony, size)


def _square(image: Array, size: int) -> Array:
    height, width = image.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    whole = cv2.copyMakeBorder(image, top, side - height - top, left, side - width - left, cv2.BORDER_CONSTANT, value=0)
    kind = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(whole, (size, size), interpolation=kind), np.float32)


@compile_function
def _keep_clipped(offset, clear, now, local, tops, below, above):  # type: ignore[no-untyped-def]
    clear_unit, unit = np.float32(1) / tops[0], np.float32(1) / tops[1]
    for y in range(offset.shape[0]):
        for x in range(offset.shape[1]):
            shown, grey = clear[y, x] * clear_unit, now[y, x] * unit
            if shown < BLACK and below < 0:
                smeared = min(max((local[y, x] * unit - DARK) / (LIT - DARK), 0.0), 1.0) if grey >= BLACK else 0.0
                offset[y, x] = max(offset[y, x] + below * (1 - smeared), min(offset[y, x], 0.0) * smeared)
            elif shown > WHITE and above > 0:
                smeared = min(max((1 - DARK - local[y, x] * unit) / (LIT - DARK), 0.0), 1.0) if grey <= WHITE else 0.0
                offset[y, x] = min(offset[y, x] + above * (1 - smeared), max(offset[y, x], 0.0) * smeared)


def add_hounsfield(image: Image, scene: Scene, offset: Array) -> Image:
    """Add an artefact to a windowed slice as if the window came after it.

    What Clear shows black is air (-1000 HU), what it shows white is dense bone (``clipped_hu``): the artefact is
    added there, and the sum is clipped by the window again, so it shows only where it reaches into the window.

    Args:
        image: working image; (H, W) or (H, W, 3).
        scene: the window and Clear.
        offset: float32 (H, W), of full scale; changed in place.
    """
    below, above = find_clipped(scene.window)
    clear, now = (np.ascontiguousarray(each if each.ndim == 2 else each[..., 0]) for each in (scene.clear, image))
    tops = np.array([pixels.top(clear), pixels.top(now)], np.float32)
    local = cv2.blur(now, (5, 5), borderType=cv2.BORDER_REFLECT)
    _keep_clipped(offset, clear, now, local, tops, np.float32(below), np.float32(above))
    return pixels.affine(image, None, offset)


def find_clipped(window: Window) -> tuple[float, float]:
    """Return how far air lies below black and dense bone above white, of full scale; 0 where inside the window."""
    table = spectrum_table()
    below = min(table.air_hu - (window.center - window.width / 2), 0.0) / window.width
    return below, max(table.clipped_hu - (window.center + window.width / 2), 0.0) / window.width


def _add_error(scene: Scene, image: Image, error: Array, px_mm: float) -> Image:
    """Add an error image (1/px of the square grid) to the image, in HU through the window."""
    gain = 1000.0 / (WATER_PER_MM * px_mm) / scene.window.width
    height, width = image.shape[:2]
    side = max(height, width)
    whole = cv2.resize(error * np.float32(gain), (side, side), interpolation=cv2.INTER_CUBIC)
    top, left = (side - height) // 2, (side - width) // 2
    offset = np.ascontiguousarray(whole[top : top + height, left : left + width], np.float32)
    return add_hounsfield(image, scene, offset)


def measure_px(scene: Scene, shape: tuple[int, ...], object_size: float, size: int) -> float:
    """Return mm per px of the error grid when the object's longer side is ``object_size`` mm."""
    return object_size / float(scene.get_measured("body_width", "ct")) * max(shape[:2]) / size


def beam_hardening(image: Image, scene: Scene, **values: float) -> Image:
    """Add what a polychromatic beam does: ``I + FBP(p_poly - p_mono)`` (CT), ``p - beta p**2`` (projections).

    Low energies are absorbed first, so thick paths look too transparent: CT shows cupping and dark bands between dense
    parts. Water and bone of Clear are projected apart; the scanner's water correction removes all but a share.

    Args:
        object_size: CT: mm along the object's longer side.
        uncorrected: CT: share of the error that the water correction leaves.
        beta: projections: see :func:`dmseg.simulators.xray.projection_hardening`.
    """
    if scene.modality != "ct":
        return xray.projection_hardening(image, beta=values["beta"])
    return tomographic_hardening(image, scene, **values)


def tomographic_hardening(image: Image, scene: Scene, *, object_size: float, uncorrected: float) -> Image:
    """Beam hardening of a CT slice; see :func:`beam_hardening`."""
    error, px_mm = compute_hardening(scene, image.shape, object_size, uncorrected, GRID, VIEWS)
    return _add_error(scene, image, error, px_mm)


def compute_hardening(
    scene: Scene, shape: tuple[int, ...], object_size: float, uncorrected: float, size: int, views: int
) -> tuple[Array, float]:
    """Return the error image in 1/px of its grid, and mm per px."""
    px_mm = measure_px(scene, shape, object_size, size)
    water, bone = (project(part, views) * np.float32(WATER_PER_MM * px_mm) for part in materials(scene, size))
    return back_project(compute_hardening_error(water, bone, uncorrected, polychromatic()), size), px_mm


STARVATION_GRID = 224
STARVATION_VIEWS = 96
COARSE_GRID = 64
COARSE_VIEWS = 60
SCANNER_SAMPLES = 1000 * 900
"""Views times channels of the scanner whose samples ``photons`` counts; ours are fewer and average that many more."""


def photon_starvation(image: Image, scene: Scene, *, photons: float, electronic: float, object_size: float) -> Image:
    """Add the noise of few photons: ``I + FBP(p' - p)``, p' = -ln max(N, 1) / I0.

    N ~ Poisson(I0 e^-p) + normal(0, s_e).
    Rays along shoulders or hips arrive with so few photons that their logarithm is mostly noise: streaks along the long
    axis of the body.

    Args:
        photons: I0 per detector sample and view.
        electronic: s_e, photons.
        object_size: mm along the object's longer side.
    """
    px_mm = measure_px(scene, image.shape, object_size, COARSE_GRID)
    total = np.add(*materials(scene, COARSE_GRID))
    coarse = project(total, COARSE_VIEWS) * np.float32(WATER_PER_MM * px_mm)
    error = starvation_sinogram(scene, coarse, photons, electronic)
    fine_mm = px_mm * COARSE_GRID / STARVATION_GRID
    return _add_error(scene, image, back_project(error, STARVATION_GRID), fine_mm)


def starvation_sinogram(scene: Scene, coarse: Array, photons: float, electronic: float) -> Array:
    """Return p' - p on the detector of the noise grid, from line integrals on a coarse one.

    Each of our samples stands for several of the scanner's, so the random part is that of their mean; the bias of the
    logarithm is kept.
    """
    count = 2 * math.ceil(STARVATION_GRID * math.sqrt(0.5)) + 3
    fine = cv2.resize(coarse, (count, STARVATION_VIEWS), interpolation=cv2.INTER_LINEAR)
    integrals = np.maximum(fine, 0).astype(np.float32)
    parts = [fields.normals(scene.key(name), integrals.size) for name in ("photons", "electrons")]
    first, second = (part.reshape(integrals.shape) * np.float32(2.0**-fields.NORMAL_BITS) for part in parts)
    measured = starve(integrals, (first, second), photons, electronic)
    bias = mean_bias(photons, electronic)
    expected = np.interp(integrals, *bias).astype(np.float32)
    merged = SCANNER_SAMPLES / integrals.size
    return np.asarray(expected + (measured - integrals - expected) * np.float32(merged**-0.5), np.float32)


@functools.lru_cache(16)
def mean_bias(photons: float, electronic: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return line integrals and the mean of p' - p there, by summing over 32 x 16 quantiles of the two normals."""
    from scipy.special import ndtri

    integrals = np.linspace(0, 14, 43)
    first, second = ndtri((np.arange(32) + 0.5) / 32), ndtri((np.arange(16) + 0.5) / 16)
    cells = np.broadcast_to(integrals[:, None, None], (43, 32, 16)).astype(np.float32)
    deviates = (first[None, :, None].astype(np.float32), second[None, None, :].astype(np.float32))
    return integrals, (starve(cells, deviates, photons, electronic) - cells).mean(axis=(1, 2), dtype=np.float64)
