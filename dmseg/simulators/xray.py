"""Degradations of projection radiographs (chest, panoramic): white attenuates most, so grey is the line integral."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmseg.simulators import pixels
from dmseg.simulators.scene import Scene, length_scale
from dmseg.types import Image

FULL_SCALE = 4.0
"""Line integral that white stands for: p = 4 g."""
_HIGHEST_FREQUENCY = 0.4


def grid_banding(
    image: Image, scene: Scene, *, modulation: float, frequency: float, tilt: float, phase: float
) -> Image:
    """Darken by the stripes of an anti-scatter grid: ``I (1 - m / 2 (1 + cos(2 pi (fx x + fy y) + phase)))``.

    The grid's lines (40-80 per cm) beat with the detector's pixels (.14-.2 mm): moire of a lower frequency, tilted by a
    degree or two.

    Args:
        modulation: m.
        frequency: cycles per px at a 512-px short side; at most .4 cycles per px of the image.
        tilt: degrees from the x axis.
        phase: degrees.
    """
    down, across = make_grid_factors(image.shape, modulation, frequency, tilt, phase)
    gain = np.outer(down[0], across[0])
    gain += np.outer(down[1], across[1])
    gain += np.float32(1) - np.float32(modulation / 2)
    return pixels.affine(image, gain)


def make_grid_factors(
    shape: tuple[int, ...], modulation: float, frequency: float, tilt: float, phase: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return ``-m / 2 cos(a + b)`` of :func:`grid_banding` as an outer product, float32 (2, H) and (2, W)."""
    per_px = min(frequency / length_scale(shape), _HIGHEST_FREQUENCY)
    angle, offset = np.radians(tilt), np.radians(phase)
    across = 2 * np.pi * per_px * np.cos(angle) * np.arange(shape[1]) + offset
    down = 2 * np.pi * per_px * np.sin(angle) * np.arange(shape[0])
    half = np.float32(modulation / 2)
    rows = np.stack([-half * np.cos(down), half * np.sin(down)])
    return rows.astype(np.float32), np.stack([np.cos(across), np.sin(across)]).astype(np.float32)


def projection_hardening(image: Image, *, beta: float) -> Image:
    """Beam hardening of a projection: ``p' = p - beta p**2`` with p = 4 I, pointwise.

    Args:
        beta: curvature of the polychromatic line integral.
    """

    def harden(grey: NDArray[np.float64]) -> NDArray[np.float64]:
        integral = FULL_SCALE * grey
        return (integral - beta * integral**2) / FULL_SCALE

    return pixels.pointwise(image, harden)
