"""A later artefact may hide detail or add its own; it may not bring back what an earlier degradation took away."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dmseg.simulators import plan
from dmseg.types import Window


def chest(side: int = 256) -> np.ndarray:
    """A slice in a wide window: soft tissue, lungs, and thin bright ribs, whose edges are what a blur takes away."""
    yy, xx = np.mgrid[:side, :side] / side - 0.5
    body = (xx / 0.45) ** 2 + (yy / 0.33) ** 2 < 1
    lungs = ((np.abs(xx) - 0.2) / 0.13) ** 2 + (yy / 0.22) ** 2 < 1
    angle, radius = np.arctan2(yy / 0.33, xx / 0.45), np.hypot(xx / 0.43, yy / 0.31)
    ribs = (np.abs(radius - 0.95) < 0.05) & (np.sin(14 * angle) > 0.4)
    spine = (xx / 0.06) ** 2 + ((yy - 0.22) / 0.05) ** 2 < 1
    image = np.where(body, 110, 10)
    image = np.where(lungs & body, 40, image)
    return np.where(ribs | spine, 255, image).astype(np.uint8)


def fine(image: np.ndarray) -> np.ndarray:
    """What a heavy blur removes."""
    values = image.astype(np.float32)
    return values - cv2.GaussianBlur(values, (0, 0), 2.0)


@pytest.mark.parametrize("window", [Window(40, 400), Window(-600, 1500)])
def test_beam_hardening_of_a_blurred_slice_does_not_redraw_its_edges(window: Window) -> None:
    """Beam hardening once added the sharp bones of Clear to a blurred slice: LQ-3+ was easier to segment than LQ-3.

    The artefact is the curvature of the attenuation law (cupping, dark bands), not the linear change of bone's grey
    value with the tube voltage; that part is local, as sharp as Clear, and belongs to the calibration.
    """
    clear = chest()
    blurred = plan("chest", modality="ct", image=clear, window=window, ops=["gaussian_blur"]).apply(clear, "lq3")
    both = plan("chest", modality="ct", image=clear, window=window, ops=["gaussian_blur", "beam_hardening"])
    after = both.apply(clear, "lq3")
    assert not np.array_equal(after, blurred)
    left, returned = (np.corrcoef(fine(image).ravel(), fine(clear).ravel())[0, 1] for image in (blurred, after))
    assert returned < left + 0.05
