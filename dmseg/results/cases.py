"""The rows of a run as arrays, mask x level x step: what tables, curves and ranking average.

One :class:`CaseTable` per split. A failed prediction has its worst value already in the rows; nothing is dropped here,
and a gap in the rows is an error, not a hole in a mean.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.errors import DataError
from dmseg.statistics import CaseBootstrap
from dmseg.types import LEVELS, SPLITS

METRICS: tuple[str, ...] = ("dice", "iou", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95")
"""Columns of steps.parquet that are averaged; all but ``hd95`` (pixels, lower is better) are shares of 0..1."""
LOWER_IS_BETTER = frozenset({"hd95"})
NOC_TARGET = 0.90
MAX_STEPS = 1000

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CaseTable:
    """Results of one model on one split.

    Attributes:
        split: seen, unseen or train.
        mask_ids, datasets, cases, modalities: one text per mask, N masks sorted by id.
        levels: the L levels of the run, in benchmark order.
        values: metric -> (N, L, T) float64.
        failed: (N, L, T) bool, rows whose status is not ``ok``.
    """

    split: str
    mask_ids: tuple[str, ...]
    datasets: tuple[str, ...]
    cases: tuple[str, ...]
    modalities: tuple[str, ...]
    levels: tuple[str, ...]
    values: dict[str, Array]
    failed: NDArray[np.bool_]

    @property
    def steps(self) -> int:
        """Number T of interaction steps."""
        return int(self.failed.shape[2])

    @functools.cached_property
    def bootstrap(self) -> CaseBootstrap:
        """The draws of this split's cases; equal for all runs over the same masks."""
        return CaseBootstrap(self.datasets, self.cases)

    def first_step_reaching(self, iou: float = NOC_TARGET) -> Array:
        """Return the number of interactions until IoU >= ``iou``, T where never reached, (N, L) float64."""
        reached = self.values["iou"] >= iou
        return np.where(reached.any(axis=2), reached.argmax(axis=2) + 1, self.steps).astype(np.float64)


def case_tables(steps: pd.DataFrame, *, splits: Sequence[str] = SPLITS) -> dict[str, CaseTable]:
    """Arrange the rows of ``steps.parquet`` by split; splits without rows are left out.

    Raises:
        DataError: rows are missing or doubled, or hold more than one seed; the message names the first such row.
    """
    _require_known_values(steps)
    if steps["seed"].nunique() > 1:
        raise DataError(f"rows of several seeds ({sorted(steps['seed'].unique())}); a run has one")
    present = set(steps["split"].unique())
    return {split: _case_table(steps[steps["split"] == split], split) for split in splits if split in present}


def _require_known_values(steps: pd.DataFrame) -> None:
    for name, allowed in (("level", LEVELS), ("split", SPLITS)):
        if unknown := set(steps[name].unique()) - set(allowed):
            shown = ascii(min(map(str, unknown)))[:60]
            raise DataError(f"steps.parquet: {name} {shown}; one of: {', '.join(allowed)}")
    if len(steps) and not 1 <= int(steps["step"].min()) <= int(steps["step"].max()) <= MAX_STEPS:
        raise DataError(f"steps.parquet: steps {steps['step'].min()} to {steps['step'].max()}; 1 to {MAX_STEPS}")


def _case_table(rows: pd.DataFrame, split: str) -> CaseTable:
    found = set(rows["level"].unique())
    levels = tuple(level for level in LEVELS if level in found)
    mask_code, mask_ids = pd.factorize(rows["mask_id"], sort=True)
    level_code = rows["level"].map({level: i for i, level in enumerate(levels)}).to_numpy()
    step = rows["step"].to_numpy(dtype=np.int64)
    shape = (len(mask_ids), len(levels), int(step.max()))
    place = np.ravel_multi_index((mask_code, level_code, step - 1), shape)
    _require_every_row_once(place, shape, list(mask_ids), levels)
    order = np.argsort(place)
    first = rows.iloc[order[:: shape[1] * shape[2]]]
    return CaseTable(
        split=split,
        mask_ids=tuple(first["mask_id"]),
        datasets=tuple(first["dataset"]),
        cases=tuple(first["case_id"]),
        modalities=tuple(first["modality"]),
        levels=levels,
        values={name: rows[name].to_numpy(dtype=np.float64)[order].reshape(shape) for name in METRICS},
        failed=(rows["status"] != "ok").to_numpy(dtype=bool)[order].reshape(shape),
    )


def _require_every_row_once(
    place: NDArray[np.int64], shape: tuple[int, int, int], mask_ids: Sequence[str], levels: Sequence[str]
) -> None:
    counts = np.bincount(place, minlength=int(np.prod(shape)))
    wrong = np.flatnonzero(counts != 1)
    if len(wrong):
        mask, level, step = np.unravel_index(wrong[0], shape)
        raise DataError(
            f"steps.parquet has {counts[wrong[0]]} rows for mask {mask_ids[mask]}, level {levels[level]}, "
            f"step {step + 1} ({len(wrong)} such places); each mask, level and step needs exactly one: "
            "finish the run with the same dmseg evaluate command"
        )
