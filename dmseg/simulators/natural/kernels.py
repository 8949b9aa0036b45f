"""The blur kernels of Real-ESRGAN's degradation, which LQ-Seg uses: float64 (side, side), sum 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]


def measure_form(side: int, sigma_x: float, sigma_y: float, rotation: float) -> Kernel:
    """Return the squared Mahalanobis distance of each position from the centre, (side, side)."""
    axis = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(axis, axis)
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    return np.asarray(inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2)


def make_generalised(side: int, sigma_x: float, sigma_y: float, rotation: float, beta: float = 1.0) -> Kernel:
    """Return a generalised Gaussian; ``beta`` 1 is the normal one, larger is flatter with steeper flanks."""
    kernel = np.exp(-0.5 * measure_form(side, sigma_x, sigma_y, rotation) ** beta)
    return np.asarray(kernel / kernel.sum())


def make_plateau(side: int, sigma_x: float, sigma_y: float, rotation: float, beta: float) -> Kernel:
    """Return 1 / (1 + d ** beta) of the squared distance d: a plateau with long flanks."""
    kernel = 1 / (1 + measure_form(side, sigma_x, sigma_y, rotation) ** beta)
    return np.asarray(kernel / kernel.sum())


def make_sinc(side: int, cutoff: float) -> Kernel:
    """Return the circular low-pass filter of a cutoff in radians per pixel (pi at most): it rings."""
    from scipy.special import j1

    axis = np.arange(side) - (side - 1) / 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    middle = (side - 1) // 2
    radius[middle, middle] = 1.0
    kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[middle, middle] = cutoff**2 / (4 * np.pi)
    return np.asarray(kernel / kernel.sum())
