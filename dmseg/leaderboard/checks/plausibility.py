"""E304, W401, W402: results that are not a model's own, that are hard to believe, or that come from training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.entries import Entry, owner_of
from dmseg.leaderboard.ranking import mask_scores
from dmseg.leaderboard.summaries import summary_of
from dmseg.naming import name_key
from dmseg.results.cases import CaseTable
from dmseg.results.notices import find_trained, list_synthetic

_LEAST_MASKS = 10
_PERFECT_SHARE = 0.05
COPY_CORRELATION = 0.98
"""Correlation of final Dice over masks and levels from which a run counts as a copy of an entry. Models of different
design stay below 0.75 on the phantom edition, a network and the one fine-tuned from it at 0.93; a copy with noise of
0.04 added to every Dice lies above."""
_LEAST_PAIRS = 50
"""Masks times levels below which a correlation says too little; then only equal values count."""


def check_owner(info: Mapping[str, Any], others: Sequence[Entry], owner: str | None, findings: Findings) -> None:
    """E506: a name belongs to the owner of its first entry, however it is written."""
    name = info["model"]["name"]
    first = owner_of(list(others), name)
    mine = owner or info.get("submitter") or ""
    if first is not None and name_key(first) != name_key(mine):
        what = (
            f'the name "{name}" belongs to {first or "an entry without a named owner"}, not to {mine or "nobody named"}'
        )
        findings.add("E506", "run.json", what, "give the model another name, or submit as its owner (--submitter)")


def check_plausibility(
    info: Mapping[str, Any], tables: Mapping[str, CaseTable], others: Sequence[Entry], findings: Findings
) -> None:
    """Look at each split as a reader would."""
    for split, table in tables.items():
        where = f"steps.parquet, {split}"
        _check_own(info, table, others, where, findings)
        check_believable(table, where, findings)
        check_training(info, table, where, findings)


def check_training(info: Mapping[str, Any], table: CaseTable, where: str, findings: Findings) -> None:
    """W402: datasets that the model was trained on, or whose generator it was trained on."""
    synthetic = list_synthetic(info)
    known = find_trained(info["model"].get("trained_on") or (), table.datasets, synthetic)
    if known:
        drawn = " (phantoms of the generator that it was trained on)" if set(known) <= synthetic else ""
        what = f"the model was trained on {', '.join(known)}{drawn}"
        findings.add("W402", where, what, "it will be shown as seen in training")


def _check_own(
    info: Mapping[str, Any], table: CaseTable, others: Sequence[Entry], where: str, findings: Findings
) -> None:
    if len(table.mask_ids) < _LEAST_MASKS:
        return
    scores = mask_scores(table)
    if np.ptp(scores) == 0:
        findings.add("E304", where, f"every mask has Dice {scores[0]:g}", "send the results of a model")
        return
    final = table.values["dice"][:, :, -1]
    for other in others:
        if name_key(other.model) == name_key(info["model"]["name"]) or not _same_contest(other.info, info):
            continue
        theirs = summary_of(other, table.split)
        if theirs is None or (theirs.scores.mask_ids, theirs.scores.levels) != (table.mask_ids, table.levels):
            continue
        alike = _correlation(final, theirs.final)
        if alike > COPY_CORRELATION:
            what = f"its Dice is that of the entry {other.model} ({other.folder.name}): correlation {alike:.4f}"
            fix = f"send your own results (at most {COPY_CORRELATION}); a renamed entry needs the old one removed"
            findings.add("E304", where, what, fix)


def _same_contest(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(
        one["benchmark"]["manifest_digest"] == other["benchmark"]["manifest_digest"]
        and one["protocol"]["preset"] == other["protocol"]["preset"]
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two arrays of one shape; 1 for equal ones, 0 where there is too little to tell."""
    if np.allclose(one, other, rtol=0, atol=1e-6):
        return 1.0
    if one.size < _LEAST_PAIRS or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def check_believable(table: CaseTable, where: str, findings: Findings) -> None:
    """W401."""
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
