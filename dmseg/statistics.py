"""Means with honest intervals: bootstrap over cases, macro over datasets, paired differences, rank ranges.

Masks of one patient resemble each other, so what is drawn is cases, within their dataset, with all their rows: all
masks, levels, steps and models of a case stay together, which makes every comparison paired. The draws are keyed by
(seed, dataset) alone; the same cases give the same draws in summaries, comparisons and rankings, on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmseg.errors import UsageError, unknown_name
from dmseg.rng import Stream

DRAWS = 1000
CONFIDENCE = 0.95
AVERAGES: tuple[str, ...] = ("macro", "plain")

_PURPOSE = "dmseg-bootstrap/1"
_NO_SPREAD = 1e-12
_BLOCK = 4_000_000
"""Multiplicities held at a time (draws x cases), so memory stays below about 32 MB."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        value: the mean over all rows.
        low, high: percentile bootstrap interval; equal to ``value`` where every dataset has one case.
        n: rows that entered (missing values do not).
        cases: cases that entered.
    """

    value: float
    low: float
    high: float
    n: int
    cases: int

    @property
    def has_interval(self) -> bool:
        """Whether the interval says anything; of one case per dataset it has no width, which is not certainty."""
        return self.high > self.low


@dataclass(frozen=True, slots=True)
class _Stratum:
    """One dataset: where its cases' rows start in the sorted table."""

    name: str
    start: int
    stop: int
    case_starts: NDArray[np.int64]


_CaseSums = tuple[_Stratum, NDArray[np.float64], NDArray[np.float64]]
"""A dataset, with the sum and the number of the values of each of its cases, (C, M) each."""


