"""The paper's tables about photographs from runs: models by datasets, levels and metrics.

What a table needs and the runs do not have is an error that says how to get it; a table with holes is never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError, unknown_name
from dmseg.results.cases import CaseTable
from dmseg.results.comparing import require_pair
from dmseg.results.model_table import (
    ModelTable,
    TableCell,
    TableColumn,
    mark_cells,
    name_runs,
    require_runs,
    say_when,
)
from dmseg.results.notices import mark_title
from dmseg.results.runs import Run
from dmseg.tables import read_packaged_table, record
from dmseg.types import LEVEL_LABELS

_REAL = "natural-real"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """What a table of the paper shows; see ``paper_tables.toml``."""

    what: str
    datasets: tuple[str, ...]
    levels: tuple[str, ...]
    metrics: tuple[str, ...]
    pooled: bool = False
    preset: str = ""
    prompts: dict[str, str] = field(default_factory=dict)


PAPER_TABLES: dict[str, PaperTable] = {
    name: record(PaperTable, values, f"paper_tables.toml [{name}]")
    for name, values in read_packaged_table("dmseg.results", "paper_tables.toml").items()
}
"""Layout -> what it shows."""


def build_paper_table(runs: Sequence[Run], layout: str, *, over: str = "final") -> ModelTable:
    """Return one table of the paper from runs on a benchmark of a natural track.

    Args:
        runs: finished runs that pair; where the table has kinds of prompts, one of each kind for each model.
        layout: a name of :data:`PAPER_TABLES`.
        over: ``final``: after the last step; ``step_mean``: the mean over steps.

    Raises:
        UsageError: an unknown name, or runs that do not pair, or lack a dataset, a level or a kind of prompt.
    """
    if layout not in PAPER_TABLES:
        raise unknown_name("layout", layout, PAPER_TABLES)
    require_runs(runs, over)
    wanted = PAPER_TABLES[layout]
    columns: list[TableColumn] = []
    cells: list[list[TableCell]] = []
    names: list[str] = []
    for dataset in wanted.datasets:
        for levels in [wanted.levels] if wanted.pooled else [(level,) for level in wanted.levels]:
            for heading, group in _group_runs(runs, wanted, layout).items():
                names = names or name_runs(group)
                place = _name_place(group[0], dataset, levels, heading)
                columns += [TableColumn(metric, place) for metric in wanted.metrics]
                found = _fill_columns(group, dataset, levels, wanted.metrics, over, layout)
                cells = [[*before, *new] for before, new in zip(cells or [[]] * len(names), found, strict=True)]
    steps = next(iter(runs[0].tables.values())).steps
    title = mark_title(f"{wanted.what}, {say_when(over, steps)}, mean over masks", runs[0].info, wanted.datasets)
    return ModelTable(layout, title, tuple(columns), tuple(zip(names, map(tuple, cells), strict=True)))


def _group_runs(runs: Sequence[Run], wanted: PaperTable, layout: str) -> dict[str, list[Run]]:
    """Return column heading -> the runs of that kind of prompt, one for each model, in the same order of models."""
    presets = {wanted.preset} if wanted.preset else set(wanted.prompts.values())
    for run in runs:
        preset = run.info["protocol"]["preset"]
        if presets and preset not in presets:
            raise UsageError(
                f"{run.path}: has the preset {preset}; --layout {layout} is of {', '.join(sorted(presets))} "
                "(dmseg evaluate --preset)"
            )
    headings = wanted.prompts or {"": ""}
    groups: dict[str, list[Run]] = {
        heading: [run for run in runs if not preset or run.info["protocol"]["preset"] == preset]
        for heading, preset in headings.items()
    }
    models = [str(run.info["model"]["name"]) for run in next(iter(groups.values()))]
    if wanted.prompts and len(set(models)) < len(models):
        raise UsageError(f"--layout {layout}: two runs of one model have one preset; give one of each preset")
    for heading, group in groups.items():
        by_model = {str(run.info["model"]["name"]): run for run in group}
        if wanted.prompts and sorted(by_model) != sorted(models):
            raise UsageError(
                f"--layout {layout} needs a run of each model with each preset ({', '.join(headings.values())}); with "
                f"{headings[heading]} there are {', '.join(by_model) or 'none'}"
            )
        if wanted.prompts:
            groups[heading] = [by_model[model] for model in models]
        first = groups[heading][0]
        for run in groups[heading][1:]:
            require_pair(first, run, first.tables, run.tables)
    digests = {run.info["benchmark"]["manifest_digest"] for run in runs}
    if len(digests) > 1:
        raise UsageError(f"--layout {layout}: the runs are on {len(digests)} benchmarks; give runs on one")
    return groups


def _name_place(run: Run, dataset: str, levels: Sequence[str], heading: str) -> str:
    """Return what stands above a column: a photograph taken in bad conditions is not called Clear."""
    unnamed = len(levels) > 1 or run.info["benchmark"].get("track") == _REAL
    shown = "" if unnamed else LEVEL_LABELS[levels[0]]
    return " ".join(text for text in (dataset, shown, heading) if text)


def _fill_columns(
    runs: Sequence[Run], dataset: str, levels: Sequence[str], metrics: Sequence[str], over: str, layout: str
) -> list[tuple[TableCell, ...]]:
    """Return the cells of each run on one dataset, each mask's mean over the levels."""
    first = _find_split(runs[0], dataset, layout)
    if missing := [LEVEL_LABELS[level] for level in levels if level not in first.levels]:
        raise UsageError(f"{runs[0].path}: has no level {', '.join(missing)}, which --layout {layout} shows")
    rows = np.flatnonzero(np.array(first.datasets) == dataset)
    places = [first.levels.index(level) for level in levels]
    values = np.stack([_take(_find_split(run, dataset, layout), rows, places, metrics, over) for run in runs])
    return mark_cells(first.bootstrap_rows(rows), values, [TableColumn(metric, "").sign for metric in metrics])


def _find_split(run: Run, dataset: str, layout: str) -> CaseTable:
    """Return the table of the split in which a run has a dataset's evaluated images."""
    found = [table for split, table in run.tables.items() if dataset in table.datasets and split != "train"]
    if not found:
        raise UsageError(
            f"{run.path}: has no rows of {dataset}, which --layout {layout} shows; build with the track "
            "of this table (docs/natural.md) and evaluate seen and unseen"
        )
    return found[0]


def _take(
    table: CaseTable, rows: NDArray[np.intp], places: Sequence[int], metrics: Sequence[str], over: str
) -> NDArray[np.float64]:
    """Return (masks, metrics), shares in per cent."""
    columns = []
    for metric in metrics:
        steps = table.scale(metric)[np.ix_(rows, np.array(places))].mean(axis=1)
        columns.append(steps[:, -1] if over == "final" else steps.mean(axis=1))
    return np.column_stack(columns)
