"""Several runs in one table: models by levels and metrics, the best marked, and what cannot be told from it.

All runs must pair (same protocol, benchmark, rows, metric settings), so that differences are those of the same objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError, unknown_name
from dmseg.results.cases import LOWER_IS_BETTER, METRICS, CaseTable, measure_loss
from dmseg.results.comparing import require_pair
from dmseg.results.expressions import TEXT_METRICS, draw_metrics, estimate_drawn
from dmseg.results.layout import TextTable, csv_text, escape_tex, list_fields
from dmseg.results.notices import mark_title
from dmseg.results.runs import Run
from dmseg.results.summary import TABLE_METRICS
from dmseg.statistics import CONFIDENCE, CaseBootstrap, Estimate
from dmseg.types import LEVEL_LABELS, LEVELS

OVERS: tuple[str, ...] = ("final", "step_mean")
LAYOUTS: dict[str, tuple[str, ...]] = {
    # Tables 1 and 2 of the paper: IoU and Dice, hardest level first, then their average.
    "table1": ("iou", "dice"),
    "full": tuple(TABLE_METRICS),
    "text": tuple(TEXT_METRICS),
}
"""Layout -> metrics."""
DROP, RELATIVE = "drop", "drop, %"

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column: a metric at a level id, at ``average``, or ``drop`` and ``drop, %`` (from Clear to the hardest)."""

    metric: str
    place: str

    @property
    def label(self) -> str:
        """What people read above the column."""
        place = LEVEL_LABELS.get(self.place, self.place.capitalize() if self.place == "average" else self.place)
        return f"{place} {(TABLE_METRICS | TEXT_METRICS).get(self.metric, self.metric)}"

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return -1 if self.metric in LOWER_IS_BETTER or self.place in (DROP, RELATIVE) else 1


@dataclass(frozen=True, slots=True)
class TableCell:
    """One number: its estimate, whether it is the column's best, and whether it cannot be told from the best."""

    estimate: Estimate
    best: bool
    tied: bool


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Models x columns of one split."""

    split: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, tuple[TableCell, ...]], ...]


def build_tables(
    runs: Sequence[Run],
    metrics: Sequence[str] = LAYOUTS["table1"],
    *,
    over: str = "final",
    average: str = "macro",
    drop: bool = False,
) -> list[ModelTable]:
    """Return one table per split.

    Args:
        runs: finished runs that pair.
        metrics: columns of steps.parquet; or ``ciou`` and ``giou``, of runs whose preset gives sentences.
        over: ``final``: after the last step; ``step_mean``: the mean over steps.
        average: ``macro``: mean over datasets of the mean over masks; ``plain``: mean over masks.
        drop: add, per metric, Clear minus the hardest level: absolute, and relative to Clear.

    Raises:
        UsageError: no runs, an unknown metric, or runs that do not pair.
    """
    require_runs(runs, over)
    if set(metrics) & set(TEXT_METRICS):
        return _build_text_tables(runs, metrics, over, average, drop)
    for metric in metrics:
        if metric not in METRICS:
            raise unknown_name("metric", metric, (*METRICS, *TEXT_METRICS))
    for run in runs[1:]:
        require_pair(runs[0], run, runs[0].tables, run.tables)
    if drop and not set(runs[0].info["benchmark"]["levels"]) <= set(LEVELS):
        raise UsageError(
            "the levels are kinds of degradation, none of them the hardest: leave out --drop; what each of them costs: "
            "dmseg summary RUN"
        )
    tables = [run.tables for run in runs]
    names = name_runs(runs)
    return [
        _build_table(split, runs[0].info, names, [one[split] for one in tables], list(metrics), over, average, drop)
        for split in tables[0]
    ]


def _build_text_tables(
    runs: Sequence[Run], metrics: Sequence[str], over: str, average: str, drop: bool
) -> list[ModelTable]:
    """Return models x levels x cIoU and gIoU, per split; mean over datasets."""
    for metric in metrics:
        if metric not in TEXT_METRICS:
            raise UsageError(f"metric {metric} cannot stand beside {' and '.join(TEXT_METRICS)}; make a table of each")
    if drop or over != "final" or average != "macro":
        raise UsageError("cIoU and gIoU are of the one step, mean over datasets; leave out --over, --average, --drop")
    for run in runs:
        if not run.gives_text:
            preset = run.info["protocol"]["preset"]
            raise UsageError(f"{run.path}: preset {preset} gives no sentences; cIoU and gIoU are of --preset text")
    for run in runs[1:]:
        require_pair(runs[0], run, runs[0].tables, run.tables)
    made, tables, names = [], [run.tables for run in runs], name_runs(runs)
    for split, first in tables[0].items():
        columns = [TableColumn(metric, place) for place in (*first.levels[::-1], "average") for metric in metrics]
        cells = mark_drawn([_draw_columns(one[split], first.bootstrap, metrics) for one in tables], first)
        title = mark_title(f"{split}, a sentence each, mean over datasets", runs[0].info, first.datasets)
        made.append(ModelTable(split, title, tuple(columns), tuple(zip(names, cells, strict=True))))
    return made


def _draw_columns(table: CaseTable, bootstrap: CaseBootstrap, metrics: Sequence[str]) -> tuple[Array, Array]:
    """Return values (C,) and draws (C, B), a metric beside the other at each level, then at their average."""
    found = draw_metrics(table, bootstrap, np.arange(len(table.mask_ids)))
    values = np.column_stack([found[metric][0] for metric in metrics]).ravel()
    draws = np.stack([found[metric][1] for metric in metrics], axis=1)
    return values, draws.reshape(len(values), -1)


def mark_drawn(drawn: Sequence[tuple[Array, Array]], table: CaseTable) -> list[tuple[TableCell, ...]]:
    """Return the cells of each model from values (C,) and paired draws (C, B); higher is better."""
    best = np.array([values for values, _ in drawn]).argmax(axis=0)
    rows = []
    for place, (values, draws) in enumerate(drawn):
        cells = []
        for column, value in enumerate(values):
            estimate = estimate_drawn(value, draws[column], len(table.mask_ids), len(set(table.cases)))
            gap = np.quantile(drawn[best[column]][1][column] - draws[column], (1 - CONFIDENCE) / 2)
            leads = place == best[column]
            cells.append(TableCell(estimate, bool(leads), bool(not leads and gap <= 0)))
        rows.append(tuple(cells))
    return rows


def require_runs(runs: Sequence[Run], over: str) -> None:
    """Refuse a table of no runs, or of a mean that there is not."""
    if not runs:
        raise UsageError("no runs; give the folders of one or more runs")
    if over not in OVERS:
        raise unknown_name("mean", over, OVERS)


def say_when(over: str, steps: int) -> str:
    """Return which steps a table's numbers are of."""
    return f"after step {steps}" if over == "final" else f"mean over {steps} steps"


