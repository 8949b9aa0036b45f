"""What hurts a model: the paired drop from Clear by artefact, modality, size, structure and kind of the first prompt.

A drop is a mask's value at Clear minus its value at a level, so each mask is compared with itself; intervals are those
of :mod:`dmseg.statistics`, clustered by case. An image has several operations at once, so the drop of the images that
have one holds what the others do, too; ``added`` is how much more they lose than images of their datasets without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.manifests import find_published, find_published_header
from dmseg.results.cases import METRICS, CaseTable, measure_loss
from dmseg.results.runs import Run
from dmseg.simulators import GENERAL
from dmseg.statistics import Estimate

GROUPINGS: tuple[str, ...] = ("operation", "modality", "size", "prompt_kind", "structure")
SIZE_GROUPS: tuple[tuple[str, float], ...] = (("small", 32**2), ("medium", 96**2), ("large", float("inf")))
"""Groups by area in pixels of the stored grid, upper bounds excluded: those of COCO's evaluation."""
_LEAST_MASKS = 3
"""Of fewer masks with, or without, an operation nothing is said about what it adds."""

Array = NDArray[np.float64]
Operations = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Level -> image_id -> the operations of its plan that can change the image."""


@dataclass(frozen=True, slots=True)
class GroupDrop:
    """How much one group of masks loses from Clear to one level, after the last step; shares in per cent.

    Attributes:
        split, grouping, group, level: which masks, and where.
        clear, value: their mean at Clear and at the level, over datasets.
        drop: by how much they are worse at the level, paired, with its interval; below 0 they are better.
        added: of an operation: their drop minus the drop of masks without it, in datasets that have both; else None.
    """

    split: str
    grouping: str
    group: str
    level: str
    clear: float
    value: float
    drop: Estimate
    added: Estimate | None = None


def read_mask_facts(run: Run) -> pd.DataFrame:
    """Return image_id, modality, structure, size and prompt_kind of each mask of a run, indexed by mask_id."""
    columns = ["mask_id", "image_id", "modality", "structure", "gt_area", "prompt_kind", "level", "step"]
    levels = run.info["benchmark"]["levels"]

    def is_first(batch: pa.RecordBatch) -> pa.BooleanArray:
        first = pc.equal(batch["step"], 1)
        return pc.and_(first, pc.equal(batch["level"], levels[0])) if levels else first

    facts = run.select("steps", columns, is_first).drop(columns=["level", "step"])
    facts = facts.drop_duplicates("mask_id").set_index("mask_id")
    facts["size"] = name_sizes(facts["gt_area"].to_numpy(dtype=np.float64))
    return facts


def name_sizes(areas: Array) -> NDArray[np.str_]:
    """Return the size group of each area, (N,) pixels of the stored grid."""
    names = np.array([name for name, _ in SIZE_GROUPS])
    return names[np.searchsorted([bound for _, bound in SIZE_GROUPS], areas, side="right")]


def find_degradations(manifest_digest: str) -> pa.Table | None:
    """Return the plans (image_id, level, plan) of a benchmark if it is a published edition, else None."""
    header = find_published_header(manifest_digest)
    if header is None:
        return None
    return find_published(f"{header['edition']}-{header['version']}").degradations


def list_operations(degradations: pa.Table) -> Operations:
    """Read which operations act on each image at each level.

    Args:
        degradations: the benchmark's table, with the columns image_id, level and plan.

    Raises:
        DataError: a plan that cannot be read.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for batch in degradations.select(["image_id", "level", "plan"]).to_batches():
        for image_id, level, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            try:
                plan = json.loads(text)
                if "degradation" in plan:  # of the natural track: one pipeline as a whole
                    whole = () if level == "clear" else (str(plan["degradation"]),)
                    found.setdefault(str(level), {})[str(image_id)] = whole
                    continue
                steps = [*plan["sampled"]["general"], *plan["sampled"]["domain"]]
                acting = tuple(str(step["operation"]) for step in steps if step["operation"] not in plan["inert"])
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    f"the plan of image {image_id} at {level} cannot be read; build the benchmark again"
                ) from None
            found.setdefault(str(level), {})[str(image_id)] = acting
    return found


