"""The published numbers of one run and split: the row of leaderboard.csv and the rows of leaderboard_long.csv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.leaderboard.columns import LEADERBOARD
from dmseg.leaderboard.entries import RANKED_TIERS
from dmseg.leaderboard.ranking import mask_scores
from dmseg.manifests import LOCAL_EDITION, expand_expressions, find_published
from dmseg.results.cases import NOC_TARGET, CaseTable
from dmseg.results.expressions import measure_expressions
from dmseg.results.grouping import Operations, measure_drops
from dmseg.results.notices import find_trained, list_synthetic
from dmseg.statistics import CaseBootstrap, Estimate
from dmseg.types import LEVELS, MEDICAL, TRACK_LEVELS

LONG_METRICS: tuple[str, ...] = ("dice", "iou", "pixel_accuracy", "nsd_2", "hd95")

Row = dict[str, Any]
Array = NDArray[np.float64]


def is_ranked(row: Row) -> bool:
    """Tell whether a row takes part in ranking: complete, on a published edition, and more than its author's word."""
    return bool(row["coverage"] >= 1.0 and row["edition"] != LOCAL_EDITION and row["tier"] in RANKED_TIERS)


def leaderboard_row(info: Mapping[str, Any], table: CaseTable) -> Row:
    """Compute one row from run.json and the rows of one split; ranks, tier, dates and coverage are left empty."""
    model, benchmark = info["model"], info["benchmark"]
    overlap = find_trained(model.get("trained_on") or (), table.datasets, list_synthetic(info))
    row: Row = dict.fromkeys(column.name for column in LEADERBOARD)
    row |= _averages(table)
    hardest = TRACK_LEVELS[benchmark.get("track") or MEDICAL][-1]
    if hardest != "clear" and row["dice_clear"] is not None and row.get(f"dice_{hardest}") is not None:
        row["drop"] = row["dice_clear"] - row[f"dice_{hardest}"]
    row |= {
        "model": model["name"],
        "params_m": None if model.get("params") is None else model["params"] / 1e6,
        "preset": info["protocol"]["preset"],
        "split": table.split,
        "masks": len(table.mask_ids),
        "cases": len(set(table.cases)),
        "trained_on_overlap": ";".join(overlap) or None,
        "dmseg": info.get("dmseg"),
        "edition": benchmark["edition"],
        "version": benchmark["version"],
        "weights_sha256": model.get("weights_sha256"),
        "code_url": model.get("code_url"),
        "paper_url": model.get("paper_url"),
        "license": model.get("license"),
    }
    return row


def _averages(table: CaseTable) -> Row:
    """Return every averaged column, from one pass of the bootstrap."""
    scores = table.bootstrap.estimates(mask_scores(table))[0]
    columns: dict[str, Array] = {
        "dice_final": mask_scores(table),
        "iou_final": mask_scores(table, "iou"),
        "nsd2_final": mask_scores(table, "nsd_2"),
        "pixel_accuracy_final": mask_scores(table, "pixel_accuracy"),
        "hd95_mean": mask_scores(table, "hd95"),
        "dice_step_mean": table.values["dice"].mean(axis=(1, 2)),
    }
    for i, level in enumerate(table.levels):
        if level in LEVELS:  # what RobustSeg's types have no columns of stands in the long table
            columns[f"dice_{level}"] = table.values["dice"][:, i, -1]
    if table.steps > 1 and (table.values["iou"] >= NOC_TARGET).any():
        columns["noc90"] = table.first_step_reaching().mean(axis=1)
    means = table.bootstrap.means(np.column_stack(list(columns.values())))
    row: Row = {name: float(value) for name, value in zip(columns, means, strict=True)}
    row |= {"score": scores.value, "score_low": scores.low, "score_high": scores.high}
    row |= {f"{line.metric}_final": line.cells[-1].value / 100 for line in measure_expressions(table, places=False)}
    row["hd95_median"] = float(np.median(mask_scores(table, "hd95")))
    return row


