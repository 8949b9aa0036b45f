"""Empties, units, arguments, and what a caller may pass as a mask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.metrics import fast, image_diagonal, mean_score, on_grid, score, score_batch


def disc(size: int = 96, radius: float = 20, x: float = 48, y: float = 48) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


NOTHING = np.zeros((30, 40), bool)
ONE_PIXEL = NOTHING.copy()
ONE_PIXEL[3, 5] = True


@pytest.mark.parametrize("options", [{}, {"boundary": "pixel"}, {"hd95": "pooled"}, {"spacing": (1, 2)}])
def test_empties(options: dict[str, Any]) -> None:
    both = score(NOTHING, NOTHING, **options)
    assert (both.iou, both.dice, both.pixel_accuracy, both.hd95, both.hd) == (1, 1, 1, 0, 0)
    assert set(both.nsd.values()) == {1.0} and both.defined
    for pair in ((NOTHING, ONE_PIXEL), (ONE_PIXEL, NOTHING)):
        one = score(*pair, **options)
        assert (one.iou, one.dice, one.hd95, one.hd) == (0, 0, math.inf, math.inf)
        assert one.pixel_accuracy == 1 - 1 / 1200 and set(one.nsd.values()) == {0.0} and not one.defined


def test_a_missed_object_makes_the_mean_worse_and_is_counted() -> None:
    shape = NOTHING.shape
    perfect, missed = score(ONE_PIXEL, ONE_PIXEL), score(ONE_PIXEL, NOTHING)
    result = mean_score([perfect, missed], [image_diagonal(shape)] * 2)
    assert (result.n, result.n_undefined) == (2, 1)
    assert result.mean.hd95 == result.mean.hd == 25.0 == image_diagonal(shape) / 2
    assert result.mean.dice == 0.5 and result.mean.nsd[2] == 0.5
    assert result.mean_defined == perfect
    assert mean_score([missed], [50.0]).mean_defined is None
    with pytest.raises(UsageError, match="0 scores"):
        mean_score([], [])


def test_distances_follow_the_spacing_and_fractions_do_not() -> None:
    a, b = disc(), disc(x=53)
    pixels, millimetres = score(a, b), score(a, b, spacing=(0.25, 0.25), tolerances=(0.25, 0.5, 0.75, 1.25))
    assert millimetres.hd95 == pytest.approx(pixels.hd95 / 4, abs=1e-12)
    assert millimetres.hd == pytest.approx(pixels.hd / 4, abs=1e-12)
    assert list(millimetres.nsd.values()) == pytest.approx(list(pixels.nsd.values()), abs=1e-12)
    assert image_diagonal((30, 40), (0.5, 0.5)) == 25


def test_stretched_pixels_measure_stretched_distances() -> None:
    a, b = np.zeros((2, 40, 40), bool)
    a[10:30, 10:30] = b[10:30, 14:34] = True
    assert score(a, b, spacing=(1, 1)).hd == 4
    assert score(a, b, spacing=(1, 2.5)).hd == 10
    assert score(a, b, spacing=(2.5, 1)).hd == 4


def test_a_tolerance_in_millimetres_does_not_hang_on_the_last_bit() -> None:
    a, b = np.zeros((2, 20, 20), bool)
    a[5, 2], b[5, 5] = True, True
    for spacing in ((0.1, 0.1), (0.2, 0.1)):
        assert score(a, b, spacing=spacing, tolerances=(0.3,)).nsd[0.3] == 1, "3 * 0.1 is above 0.3 in floating point"
        assert score(a, b, spacing=spacing, tolerances=(0.2999,)).nsd[0.2999] < 1


def test_a_huge_tolerance_accepts_everything() -> None:
    assert score(disc(), disc(x=70), tolerances=(1e300,)).nsd[1e300] == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 7)])
def test_masks_of_one_row_or_column(shape: tuple[int, int]) -> None:
    a, b = np.zeros((2, *shape), bool)
    a.flat[0] = b.flat[-1] = True
    result = score(a, b)
    assert result.hd == math.hypot(shape[0] - 1, shape[1] - 1) and (result.iou == 1) == (shape == (1, 1))


def test_rows_wider_than_a_byte_sum_holds() -> None:
    a, b = np.ones((2, 3, 5003), bool)
    b[1, 4000] = False
    result = score(a, b)
    assert (result.iou, result.pixel_accuracy) == (15008 / 15009, 15008 / 15009)


def test_masks_beyond_the_fast_path_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = disc(), disc(x=53, y=45)
    quick = score(a, b)
    monkeypatch.setattr(fast, "LARGEST_SIDE", 50)
    slow = score(a, b)
    assert (slow.hd95, slow.hd) == (quick.hd95, quick.hd)
    assert list(slow.nsd.values()) == pytest.approx(list(quick.nsd.values()), abs=1e-12)


def test_every_way_to_hold_a_mask_gives_the_same_score() -> None:
    a, b = disc(99), disc(99, x=52)
    expected = score(a, b)
    frozen = a.copy()
    frozen.flags.writeable = False
    shifted = np.zeros(99 * 99 + 3, bool)[3:].reshape(99, 99)
    shifted[:] = a
    wide = np.zeros((99, 200), bool)
    wide[:, ::2][:, :99] = a
    for form in (
        a.astype(np.uint8),
        a.astype(np.int64),
        a.astype(np.float32),
        a.tolist(),
        frozen,
        shifted,
        np.asfortranarray(a),
        wide[:, ::2][:, :99],
        (a * np.uint8(255)).view(bool),
    ):
        assert score(form, b) == expected
        assert score(b, form).hd95 == expected.hd95


@pytest.mark.parametrize(
    ("reference", "prediction", "message"),
    [
        (disc(), disc()[:-1], "96 x 96 but prediction is 95 x 96"),
        (disc()[None], disc()[None], r"shape \(1, 96, 96\)"),
        (np.zeros((0, 5), bool), np.zeros((0, 5), bool), "at least one pixel"),
        (disc() * np.uint8(255), disc(), "values from 0 to 255"),
        (disc(), disc() * 2, "prediction has int64 values from 0 to 2"),
        (disc(), np.where(disc(), np.nan, 0), "prediction has float64"),
        (disc(), np.where(disc(), 0.7, 0.2), "threshold it first"),
        (disc(), disc().astype(str), "dtype <U5"),
    ],
)
def test_unusable_masks_are_refused_with_what_was_given(reference: Any, prediction: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        score(reference, prediction)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boundary": "vertx"}, 'did you mean "vertex"'),
        ({"hd95": "pool"}, 'did you mean "pooled"'),
        ({"spacing": (1, 0)}, "two positive numbers"),
        ({"spacing": (1, 1, 1)}, "two positive numbers"),
        ({"spacing": (1, math.nan)}, "two positive numbers"),
        ({"tolerances": (1, -2)}, "0 or more"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        score(disc(), disc(), **options)


def test_a_batch_names_the_pair_that_is_wrong() -> None:
    with pytest.raises(UsageError, match="pair 1: reference is 96 x 96 but prediction is 95 x 96"):
        score_batch([disc(), disc()], [disc(), disc()[:-1]])
    with pytest.raises(UsageError, match="2 references but 1 predictions"):
        score_batch([disc(), disc()], [disc()])


def test_a_batch_may_be_one_array() -> None:
    masks = np.stack([disc(), disc(x=50), NOTHING[:1, :1] * np.ones((96, 96), bool)])
    assert score_batch(masks, masks[::-1]) == [score(a, b) for a, b in zip(masks, masks[::-1], strict=True)]


def test_a_coarser_grid_keeps_shape_and_shrinks_distances() -> None:
    a, b = disc(400, 90, 200, 200), disc(400, 90, 220, 200)
    coarse = [on_grid(mask, 100) for mask in (a, b)]
    assert coarse[0].shape == (100, 100)
    assert abs(coarse[0].mean() - a.mean()) < 0.005
    assert score(*coarse).hd == pytest.approx(score(a, b).hd / 4, abs=1)
    assert on_grid(np.zeros((300, 401), bool), 1024).shape == (766, 1024)
    assert on_grid(np.zeros((1, 500), bool), 100).shape == (1, 100)


def test_doubling_the_grid_repeats_every_pixel_and_the_same_grid_changes_nothing() -> None:
    a = disc(64)
    assert np.array_equal(on_grid(a, 128), np.kron(a, np.ones((2, 2), bool)))
    assert on_grid(a, 64) is a and on_grid(a, None) is a
    with pytest.raises(UsageError, match="at least 1"):
        on_grid(a, 0)


@pytest.mark.parametrize("piece", [fast.STRAIGHT, fast.HALF_PIECE])
def test_a_quantile_at_exactly_95_percent_does_not_hang_on_the_last_bit(piece: int) -> None:
    for n in range(1, 400):
        squared = np.repeat(np.array([4, 100]), (19 * n, n))
        assert fast.find_squared_quantile(squared, np.full(20 * n, piece), np.int64(100)) == 4
