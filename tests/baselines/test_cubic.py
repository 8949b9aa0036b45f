"""Cubic stretching gives the library's bytes, on whatever the edges, sizes and flat regions are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from dmseg.baselines.cubic import stretch_cubic


def library(image: np.ndarray, side: int) -> np.ndarray:
    """What MedSAM's authors call."""
    stretched = resize(image, (side, side), order=3, preserve_range=True, anti_aliasing=True)
    return stretched.astype(np.uint8).transpose(2, 0, 1)


def draw_noise(height: int, width: int, seed: int, *, flat: bool) -> np.ndarray:
    """Noise, with flat parts in which the exact values are whole numbers, so that the last bits decide."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    if flat:
        image[: height // 2] = random.integers(0, 256, 3)
        image[:, width // 2 :] = random.integers(0, 256)
        image[height // 3 :, : width // 4] = (0, 128, 255)
    return image


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 64), st.integers(0, 2**32 - 1), st.booleans())
def test_bytes_are_those_of_the_library(height: int, width: int, side: int, seed: int, flat: bool) -> None:
    image = draw_noise(height, width, seed, flat=flat)
    before = image.copy()
    assert np.array_equal(stretch_cubic(image, side), library(image, side))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("shape", [(300, 210), (128, 128), (90, 400)])
def test_real_sizes(shape: tuple[int, int]) -> None:
    image = draw_noise(*shape, 3, flat=True)
    assert np.array_equal(stretch_cubic(image, 256), library(image, 256))
