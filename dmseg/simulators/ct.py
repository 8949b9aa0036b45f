"""CT degradations: errors of the measured line integrals, carried to the image by the filtered back-projection.

Reconstruction is linear, so each operation adds the reconstruction of the error alone: ``I' = I + FBP(p' - p)``.
The grey scale is that of the window in the scene (HU); parallel beams over the full turn.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np
from numpy.typing import NDArray

from dmseg.simulators import pixels
from dmseg.simulators.scene import Scene
from dmseg.types import Image

WATER_PER_MM = 0.0192
"""Linear attenuation of water at 70 keV (NIST XCOM), 1/mm."""


RADIAL_STEP = 0.5
"""Spacing of radial profiles, px."""


def ramp_filter(size: int) -> NDArray[np.float64]:
    """Return the band-limited ramp (Ramachandran and Lakshminarayanan 1971) at lags -size..size, samples of unit pitch."""
    lags = np.arange(-size, size + 1)
    taps = np.zeros(lags.size)
    odd = lags % 2 != 0
    taps[odd] = -1.0 / (np.pi * lags[odd]) ** 2
    taps[size] = 0.25
    return taps


@functools.lru_cache(8)
def turn_average(radii: int, step: float) -> NDArray[np.float32]:
    """Return the matrix that averages a detector profile over the turn: ``r(rho) = 1/2 int q(rho cos t) dt`` over 2 pi.

    q is linear between whole detector positions -radii..radii, and the integral over each piece is closed:
    with u = rho cos t, ``dt = -du / sqrt(rho**2 - u**2)``.

    Args:
        radii: outermost detector position and radius, px.
        step: spacing of the radii, px.

    Returns:
        float32 (2 radii + 1, number of radii).
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
    return np.ascontiguousarray(matrix.T, np.float32)


@numba.njit(cache=True, nogil=True)
def _weighted_sum(rows, weights, out):  # type: ignore[no-untyped-def]
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
    matrix = turn_average(radii, step)
    profile = np.zeros(matrix.shape[1], np.float32)
    _weighted_sum(matrix, filtered, profile)
    return profile


@numba.njit(cache=True, nogil=True)
def _spread(profile, step, x0, y0, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        dy = np.float32(y) - y0
        row = out[y]
        for x in range(out.shape[1]):
            dx = np.float32(x) - x0
            place = np.sqrt(dx * dx + dy * dy) / step
            index = min(int(place), profile.size - 2)
            share = min(place - np.float32(index), np.float32(1))
            row[x] = profile[index] + share * (profile[index + 1] - profile[index])


def detector_errors(scene: Scene, radii: int, channels: int, gain: float, drift: float) -> NDArray[np.float64]:
    """Return ln g of every detector channel: small errors everywhere, large ones in a few, the mean removed.

    The bad channels are drawn without replacement from the inner 90 % of the field; the calibration of the scanner
    removes what is common to all, so the mean is 0.
    """
    stream = scene.stream("detector")
    errors = np.array([stream.normal(0, drift) for _ in range(2 * radii + 1)])
    reach = max(2, int(0.9 * radii / math.sqrt(2)))
    offsets = scene.stream("channels").permutation(2 * reach)[:channels] - reach
    signs = scene.stream("signs")
    for offset in offsets:
        errors[radii + int(offset)] += gain * (1 if signs.uniform() < 0.5 else -1) * signs.uniform(0.7, 1.3)
    return errors - errors.mean()


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

    A channel sees the same error in every view, so the artefact is radial about the rotation axis and the same for every
    object; its peak falls as radius ** -1/2 and has dark side lobes.

    Args:
        channels: number of bad channels.
        gain: absolute ln g of a bad channel, before a spread of +-30 %.
        drift: standard deviation of ln g of all channels.
        x, y: rotation centre, of width and height.
        field_of_view: mm along the short side.
    """
    height, width = image.shape[:2]
    radii = math.ceil(math.hypot(height, width) / 2 * 1.05) + 2
    log_gain = detector_errors(scene, radii, int(channels), gain, drift)
    profile = ring_profile(log_gain)
    water_per_px = WATER_PER_MM * field_of_view / min(height, width)
    profile *= np.float32(1000.0 / water_per_px / scene.window.width)
    rings = np.empty((height, width), np.float32)
    _spread(profile, np.float32(RADIAL_STEP), np.float32(x * (width - 1)), np.float32(y * (height - 1)), rings)
    return pixels.affine(image, 1.0, rings)
