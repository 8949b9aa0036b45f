"""E303: clicks and scores are derived again from stored predictions; the same for the masks that a run keeps anyway
and for those drawn by a challenge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.errors import DataError, DmsegError
from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.checks.reference import Reference
from dmseg.manifests import mask_sha256
from dmseg.metrics import image_diagonal, score
from dmseg.protocol import Click, next_click, prompts_from_rows
from dmseg.results.audit import AUDIT_FILE, AuditRecord, is_audited, read_audit
from dmseg.types import Mask

_TOLERANCE = 1e-4
"""Largest difference of a score derived again. The definitions are exact to 1e-9 on every machine."""
_CLICK = ("new_x", "new_y", "new_label")
_MORE_FAILURES = 4.0
"""Standard deviations by which failures among the audited rows may exceed those elsewhere."""

Place = tuple[str, str, int]
"""(mask_id, level, step)"""


@dataclass(slots=True)
class Audit:
    """What came out: predictions scored again, places without a reference, and per problem the places that have it."""

    rescored: int = 0
    without_reference: int = 0
    problems: dict[str, list[Place]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether at least one prediction was scored again, and every one that should be."""
        return self.rescored > 0 and self.without_reference == 0 and not self.problems

    @property
    def wrong_masks(self) -> set[str]:
        """Masks with a problem."""
        return {place[0] for places in self.problems.values() for place in places}

    def note(self, problem: str, place: Place) -> None:
        """Note one place where something does not follow."""
        self.problems.setdefault(problem, []).append(place)

    def sentences(self) -> list[str]:
        """Return one text per problem, with the first places."""
        return [
            f"{len(places)} {problem}: {first_few(f'{m} {lv} step {s}' for m, lv, s in places)}"
            for problem, places in self.problems.items()
        ]


def check_audit(
    folder: Path,
    info: Mapping[str, Any],
    steps: pd.DataFrame,
    prompts: pd.DataFrame,
    reference: Reference,
    findings: Findings,
) -> Audit:
    """Examine the masks whose predictions every run keeps."""
    digest = info["benchmark"]["manifest_digest"]
    audited = [mask_id for mask_id in steps["mask_id"].unique() if is_audited(digest, mask_id)]
    try:
        audit = examine(folder / AUDIT_FILE, info, steps, prompts, reference, audited)
    except DataError as error:
        text = str(error).removeprefix(f"{folder / AUDIT_FILE} ")
        findings.add("E303", AUDIT_FILE, text, "send the file as it was written")
        return Audit()
    for sentence in audit.sentences():
        findings.add("E303", AUDIT_FILE, sentence, "send the run unchanged")
    inside, failed = steps["mask_id"].isin(audited), steps["status"] != "ok"
    check_failures(failed.to_numpy(dtype=bool), inside.to_numpy(dtype=bool), findings)
    return audit


def check_failures(failed: NDArray[np.bool_], inside: NDArray[np.bool_], findings: Findings) -> None:
    """W405: failed rows have nothing to show, so they must not gather where something would have to be shown.

    Args:
        failed, inside: (N,) bool, one per row: whether it failed, and whether its mask is audited.
    """
    n = int(inside.sum())
    if n == 0 or inside.all():
        return
    share = float(failed[~inside].mean())
    found = float(failed[inside].mean())
    if found > share + _MORE_FAILURES * np.sqrt(max(share * (1 - share), 1 / n) / n):
        what = f"{100 * found:.0f} % of the audited rows failed, {100 * share:.1f} % of the others"
        findings.add("W405", AUDIT_FILE, what, "explain it in the pull request; failed rows show nothing")


