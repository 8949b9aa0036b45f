"""One drawn degradation: a plan and a level. It is pure, and its text replays it anywhere."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import DataError
from dmseg.simulators import Plan
from dmseg.simulators.volumes import look_at_volume
from dmseg.types import Image, check_level


@dataclass(frozen=True)
class Degradation:
    """What was drawn for one image, volume or batch of channels.

    Attributes:
        plan: all parameters, as numbers, and the key of the fields; what depends on the image is measured on it.
        level: at which the plan is applied; of named operations LQ-1 is light, LQ-2 medium and LQ-3 heavy.
    """

    plan: Plan
    level: str

    @property
    def operations(self) -> dict[str, dict[str, float]]:
        """Operation -> parameter -> number, in the order in which they act."""
        return {step.operation: step.numbers(severity) for step, severity in self.plan.steps(self.level)}

    def apply(self, image: Image, *, channel: int = 0) -> Image:
        """Return an image, (H, W) or (H, W, 3) of a type that :func:`dmseg.degrade` takes, degraded."""
        if self.level == "clear":
            return image
        return self.plan.at_channel(channel).apply(image, self.level)

    def apply_to_volume(self, volume: NDArray[np.generic], *, channel: int = 0) -> NDArray[np.generic]:
        """Return a volume, axial slices first: (D, H, W) or (D, H, W, 3), degraded by one plan for all slices."""
        if self.level == "clear":
            return volume
        return look_at_volume(self.plan.at_channel(channel), volume).apply(volume, self.level)

    def rename(self, key: str) -> Degradation:
        """Return the same operations and parameters with the fields of another key."""
        return dataclasses.replace(self, plan=dataclasses.replace(self.plan, key=key))

    def to_json(self) -> str:
        """Return the degradation as text: operations, parameters, key, level."""
        return f'{{"level":"{self.level}","plan":{self.plan.to_json()}}}'

    @staticmethod
    def from_json(text: str) -> Degradation:
        """Read what :meth:`to_json` wrote.

        Raises:
            DataError: not a degradation, or of an unknown format.
        """
        try:
            record = json.loads(text)
            level, drawn = record["level"], json.dumps(record["plan"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"not a degradation: {error!r}; expected the text of Degradation.to_json()") from None
        return Degradation(Plan.from_json(drawn), check_level(level))
