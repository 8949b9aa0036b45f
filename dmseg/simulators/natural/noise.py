"""Keyed noise fields of the natural track: Gaussian and Poisson, one number per pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.rng import Stream, key_words
from dmseg.simulators.fields import NORMAL_BITS, normals

Parts = tuple[str | int, ...]
_GREY = np.array([0.2989, 0.587, 0.114], np.float32)


def draw_normals(parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return standard normal numbers of a key, float32 of ``shape``."""
    count = int(np.prod(shape))
    return np.asarray(normals(key_words(*parts)[0], count).reshape(shape) / np.float32(2**NORMAL_BITS), np.float32)


def draw_poisson(parts: Parts, rates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Poisson counts of the given rates (few distinct ones, as of 8-bit values), float32 of their shape."""
    from scipy.stats import poisson

    values, which = np.unique(rates, return_inverse=True)
    uniform = Stream(*parts).uniforms(rates.size)
    counts = np.empty(rates.size, np.float32)
    order = np.argsort(which.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(which.ravel(), minlength=len(values)))
    for value, start, end in zip(values, (0, *ends[:-1]), ends, strict=True):
        members = order[start:end]
        steps = poisson.cdf(np.arange(int(value + 12 * np.sqrt(value) + 20)), float(value))
        counts[members] = np.searchsorted(steps, uniform[members], side="right")
    return counts.reshape(rates.shape)


def add_gaussian(image: NDArray[np.float32], sigma: float, grey: bool, parts: Parts) -> NDArray[np.float32]:
    """Add Gaussian noise of ``sigma`` (of 255) to an image in [0, 1], one field for all channels if ``grey``; clip."""
    shape = (*image.shape[:2], 1) if grey else image.shape
    return np.asarray(np.clip(image + draw_normals(parts, shape) * np.float32(sigma / 255), 0, 1))


def add_poisson(image: NDArray[np.float32], scale: float, grey: bool, parts: Parts) -> NDArray[np.float32]:
    """Add shot noise times ``scale`` to an image in [0, 1]; clip.

    The rates are the 8-bit values times 2 to the power that the number of distinct values is rounded up to.
    """
    base = (image @ _GREY)[..., None] if grey else image
    base = np.clip(np.rint(base * 255), 0, 255) / np.float32(255)
    levels = np.float32(2 ** np.ceil(np.log2(len(np.unique(base)))))
    noise = draw_poisson(parts, np.asarray(base * levels, np.float32)) / levels - base
    return np.asarray(np.clip(image + noise * np.float32(scale), 0, 1))


def filter_image(image: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Correlate each channel with a kernel, mirrored at the border without repeating it."""
    return np.asarray(cv2.filter2D(image, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101))
