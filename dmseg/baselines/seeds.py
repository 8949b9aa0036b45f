"""What the classical models share: a working copy of the image, and seeds made from the prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.interface import Described, Prediction
from dmseg.types import Image, Prompts, Stroke

UNKNOWN, FOREGROUND, BACKGROUND = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Working:
    """One image at the working size.

    Attributes:
        canvas: (height, width) of the image as given.
        pixels: float32 (h, w, 3) in 0..255, smoothed.
        features: whatever the method computes once per image.
    """

    canvas: tuple[int, int]
    pixels: NDArray[np.float32]
    features: Any = None


class SeededModel(Described, ABC):
    """A classical model: seeds from the prompts, every other pixel joins one of the two sides.

    Args:
        longest_side: images whose longer side exceeds this are worked on at that size, logits resized back.
        smoothing: standard deviation of the Gaussian put on the working image, pixels; 0 for none.
        click_radius: clicks seed squares of this half side, as a fraction of the working image's longer side.
        core: the ellipse of this fraction of the box is foreground, 0..1.
    """

    name: str
    capabilities = frozenset({"points", "negative_points", "box", "scribbles", "lassos", "batched_prompts"})

    def __init__(self, longest_side: int, smoothing: float, click_radius: float, core: float) -> None:
        self.longest_side = int(longest_side)
        self.smoothing = float(smoothing)
        self.click_radius = float(click_radius)
        self.core = float(core)

    @abstractmethod
    def features(self, pixels: NDArray[np.float32]) -> Any:
        """Return what is computed once per image from its float32 (h, w, 3) pixels."""

    @abstractmethod
    def logits(self, working: Working, seeds: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return (h, w) logits at the working size; ``seeds`` holds UNKNOWN, FOREGROUND or BACKGROUND."""

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        return [self._prepare(image) for image in images]

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        pairs = zip(image_index, prompts, strict=True)
        return Prediction(np.stack([self._answer(embeddings[index], given) for index, given in pairs]))

    def _prepare(self, image: Image) -> Working:
        canvas = (image.shape[0], image.shape[1])
        scale = min(1.0, self.longest_side / max(canvas))
        size = (max(1, round(canvas[1] * scale)), max(1, round(canvas[0] * scale)))
        pixels = image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        sharp = np.asarray(pixels, dtype=np.float32)
        blurred = cv2.GaussianBlur(sharp, (0, 0), self.smoothing) if self.smoothing > 0 else sharp
        smooth = np.asarray(blurred, dtype=np.float32)
        return Working(canvas, smooth, self.features(smooth))

    def _answer(self, working: Working, prompts: Prompts) -> NDArray[np.float32]:
        seeds = self._seeds(working, prompts)
        logits = self.logits(working, seeds).astype(np.float32)
        if logits.shape == working.canvas:
            return logits
        size = (working.canvas[1], working.canvas[0])
        return np.asarray(cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)

    def _seeds(self, working: Working, prompts: Prompts) -> NDArray[np.int32]:
        """Return the seeds, int32 (h, w): outside and core of the box, or the image's frame; then the clicks."""
        height, width = working.pixels.shape[:2]
        scale = np.array([width / working.canvas[1], height / working.canvas[0]])
        if prompts.box is None:
            seeds = np.full((height, width), UNKNOWN, dtype=np.int32)
            seeds[[0, -1]] = BACKGROUND
            seeds[:, [0, -1]] = BACKGROUND
        else:
            corners = prompts.box.reshape(2, 2) + np.array([[0.0], [1.0]])  # inclusive pixels -> edges
            seeds = _box_seeds((height, width), corners * scale, self.core)
        reach = round(self.click_radius * max(height, width))
        centres = np.floor((prompts.points + 0.5) * scale).astype(int)
        for (x, y), label in zip(centres, prompts.labels, strict=True):
            square = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            seeds[square] = FOREGROUND if label == 1 else BACKGROUND
        for stroke in getattr(prompts, "strokes", ()):
            _seed_stroke(seeds, stroke, scale, reach, self.core)
        return seeds


def _seed_stroke(seeds: NDArray[np.int32], stroke: Stroke, scale: NDArray[np.float64], reach: int, core: float) -> None:
    """Put a stroke into seeds: a scribble as wide as a click; a lasso as a box is, its inmost part being the core."""
    places = np.floor((stroke.path + 0.5) * scale).astype(np.int32)
    drawn = np.zeros(seeds.shape, np.uint8)
    if stroke.kind == "scribble":
        cv2.polylines(drawn, [places], False, 1, thickness=2 * reach + 1)
        seeds[drawn > 0] = FOREGROUND if stroke.label == 1 else BACKGROUND
        return
    cv2.fillPoly(drawn, [places], 1)
    if stroke.label != 1:
        seeds[drawn > 0] = BACKGROUND
        return
    depth = cv2.distanceTransform(drawn, cv2.DIST_L2, 5)
    seeds[drawn == 0] = BACKGROUND
    seeds[(drawn > 0) & (depth >= (1 - core) * depth.max())] = FOREGROUND


def _box_seeds(shape: tuple[int, int], corners: NDArray[np.float64], core: float) -> NDArray[np.int32]:
    """Return seeds of a box given by its edges [[x0, y0], [x1, y1]]: background outside, foreground in its core."""
    centre, half = corners.mean(axis=0), np.maximum(np.diff(corners, axis=0)[0] / 2, 0.5)
    y, x = np.ogrid[: shape[0], : shape[1]]
    dx, dy = np.abs(x + 0.5 - centre[0]) / half[0], np.abs(y + 0.5 - centre[1]) / half[1]
    seeds = np.where((dx <= 1) & (dy <= 1), UNKNOWN, BACKGROUND).astype(np.int32)
    seeds[dx**2 + dy**2 <= core**2] = FOREGROUND
    middle = np.minimum(np.floor(centre[::-1]).astype(int), np.array(shape) - 1)
    seeds[tuple(middle)] = FOREGROUND
    return seeds
