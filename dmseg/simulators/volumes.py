"""One plan for a whole volume: what one scan suffers is the same, or smooth, from slice to slice.

Settings (window, blur, JPEG quality, contrast, phase direction, detector errors) are those of all slices; fields that
are smooth in the plane (bias, shadows, fog) are smooth along the volume; noise, impulses and speckle are fresh on every
slice. The benchmark degrades each slice as an image of its own instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError
from dmseg.simulators.observe import GREYS, look, make_working
from dmseg.simulators.plan import Plan, plan
from dmseg.simulators.tables import default_window
from dmseg.types import Window

_PROBED = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class VolumePlan:
    """A plan and the number of slices it was drawn for; pure, as :class:`dmseg.simulators.Plan` is."""

    plan: Plan
    slices: int

    def apply(self, volume: NDArray[Any], level: str) -> NDArray[Any]:
        """Return the volume at a level, same shape and type.

        Args:
            volume: (D, H, W) or (D, H, W, 3), axial slices first; types as in :meth:`Plan.apply`.
            level: one of :data:`dmseg.types.LEVELS`.

        Raises:
            UsageError: another number of slices than was planned for, an unusable slice.
        """
        if volume.ndim not in (3, 4) or len(volume) != self.slices:
            raise UsageError(f"volume of shape {volume.shape}; the plan was drawn for {self.slices} slices (D, H, W)")
        made = [self.plan.at_slice(z, self.slices).apply(one, level) for z, one in enumerate(volume)]
        return np.stack(made).astype(volume.dtype, copy=False)

    def digest(self, level: str) -> str:
        """Return the sha256 of what is sampled at a level."""
        return self.plan.digest(level)

    def describe(self, level: str, title: str | None = None) -> str:
        """Return in words what is done at a level; ``title`` replaces its label."""
        return f"{self.slices} axial slices, one plan for all\n{self.plan.describe(level, title)}"


def plan_volume(
    key: str,
    volume: NDArray[Any],
    *,
    modality: str | None = None,
    domain: Sequence[str] | None = None,
    ops: Sequence[str] | None = None,
    seed: int = 0,
    window: Window | None = None,
    geometry: Mapping[str, Any] | None = None,
    order: str = "paper",
) -> VolumePlan:
    """Draw one plan for a volume, and measure its greys and geometry over all slices.

    Args:
        key, modality, domain, ops, seed, window, geometry, order: as in :func:`dmseg.simulators.plan`.
        volume: (D, H, W) or (D, H, W, 3), axial slices first: uint8, uint16, float32 in [0, 1], int16 with a window.

    Raises:
        UsageError: not a volume, or what :func:`dmseg.simulators.plan` refuses.

    >>> import numpy as np
    >>> volume = np.full((4, 32, 32), 100, np.uint8)
    >>> plan_volume("scan 3", volume, modality="mri").apply(volume, "lq2").shape
    (4, 32, 32)
    """
    drawn = plan(
        key, modality=modality, domain=domain, ops=ops, seed=seed, window=window, geometry=geometry, order=order
    )
    return look_at_volume(drawn, volume)


def look_at_volume(drawn: Plan, volume: NDArray[Any]) -> VolumePlan:
    """Return the plan for a volume: greys and geometry are measured over all slices; see :func:`plan_volume`."""
    if volume.ndim not in (3, 4) or not len(volume):
        raise UsageError(f"volume of shape {volume.shape}; expected (D, H, W) or (D, H, W, 3), axial slices first")
    window = drawn.window or default_window(drawn.modality)
    drawn = replace(drawn, window=window)
    base = make_working(volume.reshape(-1, *volume.shape[2:]), window)
    greys = look(base, window=window)
    stacked = base.reshape(volume.shape)
    highest = np.ascontiguousarray(stacked.max(axis=0))
    facts = dict(look(highest, modality=drawn.modality, geometry=drawn.geometry, window=window))
    facts |= {name: greys[name] for name in GREYS}
    seen = replace(drawn, observed=facts)
    slices = {round(share * (len(volume) - 1)) for share in _PROBED}
    factor = drawn.visibility
    if factor is None:
        factor = min(seen.find_visibility(stacked[z]) for z in sorted(slices))
    return VolumePlan(replace(seen, visibility=factor), len(volume))
