"""MRI degradations: coil sensitivity, truncated and modulated k-space, magnitude noise. 2-D, each channel alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function
from dmseg.simulators import fields, pixels
from dmseg.simulators.scene import Scene
from dmseg.types import Image

DEGREE = 3


def legendre(size: int) -> NDArray[np.float64]:
    """Return the Legendre polynomials of degree 0..3 at ``size`` pixel centres on [-1, 1], float64 (4, size)."""
    x = (np.arange(size) + 0.5) / size * 2 - 1
    return np.stack([np.ones(size), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2])


@compile_function
def _log_field(down, across, coefficients, out):  # type: ignore[no-untyped-def]
    low, high = np.float32(np.inf), np.float32(-np.inf)
    first, second, third, fourth = across[0], across[1], across[2], across[3]
    weights = np.zeros(coefficients.shape[1], np.float32)
    for y in range(out.shape[0]):
        for j in range(weights.size):
            weights[j] = 0
            for i in range(coefficients.shape[0]):
                weights[j] += coefficients[i, j] * down[i, y]
        row, a, b, c, d = out[y], weights[0], weights[1], weights[2], weights[3]
        for x in range(row.size):
            row[x] = a * first[x] + b * second[x] + c * third[x] + d * fourth[x]
        for x in range(row.size):
            low, high = min(low, row[x]), max(high, row[x])
    return low, high


@compile_function
def _lean(field, depth, scale, slope, most):  # type: ignore[no-untyped-def]
    # field * scale - (depth * slope, limited to 0..most), in place.
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for y in range(field.shape[0]):
        row, far = field[y], depth[y]
        for x in range(row.size):
            row[x] = row[x] * scale - min(max(far[x] * slope, np.float32(0)), most)
        for x in range(row.size):
            low, high = min(low, row[x]), max(high, row[x])
    return low, high


@compile_function
def _exponential(values, scale, shift):  # type: ignore[no-untyped-def]
    # exp of small numbers: two halvings and a Taylor polynomial of degree 6 (relative error below 1e-6 for |x| < 2),
    # which vectorises.
    for y in range(values.shape[0]):
        row = values[y]
        for x in range(row.size):
            z = (row[x] * scale + shift) * np.float32(0.25)
            p = np.float32(1 / 720)
            p = p * z + np.float32(1 / 120)
            p = p * z + np.float32(1 / 24)
            p = p * z + np.float32(1 / 6)
            p = p * z + np.float32(0.5)
            p = p * z + np.float32(1)
            p = p * z + np.float32(1)
            p = p * p
            row[x] = p * p


@dataclass(frozen=True)
class _Slab:
    """The log field of a volume, ``sum c_ijk P_i(y) P_j(x) P_k(z)`` with i + j + k at most 3, and its extremes."""

    coefficients: NDArray[np.float64]
    low: float
    high: float

    @staticmethod
    def of(scene: Scene, plane: NDArray[np.float64]) -> _Slab:
        stream = scene.stream("coefficients along z")
        whole = np.zeros((DEGREE + 1, DEGREE + 1, DEGREE + 1))
        whole[..., 0] = plane
        for i, j, k in itertools.product(range(DEGREE + 1), range(DEGREE + 1), range(1, DEGREE + 1)):
            if i + j + k <= DEGREE:
                whole[i, j, k] = stream.normal() / (i + j + k)
        grid = legendre(24)
        values = np.einsum("ijk,iy,jx,kz->zyx", whole, grid, grid, grid)
        return _Slab(whole, float(values.min()), float(values.max()))

    def at(self, z: float) -> NDArray[np.float64]:
        """Return the plane's coefficients at a place in -1..1."""
        along = np.array([1.0, z, (3 * z**2 - 1) / 2, (5 * z**3 - 3 * z) / 2])
        return np.asarray(self.coefficients @ along)


@dataclass(frozen=True)
class Coefficients:
    """The log field ``sum c_ij P_i(y) P_j(x)`` of one image; of a slice, also the extremes over its volume."""

    plane: NDArray[np.float64]
    ends: tuple[float, float] | None


