"""Ultrasound degradations, in beam coordinates where the image has a scan sector."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function
from dmseg.simulators import fields, pixels
from dmseg.simulators.geometry import Beams
from dmseg.simulators.scene import Scene
from dmseg.types import Image

MEAN_LOG_DB = -10.0 * np.euler_gamma / np.log(10.0)
"""Mean of 10 log10 of an exponential intensity of mean 1: -2.507 dB."""


@functools.lru_cache(64)
def point_spread(deviation: float) -> NDArray[np.float32]:
    """Return the unit-energy kernel whose white-noise output has autocorrelation exp(-d**2 / (4 s**2)) at whole lags d.

    That is the autocorrelation of white noise behind a Gaussian point spread of standard deviation s. Sampling the
    Gaussian itself would miss it for s below 1 px; the square root of the spectrum of the wanted autocorrelation does
    not.
    """
    size = 64
    lags = np.minimum(np.arange(size), size - np.arange(size))
    spectrum = np.fft.fft(np.exp(-(lags**2) / (4 * max(deviation, 1e-3) ** 2))).real
    kernel = np.fft.fftshift(np.fft.ifft(np.sqrt(np.clip(spectrum, 0, None))).real)
    radius = min(size // 2 - 1, int(np.ceil(4 * deviation)) + 1)
    kernel = kernel[size // 2 - radius : size // 2 + radius + 1]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)


@compile_function
def _decibels(real, imaginary, bits, floats, scale, offset):  # type: ignore[no-untyped-def]
    # The result overwrites real. bits and floats are one array seen twice; the logarithm is exponent + polynomial in
    # the mantissa (Chebyshev fit, error below 5e-5, that is 2e-4 dB), which vectorises.
    for y in range(real.shape[0]):
        re, im = real[y], imaginary[y]
        for x in range(re.size):
            floats[x] = re[x] * re[x] + im[x] * im[x] + np.float32(1e-20)
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
            re[x] = (exponent + log2) * scale + offset


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
    per_octave = 10 * np.log10(2.0)
    # Each quadrature has variance 4096**2 in table units, so the mean intensity is twice that.
    offset = -per_octave * (2 * fields.NORMAL_BITS + 1) - MEAN_LOG_DB
    real, imaginary = (np.asarray(part, np.float32) for part in parts)
    _decibels(real, imaginary, bits, bits.view(np.float32), np.float32(per_octave), np.float32(offset))
    return real


@compile_function
def _nearest(depth, lateral, inside, columns, polar, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            if inside[y, x]:
                row = min(int(depth[y, x] + np.float32(0.5)), polar.shape[0] - 1)
                out[y, x] = polar[row, min(int(lateral[y, x] * columns), polar.shape[1] - 1)]
            else:
                out[y, x] = 0


def beam_field(scene: Scene, shape: tuple[int, ...], axial: float, lateral: float) -> NDArray[np.float32]:
    """Return speckle in dB on the image's grid, 0 outside the scan sector, float32 (H, W).

    In a convex sector the field is made on a (depth, angle) grid, one sample per px at the far end, and read off at the
    nearest sample: that keeps its distribution exactly, which interpolation would not. The lateral width is that at
    half depth; it grows with depth, as in a scanner.
    """
    where = scene.beams(shape)
    keys = scene.key("real"), scene.key("imaginary")
    if where.spread == 0:
        decibels = speckle_decibels((shape[0], shape[1]), *keys, axial, lateral)
        return decibels if where.inside.all() else np.where(where.inside, decibels, np.float32(0))
    rows, columns = int(where.deepest) + 2, max(8, int(where.width) + 1)
    middle = (where.near + where.deepest / 2) / (where.near + where.deepest)
    polar = speckle_decibels((rows, columns), *keys, axial, lateral / middle)
    out = np.empty(shape[:2], np.float32)
    _nearest(where.depth, where.lateral, where.inside, np.float32(columns), polar, out)
    return out


def speckle(image: Image, scene: Scene, *, weight: float, axial: float, lateral: float, dynamic_range: float) -> Image:
    """Multiply the echo by Rayleigh speckle, seen through log compression: ``I + w / DR (20 log10 A - mean)``.

    Interference of echoes from scatterers finer than the point spread. The display is logarithmic, so the speckle adds
    and its contrast does not depend on the grey; the mean log is subtracted, so the mean grey stays. Nothing changes
    outside the scan sector, nor where Clear has no echo.

    Args:
        weight: w, share of full development.
        axial, lateral: point spread along and across the beam, px of the image.
        dynamic_range: DR, dB between black and white.
    """
    decibels = beam_field(scene, image.shape, axial, lateral)
    develop(decibels, scene.clear, weight / dynamic_range)
    return pixels.affine(image, None, decibels)


ECHO_FROM, ECHO_FULL = 2 / 255, 10 / 255
"""Local mean grey of Clear below which there is no echo to multiply, and above which there is one."""


@compile_function
def _times_ramp(values, low, scale, share, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        row, target = values[y], out[y]
        for x in range(row.size):
            ramp = min(max((np.float32(row[x]) - low) * scale, np.float32(0)), np.float32(1))
            target[x] = target[x] * share * ramp


def develop(decibels: NDArray[np.float32], clear: Image, share: float) -> None:
    """Multiply in place by ``share``, and by 0 where Clear is black (letters' surround, cysts), by 1 where lit."""
    grey = clear if clear.ndim == 2 else np.ascontiguousarray(clear[..., 1])
    low, high = ECHO_FROM * pixels.top(clear), ECHO_FULL * pixels.top(clear)
    mean = cv2.blur(grey, (5, 5))
    _times_ramp(mean, np.float32(low), np.float32(1 / (high - low)), np.float32(share), decibels)


TABLE_STEPS = 4096
PER_PX = 4


@compile_function
def _shadow(depth, lateral, inside, across, begin, onset, out):  # type: ignore[no-untyped-def]
    shaded = np.zeros(across.shape[1], np.bool_)
    for k in range(across.shape[0]):
        for at in range(shaded.size):
            shaded[at] |= abs(across[k, at]) > 1e-4
    # Row by row: the table's column of every px (vectorised), the px that are shaded, and only then the shadows.
    column, places = np.empty(out.shape[1], np.int32), np.empty(out.shape[1], np.int32)
    for y in range(out.shape[0]):
        row, far, side, within = out[y], depth[y], lateral[y], inside[y]
        for x in range(row.size):
            column[x] = min(np.int32(side[x] * TABLE_STEPS), np.int32(TABLE_STEPS - 1))
            row[x] = 0
        count = 0
        for x in range(row.size):
            places[count] = x
            count += within[x] and shaded[np.uint32(column[x])]
        for k in range(across.shape[0]):
            weights, start = across[k], begin[k]
            for i in range(count):
                px = np.uint32(places[i])
                beam = np.uint32(column[px])
                behind = np.int32((far[px] - start[beam]) * PER_PX)
                if behind > 0:
                    row[px] += weights[beam] * onset[min(behind, np.int32(onset.size - 1))]


def shadow_places(scene: Scene, count: int) -> list[tuple[float, float]]:
    """Return (lateral position, depth as a share) of each shadow; three in four begin at the beam's brightest echo."""
    stream = scene.stream("shadows")
    bright = scene.get_measured("reflectors", "ultrasound")
    places = []
    for _ in range(count):
        lateral, from_reflector, depth = stream.uniform(0.12, 0.88), stream.uniform() < 0.75, stream.uniform(0.1, 0.5)
        places.append((lateral, float(bright[int(lateral * len(bright))]) if from_reflector else depth))
    return places


ELEVATION_REACH = 0.5
"""Standard deviation of a shadow along the slices of a volume, of half its length."""


def shadow_shares(scene: Scene, count: int) -> NDArray[np.float32]:
    """Return how much of each shadow falls on this slice of a volume, float32 (count,); 1 in an image of its own."""
    if scene.z is None:
        return np.ones(count, np.float32)
    stream = scene.stream("elevations")
    middles = np.array([stream.uniform(-0.8, 0.8) for _ in range(count)])
    return np.exp(-(((scene.z - middles) / ELEVATION_REACH) ** 2) / 2).astype(np.float32)


EDGE_SHARE = 0.9
"""Width of the logistic edge of a shadow, of the shadow's width: a beam is wider than a ray, so the flanks are soft."""
CAP_DECIBELS = 12.0
"""Echo of the reflector's surface at the top of its shadow, over the tissue (before the shadow takes its part)."""
CAP_SHARE = 0.45
"""Thickness of that bright cap, of the length over which the shadow deepens."""
ROUNDNESS = 0.35
"""How far the rim of the reflector lies below its crown, of its half width."""


def shadow_profiles(
    places: list[tuple[float, float]], width: float, deepest: float, span: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return w over the fan and the depth r0 in px at which each shadow begins, float32 (count, 4096) each.

    Args:
        places: (lateral position, depth share) of each shadow.
        width: of the fan.
        deepest: depth of the sector, px.
        span: length across all beams, px.
    """
    lateral = (np.arange(TABLE_STEPS) + 0.5) / TABLE_STEPS
    steepness = 4 / (EDGE_SHARE * width)
    across, begin = [], []
    for centre, start in places:
        rising, falling = (np.clip((sign * (lateral - centre) + width / 2) * steepness, -60, 60) for sign in (1, -1))
        middle = (1 + np.exp(-width / 2 * steepness)) ** 2
        across.append(middle / ((1 + np.exp(-rising)) * (1 + np.exp(-falling))))
        rim = np.minimum(np.abs(lateral - centre) / (width / 2), 1.5)
        begin.append(start * deepest + ROUNDNESS * rim**2 * width / 2 * span)
    return np.asarray(across, np.float32), np.asarray(begin, np.float32)


def acoustic_shadow(
    image: Image,
    scene: Scene,
    *,
    shadows: float,
    loss: float,
    width: float,
    onset: float,
    noise_floor: float,
    dynamic_range: float,
) -> Image:
    """Take away echo below reflectors, along the beam: ``I - L / DR w(phi) (1 - exp(-(r - r0) / d))`` for r > r0.

    Stones, bone, gas and poor contact let no sound through. w is the product of two logistic edges at constant angle,
    so the shadow widens with depth in a convex sector. Nothing above r0 or outside the sector changes; the electronic
    noise floor stays. The surface that casts the shadow is a bright cap at its top.

    Args:
        shadows: how many.
        loss: L, dB.
        width: of the fan.
        onset: d, px of the image.
        noise_floor: grey below which nothing is taken, of full scale.
        dynamic_range: DR, dB between black and white.
    """
    where = scene.beams(image.shape)
    across, begin, rise = make_shadow_tables(scene, where, shadows, loss, width, onset, dynamic_range)
    drop = np.empty(image.shape[:2], np.float32)
    _shadow(where.depth, where.lateral, where.inside, across, begin, rise, drop)
    floor = image.dtype.type(noise_floor * pixels.top(image))
    return np.asarray(np.maximum(pixels.affine(image, None, drop), np.minimum(image, floor)))


def make_shadow_tables(
    scene: Scene, where: Beams, shadows: float, loss: float, width: float, onset: float, dynamic_range: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return what :func:`acoustic_shadow` looks up.

    Returns:
        the loss over the fan (of full scale) and the depth in px at which each shadow begins, float32 (shadows, 4096)
        each; the share of the loss along the depth, 4 steps a px, float32.
    """
    across, begin = shadow_profiles(shadow_places(scene, int(shadows)), width, where.deepest, where.width)
    across *= shadow_shares(scene, len(across))[:, None]
    behind = np.arange(int(where.deepest * PER_PX) + 2) / PER_PX
    inside_cap = np.clip(behind / max(CAP_SHARE * onset, 1e-3), 0, 1)
    cap = CAP_DECIBELS / max(loss, 1e-3) * np.sin(np.pi * inside_cap) ** 2
    rise = (1 - np.exp(-behind / max(onset, 1e-3)) - cap).astype(np.float32)
    return across * np.float32(-loss / dynamic_range), begin, rise


ECHOES = 4
HANN_STEPS = 512


@compile_function
def _echoes(image, depth, inside, apex_x, apex_y, near, start, spacing, bands, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = 0
            behind = depth[y, x] - start + spacing / 2
            if not inside[y, x] or behind < spacing:
                continue
            echo = int(behind / spacing)
            if echo > ECHOES:
                continue
            band = bands[echo, int((behind / spacing - echo) * HANN_STEPS)]
            back = echo * spacing
            if near < 0:
                source_x, source_y = np.float32(x), np.float32(y) - back
            else:
                share = (depth[y, x] + near - back) / (depth[y, x] + near)
                source_x, source_y = apex_x + (x - apex_x) * share, apex_y + (y - apex_y) * share
            column = min(max(int(np.floor(source_x)), 0), image.shape[1] - 2)
            row = min(max(int(np.floor(source_y)), 0), image.shape[0] - 2)
            u = min(max(source_x - column, np.float32(0)), np.float32(1))
            v = min(max(source_y - row, np.float32(0)), np.float32(1))
            upper = (1 - u) * image[row, column] + u * image[row, column + 1]
            lower = (1 - u) * image[row + 1, column] + u * image[row + 1, column + 1]
            out[y, x] = band * ((1 - v) * upper + v * lower)


def gel_reflection(image: Image, scene: Scene, *, decay: float, spacing: float) -> Image:
    """Repeat the bright interface below the probe: ``I(r) + sum_k a**k h(r - k d) I(r - k d)``, h a window around it.

    Sound that runs to and fro between the probe and a gel pad or air layer: equally spaced arcs, each fainter by the
    same factor.

    Args:
        decay: a.
        spacing: d, px of the image.
    """
    where = scene.beams(image.shape)
    start, spacing, bands = make_echo_bands(scene, where, decay, spacing)
    echoes = np.empty(image.shape[:2], np.float32)
    grey = image if image.ndim == 2 else np.ascontiguousarray(image[..., 1])
    apex = scene.geometry.get("apex", [0.0, 0.0])
    near = where.near if where.spread else -1.0
    numbers = [np.float32(value) for value in (*apex, near, start, spacing)]
    _echoes(grey, where.depth, where.inside, *numbers, bands, echoes)
    return pixels.affine(image, None, echoes / np.float32(pixels.top(image)))


def make_echo_bands(
    scene: Scene, where: Beams, decay: float, spacing: float
) -> tuple[float, float, NDArray[np.float32]]:
    """Return what :func:`gel_reflection` looks up.

    Returns:
        depth of the interface and spacing of the echoes in px; amplitude of each echo over its width, float32
        (:data:`ECHOES` + 1, :data:`HANN_STEPS` + 1).
    """
    start = float(scene.get_measured("interface", "ultrasound")) * where.deepest
    window = np.hanning(HANN_STEPS + 1)
    bands = np.stack([decay**echo * window for echo in range(ECHOES + 1)]).astype(np.float32)
    return start, max(2.0, float(round(spacing))), bands
