"""How well a predicted mask agrees with a reference: overlap, boundary distance, and figures over the steps of a run.

One definition, stated in ``docs/metrics.md``: vertex boundary, HD95 as the larger of the two directed weighted
quantiles, pooled NSD. Nothing here knows about models, files or prompts.
"""

from dmseg.metrics.pairs import BOUNDARIES, HD95_RULES, TOLERANCES, Score, image_diagonal, score, score_batch

__all__ = ["BOUNDARIES", "HD95_RULES", "TOLERANCES", "Score", "image_diagonal", "score", "score_batch"]
