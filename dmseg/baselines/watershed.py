"""Watershed of the image gradient (Vincent and Soille, IEEE TPAMI 13(6), 1991), flooded from the prompts' seeds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import watershed

from dmseg.baselines.seeds import FOREGROUND, SeededModel, Working


class Watershed(SeededModel):
    """Seeds flood the gradient in order of height; where the floods meet is the boundary. Logits are 1 and -1.

    The gradient (Sobel, root of the sum of squares over both directions and the channels) is rounded to integers, so
    that the order of flooding does not depend on the last bit of a float.
    """

    name = "watershed"

    def features(self, pixels: NDArray[np.float32]) -> Any:
        across = cv2.Sobel(pixels, cv2.CV_32F, 1, 0)
        down = cv2.Sobel(pixels, cv2.CV_32F, 0, 1)
        return np.rint(np.sqrt((across**2 + down**2).sum(axis=2))).astype(np.int32)

    def logits(self, working: Working, seeds: NDArray[np.int32]) -> NDArray[np.float32]:
        basins = watershed(working.features, seeds)  # type: ignore[no-untyped-call]
        return np.where(basins == FOREGROUND, 1.0, -1.0).astype(np.float32)
