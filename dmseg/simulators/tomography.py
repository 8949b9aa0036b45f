"""Projection and filtered back-projection with parallel beams, and the polychromatic line integral.

Arrays are float32, lengths in px of the grid, angles evenly spaced on half a turn. One thread, one fixed order of
summation.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from dmseg.compiled import compile_function
from dmseg.simulators.tables import spectrum_table

Array = NDArray[np.float32]


def ramp_filter(size: int) -> NDArray[np.float64]:
    """Return the band-limited ramp of Ramachandran and Lakshminarayanan (1971) at lags -size..size, unit pitch."""
    lags = np.arange(-size, size + 1)
    taps = np.zeros(lags.size)
    odd = lags % 2 != 0
    taps[odd] = -1.0 / (np.pi * lags[odd]) ** 2
    taps[size] = 0.25
    return taps


def detectors(size: int) -> int:
    """Return how many detector channels of 1 px cover the diagonal of a square grid: odd, the axis on the middle."""
    return 2 * math.ceil(size * math.sqrt(0.5)) + 3


@compile_function
def _extents(padded):  # type: ignore[no-untyped-def]
    """First and last column of each row that is not 0 (first > last: none)."""
    size, width = padded.shape
    first, last = np.full(size, width, np.int64), np.full(size, -1, np.int64)
    for line in range(size):
        for x in range(width):
            if padded[line, x] != 0:
                first[line] = min(first[line], x)
                last[line] = x
    return first, last


@compile_function
def _project(padded, turned, views, out):  # type: ignore[no-untyped-def]
    # Joseph's method: step along the axis the ray is nearer to, interpolate linearly across it. Only the rays that meet
    # the part of a line that is not 0 are followed, so no index leaves the line.
    size = padded.shape[1] - 4
    middle = np.float32((size - 1) / 2)
    count = out.shape[1]
    axis = np.float32((count - 1) / 2)
    upright, lying = _extents(padded), _extents(turned)
    for view in range(views):
        angle = np.pi * view / views
        cosine, sine = np.cos(angle), np.sin(angle)
        if abs(cosine) >= abs(sine):
            image, main, other, (first, last) = padded, cosine, sine, upright
        else:
            image, main, other, (first, last) = turned, sine, cosine, lying
        step = np.float32(1 / main)
        length = np.float32(abs(1 / main))
        row = out[view]
        for line in range(size):
            if first[line] > last[line]:
                continue
            source = image[line]
            start = np.float32(2) + middle - (axis + np.float32(other) * (np.float32(line) - middle)) * step
            one, two = (first[line] - 1 - start) / step, (last[line] + 1 - start) / step
            low = max(int(np.ceil(min(one, two))), 0)
            high = min(int(np.floor(max(one, two))), count - 1)
            target = row[low : high + 1]
            for s in range(target.size):
                place = start + np.float32(low + s) * step
                index = int(place)
                share = place - np.float32(index)
                target[s] += length * (source[index] + share * (source[index + 1] - source[index]))


def project(image: Array, views: int) -> Array:
    """Return the line integrals of a square image along ``views`` directions, float32 (views, detectors)."""
    size = image.shape[0]
    padded = np.zeros((size, size + 4), np.float32)
    padded[:, 2:-2] = image
    turned = np.zeros((size, size + 4), np.float32)
    turned[:, 2:-2] = image.T
    out = np.zeros((views, detectors(size)), np.float32)
    _project(padded, turned, views, out)
    return out


@functools.lru_cache(4)
def ramp_spectrum(count: int) -> tuple[int, NDArray[np.float32]]:
    """Return the length of the transform of a row of detectors, and the ramp filter at its frequencies, float32."""
    length = fft.next_fast_len(2 * count, real=True)
    taps = np.zeros(length)
    ramp = ramp_filter(count)
    taps[: count + 1] = ramp[count:]
    taps[-count:] = ramp[:count]
    return length, fft.rfft(taps).real.astype(np.float32)


FINE = 4


@compile_function
def _back_project(fine, views, scale, out):  # type: ignore[no-untyped-def]
    # The filtered rows are interpolated to quarter pixels first, so that the inner loop is one look-up and one
    # addition; the places are found in a pass of their own, which vectorises.
    size = out.shape[0]
    place = np.empty(size, np.int32)
    middle = np.float32((size - 1) / 2)
    axis = np.float32((fine.shape[1] - 1) / 2)
    for view in range(views):
        angle = np.pi * view / views
        cosine, sine = np.float32(np.cos(angle) * FINE), np.float32(np.sin(angle) * FINE)
        source = fine[view]
        for y in range(size):
            row = out[y]
            start = axis + np.float32(0.5) - middle * cosine + (np.float32(y) - middle) * sine
            for x in range(size):
                place[x] = np.int32(start + np.float32(x) * cosine)
            for x in range(size):
                row[x] += source[np.uint32(place[x])]
    for y in range(size):
        row = out[y]
        for x in range(size):
            row[x] *= scale


def back_project(sinogram: Array, size: int) -> Array:
    """Return the filtered back-projection of (views, detectors) on a square grid, float32 (size, size)."""
    views, count = sinogram.shape
    length, ramp = ramp_spectrum(count)
    filtered = fft.irfft(fft.rfft(sinogram, length, axis=1) * ramp, length, axis=1)[:, :count].astype(np.float32)
    shares = (np.arange(FINE, dtype=np.float32) / FINE)[None, None, :]
    between = filtered[:, :-1, None] + shares * np.diff(filtered, axis=1)[..., None]
    fine = np.concatenate([between.reshape(views, -1), filtered[:, -1:]], axis=1)
    out = np.zeros((size, size), np.float32)
    _back_project(np.ascontiguousarray(fine, np.float32), views, np.float32(np.pi / views), out)
    return out


@dataclass(frozen=True)
class Beam:
    """The polychromatic line integral as a table over the monochromatic ones of water and bone.

    Attributes:
        limit: largest tabulated line integral, of each.
        values: float32 (n, n), rows water, columns bone, evenly spaced over 0..limit: the measured integral, linearly
            calibrated so that the water phantom reads right.
        corrected: the same after the scanner's water correction, which makes water alone exact.
    """

    limit: float
    values: Array
    corrected: Array


@functools.cache
def polychromatic(monochromatic: bool = False) -> Beam:
    """Return the beam of ``spectrum.toml``; ``monochromatic`` keeps the reference energy alone: the identity."""
    table = spectrum_table()
    energies = np.asarray(table.energy_kev)
    weights = np.asarray(table.photons) * (energies == table.reference_kev if monochromatic else 1)
    weights = weights / weights.sum()
    at = int(np.flatnonzero(energies == table.reference_kev)[0])
    water, bone = (np.asarray(values) / values[at] for values in (table.water, table.bone))
    limit, n = 16.0, 257
    path = np.linspace(0, limit, n)
    exponent = path[:, None, None] * water + path[None, :, None] * bone
    raw = -np.log((weights * np.exp(-exponent)).sum(axis=2))
    water_only = raw[:, 0]
    # What the scanner takes a measured integral for, from water alone; beyond the table it goes on straight.
    last = (path[-1] - path[-2]) / (water_only[-1] - water_only[-2])
    corrected = np.interp(raw, water_only, path) + np.maximum(raw - water_only[-1], 0) * last
    reference = 0.0192 * table.calibration_mm
    gain = reference / np.interp(reference, path, water_only)
    return Beam(limit, (raw * gain).astype(np.float32), corrected.astype(np.float32))


@compile_function
def _look_up_table(table, scale, first, second, out):  # type: ignore[no-untyped-def]
    last = table.shape[0] - 2
    for i in range(out.size):
        a, b = first[i] * scale, second[i] * scale
        m, n = min(int(a), last), min(int(b), last)
        u, v = a - m, b - n
        out[i] = (1 - u) * ((1 - v) * table[m, n] + v * table[m, n + 1]) + u * (
            (1 - v) * table[m + 1, n] + v * table[m + 1, n + 1]
        )


def compute_hardening_error(water: Array, bone: Array, uncorrected: float, beam: Beam) -> Array:
    """Return measured minus monochromatic line integral.

    Args:
        water, bone: monochromatic line integrals at the reference energy, same shape.
        uncorrected: share of the error that the scanner's water correction leaves (1: no correction).
        beam: see :func:`polychromatic`.
    """
    table = beam.corrected + np.float32(uncorrected) * (beam.values - beam.corrected)
    out = np.empty(water.size, np.float32)
    scale = np.float32((table.shape[0] - 1) / beam.limit)
    _look_up_table(np.ascontiguousarray(table, np.float32), scale, water.reshape(-1), bone.reshape(-1), out)
    return np.asarray(out.reshape(water.shape) - water - bone)


def starve(integrals: Array, normals: tuple[Array, Array], photons: float, electronic: float) -> Array:
    """Return the measured line integral for N photons behind the object: ``-ln(max(N + e, 1) / I0)``.

    N is Poisson of mean I0 exp(-p), made from normal deviates by the Cornish-Fisher expansion to the skewness; e is
    normal.

    Args:
        integrals: p, any shape.
        normals: two arrays of independent normal deviates of that shape.
        photons: I0, photons of one sample without object.
        electronic: standard deviation of the electronic noise, photons.
    """
    mean = np.float32(photons) * np.exp(-integrals)
    first, second = normals
    count = np.maximum(mean + np.sqrt(mean) * first + (first * first - 1) / 6, 0)
    return np.asarray(-np.log(np.maximum(count + np.float32(electronic) * second, 1) / np.float32(photons)), np.float32)