class CaseBootstrap:
    """Bootstrap over cases for the rows of one table.

    Args:
        datasets, cases: one id per row, (N,); a case belongs to the dataset beside it.
        draws: number of bootstrap draws B.
        seed: the seed of the draws.

    Raises:
        UsageError: no rows, or the two differ in length.

    >>> rows = CaseBootstrap(["a", "a", "a", "b"], ["p1", "p1", "p2", "p3"])
    >>> float(rows.means([1.0, 1.0, 0.0, 0.5])[0])  # (2/3 + 1/2) / 2
    0.5833333333333333
    """

    def __init__(self, datasets: Sequence[str], cases: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> None:
        if len(datasets) != len(cases) or len(datasets) == 0:
            raise UsageError(f"{len(datasets)} dataset ids and {len(cases)} case ids; give one of each per row")
        self.draws = draws
        self._seed = seed
        names, dataset_codes = np.unique(np.asarray(datasets, dtype=str), return_inverse=True)
        _, case_codes = np.unique(np.asarray(cases, dtype=str), return_inverse=True)
        self._order = np.lexsort((case_codes, dataset_codes))
        sorted_datasets, sorted_cases = dataset_codes[self._order], case_codes[self._order]
        edges = np.append(np.searchsorted(sorted_datasets, np.arange(len(names))), len(sorted_datasets))
        self._strata = []
        for index, name in enumerate(names):
            start, stop = int(edges[index]), int(edges[index + 1])
            case_starts = np.flatnonzero(np.diff(sorted_cases[start:stop], prepend=-1)).astype(np.int64)
            self._strata.append(_Stratum(str(name), start, stop, case_starts))

    def means(self, values: ArrayLike, average: str = "macro") -> NDArray[np.float64]:
        """Return the mean of each column, (M,) float64.

        Args:
            values: (N,) or (N, M) in the order of the rows; NaN is a missing value and is left out. An undefined
                HD95 is not missing: give the diagonal.
            average: ``"macro"``: mean over datasets of the mean over rows; ``"plain"``: mean over rows.
        """
        return _mean_cases(self._case_sums(values), average)

    def replicates(self, values: ArrayLike, average: str = "macro") -> NDArray[np.float64]:
        """Return the mean of each column in each draw, (M, B) float64; columns of one call are paired.

        Arguments as :meth:`means`. A dataset none of whose drawn cases has a value of a
        column is left out of that draw; a draw without any value is NaN.
        """
        return self._replicate(self._case_sums(values), average)

    def estimates(self, values: ArrayLike, average: str = "macro", *, confidence: float = CONFIDENCE) -> list[Estimate]:
        """Return the mean of each column with its interval. For a paired difference, give the difference.

        Arguments as :meth:`means`; ``confidence`` is the coverage of the interval.

        >>> rows = CaseBootstrap(["a"] * 3, ["p1", "p2", "p3"])
        >>> rows.estimates([0.5, 0.5, 0.5])[0]
        Estimate(value=0.5, low=0.5, high=0.5, n=3, cases=3)
        """
        parts = self._case_sums(values)
        rows = np.sum([counts.sum(axis=0) for _, _, counts in parts], axis=0)
        cases = np.sum([(counts > 0).sum(axis=0) for _, _, counts in parts], axis=0)
        means = _mean_cases(parts, average)
        known = ~np.isnan(means)
        tail = (1 - confidence) / 2
        bounds = np.full((2, len(means)), np.nan)
        bounds[:, known] = _row_quantiles(self._replicate(parts, average)[known], [tail, 1 - tail])
        return [
            Estimate(float(mean), float(low), float(high), int(n), int(m))
            for mean, low, high, n, m in zip(means, *bounds, rows, cases, strict=True)
        ]

    def ratios(
        self, first: ArrayLike, second: ArrayLike, average: str = "macro"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of each column of ``first`` over that of ``second``, (M,), and the same in each draw, (M, B).

        Args:
            first, second: (N,) or (N, M) in the order of the rows, of which none is missing; no dataset sums to 0.
            average: ``"macro"``: mean over datasets of their ratios; ``"plain"``: the ratio over all rows.

        >>> rows = CaseBootstrap(["a", "a", "b"], ["p1", "p2", "p3"])
        >>> float(rows.ratios([1, 2, 5], [2, 4, 10])[0][0])
        0.5
        """
        tops, bottoms = self._case_sums(first), self._case_sums(second)
        upper, lower = (
            np.array([sums.sum(axis=0, keepdims=True) for _, sums, _ in parts]) for parts in (tops, bottoms)
        )
        drawn = [
            self._draw_cases(stratum, top, bottom)
            for (stratum, top, _), (_, bottom, _) in zip(tops, bottoms, strict=True)
        ]
        draws = _average(np.array([total for total, _ in drawn]), np.array([n for _, n in drawn]), average).T
        return _average(upper, lower, average)[0], draws

    def contrasts(
        self, first: ArrayLike, second: ArrayLike, average: str = "macro", *, confidence: float = CONFIDENCE
    ) -> list[Estimate]:
        """Return the mean of each column of ``first`` minus that of ``second``, where not the same rows have a value.

        Both are arguments as of :meth:`means`, NaN where a row does not belong; both means are taken of one draw of
        cases. ``n`` and ``cases`` are those of ``first``. For the same rows, give :meth:`estimates` the difference.

        >>> rows = CaseBootstrap(["a"] * 3, ["p1", "p2", "p3"])
        >>> rows.contrasts([0.5, np.nan, np.nan], [np.nan, 0.25, 0.25])[0].value
        0.25
        """
        one, other = (np.asarray(values, dtype=np.float64).reshape(len(self._order), -1) for values in (first, second))
        sizes = self.estimates(one, average)
        number = one.shape[1]
        draws = self.replicates(np.hstack([one, other]), average)
        differences = draws[:number] - draws[number:]
        means = self.means(np.hstack([one, other]), average)
        tail = (1 - confidence) / 2
        found = []
        for place, size in enumerate(sizes):
            drawn = differences[place][~np.isnan(differences[place])]
            low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (np.nan, np.nan)
            value = float(means[place] - means[number + place])
            found.append(Estimate(value, float(low), float(high), size.n, size.cases))
        return found

    def _replicate(self, parts: Sequence[_CaseSums], average: str) -> NDArray[np.float64]:
        sums = [self._draw_cases(stratum, case_sums, counts) for stratum, case_sums, counts in parts]
        return _average(np.array([total for total, _ in sums]), np.array([n for _, n in sums]), average).T

    def _case_sums(self, values: ArrayLike) -> list[_CaseSums]:
        """Return per dataset the sum and the number of the values of each case, (C, M) each."""
        table = np.asarray(values, dtype=np.float64)
        if table.shape[0] != len(self._order) or table.ndim > 2:
            raise UsageError(f"values have shape {table.shape}; expected ({len(self._order)},) or (.., M), one per row")
        table = table.reshape(len(table), -1)[self._order]
        present = ~np.isnan(table)
        filled = np.where(present, table, 0.0)
        return [
            (
                stratum,
                np.add.reduceat(filled[stratum.start : stratum.stop], stratum.case_starts),
                np.add.reduceat(present[stratum.start : stratum.stop].astype(np.float64), stratum.case_starts),
            )
            for stratum in self._strata
        ]

    def _draw_cases(
        self, stratum: _Stratum, sums: NDArray[np.float64], counts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sum and number over the cases of each draw of one dataset, (B, M) each."""
        n_cases = len(sums)
        numbers = Stream(_PURPOSE, self._seed, stratum.name)
        total, number = np.empty((self.draws, sums.shape[1])), np.empty((self.draws, sums.shape[1]))
        block = max(1, _BLOCK // n_cases)
        for start in range(0, self.draws, block):
            rows = min(block, self.draws - start)
            picks = (numbers.uniforms(rows * n_cases) * n_cases).astype(np.int64).reshape(rows, n_cases)
            flat = picks + n_cases * np.arange(rows)[:, None]
            times = np.bincount(flat.ravel(), minlength=rows * n_cases).reshape(rows, n_cases).astype(np.float64)
            total[start : start + rows] = times @ sums
            number[start : start + rows] = times @ counts
        return total, number


def _mean_cases(parts: Sequence[_CaseSums], average: str) -> NDArray[np.float64]:
    """Return the mean of each column, (M,)."""
    totals = np.array([sums.sum(axis=0, keepdims=True) for _, sums, _ in parts])
    numbers = np.array([counts.sum(axis=0, keepdims=True) for _, _, counts in parts])
    result: NDArray[np.float64] = _average(totals, numbers, average)[0]
    return result


def _row_quantiles(draws: NDArray[np.float64], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles over the values of each row, NaN left out, (shares, M).

    Equal to ``np.nanquantile(draws, shares, axis=1)``, which goes row by row even where no row lacks a value.
    """
    gaps = np.isnan(draws).any(axis=1)
    found = np.empty((len(shares), len(draws)))
    found[:, ~gaps] = np.quantile(draws[~gaps], shares, axis=1)
    if gaps.any():
        found[:, gaps] = np.nanquantile(draws[gaps], shares, axis=1)
    return found


def _average(total: NDArray[np.float64], number: NDArray[np.float64], average: str) -> NDArray[np.float64]:
    """Return means (B, M) from sums and numbers (datasets, B, M); datasets without a value in a column are left out."""
    if average not in AVERAGES:
        raise unknown_name("average", average, AVERAGES)
    with np.errstate(invalid="ignore", divide="ignore"):
        if average == "plain":
            return np.asarray(total.sum(axis=0) / number.sum(axis=0))
        present = number > 0
        means = np.where(present, total / number, 0.0)
        return np.asarray(means.sum(axis=0) / present.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranks that the data support: model i is somewhere between ``low[i]`` and ``high[i]``, 1 being the best.

    Attributes:
        low, high: (M,) int64.
        better: (M, M) bool, ``better[i, j]``: i is significantly better than j.
        critical: the critical value of the studentised differences.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    better: NDArray[np.bool_]
    critical: float


def rank_ranges(means: NDArray[np.float64], replicates: NDArray[np.float64], *, error_rate: float = 0.05) -> Ranking:
    """Return rank ranges from a bootstrap max-t test of all paired differences.

    All differences are tested together: a draw's largest studentised deviation over all pairs of models gives the
    critical value, so with probability ``1 - error_rate`` no difference at all is called wrongly, and all true ranks
    lie in their ranges. Percentile intervals of bootstrapped ranks do not have this property.

    Args:
        means: (M,) score of each model, higher is better.
        replicates: (M, B) the same in each draw, from one :meth:`CaseBootstrap.replicates` call, so that they pair.
        error_rate: family-wise error rate.

    A pair without spread over the draws (equal models, or one case per dataset) is never significant.
    """
    difference = means[:, None] - means[None, :]
    spread = np.zeros_like(difference)
    largest = np.zeros(replicates.shape[1])
    for i in range(len(means) - 1):  # each pair once: the other way round only the sign differs
        deviation = replicates[i] - replicates[i + 1 :] - difference[i, i + 1 :, None]
        own = deviation.std(axis=1, ddof=1)
        spread[i, i + 1 :] = spread[i + 1 :, i] = own
        usable = own > _NO_SPREAD
        if usable.any():
            largest = np.maximum(largest, (np.abs(deviation[usable]) / own[usable][:, None]).max(axis=0))
    critical = float(np.quantile(largest, 1 - error_rate))
    better = (spread > _NO_SPREAD) & (difference > critical * spread)
    return Ranking(1 + better.sum(axis=0), len(means) - better.sum(axis=1), better, critical)