def coverage(masks: int, levels: int, expected: int, expected_levels: int = len(LEVELS)) -> float:
    """Return the share of a benchmark's (mask, level) pairs of a split that a run has, 0 to 1."""
    return masks * levels / (expected * expected_levels)


def find_evaluated_masks(manifest_name: str, split: str) -> dict[str, str]:
    """Return mask_id -> image_id of the evaluation subset of one split of a published manifest."""
    return {row["mask_id"]: row["image_id"] for row in _list_evaluated(manifest_name, split)}


def find_evaluated_expressions(manifest_name: str, split: str) -> dict[str, str]:
    """Return the same for a preset that gives sentences: the ids of the rows about each of them."""
    rows = (one for row in _list_evaluated(manifest_name, split) for one in expand_expressions(row))
    return {row["mask_id"]: row["image_id"] for row in rows}


def _list_evaluated(manifest_name: str, split: str) -> list[Row]:
    manifest = find_published(manifest_name)
    images = manifest.images.select(["image_id", "split"]).to_pydict()
    inside = {i for i, s in zip(images["image_id"], images["split"], strict=True) if s == split}
    masks = manifest.masks.select(["mask_id", "image_id", "evaluate", "expressions", "expressions_sha256"]).to_pylist()
    return [row for row in masks if row["evaluate"] and row["image_id"] in inside]


def long_rows(info: Mapping[str, Any], table: CaseTable) -> list[Row]:
    """Return dataset x level x step x metric of one run and split, with intervals over the dataset's cases."""
    benchmark = info["benchmark"]
    common = {
        "model": info["model"]["name"],
        "preset": info["protocol"]["preset"],
        "split": table.split,
        "edition": benchmark["edition"],
        "version": benchmark["version"],
    }
    owner, cases, modality = np.array(table.datasets), np.array(table.cases), np.array(table.modalities)
    rows: list[Row] = []
    for dataset in sorted(set(table.datasets)):
        inside = owner == dataset
        bootstrap = CaseBootstrap(owner[inside].tolist(), cases[inside].tolist())
        values = np.stack([table.values[metric][inside] for metric in LONG_METRICS], axis=-1)
        estimates = iter(bootstrap.estimates(values.reshape(len(values), -1)))
        kinds = ";".join(sorted(set(modality[inside].tolist())))
        for level in table.levels:
            for step in range(1, table.steps + 1):
                for metric in LONG_METRICS:
                    estimate = next(estimates)
                    rows.append(
                        common
                        | {"dataset": dataset, "modality": kinds, "level": level, "step": step, "metric": metric}
                        | {"value": estimate.value, "n": estimate.n, **_bounds(estimate)}
                    )
    return rows


def _bounds(estimate: Estimate, scale: float = 1.0) -> Row:
    """Return low and high; None where one case per dataset makes an interval without width."""
    if not estimate.has_interval:
        return {"low": None, "high": None}
    return {"low": estimate.low / scale, "high": estimate.high / scale}


def artefact_rows(
    info: Mapping[str, Any], table: CaseTable, facts: pd.DataFrame, operations: Operations | None
) -> list[Row]:
    """Return operation x level of one run and split: what the masks of images that have it lose, shares of 0 to 1."""
    if operations is None or table.levels[0] != "clear" or len(table.levels) < 2:
        return []
    common = {
        "model": info["model"]["name"],
        "preset": info["protocol"]["preset"],
        "split": table.split,
        "edition": info["benchmark"]["edition"],
        "version": info["benchmark"]["version"],
    }
    return [
        common
        | {"operation": drop.group, "level": drop.level, "drop": drop.drop.value / 100}
        | {"masks": drop.drop.n, "cases": drop.drop.cases, **_bounds(drop.drop, 100)}
        for drop in measure_drops(table, "operation", facts, operations)
    ]