def name_runs(runs: Sequence[Run]) -> list[str]:
    """Return the models' names; where two runs have one name, with their folders."""
    names = [str(run.info["model"]["name"]) for run in runs]
    return [f"{name} ({run.path})" if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)]


def _build_table(
    split: str,
    info: Mapping[str, Any],
    names: Sequence[str],
    tables: Sequence[CaseTable],
    metrics: Sequence[str],
    over: str,
    average: str,
    drop: bool,
) -> ModelTable:
    first = tables[0]
    levels = first.levels[::-1]
    has_drop = drop and first.levels[0] == "clear" and len(levels) > 1
    places = [*levels, "average", *([DROP, RELATIVE] if has_drop else [])]
    columns = tuple(TableColumn(metric, place) for place in places for metric in metrics)
    values = np.stack([_arrange(table, metrics, over, has_drop) for table in tables])  # models, masks, columns
    marked = mark_cells(first.bootstrap, values, [column.sign for column in columns], average)
    rows = list(zip(names, marked, strict=True))
    what = "mean over datasets" if average == "macro" else "mean over masks"
    return ModelTable(
        split, mark_title(f"{split}, {say_when(over, first.steps)}, {what}", info, first.datasets), columns, tuple(rows)
    )


def mark_cells(
    bootstrap: CaseBootstrap, values: Array, signs: Sequence[int], average: str = "macro"
) -> list[tuple[TableCell, ...]]:
    """Return the cells of each model: its estimates, the best of each column, and what cannot be told from it.

    Args:
        bootstrap: over the masks.
        values: (models, masks, columns).
        signs: of each column, 1 where higher is better, else -1.
        average: see :func:`build_tables`.
    """
    estimates = [bootstrap.estimates(one, average) for one in values]
    means = np.array([[cell.value for cell in row] for row in estimates]) * np.array(signs)
    best = means.argmax(axis=0)
    leader = np.take_along_axis(values, best[None, None, :], axis=0)[0]
    rows = []
    for place, own in enumerate(estimates):
        gaps = bootstrap.estimates((leader - values[place]) * np.array(signs), average)
        rows.append(
            tuple(
                TableCell(cell, place == best[column], place != best[column] and bool(gap.low <= 0))
                for column, (cell, gap) in enumerate(zip(own, gaps, strict=True))
            )
        )
    return rows


