"""Models that see the reference, to test a harness: what must come out is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.interface import Prediction, SelfTestAdapter
from dmseg.rng import Stream
from dmseg.types import Mask, Prompts


class Oracle(SelfTestAdapter):
    """Answers with the reference: Dice 1 at the first step, and no click after it."""

    name = "oracle"

    def predict_from_reference(self, references: Sequence[Mask], prompts: Sequence[Prompts]) -> Prediction:
        return Prediction(np.stack([np.where(reference, 1.0, -1.0).astype(np.float32) for reference in references]))


class Empty(SelfTestAdapter):
    """Never answers with a pixel: IoU, Dice and NSD 0, HD95 the diagonal, at every step."""

    name = "empty"

    def predict_from_reference(self, references: Sequence[Mask], prompts: Sequence[Prompts]) -> Prediction:
        return Prediction(np.full((len(references), *references[0].shape), -1.0, dtype=np.float32))


class NoisyOracle(SelfTestAdapter):
    """The reference with a wavy boundary error that shrinks with every step: a plausible run without any model.

    The boundary is moved by a smooth random field of about ``amplitude / step`` times the radius of the disc of the
    object's area. The field is keyed by the object's shape and the step: the same at every level and in every run.

    Args:
        amplitude: boundary error at step 1 as a fraction of the object's radius, 0 or more.
    """

    name = "noisy-oracle"

    def __init__(self, amplitude: float) -> None:
        self.amplitude = float(amplitude)

    def predict_from_reference(self, references: Sequence[Mask], prompts: Sequence[Prompts]) -> Prediction:
        return Prediction(
            np.stack([self._logits(ref, given.step) for ref, given in zip(references, prompts, strict=True)])
        )

    def _logits(self, reference: Mask, step: int) -> NDArray[np.float32]:
        radius = float(np.sqrt(reference.sum() / np.pi))
        field = _smooth_field(reference, step)
        return (_measure_signed_distance(reference) + self.amplitude * radius / step * field).astype(np.float32)


def _measure_signed_distance(reference: Mask) -> NDArray[np.float32]:
    """Return the distance to the boundary in pixels, positive inside; float32 (H, W)."""
    inside = cv2.distanceTransform(reference.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform((~reference).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.where(reference, inside - 0.5, 0.5 - outside), dtype=np.float32)


def _smooth_field(reference: Mask, step: int) -> NDArray[np.float32]:
    """Return a field of about -1..1 that varies over a sixth of the image, keyed by shape and step; (H, W)."""
    height, width = reference.shape
    stream = Stream("noisy-oracle", height, width, np.packbits(reference).tobytes().hex(), step)
    coarse = (2.0 * stream.uniforms(64) - 1.0).reshape(8, 8).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
