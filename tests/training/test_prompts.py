"""The simulated user of training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from dmseg.protocol import first_prompts, preset  # noqa: E402
from dmseg.training import prompts as user  # noqa: E402

MASK = np.zeros((32, 32), dtype=np.bool_)
MASK[8:20, 10:26] = True


def test_first_prompts_are_those_of_the_evaluation() -> None:
    found, expected = user.first(MASK, "m@0", 3), first_prompts(preset("dmseg"), MASK, "m@0", 3)
    assert np.array_equal(found.points, expected.points) and np.array_equal(found.labels, expected.labels)


def test_a_kind_is_drawn_as_often_as_the_evaluation_draws_it_and_then_met() -> None:
    kinds = Counter(user.draw_kind(f"k{index}", 0) for index in range(400))
    assert 0.4 < kinds[0, True] / 400 < 0.6  # half are boxes
    assert {points for points, box in kinds if not box} == {1, 2, 3, 4, 5, 6}
    for kind in kinds:
        for index in range(5):
            assert user.kind_of(user.first(MASK, f"m{index}", 0, kind)) == kind


def test_an_object_too_small_for_a_kind_still_gets_prompts() -> None:
    pixel = np.zeros((8, 8), dtype=np.bool_)
    pixel[3, 3] = True
    given = user.first(pixel, "m", 0, (6, False))
    assert len(given.points) or given.box is not None


def test_a_corrective_click_lies_in_the_error_with_the_label_of_the_reference() -> None:
    predicted = np.roll(MASK, 5, axis=1)
    given = user.first(MASK, "m", 0)
    for _ in range(20):
        given = user.correct_prompts(given, MASK, predicted, "m", 0)
        x, y = given.points[-1].astype(int)
        assert MASK[y, x] != predicted[y, x] and given.labels[-1] == MASK[y, x]


def test_where_nothing_is_wrong_the_object_is_clicked_at_a_keyed_place() -> None:
    given = user.first(MASK, "m", 0)
    once, again = (user.correct_prompts(given, MASK, MASK, "m", 0) for _ in range(2))
    x, y = once.points[-1].astype(int)
    assert MASK[y, x] and once.labels[-1] == 1 and np.array_equal(once.points, again.points)
    places = {tuple(user.correct_prompts(given, MASK, MASK, f"m{index}", 0).points[-1]) for index in range(20)}
    assert len(places) > 10


def test_groups_hold_each_sample_once_and_equal_kinds_only() -> None:
    given = [user.first(MASK, f"m{index}", 0) for index in range(60)]
    groups = user.groups(given)
    assert sorted(index for group in groups for index in group) == list(range(60))
    assert all(len({user.kind_of(given[index]) for index in group}) == 1 for group in groups)


def test_pixel_centres_of_the_grid_map_to_centres_of_their_cells_in_the_input() -> None:
    given = [user.first(MASK, f"m{index}", 0) for index in range(40)]
    for group in user.groups(given):
        points, labels, box = user.tensors([given[index] for index in group], 4.0, torch.device("cpu"))
        if points is not None and labels is not None:
            assert points[0].numpy() == pytest.approx(given[group[0]].points * 4 + 1.5)
            assert labels.shape == points.shape[:2] and labels.dtype == torch.int64
        if box is not None:
            assert box[0].numpy() == pytest.approx(given[group[0]].box * 4 + 1.5)
