"""cIoU and gIoU: how the field scores models that find an object by a sentence.

**cIoU** is the sum of the intersections over the sum of the unions, over all sentences: large objects rule it.
**gIoU** is the mean of the IoU of each sentence. Both are taken per dataset; of several datasets the mean is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmseg import datasets
from dmseg.results.cases import COUNTS, CaseTable
from dmseg.statistics import CONFIDENCE, CaseBootstrap, Estimate

TEXT_METRICS: dict[str, str] = {"ciou": "cIoU", "giou": "gIoU"}
ALL_PLACES = "all"

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TextRow:
    """One metric of one place: ``all`` datasets, or a dataset's list (``RefCOCO testA``).

    ``cells``: per cent, levels hardest first, then their average, as in a summary.
    """

    place: str
    metric: str
    cells: tuple[Estimate, ...]


def measure_expressions(table: CaseTable, *, places: bool = True) -> tuple[TextRow, ...]:
    """Return cIoU and gIoU after the last step; nothing where the rows are not about sentences.

    Args:
        places: besides those of all datasets, those of each list of each.
    """
    if not set(COUNTS) <= set(table.values):
        return ()
    rows = _measure_place(table, ALL_PLACES, np.ones(len(table.mask_ids), dtype=bool))
    if not places:
        return tuple(rows)
    owners = np.array([name_place(dataset, case) for dataset, case in zip(table.datasets, table.cases, strict=True)])
    for place in sorted(set(owners)):
        rows += _measure_place(table, str(place), owners == place)
    return tuple(rows)


def name_place(dataset: str, case: str) -> str:
    """Return a dataset's name, with the list that a case is of where its recipe has lists.

    >>> name_place("RefCOCO", "RefCOCO__testA.COCO_train2014_000000000001")
    'RefCOCO testA'
    """
    parts = datasets.recipe(dataset).parts if dataset in datasets.ALL_RECIPES else {}
    inner = case.removeprefix(f"{dataset}__")
    found = next((part for part in parts if inner.startswith(part)), None)
    return dataset if found is None else f"{dataset} {found.rstrip('.')}"


def _measure_place(table: CaseTable, place: str, inside: NDArray[np.bool_]) -> list[TextRow]:
    rows = np.flatnonzero(inside)
    bootstrap = table.bootstrap_rows(rows)
    cases = len({table.cases[row] for row in rows})
    made = []
    for metric, (values, draws) in draw_metrics(table, bootstrap, rows).items():
        cells = [estimate_drawn(value, own, len(rows), cases) for value, own in zip(values, draws, strict=True)]
        made.append(TextRow(place, metric, tuple(cells)))
    return made


def draw_metrics(
    table: CaseTable, bootstrap: CaseBootstrap, rows: Sequence[int] | NDArray[np.intp]
) -> dict[str, tuple[Array, Array]]:
    """Return metric -> its values (C,) and what they are in each draw (C, B), in per cent.

    Columns are the levels, hardest first, then their average.
    """
    last = {name: table.values[name][rows, ::-1, -1] for name in ("iou", *COUNTS)}
    found = {
        "ciou": bootstrap.ratios(last["intersection"], last["union"]),
        "giou": (bootstrap.means(last["iou"]), bootstrap.replicates(last["iou"])),
    }
    return {
        metric: (100 * np.append(values, values.mean()), 100 * np.vstack([draws, draws.mean(axis=0)]))
        for metric, (values, draws) in found.items()
    }


def estimate_drawn(value: float, draws: Array, number: int, cases: int) -> Estimate:
    """Return the estimate of a value whose draws, (B,), are known."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high), number, cases)
