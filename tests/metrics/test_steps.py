"""Figures over steps, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.metrics import CLICK_TARGETS, clicks_to_reach, over_steps


def test_final_mean_area_and_best() -> None:
    result = over_steps([[0.0, 0.5, 1.0], [0.9, 0.9, 0.3]])
    assert result.final.tolist() == [1.0, 0.3]
    assert result.mean == pytest.approx([0.5, 0.7])
    assert result.area == pytest.approx([0.5, (0.9 + 0.6) / 2])
    assert result.best.tolist() == [1.0, 0.9] and result.best_step.tolist() == [3, 1]


def test_the_area_is_the_trapezoid_rule_over_t_minus_one() -> None:
    curves = np.abs(np.sin(np.arange(40))).reshape(4, 10)
    assert over_steps(curves).area == pytest.approx(
        [np.interp(np.linspace(0, 9, 90001), np.arange(10), c).mean() for c in curves], abs=1e-4
    )


def test_one_step_is_its_own_area() -> None:
    assert over_steps([[0.7]]).area.tolist() == [0.7]


def test_reaching_the_target_at_the_last_step_is_not_a_failure() -> None:
    table = [[0.95, 0.2, 0.2], [0.1, 0.2, 0.9], [0.1, 0.2, 0.3]]
    result = clicks_to_reach(table, 0.9)
    assert result.steps.tolist() == [1, 3, 3] and result.reached.tolist() == [True, True, False]
    assert result.noc == pytest.approx(7 / 3) and result.nof == 1


def test_a_higher_target_never_takes_fewer_clicks() -> None:
    table = np.abs(np.sin(np.arange(600.0) ** 2)).reshape(60, 10)
    nocs = [clicks_to_reach(table, target).noc for target in CLICK_TARGETS]
    assert CLICK_TARGETS == (0.8, 0.85, 0.9, 0.95) and nocs == sorted(nocs)


@pytest.mark.parametrize("values", [0.1, [], [[]], [[0.1, math.nan]]])
def test_tables_with_gaps_are_refused(values: list[float]) -> None:
    with pytest.raises(UsageError, match="values"):
        over_steps(values)


def test_any_axes_may_stand_before_the_steps() -> None:
    table = np.abs(np.sin(np.arange(60.0))).reshape(3, 4, 5)
    for field in ("final", "mean", "area", "best", "best_step"):
        whole = getattr(over_steps(table), field)
        assert np.array_equal(whole, [getattr(over_steps(part), field) for part in table])
    assert np.array_equal(clicks_to_reach(table, 0.9).steps[1], clicks_to_reach(table[1], 0.9).steps)
