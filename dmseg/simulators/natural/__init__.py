"""The natural track's degradations, by their authors' recipes: LQ-Seg (GleSAM) and RobustSeg (RobustSAM).

They are apart from the medical operations: other tables, other names, and each made as published, its oddities
included. What is exact, what is drawn anew and what is ours stands in ``docs/natural.md``.
"""

from __future__ import annotations

from dmseg.simulators.natural.lq_seg import (
    LEVEL_SCALES,
    LQ_SEG_VERSION,
    LqSegPlan,
    OnlinePlan,
    degrade_online,
    draw_lq_seg,
)
from dmseg.simulators.natural.lq_seg import tables_digest as lq_seg_digest
from dmseg.simulators.natural.robust_seg import (
    MOVING,
    OPERATIONS,
    ROBUST_SEG_VERSION,
    RobustSegPlan,
    degrade_robust_seg,
)
from dmseg.simulators.natural.robust_seg import tables_digest as robust_seg_digest

__all__ = [
    "LEVEL_SCALES",
    "LQ_SEG_VERSION",
    "MOVING",
    "OPERATIONS",
    "ROBUST_SEG_VERSION",
    "LqSegPlan",
    "OnlinePlan",
    "RobustSegPlan",
    "degrade_online",
    "degrade_robust_seg",
    "draw_lq_seg",
    "lq_seg_digest",
    "robust_seg_digest",
]
