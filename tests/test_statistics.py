"""The bootstrap against a plain re-implementation, its pairing, and the error rates it promises."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import dmseg.statistics
from dmseg.rng import Stream
from dmseg.statistics import ClusteredBootstrap, Means, different

DATASETS = ["a"] * 6 + ["b"] * 3
CASES = ["a1", "a1", "a2", "a3", "a3", "a3", "b1", "b2", "b2"]


def _values(n: int, k: int, key: str = "v") -> np.ndarray:
    return Stream("test-statistics", key).uniforms(n * k).reshape(n, k)


def _plain_replicate(draw: int, values: np.ndarray, draws: int) -> float:
    """Average one draw the slow way: list the masks of every drawn case, dataset by dataset."""
    means = []
    for dataset in sorted(set(DATASETS)):
        cases = sorted({c for c, d in zip(CASES, DATASETS, strict=True) if d == dataset})
        uniforms = Stream("dmseg-bootstrap/1", 0, dataset).uniforms(draws * len(cases)).reshape(draws, -1)[draw]
        drawn = [cases[int(u * len(cases))] for u in uniforms]
        means.append(np.mean([values[i] for case in drawn for i in range(len(CASES)) if CASES[i] == case]))
    return float(np.mean(means))


def test_examples_run() -> None:
    assert doctest.testmod(dmseg.statistics).failed == 0


def test_replicates_equal_a_plain_re_implementation() -> None:
    values = _values(9, 2)
    means = ClusteredBootstrap(DATASETS, CASES, draws=25).means(values)
    for draw in range(25):
        assert means.replicates[draw, 1] == pytest.approx(_plain_replicate(draw, values[:, 1], 25), abs=1e-12)


def test_macro_counts_datasets_alike_and_plain_counts_masks_alike() -> None:
    values = np.array([[1.0]] * 6 + [[0.0]] * 3)
    bootstrap = ClusteredBootstrap(DATASETS, CASES, draws=10)
    assert bootstrap.means(values).value[0] == pytest.approx(0.5)
    assert bootstrap.means(values, macro=False).value[0] == pytest.approx(6 / 9)


def test_order_of_rows_does_not_matter() -> None:
    values, order = _values(9, 3), Stream("test-statistics", "order").permutation(9)
    straight = ClusteredBootstrap(DATASETS, CASES, draws=50).means(values)
    shuffled = ClusteredBootstrap([DATASETS[i] for i in order], [CASES[i] for i in order], draws=50).means(
        values[order]
    )
    np.testing.assert_allclose(straight.replicates, shuffled.replicates, atol=1e-14)


def test_differences_are_paired() -> None:
    values = _values(9, 1)
    both = ClusteredBootstrap(DATASETS, CASES, draws=50).means(np.hstack([values, values + 0.1]))
    gap = Means(both.value[1:], both.replicates[:, 1:]).minus(Means(both.value[:1], both.replicates[:, :1]))
    np.testing.assert_allclose(gap.replicates, 0.1, atol=1e-12)
    assert different(both)[0, 1], "a difference that never varies is a difference"


def test_masks_of_one_case_do_not_narrow_the_interval() -> None:
    """Ten copies of each mask in the same case carry no information: the interval stays; as cases they shrink it."""
    values, cases = _values(40, 1), [f"c{i}" for i in range(40)]
    single = ClusteredBootstrap(["a"] * 40, cases).means(values)
    copied = ClusteredBootstrap(["a"] * 400, cases * 10).means(np.tile(values, (10, 1)))
    separate = ClusteredBootstrap(["a"] * 400, [f"c{i}" for i in range(400)]).means(np.tile(values, (10, 1)))
    np.testing.assert_allclose(copied.interval(), single.interval(), atol=1e-12)
    width = [float(high[0] - low[0]) for low, high in (single.interval(), separate.interval())]
    assert width[1] < 0.45 * width[0]


def test_interval_covers_the_truth_at_its_rate() -> None:
    hits = 0
    for trial in range(200):
        values = _values(120, 1, f"cover{trial}")
        means = ClusteredBootstrap(["a"] * 60 + ["b"] * 60, [f"c{i}" for i in range(120)], draws=300).means(values)
        low, high = means.interval()
        hits += low[0] <= 0.5 <= high[0]
    assert 180 <= hits <= 199


@pytest.mark.parametrize(
    ("datasets", "cases", "message"),
    [(["a"], ["x", "y"], "one of each"), ([], [], "no masks"), (["a", "b"], ["x", "x"], "two datasets")],
)
def test_wrong_groups_are_refused(datasets: list[str], cases: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusteredBootstrap(datasets, cases)


def test_wrong_values_are_refused() -> None:
    bootstrap = ClusteredBootstrap(DATASETS, CASES, draws=2)
    with pytest.raises(ValueError, match="9 rows"):
        bootstrap.means(np.zeros((8, 1)))
    with pytest.raises(ValueError, match="not finite"):
        bootstrap.means(np.full((9, 1), np.nan))


def test_equal_columns_are_not_different_and_clear_gaps_are() -> None:
    values = _values(200, 1)
    noise = 0.01 * _values(200, 2, "noise")
    table = np.hstack([values, values, values + 0.2 + noise[:, :1], values + 0.2 + noise[:, 1:]])
    found = different(ClusteredBootstrap(["a"] * 200, [f"c{i}" for i in range(200)]).means(table))
    assert not found[0, 1] and found[0, 2] and found[1, 3] and not found[2, 3] and (found == found.T).all()
    assert not different(Means(np.array([0.5]), np.full((10, 1), 0.5))).any()
