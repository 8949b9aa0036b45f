"""B-mode ultrasound: scatterers under a pulse, envelope, log compression, probe geometry. No anatomy lives here.

Each cell of the beam grid holds one random complex scatterer, scaled by the tissue's echogenicity; the pulse is a
separable Gaussian in depth and across the beams. The envelope of that is fully developed speckle (Rayleigh, mean over
standard deviation 1.91). The convex probe is simulated in beam coordinates and converted as a complex signal, which
keeps its statistics. Attenuation is summed along the beam, so shadows and enhancement follow the beams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.phantoms.fields import Field, blur, grid, normal_field, paint, rim, smooth_field, to_bytes
from dmseg.phantoms.shapes import TURN, Shape, cosine, fill, sine, to_fixed_point
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask

_TABLE = read_packaged_table("dmseg.phantoms", "ultrasound.toml")
DYNAMIC_RANGE_DB: float = _TABLE["dynamic_range_db"]
TISSUE: dict[str, tuple[float, float, float]] = {name: tuple(row) for name, row in _TABLE["tissue"].items()}


class Body:
    """What the beam meets: mean echo level (dB) and attenuation (dB/px) of each pixel, (H, W) float64 each."""

    def __init__(self, stream: Stream, shape: Shape, tissue: str) -> None:
        self.stream, self.shape = stream, shape
        self.level, self.loss = np.zeros(shape), np.zeros(shape)
        self.add(np.ones(shape, np.bool_), tissue, edge=0.0)

    def add(self, mask: Mask, tissue: str, *, edge: float = 1.0, grain: float = 8.0, gain: float = 0.0) -> None:
        """Put a tissue of the table where ``mask`` is; ``grain`` px of its texture, ``gain`` dB added to its level."""
        level, texture, loss = TISSUE[tissue]
        paint(self.level, mask, level + gain + texture * smooth_field(self.stream, self.shape, grain), edge)
        paint(self.loss, mask, loss, edge)

    def interface(self, mask: Mask, gain: float, width: float = 0.8) -> None:
        """Raise the echo along a mask's border by ``gain`` dB, most where the border lies across the beam."""
        slope = np.abs(np.gradient(blur(mask, 1.5), axis=0))
        across = slope / max(float(slope.max()), 1e-9)
        self.level += gain * rim(mask, width) * (0.3 + 0.7 * across)


def layer_line(stream: Stream, shape: Shape, part: float, sway: float) -> Field:
    """Return the height (px) of a gently waving layer boundary per column, (1, W); both numbers in image heights."""
    height, width = shape
    return part * height + sway * height * smooth_field(stream, (1, width), (1, width / 3))


def striae(stream: Stream, body: Body, mask: Mask, tilt: float, spacing: float, gain: float) -> None:
    """Draw the bright, nearly parallel lines of a muscle cut along its fibres inside ``mask``.

    ``tilt`` is the rise of a line in px per px, ``spacing`` the grain across the lines in px.
    """
    height, width = body.shape
    y, x = grid(body.shape)
    lines = smooth_field(stream, (height, width), (spacing, width / 4))
    moved = ndimage.map_coordinates(lines, [y - tilt * (x - width / 2), x], order=1, mode="mirror")
    body.level += gain * blur((moved > 0.8) & mask, 0.6)


@dataclass(frozen=True, slots=True)
class Convex:
    """A curved array: beams fan out from a virtual apex (x, y px); radii in px, half angle in 1/4096 turn."""

    apex: tuple[float, float]
    near: float
    far: float
    half_turn: int

    @property
    def half_angle(self) -> float:
        """Half the opening angle, rad."""
        return self.half_turn * 2 * np.pi / TURN

    def sector(self, shape: Shape) -> Mask:
        """Return the pixels that the beams reach, bool ``shape``, in integer arithmetic."""
        turns = np.linspace(-self.half_turn, self.half_turn, 65).astype(np.int64)
        far, near = (
            np.stack([to_fixed_point(r) * sine(t) >> 14, to_fixed_point(r) * cosine(t) >> 14], axis=1)
            for r, t in ((self.far, turns), (self.near, turns[::-1]))
        )
        return fill(np.concatenate([far, near]) + to_fixed_point(self.apex), shape)

    def _polar(self, shape: Shape) -> tuple[Field, Field]:
        y, x = np.indices(shape, dtype=np.float64)
        dx, dy = x - self.apex[0], y - self.apex[1]
        return np.hypot(dx, dy), np.arctan2(dx, dy)

    def beams(self, field: Field) -> Field:
        """Sample an image on the beam grid (depth, beam), one px steps in depth and at the far end across."""
        depth, beam = self._grid()
        x, y = self.apex[0] + depth * np.sin(beam), self.apex[1] + depth * np.cos(beam)
        sampled: Field = ndimage.map_coordinates(field, [y, x], order=1, mode="nearest")
        return sampled

    def to_image(self, beams: Field, shape: Shape) -> Field:
        """Scan-convert a beam grid back to the image (bilinear)."""
        radius, angle = self._polar(shape)
        columns = beams.shape[1]
        place = [radius - self.near, (angle / self.half_angle + 1) / 2 * (columns - 1)]
        converted: Field = ndimage.map_coordinates(beams, place, order=1, mode="nearest")
        return converted

    def _grid(self) -> tuple[Field, Field]:
        rows = int(self.far - self.near) + 2
        columns = int(2 * self.half_angle * self.far * 0.8) + 2
        depth, beam = np.meshgrid(
            self.near + np.arange(rows), np.linspace(-self.half_angle, self.half_angle, columns), indexing="ij"
        )
        return depth, beam


def _echo(body: Body, level: Field, loss: Field, axial: float, lateral: float) -> NDArray[np.complex128]:
    """Return the complex echo signal on a beam grid whose first axis is depth; mean power 10^(level/10)."""
    travelled = np.cumsum(blur(loss, (0.0, 1.5)), axis=0)
    amplitude = 10 ** ((level - np.clip(travelled, -9.0, 45.0)) / 20)
    parts = [
        ndimage.gaussian_filter(amplitude * normal_field(body.stream, level.shape), (axial, lateral), mode="reflect")
        for _ in range(2)
    ]
    # A Gaussian of standard deviation s keeps 1 / (2 s sqrt(pi)) of white power per axis; two parts give twice.
    power = 2 / (4 * np.pi * axial * lateral)
    signal: NDArray[np.complex128] = (parts[0] + 1j * parts[1]) / np.sqrt(power)
    return signal


def amplitude(body: Body, probe: Convex | None = None, *, axial: float = 0.8, lateral: float = 1.6) -> Field:
    """Return the echo amplitude of each pixel before the log (1 = full white), 0 outside the sector.

    Args:
        body: what the beams meet.
        probe: a convex probe, or None for a linear one whose beams are the columns.
        axial: pulse length, standard deviation in px.
        lateral: beam width, standard deviation in beams.
    """
    if probe is None:
        return np.abs(_echo(body, body.level, body.loss, axial, lateral))
    signal = _echo(body, probe.beams(body.level), probe.beams(body.loss), axial, lateral)
    shape = body.shape
    envelope: Field = np.hypot(probe.to_image(signal.real, shape), probe.to_image(signal.imag, shape))
    return np.where(probe.sector(shape), envelope, 0.0)


def compress_log(echo: Field) -> NDArray[np.uint8]:
    """Log-compress amplitudes to 8 bit: white at 1, black :data:`DYNAMIC_RANGE_DB` below and outside the sector."""
    decibel = 20 * np.log10(np.maximum(echo, 1e-9))
    return to_bytes(1 + decibel / DYNAMIC_RANGE_DB)
