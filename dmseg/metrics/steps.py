"""Figures over the steps of an interactive run: final, mean, area under the curve, number of clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmseg.errors import UsageError

CLICK_TARGETS: tuple[float, ...] = (0.80, 0.85, 0.90, 0.95)
"""The IoU targets of NoC@80, @85, @90 and @95."""


@dataclass(frozen=True, slots=True)
class OverSteps:
    """One metric over T steps, arrays without the axis of steps, for a metric where higher is better.

    Attributes:
        final: at step T.
        mean: over the steps.
        area: under the curve by trapezoids, divided by T - 1 (the metric itself for T = 1).
        best: the highest value.
        best_step: the first step that has it, 1..T.
    """

    final: NDArray[np.float64]
    mean: NDArray[np.float64]
    area: NDArray[np.float64]
    best: NDArray[np.float64]
    best_step: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClicksToTarget:
    """How many steps an IoU target took.

    Attributes:
        steps: int64, the first step at which the target is met, T where it never is (NoC).
        reached: bool; a mask that meets the target at step T has reached it. NoF counts the others.
    """

    steps: NDArray[np.int64]
    reached: NDArray[np.bool_]

    @property
    def noc(self) -> float:
        """Mean number of clicks."""
        return float(self.steps.mean())

    @property
    def nof(self) -> int:
        """Number of failures: masks that never meet the target."""
        return int(np.count_nonzero(~self.reached))


def over_steps(values: ArrayLike) -> OverSteps:
    """Return the figures of a (..., T) array whose last axis is the steps in order: usually (masks, steps).

    A step after a perfect prediction repeats it; a step that failed has the metric's worst value. So no entry is NaN.

    Raises:
        UsageError: no axis, empty, or with NaN.

    >>> result = over_steps([[0.2, 0.6, 0.6]])
    >>> float(result.final[0]), round(float(result.mean[0]), 3), round(float(result.area[0]), 3)
    (0.6, 0.467, 0.5)
    """
    table = _check_curve(values)
    last = table.shape[-1] - 1
    ends = (table[..., 0] + table[..., -1]) / 2
    return OverSteps(
        final=table[..., -1],
        mean=table.mean(axis=-1),
        area=(table.sum(axis=-1) - ends) / last if last else table[..., 0],
        best=table.max(axis=-1),
        best_step=table.argmax(axis=-1).astype(np.int64) + 1,
    )


def clicks_to_reach(ious: ArrayLike, target: float) -> ClicksToTarget:
    """Return how many steps IoU takes to reach ``target``, for a (..., T) array as in :func:`over_steps`.

    Raises:
        UsageError: as :func:`over_steps`.

    >>> result = clicks_to_reach([[0.5, 0.91], [0.5, 0.6]], 0.9)
    >>> result.steps.tolist(), result.noc, result.nof
    ([2, 2], 2.0, 1)
    """
    met = _check_curve(ious) >= target
    reached = np.asarray(met.any(axis=-1))
    return ClicksToTarget(np.where(reached, met.argmax(axis=-1) + 1, met.shape[-1]).astype(np.int64), reached)


def _check_curve(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 0 or table.size == 0:
        raise UsageError(f"values have shape {table.shape}; expected (masks, steps), at least one of each")
    if np.isnan(table).any():
        raise UsageError("values hold NaN; a failed step is a row with the metric's worst value, not a gap")
    return table
