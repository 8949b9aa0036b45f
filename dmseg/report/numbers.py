"""The numbers of a report: means per level, metric and step of one split, with 95 % intervals clustered by case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmseg.harness.cases import CaseTable
from dmseg.statistics import Estimate
from dmseg.types import LEVEL_LABELS

TABLE_METRICS: dict[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "pixel_accuracy": "PA",
    "nsd_2": "NSD, 2 px",
    "hd95": "HD95, px",
}
AVERAGE = "average"
_PER_CENT = frozenset(TABLE_METRICS) - {"hd95"}

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a metric and its estimate per column."""

    label: str
    cells: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of the table that share what is averaged."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SplitNumbers:
    """All numbers of one split, shares in per cent.

    Attributes:
        columns: labels of the table's columns: the levels, hardest first, then the average over them.
        blocks: the table.
        drop: Dice at Clear minus Dice at each other level, hardest first, paired; empty where there is none.
        by_level: metric -> one estimate per level, in benchmark order.
        by_step: level -> one estimate of Dice per step.
        dataset_dice: dataset -> mean final Dice per level.
        noc: mean first step with IoU >= .90 per level (T where never reached).
        never: share of masks that never reached it, per level.
    """

    table: CaseTable
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    drop: tuple[Estimate, ...]
    by_level: dict[str, list[Estimate]]
    by_step: dict[str, list[Estimate]]
    dataset_dice: dict[str, list[float]]
    noc: list[Estimate]
    never: list[float]


def split_numbers(table: CaseTable) -> SplitNumbers:
    """Average one split in every way the report shows."""
    hardest_first = table.levels[::-1]
    columns = (*(LEVEL_LABELS[level] for level in hardest_first), "Average")
    final = {metric: _scaled(table, metric)[:, :, -1] for metric in TABLE_METRICS}
    over_steps = {metric: _scaled(table, metric).mean(axis=2) for metric in TABLE_METRICS}
    last = f"After the last interaction (step {table.steps})"
    blocks = [
        Block(f"{last}, mean over datasets", _rows(table, final, "macro")),
        Block(f"{last}, mean over masks", _rows(table, final, "plain")),
    ]
    if table.steps > 1:
        blocks.append(
            Block(f"Mean over the {table.steps} steps, mean over datasets", _rows(table, over_steps, "macro"))
        )
    dice = _scaled(table, "dice")
    steps = table.bootstrap.estimates(dice.reshape(len(dice), -1))
    reach = table.first_step_reaching()
    never = (table.values["iou"] < 0.90).all(axis=2)
    return SplitNumbers(
        table=table,
        columns=columns,
        blocks=tuple(blocks),
        drop=_drop(table, final["dice"]),
        by_level={metric: table.bootstrap.estimates(final[metric]) for metric in TABLE_METRICS},
        by_step={level: steps[i * table.steps : (i + 1) * table.steps] for i, level in enumerate(table.levels)},
        dataset_dice=_by_dataset(table, final["dice"]),
        noc=table.bootstrap.estimates(reach),
        never=[float(share) for share in 100 * never.mean(axis=0)],
    )


def _scaled(table: CaseTable, metric: str) -> Array:
    """Return a metric's values (N, L, T), shares in per cent."""
    return table.values[metric] * (100.0 if metric in _PER_CENT else 1.0)


def _rows(table: CaseTable, values: dict[str, Array], average: str) -> tuple[Row, ...]:
    """Return a line per metric: levels hardest first, then the mean over the levels of each mask."""
    rows = []
    for metric, per_level in values.items():
        columns = np.column_stack([per_level[:, ::-1], per_level.mean(axis=1)])
        rows.append(Row(TABLE_METRICS[metric], tuple(table.bootstrap.estimates(columns, average))))
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
