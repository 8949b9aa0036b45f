"""The floor: shapes drawn from the prompts alone, without a look at the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.interface import Described, Prediction
from dmseg.types import Image, Prompts


class Disk(Described):
    """The ellipse inscribed in the box, and a disc around each foreground click; background clicks cut discs out.

    A pixel within reach of both signs belongs to the nearer click. Logits are distances in pixels.

    Args:
        radius: radius of the discs as a fraction of the image's longer side, above 0.
    """

    name = "disk"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self, radius: float) -> None:
        self.radius = float(radius)

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        return [image.shape[:2] for image in images]

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        pairs = zip(image_index, prompts, strict=True)
        return Prediction(np.stack([self._logits(embeddings[index], given) for index, given in pairs]))

    def _logits(self, shape: tuple[int, int], prompts: Prompts) -> NDArray[np.float32]:
        radius = self.radius * max(shape)
        foreground = _distance(shape, prompts.points[prompts.labels == 1])
        background = _distance(shape, prompts.points[prompts.labels == 0])
        logits = radius - foreground
        if prompts.box is not None:
            logits = np.maximum(logits, _ellipse(shape, prompts.box))
        cut = (background <= radius) & (background < foreground)
        return np.where(cut, np.minimum(logits, background - radius), logits).astype(np.float32)


def _distance(shape: tuple[int, int], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance of each pixel to the nearest of K points (x, y); without points farther than any pixel."""
    height, width = shape
    nearest = np.full(shape, np.float32((height + width) ** 2))
    y, x = np.ogrid[:height, :width]
    for px, py in points:
        nearest = np.minimum(nearest, ((x - px) ** 2 + (y - py) ** 2).astype(np.float32))
    return np.sqrt(nearest)


def _ellipse(shape: tuple[int, int], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return about the distance in pixels to the ellipse inscribed in a box, positive inside."""
    x0, y0, x1, y1 = (float(side) for side in box)
    half_width, half_height = (x1 - x0 + 1) / 2, (y1 - y0 + 1) / 2
    y, x = np.ogrid[: shape[0], : shape[1]]
    reach = np.sqrt(((x - (x0 + x1) / 2) / half_width) ** 2 + ((y - (y0 + y1) / 2) / half_height) ** 2)
    return ((1 - reach) * min(half_width, half_height)).astype(np.float32)
