"""A run averaged: means per level, metric and step of one split, with 95 % intervals clustered by case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmseg.metrics import CLICK_TARGETS, ClicksToTarget, clicks_to_reach, over_steps
from dmseg.results.cases import NOC_TARGET, CaseTable
from dmseg.results.expressions import TextRow, measure_expressions
from dmseg.statistics import Estimate
from dmseg.types import LEVEL_LABELS

TABLE_METRICS: dict[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "pixel_accuracy": "PA",
    "nsd_2": "NSD, 2 px",
    "hd95": "HD95, px",
}

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One line of the table: a metric (its column in steps.parquet and its label) and its estimate per column."""

    metric: str
    label: str
    cells: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class SummaryBlock:
    """Lines that share what is averaged: ``over`` is final, step_mean or auc; ``average`` is macro or plain."""

    title: str
    over: str
    average: str
    rows: tuple[SummaryRow, ...]


@dataclass(frozen=True, slots=True)
class SplitNumbers:
    """All numbers of one split, shares in per cent; a column per level, hardest first, then their average.

    Attributes:
        columns: labels of the table's columns: the levels, hardest first, then the average over them.
        blocks: the table.
        areas: the same for the area under the curve over steps (trapezoids / (T - 1)); None where T is 1.
        drop: Dice at Clear minus Dice at each other level, hardest first, paired; empty where there is none.
        by_level: metric -> one estimate per level, in benchmark order.
        by_step: level -> one estimate of Dice per step.
        dataset_dice: dataset -> mean final Dice per level.
        clicks: IoU target -> mean first step that reaches it per level (T where never reached: NoC).
        failures: IoU target -> number of masks that never reach it, per level (NoF).
        text: cIoU and gIoU, of all datasets and of each; empty where the preset gives no sentences.
    """

    table: CaseTable
    columns: tuple[str, ...]
    blocks: tuple[SummaryBlock, ...]
    areas: SummaryBlock | None
    drop: tuple[Estimate, ...]
    by_level: dict[str, list[Estimate]]
    by_step: dict[str, list[Estimate]]
    dataset_dice: dict[str, list[float]]
    clicks: dict[float, list[Estimate]]
    failures: dict[float, list[int]]
    text: tuple[TextRow, ...] = ()

    @property
    def noc(self) -> list[Estimate]:
        """Mean number of clicks to IoU .90, per level."""
        return self.clicks[NOC_TARGET]

    @property
    def never(self) -> list[float]:
        """Share of masks that never reach IoU .90, per cent, per level."""
        return [100 * number / len(self.table.mask_ids) for number in self.failures[NOC_TARGET]]


def split_numbers(table: CaseTable) -> SplitNumbers:
    """Average one split in every way the report shows."""
    hardest_first = table.levels[::-1]
    columns = (*(LEVEL_LABELS[level] for level in hardest_first), "Average")
    values = {metric: table.scale(metric) for metric in TABLE_METRICS}
    final = {metric: per_step[:, :, -1] for metric, per_step in values.items()}
    dice = values["dice"]
    steps = table.bootstrap.estimates(dice.reshape(len(dice), -1))
    clicks = {target: _clicks(table, target) for target in CLICK_TARGETS}
    return SplitNumbers(
        table=table,
        columns=columns,
        blocks=_blocks(table, values, final),
        areas=_areas(table, values),
        drop=_drop(table, final["dice"]),
        by_level={metric: table.bootstrap.estimates(final[metric]) for metric in TABLE_METRICS},
        by_step={level: steps[i * table.steps : (i + 1) * table.steps] for i, level in enumerate(table.levels)},
        dataset_dice=_by_dataset(table, final["dice"]),
        clicks={
            target: table.bootstrap.estimates(np.column_stack([one.steps for one in per_level]))
            for target, per_level in clicks.items()
        },
        failures={target: [one.nof for one in per_level] for target, per_level in clicks.items()},
        text=measure_expressions(table),
    )


def _clicks(table: CaseTable, target: float) -> list[ClicksToTarget]:
    return [clicks_to_reach(table.values["iou"][:, place], target) for place in range(len(table.levels))]


def _blocks(table: CaseTable, values: dict[str, Array], final: dict[str, Array]) -> tuple[SummaryBlock, ...]:
    last = f"After the last interaction (step {table.steps})"
    blocks = [
        SummaryBlock(f"{last}, mean over datasets", "final", "macro", _rows(table, final, "macro")),
        SummaryBlock(f"{last}, mean over masks", "final", "plain", _rows(table, final, "plain")),
    ]
    if table.steps > 1:
        means = {metric: over_steps(per_step).mean for metric, per_step in values.items()}
        title = f"Mean over the {table.steps} steps, mean over datasets"
        blocks.append(SummaryBlock(title, "step_mean", "macro", _rows(table, means, "macro")))
    return tuple(blocks)


def _areas(table: CaseTable, values: dict[str, Array]) -> SummaryBlock | None:
    if table.steps == 1:
        return None
    areas = {metric: over_steps(per_step).area for metric, per_step in values.items()}
    title = f"Area under the curve over the {table.steps} steps, mean over datasets"
    return SummaryBlock(title, "auc", "macro", _rows(table, areas, "macro"))


def _rows(table: CaseTable, values: dict[str, Array], average: str) -> tuple[SummaryRow, ...]:
    """Return a line per metric: levels hardest first, then the mean over the levels of each mask."""
    rows = []
    for metric, per_level in values.items():
        columns = np.column_stack([per_level[:, ::-1], per_level.mean(axis=1)])
        rows.append(SummaryRow(metric, TABLE_METRICS[metric], tuple(table.bootstrap.estimates(columns, average))))
    return tuple(rows)


def _drop(table: CaseTable, final_dice: Array) -> tuple[Estimate, ...]:
    if table.levels[0] != "clear" or len(table.levels) == 1:
        return ()
    clear = final_dice[:, :1]
    return tuple(table.bootstrap.estimates((clear - final_dice)[:, :0:-1]))


def _by_dataset(table: CaseTable, final_dice: Array) -> dict[str, list[float]]:
    owner = np.array(table.datasets)
    return {
        name: [float(value) for value in final_dice[owner == name].mean(axis=0)] for name in sorted(set(table.datasets))
    }
