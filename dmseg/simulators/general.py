"""The eight general degradations, which any camera or scanner image can suffer.

Each function takes an image (uint8, uint16 or float32; (H, W) or (H, W, 3)), the scene and its parameters, lengths in
px of the image, and returns a new image of the same type and shape. None moves the content: masks stay aligned.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function
from dmseg.simulators import fields, pixels
from dmseg.simulators.powers import raise_to
from dmseg.simulators.scene import Scene
from dmseg.types import Image


@compile_function
def _noise_integer(image, key, table, strength, shift, white, out):  # type: ignore[no-untyped-def]
    half = strength * 0 + (1 << (shift - 1))
    whole = image.size // 4 * 4
    for start in range(0, image.size, 4):
        z = fields.mix(key, np.uint64(start) >> np.uint64(2))
        count = 4 if start < whole else image.size - whole
        for lane in range(count):
            noise = (table[(z >> np.uint64(16 * lane)) & np.uint64(0xFFFF)] * strength + half) >> shift
            out[start + lane] = min(max(image[start + lane] + noise, 0), white)


@compile_function
def _noise_float(image, key, table, strength, out):  # type: ignore[no-untyped-def]
    whole = image.size // 4 * 4
    for start in range(0, image.size, 4):
        z = fields.mix(key, np.uint64(start) >> np.uint64(2))
        count = 4 if start < whole else image.size - whole
        for lane in range(count):
            value = image[start + lane] + strength * np.float32(table[(z >> np.uint64(16 * lane)) & np.uint64(0xFFFF)])
            out[start + lane] = min(max(value, np.float32(0)), np.float32(1))


def gaussian_noise(image: Image, scene: Scene, *, sigma: float) -> Image:
    """Add independent normal noise: ``I + sigma n``, per pixel and channel (grey images: one channel).

    Electronic noise of any detector. Integer types use integer arithmetic: the same bits on every machine.

    Args:
        sigma: standard deviation, of full scale.
    """
    out = np.empty_like(image)
    key = np.uint64(scene.key("noise"))
    flat, flat_out, table = image.reshape(-1), out.reshape(-1), fields.normal_table()
    if image.dtype == np.float32:
        _noise_float(flat, key, table, np.float32(sigma / 2**fields.NORMAL_BITS), flat_out)
        return out
    white = int(pixels.top(image))
    fraction = 8
    strength = np.int64(round(sigma * white * 2**fraction))
    _noise_integer(flat, key, table, strength, np.int64(fraction + fields.NORMAL_BITS), np.int64(white), flat_out)
    return out


def salt_pepper(image: Image, scene: Scene, *, salt: float, pepper: float) -> Image:
    """Set a share of the pixels to white and another share to black; all others keep their bits.

    Impulse noise of transmission errors. The pixels are a prefix (salt) and a suffix (pepper) of one keyed permutation,
    so the two never meet and a stronger level contains every pixel of a weaker one. At least one pixel of each is set.

    Args:
        salt, pepper: share of all pixels.
    """
    size = image.shape[0] * image.shape[1]
    key = scene.key("places")
    out = image.copy()
    flat = out.reshape(size, -1)
    white, black = (max(1, round(share * size)) if share > 0 else 0 for share in (salt, pepper))
    flat[fields.places(key, size, 0, white)] = pixels.top(image)
    flat[fields.places(key, size, size - black, black)] = 0
    return out


TAP_BITS = 14


def line_taps(length: float, angle: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the point spread of a straight, even movement as integer taps.

    The line integral of the bilinear hat along a segment of ``length`` px centred on the pixel. Its centroid is 0
    exactly (the taps are made symmetric), its sum is 2**14, its variance along the line length**2 / 12 plus that of the
    bilinear interpolation, the mean of f (1 - f) over the fractions f, at most 1/6 px**2 per axis.

    Returns:
        dy, dx, weight of each tap, int64 (K,), K a multiple of 4 (filled up with taps of weight 0).
    """
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    n = max(2, math.ceil(length * 32))
    along = (np.arange(n) + 0.5) / n * length - length / 2
    radius = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    x, y = along * cosine + radius, along * sine + radius
    left, upper = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right_share, lower_share = x - left, y - upper
    for down, row_share in ((0, 1 - lower_share), (1, lower_share)):
        for right, column_share in ((0, 1 - right_share), (1, right_share)):
            np.add.at(kernel, (upper + down, left + right), row_share * column_share)
    kernel = (kernel + kernel[::-1, ::-1]) / (2 * n)
    weights = np.rint(kernel * 2**TAP_BITS).astype(np.int64)
    weights[radius, radius] += 2**TAP_BITS - weights.sum()
    rows, columns = np.nonzero(weights)
    taps = np.stack([rows - radius, columns - radius, weights[rows, columns]])
    taps = np.pad(taps, ((0, 0), (0, -taps.shape[1] % 4)))
    return taps[0], taps[1], taps[2]


