"""Ranks that the cases support, and whether another metric would choose another winner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import DataError
from dmseg.results.cases import CaseTable
from dmseg.statistics import CaseBootstrap, Ranking, rank_ranges

Array = NDArray[np.float64]

OTHER_METRICS: dict[str, str] = {
    "nsd_2": "NSD at 2 px",
    "hd95": "HD95",
    "median": "the median of Dice over masks",
    "plain": "the plain mean over masks",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """The result of one contest.

    Attributes:
        models: as given.
        ranking: rank ranges and who is significantly better than whom.
        winner: model with the highest score.
        other_winners: metric -> model it would choose instead, where that is another one.
    """

    models: tuple[str, ...]
    ranking: Ranking
    winner: str
    other_winners: Mapping[str, str]

    def sentence(self) -> str:
        """Say whether the winner depends on the metric."""
        if not self.other_winners:
            return f"{self.winner} leads under Dice and equally under {_join_texts(OTHER_METRICS.values())}."
        changes = [f"{OTHER_METRICS[metric]} would put {model} first" for metric, model in self.other_winners.items()]
        return f"{self.winner} leads under Dice; {_join_texts(changes)}."


RANKED_METRICS: tuple[str, ...] = ("dice", "nsd_2", "hd95")


@dataclass(frozen=True, eq=False)
class Scores:
    """What ranking needs of one run and split.

    Attributes:
        mask_ids, datasets, cases: one text per mask, N masks sorted by id.
        levels: levels of the run.
        values: metric -> score per mask, (N,) float64, as :func:`mask_scores`.
    """

    mask_ids: tuple[str, ...]
    datasets: tuple[str, ...]
    cases: tuple[str, ...]
    levels: tuple[str, ...]
    values: Mapping[str, Array]


def mask_scores(table: CaseTable, metric: str = "dice") -> Array:
    """Return a metric after the last step per mask, the mean over its levels, (N,) float64."""
    scores: Array = table.values[metric][:, :, -1].mean(axis=1)
    return scores


def scores_of(table: CaseTable) -> Scores:
    """Return what ranking needs of the rows of one split."""
    values = {metric: mask_scores(table, metric) for metric in RANKED_METRICS}
    return Scores(table.mask_ids, table.datasets, table.cases, table.levels, values)


def rank(models: Sequence[str], tables: Sequence[Scores]) -> Standing:
    """Rank complete runs over the same masks by macro Dice.

    Raises:
        DataError: two runs differ in their masks, so they cannot be paired.
    """
    first = tables[0]
    for model, table in zip(models, tables, strict=True):
        if table.mask_ids != first.mask_ids or table.cases != first.cases or table.levels != first.levels:
            raise DataError(f"{model} and {models[0]} were not evaluated on the same masks and levels: not comparable")
    bootstrap = CaseBootstrap(first.datasets, first.cases)
    scores = np.column_stack([table.values["dice"] for table in tables])
    ranking = rank_scores(bootstrap, scores)
    macro = bootstrap.means(scores)
    winner = int(macro.argmax())
    alternatives = {
        "nsd_2": bootstrap.means(np.column_stack([table.values["nsd_2"] for table in tables])),
        "hd95": -bootstrap.means(np.column_stack([table.values["hd95"] for table in tables])),
        "median": np.median(scores, axis=0),
        "plain": scores.mean(axis=0),
    }
    others = {
        metric: models[int(values.argmax())]
        for metric, values in alternatives.items()
        if values.max() > values[winner] + 1e-12
    }
    return Standing(tuple(models), ranking, models[winner], others)


def rank_scores(bootstrap: CaseBootstrap, scores: Array) -> Ranking:
    """Return the rank ranges of models from their scores per mask, (N, M), higher is better."""
    return rank_ranges(bootstrap.means(scores), bootstrap.replicates(scores))


def _join_texts(texts: Iterable[str]) -> str:
    items = list(texts)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
