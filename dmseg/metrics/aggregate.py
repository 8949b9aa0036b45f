"""Means over many pairs in which a missed object counts, and is counted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dmseg.errors import UsageError
from dmseg.metrics.pairs import Score


@dataclass(frozen=True, slots=True)
class MeanScore:
    """Means over pairs.

    Attributes:
        mean: over all pairs, an undefined HD95 or HD entering as the pair's image diagonal.
        mean_defined: over the pairs with a defined HD95 only; None if there is none. To be read beside ``mean``.
        n: number of pairs.
        n_undefined: pairs of which exactly one mask was empty.
    """

    mean: Score
    mean_defined: Score | None
    n: int
    n_undefined: int


def mean_score(scores: Sequence[Score], diagonals: Sequence[float]) -> MeanScore:
    """Return the means of scores that share their tolerances.

    Args:
        scores: at least one.
        diagonals: one per score, from :func:`~dmseg.metrics.image_diagonal`, in the unit of the score's distances.

    Raises:
        UsageError: no score, or another number of diagonals.
    """
    if not scores or len(scores) != len(diagonals):
        raise UsageError(f"{len(scores)} scores and {len(diagonals)} diagonals; give at least one score, one of each")
    bounded = [
        item if item.defined else dataclasses.replace(item, hd95=diagonal, hd=diagonal)
        for item, diagonal in zip(scores, diagonals, strict=True)
    ]
    defined = [item for item in scores if item.defined]
    return MeanScore(_mean(bounded), _mean(defined) if defined else None, len(scores), len(scores) - len(defined))


def _mean(scores: Sequence[Score]) -> Score:
    n = len(scores)
    return Score(
        iou=math.fsum(item.iou for item in scores) / n,
        dice=math.fsum(item.dice for item in scores) / n,
        pixel_accuracy=math.fsum(item.pixel_accuracy for item in scores) / n,
        nsd={key: math.fsum(item.nsd[key] for item in scores) / n for key in scores[0].nsd},
        hd95=math.fsum(item.hd95 for item in scores) / n,
        hd=math.fsum(item.hd for item in scores) / n,
    )
