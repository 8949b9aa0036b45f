"""E303: for the audited masks, clicks and scores are derived again from the stored predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dmseg.errors import DataError
from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.checks.reference import Reference
from dmseg.manifests import mask_sha256
from dmseg.metrics import image_diagonal, score
from dmseg.protocol import Click, next_click
from dmseg.results.audit import AUDIT_FILE, AuditRecord, is_audited, read_audit
from dmseg.types import Mask

_TOLERANCE = 1e-4
_CLICK = ("new_x", "new_y", "new_label")

Place = tuple[str, str, int]
"""(mask_id, level, step)"""


@dataclass(slots=True)
class Audit:
    """What the audit came to: how many predictions were scored again, and where it could not be done."""

    rescored: int = 0
    without_reference: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether at least one prediction was scored again, and every one that should be."""
        return self.rescored > 0 and self.without_reference == 0 and not self.problems

    def note(self, problem: str, place: Place) -> None:
        """Note one place where something does not follow."""
        self.problems.setdefault(problem, []).append(f"{place[0]} {place[1]} step {place[2]}")


def check_audit(
    folder: Path, info: Mapping[str, Any], steps: pd.DataFrame, reference: Reference, findings: Findings
) -> Audit:
    """Score the audited predictions again and derive the clicks that answered them."""
    audit = Audit()
    digest = info["benchmark"]["manifest_digest"]
    audited = [mask_id for mask_id in steps["mask_id"].unique() if is_audited(digest, mask_id)]
    chosen = steps[steps["mask_id"].isin(audited)]
    rows = {
        (r["mask_id"], r["level"], r["step"]): r for r in chosen.to_dict("records") if r["mask_id"] in reference.masks
    }
    predictions = _read(folder / AUDIT_FILE, rows, audit, findings)
    if predictions is None:
        return audit
    references = {mask_id: reference.mask(mask_id) for mask_id in sorted({place[0] for place in rows})}
    corrective = info["protocol"].get("corrective")
    for place in sorted(rows):
        truth = references[place[0]]
        if rows[place]["status"] != "ok":
            continue
        if place not in predictions:
            audit.note("audited predictions are not stored", place)
        elif truth is None:
            audit.without_reference += 1
        elif (prediction := _decode(predictions[place], truth)) is None:
            audit.note("stored predictions are not masks on the grid of the image", place)
        else:
            _compare_scores(place, rows[place], truth, prediction, audit)
            before = predictions.get((*place[:2], place[2] - 1))
            if before is not None and corrective == "center":
                _compare_click(place, rows[place], truth, _decode(before, truth), audit)
    for problem, places in audit.problems.items():
        findings.add("E303", AUDIT_FILE, f"{len(places)} {problem}: {first_few(places)}", "send the run unchanged")
    return audit


def _read(path: Path, rows: Mapping[Place, Any], audit: Audit, findings: Findings) -> dict[Place, AuditRecord] | None:
    predictions: dict[Place, AuditRecord] = {}
    try:
        for record in read_audit(path):
            place = (record.mask_id, record.level, record.step)
            if place in predictions:
                audit.note("predictions are stored twice", place)
            elif place in rows:
                predictions[place] = record
    except DataError as error:
        findings.add("E303", AUDIT_FILE, str(error).removeprefix(f"{path} "), "send the file as it was written")
        return None
    return predictions


def _decode(record: AuditRecord, truth: Mask) -> Mask | None:
    """Return the stored prediction, None where it is damaged or on another grid."""
    try:
        prediction = record.mask()
    except DataError:
        return None
    return prediction if prediction.shape == truth.shape else None


def _compare_scores(place: Place, row: Mapping[Any, Any], truth: Mask, prediction: Mask, audit: Audit) -> None:
    found = score(truth, prediction)
    hd95 = found.hd95 if np.isfinite(found.hd95) else image_diagonal(truth.shape)
    pairs = [(found.iou, row["iou"]), (found.dice, row["dice"]), (found.pixel_accuracy, row["pixel_accuracy"])]
    pairs += [(hd95, row["hd95"]), *((found.nsd[tau], row[f"nsd_{tau}"]) for tau in (1, 2, 3, 5))]
    audit.rescored += 1
    if any(abs(a - b) > _TOLERANCE for a, b in pairs):
        audit.note("rows have other scores than their stored prediction", place)
    elif row["pred_digest"] is not None and row["pred_digest"] != mask_sha256(prediction):
        audit.note("rows have another pred_digest than their stored prediction", place)


def _compare_click(place: Place, row: Mapping[Any, Any], truth: Mask, before: Mask | None, audit: Audit) -> None:
    if before is None:
        return
    expected = next_click(truth, before)
    given = None if row["new_x"] != row["new_x"] or row["new_x"] is None else Click(*(int(row[n]) for n in _CLICK))
    if expected != given:
        audit.note("clicks do not follow from the prediction before", place)
