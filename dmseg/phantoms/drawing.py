"""What an anatomy module hands to a layout: an image or a volume with its exact masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.types import Image, Mask, Structure


@dataclass(frozen=True, slots=True)
class Drawing:
    """One image with its objects.

    Attributes:
        image: uint8 (H, W) or (H, W, 3) RGB.
        structures: the annotated objects; masks are bool (H, W) and exact on every machine.
        facts: what a layout writes beside the image (class of the lesion, outlines, view).
    """

    image: Image
    structures: tuple[Structure, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def find_masks(self, name: str) -> list[Mask]:
        """Return the masks of the structures of one name."""
        return [structure.mask for structure in self.structures if structure.name == name]


@dataclass(frozen=True, slots=True)
class Stack:
    """A few axial slices of one patient, feet to head, each with rows anterior to posterior, columns right to left.

    Attributes:
        values: (Z, H, W) int16: HU for CT, arbitrary units for MR; or several channels by name.
        labels: organ name -> bool (Z, H, W).
        spacing: (z, y, x) mm.
    """

    values: Mapping[str, NDArray[np.int16]]
    labels: Mapping[str, NDArray[np.bool_]]
    spacing: tuple[float, float, float]
