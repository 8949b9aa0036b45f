"""Boxes: what the jitter may do, and candidate boxes as far off as those of people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dmseg.protocol import candidate_prompts, first_prompts, preset
from dmseg.protocol.boxes import (
    box_area,
    candidate_boxes,
    ciou_loss,
    gamma,
    jitter_box,
    overlap,
    tight_box,
)
from dmseg.protocol.presets import SEARCH
from dmseg.rng import Stream


def object_in(shape: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def test_the_tight_box_is_inclusive() -> None:
    assert tight_box(object_in((50, 60), 7, 8, 7, 8)) == (7, 8, 7, 8)
    assert tight_box(object_in((50, 60), 0, 0, 59, 49)) == (0, 0, 59, 49)


def test_each_side_moves_by_up_to_a_tenth_of_the_extent_across_it_in_both_directions() -> None:
    mask = object_in((300, 300), 100, 100, 179, 139)  # 80 wide, 40 high
    boxes = np.array([jitter_box(mask, f"m{i}", 0) for i in range(600)]) - np.array([100, 100, 179, 139])
    assert [set(column) for column in boxes.T.tolist()] == [set(range(-m, m + 1)) for m in (8, 4, 8, 4)]
    for column, m in zip(boxes.T, (8, 4, 8, 4), strict=True):
        assert stats.chisquare(np.bincount(column + m)).pvalue > 1e-3, "every shift is as likely"
    assert np.abs(np.corrcoef(boxes.T) - np.eye(4)).max() < 0.15, "sides move by themselves"


@pytest.mark.parametrize(("side", "reach"), [(1, 1), (4, 1), (14, 1), (15, 2), (25, 3), (199, 20), (300, 20)])
def test_the_jitter_is_rounded_half_up_and_held_in_1_to_20_pixels(side: int, reach: int) -> None:
    mask = object_in((400, 400), 50, 50, 49 + side, 50)
    moved = [jitter_box(mask, f"m{i}", 3)[0] - 50 for i in range(400)]
    assert (min(moved), max(moved)) == (-reach, reach if side > 1 else 0)


@pytest.mark.parametrize("corner", [(0, 0), (0, 30), (38, 0), (38, 30)])
def test_boxes_stay_on_the_canvas_and_keep_half_of_the_tight_box(corner: tuple[int, int]) -> None:
    for size in (1, 2, 5):
        mask = object_in((32, 40), corner[0], corner[1], min(corner[0] + size, 39), min(corner[1] + size, 31))
        for i in range(100):
            box = jitter_box(mask, f"m{i}", 0)
            inner, union = overlap(box, tight_box(mask))
            assert 0 <= box[0] <= box[2] < 40 and 0 <= box[1] <= box[3] < 32
            assert 2 * inner >= union


def test_a_box_that_covers_the_canvas_can_only_shrink() -> None:
    mask = np.ones((60, 50), bool)
    assert all(jitter_box(mask, f"m{i}", 0)[2] <= 49 for i in range(50))


def test_the_tight_box_is_what_is_left_when_every_draw_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from dmseg.protocol import boxes

    monkeypatch.setattr(boxes, "FIRST", dataclasses.replace(boxes.FIRST, box_lowest_iou=1.1))
    mask = object_in((90, 90), 20, 20, 60, 60)
    assert jitter_box(mask, "m", 0) == (20, 20, 60, 60)


def test_ciou_loss_by_hand() -> None:
    tight = (10, 10, 29, 29)
    assert ciou_loss(tight, tight) == 0
    shifted = (20, 10, 39, 29)  # IoU 200 / 600, centres 10 apart, hull 30 x 20, same shape
    assert ciou_loss(shifted, tight) == pytest.approx(2 / 3 + 100 / (900 + 400))
    flat = (10, 15, 29, 24)  # half of the height: IoU 1 / 2, same centre
    aspect = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    assert ciou_loss(flat, tight) == pytest.approx(0.5 + aspect * aspect / (0.5 + aspect))


def test_gamma_numbers_follow_the_gamma_distribution() -> None:
    draw = Stream("gamma test")
    values = [gamma(SEARCH.gamma_shape, draw) for _ in range(3000)]
    assert stats.kstest(values, stats.gamma(SEARCH.gamma_shape).cdf).pvalue > 0.01


def test_candidate_losses_follow_the_spread_of_human_boxes() -> None:
    mask = object_in((700, 700), 200, 250, 449, 429)
    tight = tight_box(mask)
    losses = [ciou_loss(box, tight) for i in range(40) for box in candidate_boxes(mask, f"m{i}", 0)[1:]]
    assert np.mean(losses) == pytest.approx(0.217, abs=0.01)
    assert stats.kstest(losses, stats.gamma(SEARCH.gamma_shape, scale=SEARCH.gamma_scale).cdf).pvalue > 0.01


def test_candidates_begin_with_the_tight_box_so_that_min_tight_max_are_in_order() -> None:
    for corners in ((0, 0, 0, 0), (30, 10, 31, 39), (0, 0, 39, 39)):
        mask = object_in((40, 40), *corners)
        boxes = [tuple(prompts.box.astype(int)) for prompts in candidate_prompts(preset("breps-max"), mask, "m")]
        assert len(boxes) == 51 and boxes[0] == corners
        assert all(box_area(box) > 0 and box[0] >= 0 and box[1] >= 0 and max(box) < 40 for box in boxes)


def test_only_search_presets_have_several_candidates() -> None:
    mask = object_in((40, 40), 5, 5, 20, 20)
    for name in ("dmseg", "breps-tight", "box-only"):
        one = candidate_prompts(preset(name), mask, "m")
        first = first_prompts(preset(name), mask, "m")
        assert len(one) == 1 and np.array_equal(one[0].points, first.points)
    assert first_prompts(preset("breps-min"), mask, "m").box.tolist() == [5, 5, 20, 20]
