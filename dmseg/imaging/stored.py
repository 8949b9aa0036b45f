"""A file opened to be changed: its pixels in full depth, and the way back into a file of the same format.

What :func:`dmseg.imaging.read_image` gives is what a viewer shows (8-bit colour); this is what the file holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError
from dmseg.types import DICOM_MODALITIES, Window


def modality_of(code: str | None) -> str | None:
    """Return one of :data:`dmseg.types.MODALITIES` for a DICOM modality code, or None where it says nothing.

    >>> modality_of("MR"), modality_of("OT"), modality_of(None)
    ('mri', None, None)
    """
    return DICOM_MODALITIES.get((code or "").strip().upper())


@dataclass(frozen=True, slots=True)
class Derivation:
    """What DICOM files say about their making.

    Attributes:
        description: what was done, for DerivationDescription; identifiers depend on it and the source.
        series: what all files of one derived series have in common; their series identifier depends on it.
        keep_patient: keep the patient module.
        keep_references: keep the identifiers of instance and series, so that segmentations and contours drawn on the
            source still find what they refer to.
    """

    description: str = ""
    series: str = ""
    keep_patient: bool = False
    keep_references: bool = False


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An open file.

    Attributes:
        kind: the format.
        values: (H, W) or (H, W, 3) upright; a stack of slices, pages or frames: (N, H, W) or (N, H, W, 3). Integers or
            fractions of the file's own depth, DICOM and NIfTI with their rescale applied (CT: HU).
        write: ``write(out, values, derivation)`` writes such values to another file of the format.
        stack: whether there is a leading axis of slices, pages or frames.
        what: what the leading axis counts, such as ``axial slices``.
        spacing: (y, x) or (z, y, x) mm, or None.
        windows: the grey window that the file declares, one, or one for each slice; empty where it has none.
        modality: the DICOM modality code (CT, MR, US ...), or None.
        padding: bool of the shape of ``values``: pixels that are no part of the image and stay as they are; or None.
        bits: significant bits of unsigned samples, where the file says so.
        orientation: 1..8, the EXIF orientation of the file (kept in what is written).
        files: the files of a series, in slice order; ``write`` then takes the folder to write to.
        notes: what the user should know.
    """

    kind: str
    values: NDArray[Any]
    write: Callable[[Path, NDArray[Any], Derivation], None]
    stack: bool = False
    what: str = "image"
    spacing: tuple[float, ...] | None = None
    windows: tuple[Window, ...] = ()
    modality: str | None = None
    padding: NDArray[np.bool_] | None = None
    bits: int | None = None
    orientation: int = 1
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def choose_slice(self, number: int | None, where: Path) -> int | None:
        """Return which image of a stack is looked at: the one asked for, else the middle one; None without a stack.

        Raises:
            UsageError: there is none of this number.
        """
        if not self.stack:
            if number is not None:
                raise UsageError(f"{where} holds one image; leave out --slice")
            return None
        count = len(self.values)
        if number is not None and not 0 <= number < count:
            raise UsageError(f"--slice {number}: {where} has {self.what} 0 to {count - 1}")
        return count // 2 if number is None else number