def measure_drops(
    table: CaseTable,
    grouping: str,
    facts: pd.DataFrame,
    operations: Operations | None = None,
    metric: str = "dice",
) -> list[GroupDrop]:
    """Return the drop of every group of one split at every level below Clear, in the order of groups and levels.

    Args:
        table: the run's rows of the split.
        grouping: one of :data:`GROUPINGS`.
        facts: of :func:`read_mask_facts`.
        operations: of :func:`list_operations`; needed for ``operation`` alone.
        metric: a metric column of steps.parquet.

    Raises:
        UsageError: an unknown grouping or metric, a run without Clear or without another level, or no plans.
    """
    if grouping not in GROUPINGS:
        raise unknown_name("grouping", grouping, GROUPINGS)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if table.levels[0] != "clear" or len(table.levels) < 2:
        raise UsageError(f"the run has the levels {', '.join(table.levels)}; a drop needs clear and one more")
    final = table.scale(metric)[:, :, -1]
    ordered = facts.loc[list(table.mask_ids)]
    if grouping != "operation":
        return _measure_groups(table, grouping, ordered[grouping].to_numpy(dtype=str), final, metric)
    if operations is None:
        raise UsageError("which operations an image has is in the benchmark's plans; give the benchmark with --data")
    found = []
    for place, level in enumerate(table.levels[1:], 1):
        found += _measure_operations(table, ordered["image_id"], operations.get(level, {}), final, place, metric)
    return sorted(found, key=lambda row: (row.group not in GENERAL, row.group))  # stable: levels stay in order


def find_hardest(drops: Sequence[GroupDrop]) -> list[GroupDrop]:
    """Return one drop per group: of a general operation at LQ-3, where no other kind acts; else at the last level."""
    chosen: dict[str, GroupDrop] = {}
    for drop in drops:
        if (
            drop.grouping != "operation"
            or drop.group not in GENERAL
            or drop.level != "lq3plus"
            or drop.group not in chosen
        ):
            chosen[drop.group] = drop
    return list(chosen.values())


def _measure_groups(
    table: CaseTable, grouping: str, owner: NDArray[np.str_], final: Array, metric: str
) -> list[GroupDrop]:
    found = []
    for group in np.unique(owner):
        places = np.flatnonzero(owner == group)
        bootstrap = table.bootstrap_rows(places)
        inside = final[places]
        means = bootstrap.means(inside)
        drops = bootstrap.estimates(measure_loss(inside[:, :1], inside[:, 1:], metric))
        found += [
            GroupDrop(table.split, grouping, str(group), level, float(means[0]), float(mean), drop)
            for level, mean, drop in zip(table.levels[1:], means[1:], drops, strict=True)
        ]
    return found


def _measure_operations(
    table: CaseTable,
    images: pd.Series,
    operations: Mapping[str, tuple[str, ...]],
    final: Array,
    place: int,
    metric: str,
) -> list[GroupDrop]:
    if missing := next((image for image in images if image not in operations), None):
        raise UsageError(f"no plan of image {missing} at {table.levels[place]}: this is not the benchmark of the run")
    names = sorted({name for image in images for name in operations[image]})
    if not names:
        return []
    has = np.array([[name in operations[image] for name in names] for image in images])  # masks x operations
    drop = measure_loss(final[:, 0], final[:, place], metric)[:, None]
    with_it, without = np.where(has, drop, np.nan), np.where(has, np.nan, drop)
    drops = table.bootstrap.estimates(with_it)
    clear, value = (table.bootstrap.means(np.where(has, final[:, [at]], np.nan)) for at in (0, place))
    both = _find_datasets_with_both(np.array(table.datasets), has)
    added = table.bootstrap.contrasts(np.where(both, with_it, np.nan), np.where(both, without, np.nan))
    enough = np.minimum((has & both).sum(axis=0), (~has & both).sum(axis=0)) >= _LEAST_MASKS
    return [
        GroupDrop(
            table.split, "operation", name, table.levels[place], float(clear[i]), float(value[i]), drops[i],
            added[i] if enough[i] else None,
        )
        for i, name in enumerate(names)
    ]  # fmt: skip


def _find_datasets_with_both(datasets: NDArray[np.str_], has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (masks, operations): whether the mask's dataset has masks with and masks without the operation."""
    both = np.zeros_like(has)
    for name in np.unique(datasets):
        inside = datasets == name
        both[inside] = has[inside].any(axis=0) & ~has[inside].all(axis=0)
    return both
