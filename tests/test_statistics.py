"""Clustered bootstrap: means by hand, coverage by simulation, pairing, ranks that hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.statistics import CaseBootstrap, rank_ranges


def table(sizes: dict[str, list[int]]) -> tuple[list[str], list[str]]:
    """Rows of ``{dataset: [rows of case 0, rows of case 1, ...]}``."""
    rows = [(d, f"{d}__{c}") for d, counts in sizes.items() for c, n in enumerate(counts) for _ in range(n)]
    return [d for d, _ in rows], [c for _, c in rows]


def test_macro_is_the_mean_of_dataset_means_and_plain_the_mean_of_rows() -> None:
    rows = CaseBootstrap(*table({"a": [1, 2], "b": [5]}))
    values = [1, 2, 3, 10, 10, 10, 10, 10]
    assert rows.means(values)[0] == pytest.approx((2 + 10) / 2)
    assert rows.means(values, "plain")[0] == pytest.approx(56 / 8)


def test_the_mean_does_not_depend_on_row_order_and_the_draws_do_not_either() -> None:
    datasets, cases = table({"a": [3, 1, 4], "b": [2, 2], "c": [6]})
    values = np.sin(np.arange(len(datasets)))
    order = np.argsort(np.cos(np.arange(len(datasets)) * 1.7))
    shuffled = CaseBootstrap([datasets[i] for i in order], [cases[i] for i in order])
    straight = CaseBootstrap(datasets, cases)
    np.testing.assert_allclose(straight.replicates(values), shuffled.replicates(values[order]), rtol=0, atol=1e-12)


def test_a_missing_value_is_left_out_and_counted_out() -> None:
    rows = CaseBootstrap(*table({"a": [2, 1], "b": [1]}))
    estimate = rows.estimates([1.0, math.nan, 3.0, math.nan])[0]
    assert (estimate.value, estimate.n, estimate.cases) == (2.0, 2, 2)
    assert 1.0 <= estimate.low <= 2.0 <= estimate.high <= 3.0


def test_a_column_without_any_value_is_nan_not_zero() -> None:
    estimate = CaseBootstrap(*table({"a": [1, 1]})).estimates(np.array([[1.0, math.nan], [2.0, math.nan]]))[1]
    assert math.isnan(estimate.value) and math.isnan(estimate.low) and estimate.n == 0 and estimate.cases == 0


def test_draws_equal_an_explicit_resampling_of_cases() -> None:
    from dmseg.rng import Stream

    rows = CaseBootstrap(*table({"a": [1, 3, 2]}), draws=50, seed=4)
    values = np.array([1.0, 2, 3, 4, 5, 6])
    cases = [values[:1], values[1:4], values[4:]]
    picks = (Stream("dmseg-bootstrap/1", 4, "a").uniforms(150) * 3).astype(int).reshape(50, 3)
    expected = [np.concatenate([cases[i] for i in pick]).mean() for pick in picks]
    np.testing.assert_allclose(rows.replicates(values)[0], expected, rtol=0, atol=1e-12)


def test_memory_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = CaseBootstrap(*table({"a": [2] * 7}), draws=40)
    values = np.arange(14.0)
    whole = rows.replicates(values)
    monkeypatch.setattr("dmseg.statistics._BLOCK", 25)
    np.testing.assert_array_equal(rows.replicates(values), whole)


def test_columns_of_one_call_are_paired() -> None:
    rows = CaseBootstrap(*table({"a": [1] * 30, "b": [2] * 10}))
    base = np.sin(np.arange(50))
    both = rows.replicates(np.stack([base, base + 0.01], axis=1))
    np.testing.assert_allclose(both[1] - both[0], 0.01, atol=1e-12)
    difference = rows.estimates(base + 0.01 - base)[0]
    assert difference.low == pytest.approx(0.01) and difference.high == pytest.approx(0.01)


def test_intervals_cover_the_truth_and_ignoring_clusters_would_not() -> None:
    rng = np.random.default_rng(5)
    n_cases, per_case, covered, naive = 40, 6, 0, 0
    datasets, cases = table({"a": [per_case] * n_cases})
    for trial in range(150):
        values = np.repeat(rng.normal(size=n_cases), per_case) + 0.3 * rng.normal(size=n_cases * per_case)
        estimate = CaseBootstrap(datasets, cases, draws=300, seed=trial).estimates(values)[0]
        covered += estimate.low <= 0 <= estimate.high
        alone = CaseBootstrap(datasets, [str(i) for i in range(len(cases))], draws=300, seed=trial).estimates(values)[0]
        naive += alone.low <= 0 <= alone.high
    assert covered >= 0.89 * 150
    assert naive < 0.75 * 150


def test_one_case_per_dataset_has_no_spread_and_no_significance() -> None:
    rows = CaseBootstrap(*table({"a": [4], "b": [4]}))
    values = np.stack([np.full(8, 0.9), np.full(8, 0.1)], axis=1)
    ranking = rank_ranges(rows.means(values), rows.replicates(values))
    assert ranking.low.tolist() == [1, 1] and ranking.high.tolist() == [2, 2]


def test_clearly_different_models_get_their_rank_and_equal_ones_share_it() -> None:
    rng = np.random.default_rng(1)
    rows = CaseBootstrap(*table({"a": [1] * 60}))
    hard = rng.normal(size=60)
    noise = 0.1 * rng.normal(size=(60, 3))
    values = np.stack([hard + 1 + noise[:, 0], hard + noise[:, 1], hard + noise[:, 1], hard - 1 + noise[:, 2]], axis=1)
    ranking = rank_ranges(rows.means(values), rows.replicates(values))
    assert list(zip(ranking.low.tolist(), ranking.high.tolist(), strict=True)) == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert ranking.better[0].tolist() == [False, True, True, True]


def test_rank_ranges_of_tied_models_hold_all_ranks_in_about_95_percent() -> None:
    rng = np.random.default_rng(2)
    datasets, cases = table({"a": [2] * 60})
    rows = CaseBootstrap(datasets, cases, draws=300)
    right = 0
    for _ in range(100):
        values = np.repeat(rng.normal(size=(60, 1)), 2, axis=0) + rng.normal(size=(120, 8))
        ranking = rank_ranges(rows.means(values), rows.replicates(values))
        right += bool((ranking.low == 1).all() and (ranking.high == 8).all())
    assert right >= 89


def test_a_single_model_is_first() -> None:
    rows = CaseBootstrap(*table({"a": [1] * 5}))
    ranking = rank_ranges(rows.means(np.arange(5.0)), rows.replicates(np.arange(5.0)))
    assert (ranking.low.tolist(), ranking.high.tolist()) == ([1], [1])


def test_wrong_arguments_say_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="2 dataset ids and 1 case ids"):
        CaseBootstrap(["a", "a"], ["p"])
    rows = CaseBootstrap(["a"], ["p"])
    with pytest.raises(UsageError, match="expected \\(1,\\)"):
        rows.means([1.0, 2.0])
    with pytest.raises(UsageError, match='did you mean "macro"'):
        rows.means([1.0], "marco")


def test_intervals_are_quantiles_of_the_draws_that_have_a_value() -> None:
    """Columns without and with draws that lack a value, in one call, to the last bit as column by column."""
    rows = CaseBootstrap(*table({"a": [1, 1, 1]}))
    values = np.array([[0.1, np.nan, 0.3], [0.7, np.nan, 0.4], [0.4, 0.9, np.nan]])
    draws = rows.replicates(values)
    assert np.isnan(draws[1]).any() and not np.isnan(draws[0]).any()
    for estimate, own in zip(rows.estimates(values), draws, strict=True):
        assert [estimate.low, estimate.high] == list(np.quantile(own[~np.isnan(own)], [0.025, 0.975]))
