"""Geodesic distance to the seeds (Criminisi, Sharp and Blake, ECCV 2008), with the seeds' intensity in the cost."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.graph import MCP_Geometric

from dmseg.baselines.seeds import BACKGROUND, FOREGROUND, SeededModel, Working


class Geodesic(SeededModel):
    """A pixel joins the side whose seeds are nearer along the cheapest path. Logits: background - foreground distance.

    The cost of a pixel is ``base_cost`` + ``gradient_weight`` · gradient + ``intensity_weight`` · distance to the mean
    colour of that side's seeds, colours in 0..1 (mean over channels).
    """

    name = "geodesic"

    def __init__(
        self,
        longest_side: int,
        smoothing: float,
        click_radius: float,
        core: float,
        gradient_weight: float,
        intensity_weight: float,
        base_cost: float,
    ) -> None:
        super().__init__(longest_side, smoothing, click_radius, core)
        self.gradient_weight = float(gradient_weight)
        self.intensity_weight = float(intensity_weight)
        self.base_cost = float(base_cost)

    def features(self, pixels: NDArray[np.float32]) -> Any:
        colours = pixels / 255
        across = cv2.Sobel(colours, cv2.CV_32F, 1, 0)
        down = cv2.Sobel(colours, cv2.CV_32F, 0, 1)
        return np.sqrt(across**2 + down**2).mean(axis=2)

    def logits(self, working: Working, seeds: NDArray[np.int32]) -> NDArray[np.float32]:
        return self._distance(working, seeds == BACKGROUND) - self._distance(working, seeds == FOREGROUND)

    def _distance(self, working: Working, side: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the cost of the cheapest path from one side's seeds; without seeds a cost above all others."""
        if not side.any():
            return np.full(side.shape, np.float32(1e6))
        mean = working.pixels[side].mean(axis=0)
        unlike = np.abs(working.pixels - mean).mean(axis=2) / 255
        cost = self.base_cost + self.gradient_weight * working.features + self.intensity_weight * unlike
        # A path that starts inside the seeds costs nothing more than one from their rim, so the rim is enough.
        rim = side & (cv2.erode(side.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
        starts = np.argwhere(rim if rim.any() else side)
        costs, _ = MCP_Geometric(cost).find_costs(starts)
        return np.where(side, 0.0, costs).astype(np.float32)
