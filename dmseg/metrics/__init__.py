"""How well a predicted mask agrees with a reference: overlap, boundary distance, and figures over the steps of a run.

One definition, stated in ``docs/metrics.md``: vertex boundary, HD95 as the larger of the two directed weighted
quantiles, pooled NSD. Nothing here knows about models, files or prompts.
"""

from dmseg.metrics.aggregate import MeanScore, mean_score
from dmseg.metrics.pairs import (
    BOUNDARIES,
    HD95_RULES,
    TOLERANCES,
    Score,
    image_diagonal,
    on_grid,
    score,
    score_batch,
)
from dmseg.metrics.steps import CLICK_TARGETS, ClicksToTarget, OverSteps, clicks_to_reach, over_steps
from dmseg.metrics.volumes import score_volume

__all__ = [
    "BOUNDARIES",
    "CLICK_TARGETS",
    "HD95_RULES",
    "TOLERANCES",
    "ClicksToTarget",
    "MeanScore",
    "OverSteps",
    "Score",
    "clicks_to_reach",
    "image_diagonal",
    "mean_score",
    "on_grid",
    "over_steps",
    "score",
    "score_batch",
    "score_volume",
]
