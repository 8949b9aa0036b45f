"""Magnetic resonance: tissue signals under a coil's sensitivity with Rician noise; the abdomen (CHAOS)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms.abdomen import LEVELS, Section, Trunk, stack_organs
from dmseg.phantoms.drawing import Stack
from dmseg.phantoms.fields import Field, normal_field, paint, smooth_field
from dmseg.phantoms.shapes import Shape
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table

_TABLE = read_packaged_table("dmseg.phantoms", "mr.toml")
BRAIN_TISSUES = ("scalp", "skull", "white", "grey", "fluid", "oedema", "core", "enhancing")
NOISE: tuple[float, float] = tuple(_TABLE["noise"])
SCALE: float = _TABLE["scale"]
ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")
SPACING_Z = 30.0
FIELD_MM = 380.0


def signals(sequence: str) -> tuple[float, ...]:
    """Return the signals of :data:`BRAIN_TISSUES` in "flair", "t1", "t1ce" or "t2"."""
    return tuple(_TABLE["brain"][sequence])


def rician(stream: Stream, signal: Field, sd: float) -> Field:
    """Return the magnitude of a signal with normal noise of standard deviation ``sd`` in both channels."""
    shape = (signal.shape[0], signal.shape[1])
    result: Field = np.hypot(signal + sd * normal_field(stream, shape), sd * normal_field(stream, shape))
    return result


def sensitivity(stream: Stream, shape: Shape) -> Field:
    """Return a receive coil's smooth gain, about 1."""
    gain: Field = np.exp(_TABLE["bias"] * smooth_field(stream, shape, max(shape) / 1.2))
    return gain


def to_stored(signal: Field) -> NDArray[np.int16]:
    """Return signals as stored integers, 1 -> the table's scale."""
    return np.floor(np.clip(signal * SCALE, 0, 4095) + 0.5).astype(np.int16)


def _slice(stream: Stream, section: Section) -> NDArray[np.int16]:
    shape = (section.trunk.shape[0], section.trunk.shape[1])
    signals: dict[str, float] = _TABLE["t2spir"]
    image = np.zeros(shape)
    grain = smooth_field(stream, shape, 4)
    for part in section.parts:
        level = signals[part.tissue] * stream.uniform(0.93, 1.07)
        paint(image, part.mask, level * (1 + 0.1 * grain), 1.1)
    return to_stored(rician(stream, image * sensitivity(stream, shape), stream.uniform(*NOISE)))


def abdomen(case: str, size: int) -> Stack:
    """Draw one patient in T2-SPIR: a pelvic slice without annotated organs, then the renal and the upper level."""
    trunk = Trunk(case, Stream(case, "trunk"), (size, size))
    sections = [trunk.section(level) for level in LEVELS]
    slices = [_slice(Stream(case, "slice", level), s) for level, s in zip(LEVELS, sections, strict=True)]
    pixel = FIELD_MM / size
    return Stack({"t2spir": np.stack(slices)}, stack_organs(sections, ORGANS), (SPACING_Z, pixel, pixel))
