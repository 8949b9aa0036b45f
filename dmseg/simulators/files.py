"""Degrade image files, same format out: 8 bit as it is, deeper values through a grey window, volumes by slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg import canonical, imaging
from dmseg.simulators.plan import Plan, plan
from dmseg.simulators.tables import default_window, tables_digest
from dmseg.types import Window


@dataclass(frozen=True)
class Request:
    """What is asked for, the same for every file.

    Attributes:
        level: one of :data:`dmseg.types.LEVELS`.
        modality, domain, ops, seed: as in :func:`dmseg.simulators.plan`.
        window: used wherever values deeper than 8 bit become grey; None: the modality's for values that can be
            Hounsfield units (signed), else the file's own, else the 0.5 to 99.5 percentile above the background.
        keep_patient: keep the patient module of DICOM files.
    """

    level: str
    modality: str | None = None
    domain: tuple[str, ...] | None = None
    ops: tuple[str, ...] | None = None
    window: Window | None = None
    seed: int = 0
    keep_patient: bool = False

    def series(self) -> str:
        """Return what all files of one request have in common: it names the derived DICOM series."""
        window = None if self.window is None else [self.window.center, self.window.width]
        return canonical.digest(
            [self.level, self.modality, self.domain, self.ops, window, self.seed, self.keep_patient, tables_digest()]
        )

    def grey_window(self, values: NDArray[Any], own: Window | None) -> Window:
        """Return the window for values deeper than 8 bit; ``own`` is the one that their file declares."""
        if self.window is not None:
            return self.window
        # Unsigned 16 bit is no Hounsfield scale: the modality's window would show nothing.
        standard = default_window(self.modality) if self.modality and values.dtype.name != "uint16" else None
        return standard or own or imaging.percentile_window(values)


def degrade_file(source: Path, target: Path, request: Request, key: str) -> str:
    """Degrade one file and return in words what was done.

    Raises:
        DmsegError: the file cannot be read, is too small, or the target is not allowed; nothing was written then.
    """
    kind = imaging.kind_of(source)
    imaging.check_target(source, target, kind)
    if kind == "NIfTI":
        values, digest, words = _volume(source, request, key)
    else:
        loaded = imaging.read_image(source)
        values, drawn, words = _picture(loaded.pixels, request, key, loaded.window)
        digest = drawn.digest(request.level)
    imaging.write_like(
        source, target, values, derivation=digest, series=request.series(), keep_patient=request.keep_patient
    )
    return f"{source}: {words}"


def _picture(
    values: NDArray[Any], request: Request, key: str, own_window: Window | None
) -> tuple[NDArray[Any], Plan, str]:
    """Return one degraded image in its own type and units, its plan, and words.

    8-bit images are degraded as they are. Deeper ones (CT, MR, 16 bit) are degraded as they look in the window, and
    the change times the width of the window is added to the values. ``own_window``
    is the one that the file declares.
    """
    deep = values.dtype.name != "uint8"
    window = request.grey_window(values, own_window) if deep else request.window
    image = imaging.normalise(values, window) if deep and window is not None else values
    drawn = plan(
        key,
        modality=request.modality,
        domain=request.domain,
        ops=request.ops,
        image=image,
        seed=request.seed,
        window=window,
    )
    degraded = drawn.apply(image, request.level)
    words = drawn.describe(request.level)
    if values.ndim == 2 and ((values == values.min()) | (values == values.max())).all():
        words += "\nnote: only two grey values; if this is a mask, leave it out with --exclude"
    if deep and window is not None:
        if "grey window" not in words:
            words += f"\ngrey window {window.center:g}/{window.width:g} (center/width)"
        return imaging.add_change(values, image, degraded, window), drawn, words
    return degraded, drawn, words


def _volume(source: Path, request: Request, key: str) -> tuple[NDArray[Any], str, str]:
    """Return a degraded NIfTI volume, the digest of its plans, and words; slices have keys ``<key>_z012``."""
    volume = imaging.read_volume(source)
    values = np.array(volume.values)
    window = None if values.dtype.name == "uint8" else request.grey_window(values, None)
    digests: list[str] = []
    words = ""
    for z in range(len(values)):
        values[z], drawn, described = _picture(values[z], request, f"{key}_z{z:03d}", window)
        digests.append(drawn.digest(request.level))
        words = described if z == len(values) // 2 else words
    return values, canonical.digest(digests), f"{len(values)} axial slices, each its own draw; the middle one:\n{words}"
