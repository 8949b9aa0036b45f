"""Down-sampling: area averages and exact coverage, against fractions computed by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dmseg import imaging
from dmseg.errors import UsageError


@pytest.mark.parametrize(
    ("size", "expected"),
    [((2000, 3008), (681, 1024)), ((480, 640), (480, 640)), ((1024, 1024), (1024, 1024)), ((5000, 1), (1024, 1))],
)
def test_the_longest_side_is_limited_and_nothing_is_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert imaging.compute_stored_size(*size) == expected
    assert imaging.compute_stored_size(*size[::-1]) == expected[::-1]


def _coverage(mask: np.ndarray, size: tuple[int, int]) -> list[list[Fraction]]:
    def overlaps(length: int, n: int) -> list[list[Fraction]]:
        step = Fraction(length, n)
        return [
            [max(Fraction(0), min(Fraction(k + 1), step * (i + 1)) - max(Fraction(k), step * i)) for k in range(length)]
            for i in range(n)
        ]

    rows, columns = overlaps(mask.shape[0], size[0]), overlaps(mask.shape[1], size[1])
    cell = Fraction(mask.shape[0], size[0]) * Fraction(mask.shape[1], size[1])
    set_pixels = np.argwhere(mask)
    return [[sum((row[y] * col[x] for y, x in set_pixels), Fraction(0)) / cell for col in columns] for row in rows]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_cell_is_set_from_exactly_half_coverage_on(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    size = (data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    expected = [[share >= Fraction(1, 2) for share in row] for row in _coverage(mask, size)]
    assert imaging.resize_mask(mask, size).tolist() == expected


def test_a_disc_keeps_its_centroid_and_area() -> None:
    y, x = np.mgrid[:1000, :1500]
    disc = (y - 430.0) ** 2 + (x - 905.0) ** 2 <= 120.0**2
    small = imaging.resize_mask(disc, (683, 1024))
    scale = np.array([683 / 1000, 1024 / 1500])
    centre = np.array(ndimage.center_of_mass(small))
    assert np.abs(centre - ((np.array([430, 905]) + 0.5) * scale - 0.5)).max() < 0.1  # nearest neighbour: up to 0.5
    assert abs(small.sum() / (disc.sum() * scale.prod()) - 1) < 0.005


def test_an_object_anywhere_and_no_object_at_all() -> None:
    assert not imaging.resize_mask(np.zeros((30, 25), bool), (11, 12)).any()
    for y, x in ((0, 0), (25, 19), (13, 0), (0, 19)):
        mask = np.zeros((30, 25), bool)
        mask[y : y + 5, x : x + 6] = True
        expected = [[share >= Fraction(1, 2) for share in row] for row in _coverage(mask, (11, 12))]
        assert imaging.resize_mask(mask, (11, 12)).tolist() == expected


def test_images_are_area_averaged_and_keep_type_and_channels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    small = imaging.resize_image(image, (30, 40))
    blocks = image.reshape(30, 2, 40, 2, 3).mean(axis=(1, 3))
    assert small.dtype == np.uint8
    assert np.abs(small - blocks).max() <= 0.5
    assert imaging.resize_image(image, (60, 80)) is image
    assert imaging.resize_image(image[..., 0].astype(np.float32), (20, 33)).shape == (20, 33)


def test_enlarging_is_refused() -> None:
    with pytest.raises(UsageError, match="down-sampling"):
        imaging.resize_image(np.zeros((10, 10), np.uint8), (10, 11))
    with pytest.raises(UsageError, match="down-sampling"):
        imaging.resize_mask(np.zeros((10, 10), bool), (0, 10))