def _arrange(table: CaseTable, metrics: Sequence[str], over: str, drop: bool) -> Array:
    """Return (masks, columns) in the order of the columns, shares in per cent."""
    scaled = {metric: table.scale(metric) for metric in metrics}
    taken = {metric: one[:, :, -1] if over == "final" else one.mean(axis=2) for metric, one in scaled.items()}
    columns = [taken[metric][:, place] for place in reversed(range(len(table.levels))) for metric in metrics]
    columns += [taken[metric].mean(axis=1) for metric in metrics]
    if drop:
        columns += [_drop(taken[metric], metric) for metric in metrics]
        # Relative to the mean at Clear of all masks: a mask of Dice 0 at Clear has no drop of its own in per cent.
        columns += [_drop(taken[metric], metric) * 100 / _nonzero(taken[metric][:, 0].mean()) for metric in metrics]
    return np.column_stack(columns)


def _drop(per_level: Array, metric: str) -> Array:
    """Return by how much each mask is worse at the hardest level than at Clear."""
    return measure_loss(per_level[:, 0], per_level[:, -1], metric)


def _nonzero(value: float) -> float:
    return value if value else float("nan")


# ---------------------------------------------------------------- as text


def format_markdown(table: ModelTable, intervals: bool = False) -> str:
    """Return a GitHub table: the best of a column bold, what cannot be told from it marked with ``=``."""
    header = ("Model", *(column.label for column in table.columns))
    rows = tuple(
        (name, *(_mark(_number(cell, intervals), cell, "**", " =") for cell in cells)) for name, cells in table.rows
    )
    notes = "Bold: best of a column. =: its paired 95 % interval to the best holds zero."
    return f"{TextTable(table.title, header, rows).markdown()}\n\n{notes}"


def format_latex(table: ModelTable, intervals: bool = False) -> str:
    """Return a booktabs table that is shrunk to the width of a page where it is wider; levels above their metrics."""
    places = list(dict.fromkeys(column.place for column in table.columns))
    per_place = len(table.columns) // len(places)
    labels = [LEVEL_LABELS.get(place, "Average" if place == "average" else place) for place in places]
    above = " & ".join(["", *(rf"\multicolumn{{{per_place}}}{{c}}{{{escape_tex(label)}}}" for label in labels)])
    rules = "".join(
        rf"\cmidrule(lr){{{2 + place * per_place}-{1 + (place + 1) * per_place}}}" for place in range(len(places))
    )
    below = " & ".join(["Model", *(escape_tex(TABLE_METRICS.get(one.metric, one.metric)) for one in table.columns)])
    lines = []
    for name, cells in table.rows:
        texts = [_number(cell, intervals) for cell in cells]
        marked = [
            rf"\textbf{{{text}}}" if cell.best else rf"{text}$^{{=}}$" if cell.tied else text
            for text, cell in zip(texts, cells, strict=True)
        ]
        lines.append(" & ".join([escape_tex(name), *marked]) + r" \\")
    caption = escape_tex(f"{table.title}. Bold: best. =: cannot be told from the best (paired 95 % interval).")
    body = [r"\toprule", above + r" \\", rules, below + r" \\", r"\midrule", *lines, r"\bottomrule"]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            *body,
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def format_html(table: ModelTable, intervals: bool = False) -> str:
    """Return an HTML table without styles of its own."""
    head = "".join(f"<th scope=col>{escape(column.label)}</th>" for column in table.columns)
    rows = []
    for name, cells in table.rows:
        numbers = "".join(
            f"<td>{_mark(escape(_number(cell, intervals)), cell, ('<b>', '</b>'), ' =')}</td>" for cell in cells
        )
        rows.append(f"<tr><th scope=row>{escape(name)}</th>{numbers}</tr>")
    return (
        f"<table><caption>{escape(table.title)}. Bold: best. =: cannot be told from the best.</caption>"
        f"<thead><tr><th scope=col>Model</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def format_csv(tables: Sequence[ModelTable]) -> str:
    """Return one row per number."""
    header = ("split", "model", "metric", "place", "value", "low", "high", "masks", "cases", "best", "tied")
    rows = [
        (table.split, name, column.metric, column.place, *_fields(cell))
        for table in tables
        for name, cells in table.rows
        for column, cell in zip(table.columns, cells, strict=True)
    ]
    return csv_text(header, rows)


def _fields(cell: TableCell) -> tuple[Any, ...]:
    return *list_fields(cell.estimate), int(cell.best), int(cell.tied)


def _number(cell: TableCell, intervals: bool) -> str:
    one = cell.estimate
    if not intervals or not one.has_interval:
        return f"{one.value:.2f}"
    return f"{one.value:.2f} [{one.low:.1f}, {one.high:.1f}]"


def _mark(text: str, cell: TableCell, bold: str | tuple[str, str], tied: str) -> str:
    opening, closing = (bold, bold) if isinstance(bold, str) else bold
    return f"{opening}{text}{closing}" if cell.best else f"{text}{tied}" if cell.tied else text
