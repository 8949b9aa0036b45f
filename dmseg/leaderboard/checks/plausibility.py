"""E304, W401, W402: results that are not a model's own, that are hard to believe, or that come from training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmseg.baselines import model_cards
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.levels import check_levels, find_same_contest
from dmseg.leaderboard.entries import Entry, owner_of
from dmseg.leaderboard.ranking import mask_scores
from dmseg.naming import look_key, name_key
from dmseg.results.cases import CaseTable
from dmseg.results.notices import find_trained, list_synthetic
from dmseg.types import LEVEL_LABELS

_LEAST_MASKS = 10
_PERFECT_SHARE = 0.05
_UNCHANGED_SHARE = 0.5
COPY_CORRELATION = 0.98
"""Correlation of final Dice over masks and levels from which a run counts as a copy of an entry. Models of different
design stay below 0.75 on the phantom edition, a network and the one fine-tuned from it at 0.93; a copy with noise of
0.04 added to every Dice lies above."""
_LEAST_PAIRS = 50
"""Masks times levels below which a correlation says too little; then only equal values count."""
_LEAST_EQUAL = 20
EQUAL_SHARE, EQUAL_SHARE_OF_DATASET = 0.2, 0.5
"""Share of final Dice, neither 0 nor 1, that equals an entry's to the last bit, from which the rows count as copied:
of all, and of one dataset. Models of different design stay below 0.003 on the phantom edition."""


def check_owner(info: Mapping[str, Any], others: Sequence[Entry], owner: str | None, findings: Findings) -> None:
    """E506: a name belongs to the owner of its first entry, however it is written."""
    name = info["model"]["name"]
    first = owner_of(list(others), name)
    mine = owner or info.get("submitter") or ""
    if first is None:
        _check_look(name, mine, others, findings)
    if first is not None and name_key(first) != name_key(mine):
        what = (
            f'the name "{name}" belongs to {first or "an entry without a named owner"}, not to {mine or "nobody named"}'
        )
        findings.add("E506", "run.json", what, "give the model another name, or submit as its owner (--submitter)")


def _check_look(name: str, mine: str, others: Sequence[Entry], findings: Findings) -> None:
    """E506: a new name must not look like a taken one."""
    taken = dict.fromkeys(model_cards(), "the model that ships with dmseg")
    taken |= {entry.model: f"an entry of {entry.owner or 'nobody named'}" for entry in others
              if not entry.owner or name_key(entry.owner) != name_key(mine)}  # fmt: skip
    for known, whose in sorted(taken.items()):
        if look_key(known) == look_key(name) and name_key(known) != name_key(name):
            what = f'the name "{name}" looks like "{known}", {whose}'
            findings.add("E506", "run.json", what, "give the model a name that nobody takes for another")
            return


def check_plausibility(
    info: Mapping[str, Any], tables: Mapping[str, CaseTable], others: Sequence[Entry], findings: Findings
) -> None:
    """Look at each split as a reader would."""
    for split, table in tables.items():
        where = f"steps.parquet, {split}"
        _check_own(info, table, others, where, findings)
        check_levels(info, table, others, where, findings)
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
        if name_key(other.model) == name_key(info["model"]["name"]):
            continue
        theirs = find_same_contest(other, info, table)
        if theirs is None:
            continue
        alike = _correlation(final, theirs.final)
        name = f"{other.model} ({other.folder.name})"
        if alike > COPY_CORRELATION:
            what = f"its Dice is that of the entry {name}: correlation {alike:.4f}"
            fix = f"send your own results (at most {COPY_CORRELATION}); a renamed entry needs the old one removed"
            findings.add("E304", where, what, fix)
        elif (part := _find_copied_part(final, theirs.final, table.datasets)) is not None:
            what = f"{100 * part[1]:.0f} % of the Dice of {part[0]} equal those of the entry {name} to the last bit"
            findings.add("E304", where, what, "send your own results, of every dataset and mask")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two arrays of one shape; 1 for equal ones, 0 where there is too little to tell."""
    if np.allclose(one, other, rtol=0, atol=1e-6):
        return 1.0
    if one.size < _LEAST_PAIRS or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def _find_copied_part(one: np.ndarray, other: np.ndarray, datasets: Sequence[str]) -> tuple[str, float] | None:
    """Return which rows repeat those of another run, and the share that does; None where there are none.

    Args:
        one, other: final Dice, (N, L); whoever copies may have exchanged levels, so they are compared in any order.
        datasets: of each mask.
    """
    mine, theirs = (np.sort(values.astype(np.float32), axis=1) for values in (one, other))
    telling = (mine > 0) & (mine < 1)
    equal = telling & (mine == theirs)
    owner = np.asarray(datasets)
    parts = [("all datasets", np.ones(len(owner), dtype=bool), EQUAL_SHARE)]
    parts += [(str(name), owner == name, EQUAL_SHARE_OF_DATASET) for name in np.unique(owner)]
    for name, inside, most in parts:
        number = int(telling[inside].sum())
        share = float(equal[inside].sum() / max(1, number))
        if number >= _LEAST_EQUAL and share > most:
            return name, share
    return None


def check_believable(table: CaseTable, where: str, findings: Findings) -> None:
    """W401."""
    final = table.values["dice"][:, :, -1]
    columns: list[tuple[str, np.ndarray]] = []
    if table.levels[-1] == "lq3plus":
        columns += [
            (f"LQ-3+ is better than {LEVEL_LABELS[level]}", final[:, -1] - final[:, place])
            for place, level in enumerate(table.levels[:-1])
            if level in ("clear", "lq1", "lq2")
        ]
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
    same = _share_unchanged(table)
    if same > _UNCHANGED_SHARE:
        what = f"{100 * same:.0f} % of the predictions are the same at {LEVEL_LABELS[table.levels[-1]]} as at Clear"
        findings.add("W401", where, what, "say whether the model looks at the image")


def _share_unchanged(table: CaseTable) -> float:
    """Return the share of final predictions, neither empty nor perfect, that score the same at both ends of levels."""
    if table.levels[0] != "clear" or len(table.levels) < 2:
        return 0.0
    ends = np.stack([values[:, [0, -1], -1] for values in table.values.values()])
    telling = (ends[list(table.values).index("dice"), :, 0] % 1) > 0
    return float((ends[:, telling, 0] == ends[:, telling, 1]).all(axis=0).mean()) if telling.any() else 0.0