def draw_coefficients(scene: Scene) -> Coefficients:
    """Draw a bias field: 1 <= i + j <= 3, weaker for the higher degrees, float64 (4, 4)."""
    stream = scene.stream("coefficients")
    plane = np.zeros((DEGREE + 1, DEGREE + 1))
    for i in range(DEGREE + 1):
        for j in range(DEGREE + 1 - i):
            if i + j > 0:
                plane[i, j] = stream.normal() / (i + j)
    if scene.z is None:
        return Coefficients(plane, None)
    volume = _Slab.of(scene, plane)
    return Coefficients(volume.at(scene.z), (volume.low, volume.high))


def bias_gain(scene: Scene, shape: tuple[int, ...], ratio: float, depth_share: float) -> NDArray[np.float32]:
    """Return the gain field, float32 (H, W): mean log 0, largest over smallest value exactly ``ratio``."""
    height, width = shape[:2]
    drawn = draw_coefficients(scene)
    coefficients, ends = drawn.plane, drawn.ends
    down, across = legendre(height), legendre(width)
    field = np.empty((height, width), np.float32)
    single = (down.astype(np.float32), across.astype(np.float32), coefficients.astype(np.float32))
    low, high = _log_field(*single, field)
    if ends is not None:
        low, high = ends
    if depth_share > 0:
        where = scene.beams(shape)
        slope = np.float32(depth_share / max(where.deepest, 1))
        spread = np.float32((1 - depth_share) / max(high - low, 1e-6))
        low, high = map(float, _lean(field, where.depth, spread, slope, np.float32(depth_share)))
        mean = float(field.mean(dtype=np.float64))
        if ends is not None:
            low, high, mean = -depth_share, 1 - depth_share, -depth_share / 2
    elif ends is not None:
        mean = 0.0
    else:
        mean = float(down.mean(axis=1) @ coefficients @ across.mean(axis=1))
    scale = math.log(ratio) / max(high - low, 1e-6)
    _exponential(field, np.float32(scale), np.float32(-mean * scale))
    return field


def bias_field(image: Image, scene: Scene, *, ratio: float, depth_share: float = 0.0) -> Image:
    """Multiply by a smooth field: ``I exp(sum c_ij P_i(x) P_j(y))``, 1 <= i + j <= 3, Legendre.

    MRI: the sensitivity of the receive coil and the transmit field. Ultrasound: the same, plus a term that falls with
    depth, a time-gain setting that is off. The log has mean 0 and the largest over the smallest gain is the ratio; all
    channels share the field.

    Args:
        ratio: largest over smallest gain.
        depth_share: share of the depth term in the range of the log (ultrasound only).
    """
    return pixels.affine(image, bias_gain(scene, image.shape, ratio, depth_share))


