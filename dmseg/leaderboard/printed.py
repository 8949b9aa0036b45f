"""The paper's printed figures as the page shows them, in the layouts of its tables; no number of them is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmseg.leaderboard.rows import Row
from dmseg.types import LEVEL_LABELS, LEVELS

_MEDICAL_LEVELS = (*LEVELS[::-1], "average")
_METRIC_LABELS = {"iou": "IoU", "dice": "Dice", "nsd": "NSD", "pixel_accuracy": "PA", "hd95": "HD95"}
_FOLDED = ("Tab. 18", "Tab. 19", "Tab. 20", "Tab. 21", "Tab. 23")
_CAPTIONS = {
    "Tab. 13": "clear photographs",
    "Tab. 14": "RobustSeg",
    "Tab. 15": "low light",
    "Tab. 16": "bad weather",
    "Tab. 17": "under water",
    "Tab. 18": "backbones",
    "Tab. 19": "backbones",
    "Tab. 20": "three points first",
    "Tab. 21": "a box first",
    "Tab. 23": "tight, min and max boxes",
}


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """One table: methods down, the same metrics in each group across.

    Attributes:
        title: number and content.
        groups: headings above the metrics.
        metrics: headings in each group.
        rows: (method, one value for each group and metric).
        folded: the page shows it when asked.
    """

    title: str
    groups: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    folded: bool = False


def arrange_medical(rows: Sequence[Row]) -> list[PrintedTable]:
    """Return the tables of paper.csv: levels across, IoU and Dice in each."""
    tables = []
    for name, split in dict.fromkeys((row["table"], row["split"]) for row in rows):
        own = [row for row in rows if (row["table"], row["split"]) == (name, split)]
        values = {(row["method"], row["prompt_protocol"], row["level"]): (row["iou"], row["dice"]) for row in own}
        lines = tuple(
            (
                method if protocol == "mixed-5" else f"{method}† (box only)",
                tuple(value for level in _MEDICAL_LEVELS for value in values[method, protocol, level]),
            )
            for method, protocol in dict.fromkeys((row["method"], row["prompt_protocol"]) for row in own)
        )
        labels = tuple(LEVEL_LABELS.get(level, "Average") for level in _MEDICAL_LEVELS)
        tables.append(PrintedTable(f"{name}, {split} datasets", labels, ("IoU", "Dice"), lines))
    return tables


def arrange_natural(rows: Sequence[Row]) -> list[PrintedTable]:
    """Return the tables of paper_natural.csv: one a dataset where it has several conditions, else one for all."""
    tables = []
    for name in dict.fromkeys(row["table"] for row in rows):
        own = [row for row in rows if row["table"] == name]
        datasets = list(dict.fromkeys(row["dataset"] for row in own))
        conditions = list(dict.fromkeys(row["condition"] for row in own))
        caption = ", ".join(text for text in (name, _CAPTIONS.get(name, "")) if text)
        if len(conditions) > 1:
            for dataset in datasets:
                places = [(dataset, condition) for condition in conditions]
                tables.append(_arrange(f"{caption}, {dataset}", own, places, tuple(conditions), name in _FOLDED))
        else:
            places = [(dataset, conditions[0]) for dataset in datasets]
            tables.append(_arrange(caption, own, places, tuple(datasets), name in _FOLDED))
    return tables


def _arrange(
    title: str, rows: Sequence[Row], places: Sequence[tuple[str, str]], groups: tuple[str, ...], folded: bool
) -> PrintedTable:
    values = {(row["method"], row["dataset"], row["condition"], row["metric"]): row["value"] for row in rows}
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    methods = dict.fromkeys(row["method"] for row in rows)
    lines = tuple((method, tuple(values[method, *place, m] for place in places for m in metrics)) for method in methods)
    return PrintedTable(title, groups, tuple(_METRIC_LABELS[m] for m in metrics), lines, folded)