def examine(
    path: Path,
    info: Mapping[str, Any],
    steps: pd.DataFrame,
    prompts: pd.DataFrame,
    reference: Reference,
    mask_ids: Collection[str],
) -> Audit:
    """Score the stored predictions of some masks again and derive the clicks that answered them.

    Raises:
        DataError: the file of predictions is damaged.
    """
    audit = Audit()
    chosen = steps[steps["mask_id"].isin(mask_ids)]
    rows = {
        (r["mask_id"], r["level"], r["step"]): r for r in chosen.to_dict("records") if r["mask_id"] in reference.masks
    }
    predictions = _read(path, rows, audit)
    references = {mask_id: reference.mask(mask_id) for mask_id in sorted({place[0] for place in rows})}
    corrective = info["protocol"].get("corrective")
    given = _prompts_by_sequence(prompts, mask_ids)
    for place in sorted(rows):
        truth = references[place[0]]
        if rows[place]["status"] != "ok":
            if place in predictions:
                audit.note("failed rows have a stored prediction", place)
            continue
        if place not in predictions:
            audit.note("predictions are not stored", place)
        elif truth is None:
            audit.without_reference += 1
        elif (prediction := _decode(predictions[place], truth)) is None:
            audit.note("stored predictions are not masks on the grid of the image", place)
        else:
            _compare_scores(place, rows[place], truth, prediction, audit)
            before = predictions.get((*place[:2], place[2] - 1))
            if before is not None and corrective is not None:
                expected = _find_expected_click(place, truth, _decode(before, truth), corrective, given, info)
                if expected != _read_click(rows[place]):
                    audit.note("clicks do not follow from the prediction before", place)
    return audit


def _prompts_by_sequence(
    prompts: pd.DataFrame, mask_ids: Collection[str]
) -> dict[tuple[str, str], list[dict[Any, Any]]]:
    rows: dict[tuple[str, str], list[dict[Any, Any]]] = {}
    for row in prompts[prompts["mask_id"].isin(mask_ids)].to_dict("records"):
        rows.setdefault((row["mask_id"], row["level"]), []).append(row)
    return rows


def _read(path: Path, rows: Mapping[Place, Any], audit: Audit) -> dict[Place, AuditRecord]:
    predictions: dict[Place, AuditRecord] = {}
    for record in read_audit(path):
        place = (record.mask_id, record.level, record.step)
        if place in predictions:
            audit.note("predictions are stored twice", place)
        elif place in rows:
            predictions[place] = record
    return predictions


def _decode(record: AuditRecord, truth: Mask) -> Mask | None:
    """Return the stored prediction, None where it is damaged or on another grid."""
    if list(record.rle["size"]) != list(truth.shape):
        return None
    try:
        return record.mask()
    except DataError:
        return None


def _compare_scores(place: Place, row: Mapping[Any, Any], truth: Mask, prediction: Mask, audit: Audit) -> None:
    found = score(truth, prediction)
    hd95 = found.hd95 if np.isfinite(found.hd95) else image_diagonal(truth.shape)
    pairs = [(found.iou, row["iou"]), (found.dice, row["dice"]), (found.pixel_accuracy, row["pixel_accuracy"])]
    pairs += [(hd95, row["hd95"]), *((found.nsd[tau], row[f"nsd_{tau}"]) for tau in (1, 2, 3, 5))]
    pairs += [(float(np.count_nonzero(prediction)), float(row["pred_area"]))]
    audit.rescored += 1
    if any(not abs(a - b) <= _TOLERANCE for a, b in pairs):
        audit.note("rows have other scores than their stored prediction", place)
    elif row["pred_digest"] != mask_sha256(prediction):
        audit.note("rows have another pred_digest than their stored prediction", place)


def _read_click(row: Mapping[Any, Any]) -> Click | None:
    absent = row["new_x"] is None or row["new_x"] != row["new_x"]
    return None if absent else Click(*(int(row[name]) for name in _CLICK))


def _find_expected_click(
    place: Place,
    truth: Mask,
    before: Mask | None,
    corrective: str,
    given: Mapping[tuple[str, str], list[dict[Any, Any]]],
    info: Mapping[str, Any],
) -> Click | None:
    """Return the click that the protocol gives after a prediction."""
    if before is None:
        return None
    try:
        prompts = prompts_from_rows(given.get(place[:2], ()), place[2] - 1)
        seed = info["protocol"]["seed"]
        return next_click(truth, before, corrective=corrective, prompts=prompts, mask_id=place[0], seed=seed)
    except DmsegError:  # prompts that are none: no click follows from them
        return None
