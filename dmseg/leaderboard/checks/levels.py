"""E308: levels that were exchanged, told by the entries that the maintainers ran themselves.

Rows whose levels are exchanged stay consistent in themselves: neither references nor prompts depend on the level. What
depends on it is which masks become harder. Two models that see the same images tend to lose on the same masks from one
level to another; where a run loses wherever the others win, its levels are not what they are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.entries import Entry
from dmseg.leaderboard.summaries import Summary, summary_of
from dmseg.naming import name_key
from dmseg.results.cases import CaseTable
from dmseg.types import LEVEL_LABELS

SWAPPED_CORRELATION = -0.1
"""Correlation of the differences between two levels with those of other entries, below which the two may be swapped."""
SWAPPED_DEVIATIONS = 5.0
"""Standard errors, over cases, by which it must be below 0."""
_LEAST_CASES = 30
_LEAST_OTHERS = 2

Array = NDArray[np.float64]


def find_same_contest(other: Entry, info: Mapping[str, Any], table: CaseTable) -> Summary | None:
    """Return the summary of an entry over the same benchmark, preset, masks and levels; None where it has none."""
    if other.info["benchmark"]["manifest_digest"] != info["benchmark"]["manifest_digest"]:
        return None
    if other.info["protocol"]["preset"] != info["protocol"]["preset"]:
        return None
    theirs = summary_of(other, table.split)
    if theirs is None or (theirs.scores.mask_ids, theirs.scores.levels) != (table.mask_ids, table.levels):
        return None
    return theirs


def check_levels(
    info: Mapping[str, Any], table: CaseTable, others: Sequence[Entry], where: str, findings: Findings
) -> None:
    """E308: compare with the re-run entries of other models; fewer than two of them, or 30 cases, tell nothing."""
    if len(set(table.cases)) < _LEAST_CASES:
        return
    newest = {
        name_key(other.model): other
        for other in sorted(others, key=lambda entry: entry.order)
        if other.tier == "re-run" and name_key(other.model) != name_key(info["model"]["name"])
    }
    found = [theirs.final for other in newest.values() if (theirs := find_same_contest(other, info, table)) is not None]
    if len(found) < _LEAST_OTHERS:
        return
    swapped = find_swapped(table.values["dice"][:, :, -1], np.mean(found, axis=0), table.datasets, table.cases)
    if swapped is not None:
        first, second, correlation = swapped
        names = " and ".join(LEVEL_LABELS[table.levels[place]] for place in (first, second))
        what = f"{names} look exchanged: where {len(found)} other models lose, it wins (correlation {correlation:.2f})"
        findings.add("E308", where, what, "send every level under its name; ask the maintainers where they are right")


def find_swapped(
    own: Array, others: Array, datasets: Sequence[str], cases: Sequence[str]
) -> tuple[int, int, float] | None:
    """Return the pair of levels that speaks most for an exchange, with its correlation; None where none does.

    Args:
        own, others: final Dice of a run, and the mean of other runs, (N, L).
        datasets, cases: of each mask; datasets as a whole may differ between models, so differences are taken within.
    """
    _, dataset = np.unique(datasets, return_inverse=True)
    _, case = np.unique(cases, return_inverse=True)
    found: list[tuple[float, tuple[int, int, float]]] = []
    for first, second in combinations(range(own.shape[1]), 2):
        mine, theirs = (_centre(values[:, first] - values[:, second], dataset) for values in (own, others))
        size = float(np.sqrt((mine**2).sum() * (theirs**2).sum()))
        if size == 0:
            continue
        correlation = float((mine * theirs).sum()) / size
        spread = float(np.sqrt((np.bincount(case, (mine * theirs) - (mine * theirs).mean()) ** 2).sum())) / size
        if correlation < SWAPPED_CORRELATION and correlation < -SWAPPED_DEVIATIONS * spread:
            found.append((correlation / spread, (first, second, correlation)))
    return min(found)[1] if found else None


def _centre(values: Array, groups: NDArray[np.int64]) -> Array:
    """Return values less the mean of their group."""
    means = np.bincount(groups, values) / np.bincount(groups)
    return np.asarray(values - means[groups])