def truncate_frequencies(values: NDArray[np.float32], fraction: float, axis: int) -> NDArray[np.float32]:
    """Keep the central ``fraction`` of the frequencies along one axis of (H, W), zero the rest, and transform back.

    Frequencies -m..m of N stay, m = floor(fraction N / 2); real, before magnitude and clipping.
    """
    rows = values if axis == 1 else cv2.transpose(values)
    size = rows.shape[1]
    keep = min(int(fraction * size / 2), (size - 1) // 2)
    # OpenCV packs a real row's spectrum as Re 0, Re 1, Im 1, Re 2, Im 2, ...: the kept part is a prefix.
    spectrum = cv2.dft(rows, flags=cv2.DFT_ROWS)
    spectrum[:, 2 * keep + 1 :] = 0
    result = cv2.idft(spectrum, flags=cv2.DFT_ROWS | cv2.DFT_SCALE)
    return np.asarray(result if axis == 1 else cv2.transpose(result), np.float32)


def gibbs_ringing(image: Image, scene: Scene, *, fraction: float, axis: float) -> Image:
    """Truncate k-space: ``|F^-1 box(k / (f N / 2)) F I|``, zero-filled to the old size.

    Too few phase-encoding steps: ripples of period 2 / f px beside every edge.

    Args:
        fraction: f, kept share of the frequencies.
        axis: phase-encoding axis, 0 down, 1 across, 2 both.
    """

    def one(channel: NDArray[np.float32]) -> NDArray[np.float32]:
        for direction in (0, 1) if axis == 2 else (int(axis),):
            channel = truncate_frequencies(channel, fraction, direction)
        return np.abs(channel)

    return _per_channel(image, one)


def _per_channel(image: Image, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Image:
    """Apply a function of a float32 (H, W) array in [0, 1] to each channel."""
    values = pixels.unit(image)
    if image.ndim == 2:
        return pixels.to_type_of(function(values), image)
    planes = [function(np.ascontiguousarray(values[..., channel])) for channel in range(3)]
    return pixels.to_type_of(np.stack(planes, axis=2), image)


@compile_function
def _ghosts(image, shift, real, imaginary, half, white, out):  # type: ignore[no-untyped-def]
    # The phase-encoding axis is the first; a row is one vector.
    height = image.shape[0]
    for y in range(height):
        here, above, below, target = image[y], image[(y - shift) % height], image[(y + shift) % height], out[y]
        for x in range(here.size):
            one, other = np.float32(above[x]), np.float32(below[x])
            re = np.float32(here[x]) + real * (one + other)
            im = imaginary * (one - other)
            target[x] = min(np.sqrt(re * re + im * im) + half, white)


def mr_ghosting(image: Image, scene: Scene, *, intensity: float, ghosts: float, phase: float, axis: float) -> Image:
    """Modulate the phase-encoding lines by ``1 + a cos(2 pi f ky + phase)``, f = 1 / k.

    Breathing, pulsation, or (k = 2) lines of opposite readout that differ. Exactly two circular shifts:
    ``|I + a / 2 (e^(i phase) S(+N/k) + e^(-i phase) S(-N/k)) I|``. At k = 2 both coincide, and only phase 0 or 180
    degrees leaves a ghost of amplitude a, so the phase is taken to the nearer of these.

    Args:
        intensity: a.
        ghosts: k, the ghosts sit N / k px (rounded) away.
        phase: degrees.
        axis: phase-encoding axis, 0 down, 1 across.
    """
    along = image if axis == 0 else np.ascontiguousarray(np.swapaxes(image, 0, 1))
    height = along.shape[0]
    turn = choose_phase(ghosts, phase)
    white = pixels.top(image)
    half = 0.5 if white > 1 else 0.0
    out = np.empty_like(along)
    _ghosts(
        along.reshape(height, -1),
        round(height / ghosts),
        np.float32(intensity / 2 * math.cos(turn)),
        np.float32(intensity / 2 * math.sin(turn)),
        np.float32(half),
        np.float32(white + half),
        out.reshape(height, -1),
    )
    return out if axis == 0 else np.ascontiguousarray(np.swapaxes(out, 0, 1))


def choose_phase(ghosts: float, phase: float) -> float:
    """Return the phase in radians; the nearer of 0 and 180 degrees where both ghosts coincide."""
    if ghosts == 2:
        return 0.0 if math.cos(math.radians(phase)) >= 0 else math.pi
    return math.radians(phase)


@compile_function
def _rician(image, first, second, strength, half, white, out):  # type: ignore[no-untyped-def]
    for i in range(image.size):
        real = np.float32(image[i]) + strength * np.float32(first[i])
        imaginary = strength * np.float32(second[i])
        out[i] = min(np.sqrt(real * real + imaginary * imaginary) + half, white)


def rician_noise(image: Image, scene: Scene, *, sigma: float) -> Image:
    """Take the magnitude of a complex signal with noise: ``sqrt((I + s n1)**2 + (s n2)**2)``.

    Thermal noise of an MR magnitude image: the background becomes Rayleigh, of mean s sqrt(pi / 2).

    Args:
        sigma: s, standard deviation of each part, of full scale.
    """
    white = pixels.top(image)
    half = 0.5 if white > 1 else 0.0
    first, second = (fields.normals(scene.key(name), image.size) for name in ("real", "imaginary"))
    strength = np.float32(sigma * white / 2**fields.NORMAL_BITS)
    out = np.empty_like(image)
    flat = (image.reshape(-1), first, second, strength, np.float32(half), np.float32(white + half), out.reshape(-1))
    _rician(*flat)
    return out
