"""Means over datasets and masks, with confidence intervals that respect who the images come from.

Masks of one patient are not independent, so the bootstrap draws *cases* with replacement, within each dataset, and
takes all masks, levels and steps of a drawn case together (Field and Welsh 2007, J. R. Stat. Soc. B 69:369). The draw
depends on the case ids and a seed only: the same for every model, metric and column, so that differences are paired,
and for any order of the rows. Which values are averaged is the caller's business.

A dataset with a handful of cases has too narrow an interval: no resampling invents patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmseg.rng import Stream

DRAWS = 1000
CONFIDENCE = 0.95
_KEY = "dmseg-bootstrap/1"

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Means:
    """Means of K columns and their bootstrap replicates.

    Attributes:
        value: (K,) float64, the means of the data themselves.
        replicates: (R, K) float64, the means of each draw; row r is the same draw in every ``Means`` of one bootstrap.
    """

    value: Array
    replicates: Array

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
        """Return the percentile interval, low and high, (K,) float64 each."""
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile(self.replicates, [tail, 1.0 - tail], axis=0)
        return low, high

    def minus(self, other: Means) -> Means:
        """Return the paired differences to another ``Means`` of the same bootstrap."""
        return Means(self.value - other.value, self.replicates - other.replicates)


class ClusteredBootstrap:
    """The resampling of one set of masks: made once, used for every column.

    Args:
        datasets: the dataset of each of N masks.
        cases: the case (patient) of each of N masks; a case belongs to one dataset.
        draws: number R of bootstrap draws.
        seed: another seed gives other draws.

    >>> bootstrap = ClusteredBootstrap(["a", "a", "b"], ["a1", "a2", "b1"], draws=100)
    >>> bootstrap.means([[1.0], [0.0], [1.0]]).value.tolist()
    [0.75]
    """

    def __init__(self, datasets: Sequence[str], cases: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> None:
        if len(datasets) != len(cases):
            raise ValueError(f"{len(datasets)} datasets, but {len(cases)} cases: one of each per mask")
        if len(datasets) == 0:
            raise ValueError("no masks to average")
        self.draws = draws
        owner = np.asarray(datasets, dtype=object)
        names, self._case = np.unique(np.asarray(cases, dtype=object).astype(str), return_inverse=True)
        self._n_cases = len(names)
        self._order = np.argsort(self._case, kind="stable")
        self._starts = np.searchsorted(self._case[self._order], np.arange(self._n_cases))
        self._groups: list[tuple[NDArray[np.intp], Array]] = []
        for dataset in sorted(set(owner.tolist())):
            inside = np.unique(self._case[owner == dataset])
            words = Stream(_KEY, seed, dataset).uniforms(draws * len(inside)).reshape(draws, len(inside))
            chosen = (words * len(inside)).astype(np.intp) + np.arange(draws)[:, None] * len(inside)
            counts = np.bincount(chosen.ravel(), minlength=draws * len(inside)).reshape(draws, len(inside))
            self._groups.append((inside, counts.astype(np.float64)))
        if sum(len(inside) for inside, _ in self._groups) != self._n_cases:
            raise ValueError("a case id belongs to two datasets; case ids begin with their dataset")

    def means(self, values: ArrayLike, *, macro: bool = True) -> Means:
        """Average columns over masks.

        Args:
            values: (N, K) finite numbers, one row per mask.
            macro: mean over datasets of the mean over their masks (each dataset counts alike); else the plain mean
                over all masks.

        Returns:
            The K means and their replicates.
        """
        table = np.asarray(values, dtype=np.float64)
        if table.ndim != 2 or len(table) != len(self._case):
            raise ValueError(f"expected {len(self._case)} rows of columns, got an array of shape {table.shape}")
        if not np.isfinite(table).all():
            raise ValueError("a value is not finite; failed and undefined rows enter with their worst value")
        sums = np.add.reduceat(table[self._order], self._starts, axis=0)
        sizes = np.bincount(self._case, minlength=self._n_cases).astype(np.float64)
        parts = [
            (sums[inside].sum(axis=0), sizes[inside].sum(), counts @ sums[inside], counts @ sizes[inside])
            for inside, counts in self._groups
        ]
        if not macro:
            parts = [tuple(np.sum(column, axis=0) for column in zip(*parts, strict=True))]
        value = np.mean([total / size for total, size, _, _ in parts], axis=0)
        replicates = np.mean([totals / drawn[:, None] for _, _, totals, drawn in parts], axis=0)
        return Means(np.asarray(value), np.asarray(replicates))


def different(means: Means, *, alpha: float = 0.05) -> NDArray[np.bool_]:
    """Tell which of K paired means differ, with family-wise error ``alpha`` over all pairs (bootstrap max-t).

    The statistic of a pair is its difference over the bootstrap's standard error; the threshold is the (1 - alpha)
    quantile of the largest centred statistic of all pairs (Romano and Wolf 2005, J. Am. Stat. Assoc. 100:94, single
    step). Two columns that never differ are not different.

    Returns:
        (K, K) bool, symmetric, False on the diagonal.
    """
    n = len(means.value)
    first, second = np.triu_indices(n, 1)
    result = np.zeros((n, n), dtype=bool)
    if len(first) == 0:
        return result
    gap = means.value[first] - means.value[second]
    spread = means.replicates[:, first] - means.replicates[:, second] - gap
    error = spread.std(axis=0, ddof=1)
    varies = error > 1e-12
    if varies.any():
        largest = (np.abs(spread[:, varies]) / error[varies]).max(axis=1)
        threshold = float(np.quantile(largest, 1.0 - alpha))
        beyond = np.abs(gap) > threshold * error
        result[first, second] = result[second, first] = np.where(varies, beyond, np.abs(gap) > 1e-12)
    else:
        result[first, second] = result[second, first] = np.abs(gap) > 1e-12
    return result
