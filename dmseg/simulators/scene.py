"""What an operation may know besides the pixels: what was observed on Clear, and its own keyed randomness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmseg.errors import UsageError
from dmseg.rng import Stream, key_words
from dmseg.simulators.geometry import Beams, beams
from dmseg.types import Image, Window

REFERENCE_SIDE = 512
"""Short side in pixels at which lengths are given."""


def length_scale(shape: tuple[int, ...]) -> float:
    """Return pixels of this image per pixel of a 512-px short side."""
    return min(shape[0], shape[1]) / REFERENCE_SIDE


def pixels(length: float, shape: tuple[int, ...], floor: float = 0.0) -> float:
    """Return a length given at a 512-px short side in pixels of this image.

    Below 512 px ``floor * (1 - scale)`` is added, so that the operation still acts on small images and the order
    of the levels is kept.
    """
    scale = length_scale(shape)
    return length * scale + floor * max(0.0, 1.0 - scale)


@dataclass(frozen=True)
class Scene:
    """Observed facts and the key of one operation on one image.

    Attributes:
        observed: what :func:`dmseg.simulators.observe` measured on Clear.
        parts: the key: seed, image key, operation name.
        clear: the undegraded image (uint8, uint16 or float32), for what is too large to record: CT projects it.
        z: place of this slice in its volume, -1 for the first to 1 for the last; None: an image of its own. Fields that
            are smooth in the plane are smooth along z as well.
    """

    observed: Mapping[str, Any]
    parts: tuple[str | int, ...]
    clear: Image
    z: float | None = None

    def key(self, field: str) -> int:
        """Return the 64-bit key of a field with one number per pixel."""
        return key_words("field", *self.parts, field)[0]

    def stream(self, field: str) -> Stream:
        """Return the random numbers of a short list (places, coefficients)."""
        return Stream("list", *self.parts, field)

    @property
    def mean(self) -> float:
        """Mean of Clear, in [0, 1]."""
        return float(self.observed["mean"])

    @property
    def modality(self) -> str | None:
        """Modality that the plan was made for."""
        value = self.observed.get("modality")
        return None if value is None else str(value)

    @property
    def geometry(self) -> Mapping[str, Any]:
        """Scan geometry; images of other modalities have none."""
        found: Mapping[str, Any] = self.observed.get("geometry") or {"kind": "none"}
        return found

    def beams(self, shape: tuple[int, ...]) -> Beams:
        """Return the beam coordinates of the image."""
        return beams(self.geometry, shape)

    @property
    def window(self) -> Window:
        """Grey window in the units of the scanner (CT: HU)."""
        if self.modality not in (None, "ct"):  # another modality's window is not in HU
            raise self._refuse_modality("ct")
        center, width = self.get_measured("window", "ct")
        return Window(float(center), float(width))

    def get_measured(self, fact: str, modality: str) -> Any:
        """Return what was measured on Clear for operations of one modality.

        Raises:
            UsageError: the image is of another modality.
        """
        if self.observed.get(fact) is None:
            raise self._refuse_modality(modality)
        return self.observed[fact]

    def _refuse_modality(self, modality: str) -> UsageError:
        given = self.modality or "an image without a modality"
        return UsageError(f'{self.parts[2]} is an operation of {modality}, not of {given}; give modality="{modality}"')
