"""Rank ranges against an independent implementation, on known truths, and fast enough for a full leaderboard."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from synthetic_runs import steps_table

from dmseg.errors import DataError
from dmseg.leaderboard.ranking import rank, rank_scores, scores_of
from dmseg.results.cases import CaseTable, case_tables
from dmseg.rng import Stream
from dmseg.statistics import CaseBootstrap


def _table(model: str, quality: float, drop: float = 0.1) -> CaseTable:
    return case_tables(steps_table(model, quality=quality, drop=drop)[0])["seen"]


def _independent(datasets: list[str], cases: list[str], scores: np.ndarray, draws: int) -> list[tuple[int, int]]:
    """Rank by max-t, written from the definition: lists of cases, loops over pairs, no shared code but the numbers."""
    n, models = scores.shape
    rows = {case: [i for i in range(n) if cases[i] == case] for case in cases}
    names = sorted(set(datasets))
    members = {name: sorted({c for c, d in zip(cases, datasets, strict=True) if d == name}) for name in names}
    numbers = {
        name: Stream("dmseg-bootstrap/1", 0, name).uniforms(draws * len(members[name])).reshape(draws, -1)
        for name in names
    }

    def macro(drawn: dict[str, list[str]], model: int) -> float:
        parts = [[scores[i, model] for case in drawn[name] for i in rows[case]] for name in names]
        return float(np.mean([np.mean(part) for part in parts]))

    point = [macro(members, m) for m in range(models)]
    replicate = np.empty((draws, models))
    for b in range(draws):
        drawn = {name: [members[name][int(u * len(members[name]))] for u in numbers[name][b]] for name in names}
        replicate[b] = [macro(drawn, m) for m in range(models)]
    pairs = [(i, j) for i in range(models) for j in range(i)]
    largest, spread = [0.0] * draws, {}
    for i, j in pairs:
        gap = point[i] - point[j]
        deviation = [replicate[b, i] - replicate[b, j] - gap for b in range(draws)]
        mean = sum(deviation) / draws
        spread[i, j] = math.sqrt(sum((d - mean) ** 2 for d in deviation) / (draws - 1))
        if spread[i, j] > 1e-12:
            largest = [max(a, abs(d) / spread[i, j]) for a, d in zip(largest, deviation, strict=True)]
    limit = float(np.quantile(largest, 0.95))
    better = {(i, j) for i, j in pairs if spread[i, j] > 1e-12 and point[i] - point[j] > limit * spread[i, j]}
    better |= {(j, i) for i, j in pairs if spread[i, j] > 1e-12 and point[j] - point[i] > limit * spread[i, j]}
    return [
        (1 + sum((k, m) in better for k in range(models)), models - sum((m, k) in better for k in range(models)))
        for m in range(models)
    ]


def _normal(key: str, n: int) -> np.ndarray:
    uniforms = Stream("test-ranking", key).uniforms(2 * n)
    radius = np.sqrt(-2 * np.log(1 - uniforms[:n]))
    return np.asarray(radius * np.cos(2 * np.pi * uniforms[n:]))


@pytest.mark.parametrize("trial", range(3))
def test_ranges_equal_an_independent_implementation(trial: int) -> None:
    datasets = ["a"] * 14 + ["b"] * 9
    cases = [f"a{i // 2}" for i in range(14)] + [f"b{i // 3}" for i in range(9)]
    ease = _normal(f"ease{trial}", 23)
    scores = np.column_stack(
        [0.7 + 0.03 * m + 0.05 * ease + 0.04 * _normal(f"{trial}-{m}", 23) for m in range(4)] + [0.7 + 0.05 * ease]
    )
    found = rank_scores(CaseBootstrap(datasets, cases, draws=120), scores)
    assert list(zip(found.low, found.high, strict=True)) == _independent(datasets, cases, scores, 120)


@pytest.mark.parametrize("truth", [[0.0] * 8, [0.0, 0.0, 0.02, 0.02, 0.1], [0.0, 0.01, 0.02, 0.03]])
def test_ranges_hold_all_true_ranks_at_the_promised_rate(truth: list[float]) -> None:
    """Ties included: a model's true ranks run from 1 + number truly better to M - number truly worse."""
    n, hits, draws = 120, 0, 500
    datasets = ["a"] * 60 + ["b"] * 60
    cases = [f"c{i}" for i in range(n)]
    true_low = [1 + sum(other > mine for other in truth) for mine in truth]
    true_high = [len(truth) - sum(other < mine for other in truth) for mine in truth]
    for draw in range(draws):
        ease = 0.1 * _normal(f"t{draw}", n)
        scores = np.column_stack([t + ease + 0.05 * _normal(f"{draw}/{m}", n) for m, t in enumerate(truth)])
        found = rank_scores(CaseBootstrap(datasets, cases, draws=200, seed=draw), scores)
        hits += bool((found.low <= true_low).all() and (found.high >= true_high).all())
    assert hits / draws >= 0.93


def test_equal_models_share_all_ranks_and_a_clear_winner_stands_alone() -> None:
    tables = [_table("a", 0.7), _table("a", 0.7), _table("b", 0.95)]
    standing = rank(["one", "same", "best"], [scores_of(table) for table in tables])
    assert standing.ranking.low.tolist() == [2, 2, 1] and standing.ranking.high.tolist() == [3, 3, 1]
    assert standing.winner == "best" and standing.sentence().startswith("best leads under Dice and equally under NSD")


def test_the_sentence_names_metrics_with_another_winner() -> None:
    first, second = _table("a", 0.8), _table("b", 0.9)
    first.values["hd95"][:] = 1.0
    second.values["hd95"][:] = 50.0
    standing = rank(["steady", "bold"], [scores_of(first), scores_of(second)])
    assert standing.winner == "bold" and dict(standing.other_winners) == {"hd95": "steady"}
    assert "HD95 would put steady first" in standing.sentence()


def test_runs_on_other_masks_are_not_ranked_together() -> None:
    unseen = case_tables(steps_table("a")[0])["unseen"]
    with pytest.raises(DataError, match="not evaluated on the same masks"):
        rank(["a", "b"], [scores_of(_table("a", 0.8)), scores_of(unseen)])


def test_a_single_run_ranks_first() -> None:
    standing = rank(["only"], [scores_of(_table("a", 0.8))])
    assert standing.ranking.low.tolist() == [1] and standing.ranking.high.tolist() == [1]


def test_fifty_models_on_nine_thousand_cases_rank_in_ten_seconds() -> None:
    n = 9000
    datasets = [f"d{i % 17:02d}" for i in range(n)]
    scores = Stream("test-ranking", "speed").uniforms(n * 50).reshape(n, 50)
    start = time.perf_counter()
    found = rank_scores(CaseBootstrap(datasets, [f"{d}-{i}" for i, d in enumerate(datasets)]), scores)
    assert time.perf_counter() - start < 10 and len(found.low) == 50
