"""Small images and masks for the transforms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def grey() -> np.ndarray:
    """A smooth body in air, uint8 (48, 64)."""
    image = np.zeros((48, 64), np.float32)
    cv2.ellipse(image, (32, 24), (26, 18), 0, 0, 360, 130.0, -1)
    texture = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    image += np.where(image > 0, 50 * cv2.resize(texture, (64, 48), interpolation=cv2.INTER_CUBIC), 0)
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def colour(grey: np.ndarray) -> np.ndarray:
    """The same in three colours, uint8 (48, 64, 3)."""
    return np.stack([grey, grey // 2, grey // 3], axis=2)


@pytest.fixture(scope="session")
def volume(grey: np.ndarray) -> np.ndarray:
    """Six slices that change a little, uint8 (6, 48, 64)."""
    return np.stack([np.roll(grey, z, axis=1) for z in range(6)])


@pytest.fixture(scope="session")
def mask(grey: np.ndarray) -> np.ndarray:
    """The body's mask, uint8 (48, 64)."""
    return (grey > 0).astype(np.uint8)
