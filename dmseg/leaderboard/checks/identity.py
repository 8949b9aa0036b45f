"""E301 and E302: identities between columns; the inputs, settings and first prompts of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.checks.reference import Reference
from dmseg.manifests import LOCAL_EDITION
from dmseg.protocol import PROTOCOL_ID, candidate_prompts, preset
from dmseg.results.columns import PROMPTS
from dmseg.types import Prompts

_DICE_TOLERANCE = 1e-5
_HEADLINE = {"grid": "native", "boundary": "vertex", "hd95": "directed"}
_GIVEN = ("kind", "x", "y", "label", "x0", "y0", "x1", "y1")


def check_dice(steps: pd.DataFrame, findings: Findings) -> None:
    """E301: Dice follows from IoU in every row; shifted or typed-in columns do not keep this."""
    iou = steps["iou"].to_numpy(dtype=np.float64)
    bad = np.abs(steps["dice"].to_numpy(dtype=np.float64) - 2 * iou / (1 + iou)) > _DICE_TOLERANCE
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        wrong = steps.iloc[row]
        what = f"dice {wrong['dice']:.6g} does not follow from iou {wrong['iou']:.6g} ({int(bad.sum())} rows)"
        findings.add(
            "E301", f"steps.parquet row {row + 1}", what, "2 iou / (1 + iou) within 1e-5; send the rows unchanged"
        )


def check_settings(info: Mapping[str, Any], steps: pd.DataFrame, findings: Findings) -> None:
    """E302: the settings that make runs comparable. A local edition compares with itself only and may differ."""
    protocol, metrics = info["protocol"], info["metrics"]
    if set(steps["seed"].unique()) != {protocol["seed"]}:
        findings.add("E302", "steps.parquet", "rows of another seed than run.json declares", f"seed {protocol['seed']}")
    if info["benchmark"]["edition"] == LOCAL_EDITION:
        return
    wanted = {"protocol.id": (protocol["id"], PROTOCOL_ID), "protocol.seed": (protocol["seed"], 0)}
    wanted |= {f"metrics.{name}": (metrics[name], value) for name, value in _HEADLINE.items()}
    for name, (found, value) in wanted.items():
        if found != value:
            findings.add("E302", "run.json", f"{name} is {found!r}", f"ranked runs have {value!r}")
    rules = preset(protocol["preset"])
    if protocol["steps"] != rules.steps:
        findings.add(
            "E302", "run.json", f"protocol.steps is {protocol['steps']}", f"preset {rules.id} has {rules.steps}"
        )


def check_inputs(steps: pd.DataFrame, inputs: pd.DataFrame, reference: Reference, findings: Findings) -> None:
    """E302: each image was degraded by the edition's plan, and looks as it does there (thumbprints within 1 grey)."""
    used = set(steps[["image_id", "level"]].drop_duplicates().itertuples(index=False, name=None))
    rows = {(row["image_id"], row["level"]): row for row in inputs.to_dict("records")}
    absent = sorted(used - set(rows))
    other_plan, other_look = [], []
    for place in sorted(used & set(rows) & set(reference.plans)):
        plan, thumbprint = reference.plans[place]
        row = rows[place]
        if row["plan_digest"] != plan:
            other_plan.append(" ".join(place))
        elif row["thumbprint"] is not None and not _alike(row["thumbprint"], thumbprint):
            other_look.append(" ".join(place))
    fix = "build the edition again (dmseg verify) and repeat the run"
    for places, what in (
        ([" ".join(place) for place in absent], "inputs are not listed"),
        (other_plan, "inputs were degraded by another plan (other version, seed or edition)"),
        (other_look, "inputs look different (thumbprints differ by more than 1 grey)"),
    ):
        if places:
            findings.add("E302", "inputs.parquet", f"{len(places)} {what}: {first_few(places)}", fix)


def _alike(first: bytes, second: bytes) -> bool:
    a, b = (np.frombuffer(content, dtype=np.uint8).astype(np.int16) for content in (first, second))
    return a.shape == b.shape and int(np.abs(a - b).max(initial=0)) <= 1


def check_first_prompts(
    info: Mapping[str, Any], steps: pd.DataFrame, prompts: pd.DataFrame, reference: Reference, findings: Findings
) -> None:
    """E302: the prompts of step 1, of every mask at every level, are those that the protocol gives."""
    rules, seed = preset(info["protocol"]["preset"]), info["protocol"]["seed"]
    given: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    first = prompts[prompts["step"] == 1].sort_values("index")
    for row in first[[column.name for column in PROMPTS]].to_dict("records"):
        given.setdefault((row["mask_id"], row["level"]), []).append(_plain(row))
    levels: dict[str, list[str]] = {}
    for mask_id, level in steps[["mask_id", "level"]].drop_duplicates().itertuples(index=False, name=None):
        levels.setdefault(mask_id, []).append(level)
    wrong = []
    for mask_id in sorted(levels.keys() & reference.masks.keys()):
        mask = reference.mask(mask_id)
        if mask is not None:
            allowed = [_rows(prompt) for prompt in candidate_prompts(rules, mask, mask_id, seed)]
            wrong += [
                f"{mask_id} {lv}"
                for lv in sorted(levels[mask_id])
                if sorted(given.get((mask_id, lv), [])) not in allowed
            ]
    if wrong:
        what = (
            f"{len(wrong)} sequences begin with other prompts than preset {rules.id}, seed {seed}: {first_few(wrong)}"
        )
        findings.add("E302", "prompts.parquet", what, "repeat the run with dmseg evaluate, without --prompts")


def _plain(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    values = [None if row[name] is None or row[name] != row[name] else row[name] for name in _GIVEN]
    return tuple(v if isinstance(v, str) else -1.0 if v is None else float(v) for v in values)


def _rows(prompts: Prompts) -> Sequence[tuple[Any, ...]]:
    """Return prompts as sorted plain rows, -1 where a column does not apply."""
    rows: list[tuple[Any, ...]] = [
        ("point", float(x), float(y), float(label), -1.0, -1.0, -1.0, -1.0)
        for (x, y), label in zip(prompts.points, prompts.labels, strict=True)
    ]
    if prompts.box is not None:
        rows.append(("box", -1.0, -1.0, -1.0, *(float(v) for v in prompts.box)))
    return sorted(rows)
