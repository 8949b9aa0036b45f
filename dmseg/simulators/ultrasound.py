"""Ultrasound degradations, in beam coordinates where the picture has a scan sector."""

from __future__ import annotations

import functools

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from dmseg.simulators import fields, pixels
from dmseg.simulators.scene import Scene
from dmseg.types import Image

MEAN_LOG_DB = -10.0 * np.euler_gamma / np.log(10.0)
"""Mean of 10 log10 of an exponential intensity of mean 1: -2.507 dB."""


@functools.lru_cache(64)
def point_spread(deviation: float) -> NDArray[np.float32]:
    """Return the unit-energy kernel whose white-noise output has autocorrelation exp(-d**2 / (4 s**2)) at whole lags d.

    That is the autocorrelation of white noise behind a Gaussian point spread of standard deviation s. Sampling the
    Gaussian itself would miss it for s below 1 px; the square root of the spectrum of the wanted autocorrelation does not.
    """
    size = 64
    lags = np.minimum(np.arange(size), size - np.arange(size))
    spectrum = np.fft.fft(np.exp(-(lags**2) / (4 * max(deviation, 1e-3) ** 2))).real
    kernel = np.fft.fftshift(np.fft.ifft(np.sqrt(np.clip(spectrum, 0, None))).real)
    radius = min(size // 2 - 1, int(np.ceil(4 * deviation)) + 1)
    kernel = kernel[size // 2 - radius : size // 2 + radius + 1]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)


@numba.njit(cache=True, nogil=True)
def _decibels(real, imaginary, bits, floats, scale, offset, out):  # type: ignore[no-untyped-def]
    # bits and floats are one array seen twice; the logarithm is exponent + polynomial in the mantissa (Chebyshev fit,
    # error below 5e-5, that is 2e-4 dB), which vectorises.
    for y in range(real.shape[0]):
        re, im = real[y], imaginary[y]
        for x in range(re.size):
            floats[x] = re[x] * re[x] + im[x] * im[x] + np.float32(1e-20)
        row = out[y]
        for x in range(re.size):
            exponent = np.float32((bits[x] >> 23) - 127)
            m = np.float32((bits[x] & 0x7FFFFF) - 0x400000) * np.float32(2.0**-23)
            log2 = np.float32(0.58495050) + m * (
                np.float32(0.96182123)
                + m
                * (
                    np.float32(-0.31974910)
                    + m * (np.float32(0.14171816) + m * (np.float32(-0.08001088) + m * np.float32(0.04392863)))
                )
            )
            row[x] = (exponent + log2) * scale + offset


def speckle_decibels(
    shape: tuple[int, int], key_real: int, key_imaginary: int, axial: float, lateral: float
) -> NDArray[np.float32]:
    """Return fully developed speckle, 20 log10 of a Rayleigh amplitude with mean 0 dB, float32 ``shape``.

    Args:
        shape: samples along and across the beam.
        key_real, key_imaginary: field keys of the two quadratures.
        axial, lateral: standard deviation of the point spread along and across the beam, in samples.
    """
    down, across = point_spread(axial), point_spread(lateral)
    parts = []
    for key in (key_real, key_imaginary):
        white = fields.normals(key, shape[0] * shape[1]).reshape(shape)
        parts.append(cv2.sepFilter2D(white, cv2.CV_32F, across, down, borderType=cv2.BORDER_REFLECT_101))
    bits = np.empty(shape[1], np.int32)
    out = np.empty(shape, np.float32)
    per_octave = 10 * np.log10(2.0)
    # Each quadrature has variance 4096**2 in table units, so the mean intensity is twice that.
    offset = -per_octave * (2 * fields.NORMAL_BITS + 1) - MEAN_LOG_DB
    _decibels(parts[0], parts[1], bits, bits.view(np.float32), np.float32(per_octave), np.float32(offset), out)
    return out


def speckle(image: Image, scene: Scene, *, weight: float, axial: float, lateral: float, dynamic_range: float) -> Image:
    """Multiply the echo amplitude by Rayleigh speckle, seen through log compression: ``I + w / DR (20 log10 A - mean)``.

    Interference of echoes from scatterers finer than the point spread. The display is logarithmic, so the speckle adds and
    its contrast does not depend on the grey; the mean log is subtracted, so the mean grey stays.

    Args:
        weight: w, share of full development.
        axial, lateral: point spread along and across the beam, px of the image.
        dynamic_range: DR, dB between black and white.
    """
    shape = (image.shape[0], image.shape[1])
    decibels = speckle_decibels(shape, scene.key("real"), scene.key("imaginary"), axial, lateral)
    decibels *= np.float32(weight / dynamic_range)
    return pixels.affine(image, 1.0, decibels)