@compile_function
def _add_taps(padded, y, dy, dx, weights, sums):  # type: ignore[no-untyped-def]
    # Four taps a turn, so that the sums are read and written a quarter as often. The slices first: an index computed
    # per pixel would be tested for its sign and never vectorised.
    width = sums.size
    for tap in range(0, weights.size, 4):
        a, b, c, d = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
        one = padded[y + dy[tap], dx[tap] : dx[tap] + width]
        two = padded[y + dy[tap + 1], dx[tap + 1] : dx[tap + 1] + width]
        three = padded[y + dy[tap + 2], dx[tap + 2] : dx[tap + 2] + width]
        four = padded[y + dy[tap + 3], dx[tap + 3] : dx[tap + 3] + width]
        for x in range(width):
            sums[x] += one[x] * a + two[x] * b + three[x] * c + four[x] * d


@compile_function
def _mean_of_integers(padded, dy, dx, weights, bits, sums, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        sums[:] = 1 << (bits - 1)
        _add_taps(padded, y, dy, dx, weights, sums)
        for x in range(sums.size):
            out[y, x] = sums[x] >> bits


@compile_function
def _mean_of_floats(padded, dy, dx, weights, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        out[y] = 0
        _add_taps(padded, y, dy, dx, weights, out[y])


def motion_blur(image: Image, scene: Scene, *, length: float, angle: float) -> Image:
    """Average along a straight line centred on each pixel: ``I * PSF``, reflecting border.

    Movement of the patient or the probe during the exposure. The point spread is centred, so the object stays on its
    mask. Integer types are summed in whole numbers: the same bits on every machine.

    Args:
        length: px of the image.
        angle: degrees from the x axis towards the y axis (downwards).
    """
    dy, dx, weights = line_taps(length, angle)
    pad = int(max(np.abs(dy).max(), np.abs(dx).max()))
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    channels = 3 if image.ndim == 3 else 1
    rows, columns, shape = dy + pad, (dx + pad) * channels, (image.shape[0], image.shape[1] * channels)
    padded = padded.reshape(padded.shape[0], -1)
    out = np.empty(shape, image.dtype)
    if image.dtype == np.float32:
        _mean_of_floats(padded, rows, columns, (weights / 2**TAP_BITS).astype(np.float32), out)
        return np.clip(out, 0, 1).reshape(image.shape)
    sums = np.empty(shape[1], np.int32)  # 65535 x 2**14 fits 31 bits
    _mean_of_integers(padded, rows, columns, weights.astype(np.int32), TAP_BITS, sums, out)
    return out.reshape(image.shape)


def gaussian_blur(image: Image, scene: Scene, *, sigma: float) -> Image:
    """Convolve with a normal point spread: ``I * G(sigma)``, reflecting border.

    Defocus, and the finite aperture of any detector.

    Args:
        sigma: standard deviation, px of the image.
    """
    taps = make_gaussian_taps(sigma)
    return np.asarray(cv2.sepFilter2D(image, -1, taps, taps, borderType=cv2.BORDER_REFLECT))


def make_gaussian_taps(sigma: float) -> NDArray[np.float32]:
    """Return a normal point spread, cut at 3 standard deviations, of sum 1, float32 (2 R + 1,)."""
    radius = max(1, math.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


ROOM = 0.35
"""Distance of the mean from black (or white) below which a shift that way is weakened in proportion: a dark image
would turn black at once."""
FULL_SIGNAL = 0.12
"""Local mean grey from which a pixel counts as signal: a shift towards white acts there in full, and not on black."""
NEIGHBOURS = 7


@compile_function
def _curves(image, local, curve, lift, white, out):  # type: ignore[no-untyped-def]
    for i in range(image.size):
        out[i] = min(max(curve[image[i]] - lift[local[i]], 0), white)


def brightness_contrast(image: Image, scene: Scene, *, brightness: float, contrast: float) -> Image:
    """Stretch about the mean of Clear and shift: ``c (I - mean) + mean + b``; where there is no signal, black stays.

    A display or gain setting that is off. Where the mean of Clear is nearer than .35 to black (white), a shift that
    way is b times mean / .35 (and likewise for white): else a dark image turned black. Gain multiplies a signal, so air
    and the surround of a scan sector, which have none, do not turn grey: there the curve's value at black is taken away
    again, by the share ``1 - smoothstep(local mean / .12)`` of the image itself. Integer types use integer tables.

    Args:
        brightness: b, of full scale.
        contrast: c, factor.
    """
    mean = scene.mean
    brightness = effective_shift(brightness, mean)
    lifted = mean * (1 - contrast) + brightness  # the curve's value at black
    if lifted <= 0:
        return pixels.pointwise(image, lambda value: contrast * (value - mean) + mean + brightness)
    local = cv2.blur(image, (NEIGHBOURS, NEIGHBOURS), borderType=cv2.BORDER_REFLECT)
    if image.dtype == np.float32:
        share = _unlit(local)
        return pixels.to_type_of(contrast * (image - mean) + mean + brightness - lifted * share, image)
    white = int(pixels.top(image))
    curve, lift = make_curves(white, mean, brightness, contrast)
    out = np.empty_like(image)
    _curves(image.reshape(-1), local.reshape(-1), curve, lift, np.int32(white), out.reshape(-1))
    return out


def make_curves(
    white: int, mean: float, brightness: float, contrast: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the stretch of every grey, and what is taken away again at every local mean, int32 (white + 1,) each.

    Args:
        white: the largest grey.
        mean: of Clear, in [0, 1].
        brightness: shift that acts, see :func:`effective_shift`.
        contrast: factor.
    """
    greys = np.arange(white + 1) / white
    curve = np.floor((contrast * (greys - mean) + mean + brightness) * white + 0.5).astype(np.int32)
    lifted = max(mean * (1 - contrast) + brightness, 0.0)
    return curve, np.floor(lifted * _unlit(greys) * white + 0.5).astype(np.int32)


def effective_shift(brightness: float, mean: float) -> float:
    """Return the shift that an image of this mean gets: see :func:`brightness_contrast`."""
    return brightness * min(1.0, (mean if brightness < 0 else 1 - mean) / ROOM)


def _unlit(local: NDArray[Any]) -> NDArray[Any]:
    """Return 1 where the local mean is black, 0 from :data:`FULL_SIGNAL` on, smooth in between."""
    along = np.clip(local / FULL_SIGNAL, 0, 1)
    return np.asarray(1 - along * along * (3 - 2 * along))


def gamma(image: Image, scene: Scene, *, gamma: float) -> Image:
    """Raise to a power: ``I ** gamma``; black and white stay.

    A display or detector curve that is off.

    Args:
        gamma: exponent; above 1 darkens.
    """
    if image.dtype == np.float32:
        return raise_to(image, gamma)
    return pixels.pointwise(image, lambda value: np.power(value, gamma))


def jpeg_bytes(image: Image, quality: int) -> NDArray[np.uint8]:
    """Return the JPEG file of an image: libjpeg quality, 4:2:0 for colour, one channel for grey; 8 bits always.

    Returns:
        The bytes of the file, uint8 (n,).
    """
    eight = image if image.dtype == np.uint8 else np.floor(pixels.unit(image) * 255 + 0.5).astype(np.uint8)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    ordered = eight if eight.ndim == 2 else np.asarray(cv2.cvtColor(eight, cv2.COLOR_RGB2BGR))
    coded, data = cv2.imencode(".jpg", ordered, options)
    if not coded:
        raise RuntimeError("OpenCV could not encode JPEG")
    return np.asarray(data, np.uint8)


def jpeg(image: Image, scene: Scene, *, quality: float) -> Image:
    """Encode as JPEG and decode again.

    Lossy storage or transfer: 8-px blocks, lost detail, ringing at edges, smeared colour.

    Args:
        quality: libjpeg quality, 1..100.
    """
    decoded = cv2.imdecode(
        jpeg_bytes(image, int(quality)), cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR
    )
    if decoded is None:
        raise RuntimeError("OpenCV could not decode its own JPEG")
    if image.ndim == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    if image.dtype == np.uint8:
        return np.asarray(decoded)
    return pixels.to_type_of(decoded.astype(np.float32) / np.float32(255), image)


LOBE_CUT = 4.0
UNCONFINED = (None, "microscopy")
"""Modalities whose dark background is part of what the camera sees: there the veil reaches everywhere."""
MAP_SIDE = 64
LIT_GREY = 0.04


def measure_scanned_share(clear: Image) -> NDArray[np.float32]:
    """Return 0 where Clear shows nothing (air, the surround of a sector) and 1 inside, float32 (64, 64).

    Small dark parts count as inside; the rise is soft and lies inside the outline.
    """
    grey = clear if clear.ndim == 2 else np.maximum(np.maximum(clear[..., 0], clear[..., 1]), clear[..., 2])
    small = cv2.resize(grey, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(
        pixels.top(clear)
    )
    lit = (small > LIT_GREY).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    closed = cv2.morphologyEx(cv2.copyMakeBorder(lit, 8, 8, 8, 8, cv2.BORDER_REPLICATE), cv2.MORPH_CLOSE, kernel)
    inner = cv2.erode(closed, np.ones((5, 5), np.uint8)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(inner, (0, 0), 1.5)[8:-8, 8:-8])


def glare(image: Image, scene: Scene, *, intensity: float, size: float, x: float, y: float, aspect: float) -> Image:
    """Add a saturating veil of light: ``I + a exp(-d**2 / 2)``, d the distance in standard deviations of an ellipse.

    Stray light of a lamp, inside the field of view. Pixels beyond 4 standard deviations keep their bits. Scanners and
    X-ray detectors see no lamp: their images get the weak reflection on a viewer, and only where something was scanned.

    Args:
        intensity: a, of full scale.
        size: standard deviation along x, of the short side.
        x, y: centre, of width and height.
        aspect: standard deviation along y over that along x.
    """
    height, width = image.shape[:2]
    rows, columns = make_lobe((height, width), size, x, y, aspect)
    _, lobe = cv2.threshold(np.outer(rows, columns), math.exp(-(LOBE_CUT**2) / 2), 0, cv2.THRESH_TOZERO)
    veil = np.asarray(lobe, np.float32) * np.float32(intensity)
    if scene.modality not in UNCONFINED:
        veil *= cv2.resize(measure_scanned_share(scene.clear), (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels.affine(image, None, veil)


def make_lobe(
    shape: tuple[int, int], size: float, x: float, y: float, aspect: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the two factors of an elliptic normal lobe, float32 (H,) and (W,); see :func:`glare`."""
    height, width = shape
    spread = size * min(height, width)
    across = (np.arange(width, dtype=np.float64) - x * (width - 1)) / spread
    down = (np.arange(height, dtype=np.float64) - y * (height - 1)) / (spread * aspect)
    return np.exp(-(down**2) / 2).astype(np.float32), np.exp(-(across**2) / 2).astype(np.float32)
