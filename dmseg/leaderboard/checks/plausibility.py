"""E304, W401, W402: results that are not a model's own, that are hard to believe, or that come from training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.entries import Entry
from dmseg.leaderboard.ranking import mask_scores
from dmseg.leaderboard.rows import overlap
from dmseg.results.cases import CaseTable

_LEAST_MASKS = 10
_PERFECT_SHARE = 0.05


def check_plausibility(
    info: Mapping[str, Any], tables: Mapping[str, CaseTable], others: Sequence[Entry], findings: Findings
) -> None:
    """Look at each split as a reader would."""
    for split, table in tables.items():
        where = f"steps.parquet, {split}"
        _check_own(info, table, others, where, findings)
        _check_believable(table, where, findings)
        known = overlap(info["model"].get("trained_on") or (), table)
        if known:
            findings.add(
                "W402", where, f"the model was trained on {', '.join(known)}", "it will be shown as seen in training"
            )


def _check_own(
    info: Mapping[str, Any], table: CaseTable, others: Sequence[Entry], where: str, findings: Findings
) -> None:
    if len(table.mask_ids) < _LEAST_MASKS:
        return
    scores = mask_scores(table)
    if np.ptp(scores) == 0:
        findings.add("E304", where, f"every mask has Dice {scores[0]:g}", "send the results of a model")
        return
    for other in others:
        theirs = other.tables.get(table.split)
        if theirs is None or other.model == info["model"]["name"] or theirs.mask_ids != table.mask_ids:
            continue
        if theirs.values["dice"].shape == table.values["dice"].shape and np.array_equal(
            theirs.values["dice"], table.values["dice"]
        ):
            what = f"every Dice equals that of the entry {other.model} ({other.folder.name})"
            findings.add("E304", where, what, "send your own results; a renamed entry needs the old one removed")


def _check_believable(table: CaseTable, where: str, findings: Findings) -> None:
    final = table.values["dice"][:, :, -1]
    columns: list[tuple[str, np.ndarray]] = []
    if {"clear", "lq3plus"} <= set(table.levels):
        columns.append(("LQ-3+ is better than Clear", final[:, -1] - final[:, 0]))
    if table.steps > 1:
        first = table.values["dice"][:, :, 0].mean(axis=1)
        columns.append((f"step {table.steps} is below step 1", first - final.mean(axis=1)))
    if columns:
        estimates = table.bootstrap.estimates(np.column_stack([values for _, values in columns]))
        for (text, _), gap in zip(columns, estimates, strict=True):
            if gap.low > 0:
                what = f"{text} by {100 * gap.value:.1f} points of Dice (95 % interval above 0)"
                findings.add("W401", where, what, "explain it in the pull request")
    perfect = float((table.values["dice"] == 1.0).mean())
    if perfect > _PERFECT_SHARE:
        what = f"{100 * perfect:.0f} % of predictions are perfect"
        findings.add("W401", where, what, "make sure that the model does not see the reference")
