"""Windows: the textbook formula, exact rounding, saturation; percentiles; changes written back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmseg import imaging
from dmseg.errors import DataError, UsageError
from dmseg.types import Window


@settings(max_examples=60, deadline=None)
@given(st.integers(-2000, 2000), st.integers(1, 4000), st.lists(st.integers(-32768, 32767), min_size=1, max_size=20))
def test_window_is_the_exact_formula_rounded_half_up(center: int, width: int, values: list[int]) -> None:
    black = Fraction(center) - Fraction(width, 2)
    expected = [min(255, max(0, (Fraction(v) - black) * 255 / width + Fraction(1, 2) // 1)) for v in values]
    expected = [min(255, max(0, int(((Fraction(v) - black) * 255 / width + Fraction(1, 2)) // 1))) for v in values]
    for kind in (np.int16, np.int32, np.float32):
        assert imaging.apply_window(np.array(values, kind), Window(center, width)).tolist() == expected


def test_window_of_unsigned_and_signed_bytes_uses_the_right_table() -> None:
    window = Window(0, 255)
    assert imaging.apply_window(np.array([-128, 0, 127], np.int8), window).tolist() == [0, 128, 255]
    assert imaging.apply_window(np.array([0, 100, 65535], np.uint16), window).tolist() == [128, 228, 255]


def test_nan_is_black_and_infinity_saturates() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 40], np.float32)
    assert imaging.apply_window(values, Window(40, 400)).tolist() == [0, 255, 0, 128]


@pytest.mark.parametrize("width", [0, -5, float("nan")])
def test_a_window_without_width_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="width above 0"):
        imaging.apply_window(np.zeros(3), Window(0, width))


def test_percentile_window_ignores_the_background_and_outliers() -> None:
    tissue = np.arange(1, 1001)
    volume = np.concatenate([np.zeros(50_000), tissue]).astype(np.int16)
    window = imaging.percentile_window(volume, 10, 90)
    assert (window.center - window.width / 2, window.center + window.width / 2) == (101, 900)
    shuffled = np.random.default_rng(0).permutation(volume).reshape(51, 1000)
    assert imaging.percentile_window(shuffled, 10, 90) == window
    raised = imaging.percentile_window(volume, 0, 100, background=500)
    assert raised.center - raised.width / 2 == 501
    negative = volume.astype(np.float32) - 700  # z-scored: the background is the smallest value, not 0
    moved = imaging.percentile_window(negative, 10, 90)
    assert (moved.center, moved.width) == (window.center - 700, window.width)


def test_percentile_window_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="empty"):
        imaging.percentile_window(np.zeros((4, 4)))
    with pytest.raises(DataError, match="no window"):
        imaging.percentile_window(np.array([0, 7, 7, 7]))
    with pytest.raises(DataError, match="empty"):
        imaging.percentile_window(np.full(5, np.nan, np.float32))
    with pytest.raises(UsageError, match="percentiles"):
        imaging.percentile_window(np.arange(9), 90, 10)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float32])
def test_no_change_gives_the_exact_values_back_even_outside_the_window(kind: type) -> None:
    values = np.array([0, 30, 40, 300, 3000], kind)
    window = Window(40, 400)
    picture = imaging.normalise(values, window)
    assert picture.dtype == np.float32
    assert np.array_equal(imaging.add_change(values, picture, picture, window), values)


def test_a_change_is_scaled_by_the_width_and_shows_outside_the_window() -> None:
    values = np.array([-1000, -100, 0, 240, 3000, 3000], np.int16)
    window = Window(40, 400)
    before = imaging.normalise(values, window)
    after = before + np.array([0.1, -0.125, -0.25, -0.25, -0.25, 0], np.float32)
    assert imaging.add_change(values, before, after, window).tolist() == [-120, -150, -100, 140, 140, 3000]
    wide = Window(32000, 2000)
    assert imaging.add_change(np.array([32700], np.int16), np.float32([0.85]), np.float32([1]), wide)[0] == 32767


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_the_result_shown_with_the_window_is_what_was_degraded(kind: type) -> None:
    random = np.random.default_rng(0)
    values = random.uniform(-1000, 2000, (64, 64)).astype(kind)
    window = Window(40, 400)
    before = imaging.normalise(values, window)
    after = np.where(random.random(before.shape) < 0.5, random.random(before.shape), before).astype(np.float32)
    shown = imaging.normalise(imaging.add_change(values, before, after, window), window)
    assert np.abs(shown - after).max() <= 0.51 / 400
