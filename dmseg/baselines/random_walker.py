"""Random walker (Grady, IEEE TPAMI 28(11), 2006)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import random_walker

from dmseg.baselines.seeds import BACKGROUND, FOREGROUND, SeededModel, Working


class RandomWalker(SeededModel):
    """Probability that a walk which shuns intensity edges reaches a foreground seed first. Logits are log odds.

    Solved directly (sparse LU), which is exact and independent of a starting guess.

    Args:
        beta: penalty on intensity differences; larger values keep the walk within even tissue.
    """

    name = "random-walker"

    def __init__(self, longest_side: int, smoothing: float, click_radius: float, core: float, beta: float) -> None:
        super().__init__(longest_side, smoothing, click_radius, core)
        self.beta = float(beta)

    def features(self, pixels: NDArray[np.float32]) -> Any:
        return pixels.astype(np.float64) / 255

    def logits(self, working: Working, seeds: NDArray[np.int32]) -> NDArray[np.float32]:
        for side in (FOREGROUND, BACKGROUND):
            if not (seeds == side).any() or (seeds != 0).all():
                return np.where(seeds == FOREGROUND, 1.0, -1.0).astype(np.float32)
        probability = random_walker(
            working.features, seeds, beta=self.beta, mode="bf", channel_axis=-1, return_full_prob=True
        )[FOREGROUND - 1]
        clipped = np.clip(probability, 1e-6, 1 - 1e-6)
        return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float32)
