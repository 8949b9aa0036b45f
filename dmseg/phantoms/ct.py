"""CT: Hounsfield values of the trunk's tissues with correlated noise, air outside and the patient table below."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms.abdomen import LEVELS, Section, Trunk, stack_organs
from dmseg.phantoms.drawing import Stack
from dmseg.phantoms.fields import Field, blur, normal_field, paint, smooth_field
from dmseg.phantoms.shapes import Shape, curve, fill, ribbon, to_fixed_point
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask

_TABLE = read_packaged_table("dmseg.phantoms", "ct.toml")
HU: dict[str, float] = _TABLE["hu"]
NOISE: dict[str, tuple[float, float]] = {kernel: tuple(span) for kernel, span in _TABLE["noise"].items()}
AIR: float = _TABLE["air"]
ORGANS = (
    "liver", "right_kidney", "spleen", "pancreas", "aorta", "inferior_vena_cava", "right_adrenal", "left_adrenal",
    "gallbladder", "esophagus", "stomach", "duodenum", "left_kidney",
)  # fmt: skip
SPACING_Z = 30.0
FIELD_MM = 400.0


def tissues(stream: Stream) -> dict[str, float]:
    """Return one patient's HU of every tissue: the table's mean shifted by at most the table's spread."""
    spread = _TABLE["spread"]
    return {
        name: value + (stream.uniform(-spread, spread) if -200 < value < 500 else 0.0) for name, value in HU.items()
    }


def noise(stream: Stream, shape: Shape, sd: float) -> Field:
    """Return correlated noise as of a filtered back-projection (HU): white noise in the band of a soft kernel."""
    white = normal_field(stream, shape)
    grain = blur(white, 0.7) - 0.6 * blur(white, 1.6)
    return grain * (sd / float(grain.std()))


def table(shape: Shape, trunk: Mask) -> tuple[Mask, Mask]:
    """Return the shell and the foam of the curved table under the patient."""
    height, width = shape
    lowest = int(np.flatnonzero(trunk.any(axis=1))[-1]) + 2
    sag = height * 0.045
    line = curve(
        to_fixed_point(
            [(width * t, lowest + sag * (1 - (2 * t - 1) ** 2) - sag) for t in (0.06, 0.2, 0.35, 0.5, 0.65, 0.8, 0.94)]
        ),
        closed=False,
    )
    shell = fill(ribbon(line, 1.0), shape) | fill(ribbon(line + to_fixed_point((0, 0.035 * height)), 1.0), shape)
    foam = fill(np.concatenate([line, (line + to_fixed_point((0, 0.035 * height)))[::-1]]), shape)
    return shell & ~trunk, foam & ~trunk & ~shell


def hounsfield(stream: Stream, section: Section, values: dict[str, float], kernel: str) -> NDArray[np.int16]:
    """Return one slice in HU, int16."""
    shape = (section.trunk.shape[0], section.trunk.shape[1])
    image = np.full(shape, AIR)
    shell, foam = table(shape, section.trunk)
    paint(image, foam, values["table_foam"], 0.4)
    paint(image, shell, values["table_shell"], 0.4)
    texture = smooth_field(stream, shape, 5)
    for part in section.parts:
        grain = 4.0 if values[part.tissue] < 400 else 40.0
        paint(image, part.mask, values[part.tissue] + grain * texture, 0.8)
    image += noise(stream, shape, stream.uniform(*NOISE[kernel])) * (0.5 + 0.5 * blur(section.trunk, 6))
    stored: NDArray[np.int16] = np.floor(np.clip(image, -1024, 3071) + 0.5).astype(np.int16)
    return stored


def abdomen(case: str, size: int, kernel: str = "soft") -> Stack:
    """Draw one patient: a pelvic slice without annotated organs, then the renal and the upper level.

    Args:
        case: key of the patient.
        size: rows and columns of the slices.
        kernel: "soft" or "sharp" (more noise).
    """
    shape = (size, size)
    trunk = Trunk(case, Stream(case, "trunk"), shape)
    values = tissues(Stream(case, "tissues"))
    sections = [trunk.section(level) for level in LEVELS]
    slices = [
        hounsfield(Stream(case, "slice", level), section, values, kernel)
        for level, section in zip(LEVELS, sections, strict=True)
    ]
    pixel = FIELD_MM / size
    return Stack({"ct": np.stack(slices)}, stack_organs(sections, ORGANS), (SPACING_Z, pixel, pixel))
