"""Several runs on one page: who is best where, and what hurts which model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from dmseg.figures import curve_svg, heat_table
from dmseg.report.artefacts import read_operations
from dmseg.report.places import find_benchmark, open_own_benchmark
from dmseg.report.sections import ReportChart, make_environment, make_series, make_step_ticks
from dmseg.results import Run
from dmseg.results.again import write_command
from dmseg.results.cases import CaseTable
from dmseg.results.grouping import Operations, find_hardest, measure_drops, read_mask_facts
from dmseg.results.model_table import build_tables, format_html, name_runs
from dmseg.results.notices import list_notices
from dmseg.types import LEVEL_LABELS
from dmseg.version import __version__


def render_comparison(runs: Sequence[Run]) -> str:
    """Return the body of the page of several runs (see :func:`dmseg.report.write_comparison`)."""
    names = name_runs(runs)
    headline = build_tables(runs, ("dice", "iou", "nsd_2", "hd95"), drop=True)  # refuses runs that do not pair
    tables = [run.tables for run in runs]
    facts, operations = read_mask_facts(runs[0]), _find_operations(runs[0])
    splits = []
    for table in headline:
        own = [one[table.split] for one in tables]
        drops = None
        if operations is not None and own[0].levels[0] == "clear" and len(own[0].levels) > 1:
            drops = [measure_drops(one, "operation", facts, operations) for one in own]
        splits.append(
            {
                "name": table.split,
                "title": table.title,
                "table": Markup(format_html(table, intervals=True)),
                "charts": _draw_curves(names, own),
                "heat": None if drops is None else _draw_heat(names, drops),
            }
        )
    datasets = {name for one in tables for table in one.values() for name in table.datasets}
    notices: dict[str, Any] = {}
    for name, run in zip(names, runs, strict=True):
        for notice in list_notices(run.info, datasets):
            notices.setdefault(notice.text, (notice, []))[1].append(name)
    return (
        make_environment()
        .get_template("comparison.html.j2")
        .render(
            names=names,
            notices=[
                (notice, "" if len(whose) == len(runs) else ", ".join(whose)) for notice, whose in notices.values()
            ],
            benchmark=runs[0].info["benchmark"],
            protocol=runs[0].info["protocol"],
            splits=splits,
            commands=[(name, write_command(run.info)) for name, run in zip(names, runs, strict=True)],
            footer=f"Written by dmseg {__version__}. One file, no network.",
        )
    )


def _find_operations(run: Run) -> Operations | None:
    """Return the operations of each image: of the benchmark where it is found, else of the published edition."""
    place = find_benchmark(run.path)
    return read_operations(run, None if place is None else open_own_benchmark(run, place))


def _draw_curves(names: Sequence[str], tables: Sequence[CaseTable]) -> list[ReportChart]:
    first = tables[0]
    level_ticks = [(float(place), LEVEL_LABELS[level]) for place, level in enumerate(first.levels)]
    finals = [100 * table.values["dice"][:, :, -1] for table in tables]
    by_level = [
        make_series(name, range(len(first.levels)), first.bootstrap.estimates(final))
        for name, final in zip(names, finals, strict=True)
    ]
    charts = [("Final Dice by level", "level", by_level, level_ticks)]
    if first.steps > 1:
        by_step = [
            make_series(
                name, range(1, first.steps + 1), first.bootstrap.estimates(100 * table.values["dice"].mean(axis=1))
            )
            for name, table in zip(names, tables, strict=True)
        ]
        charts.append(("Dice by interaction step, mean over levels", "step", by_step, make_step_ticks(first)))
    return [
        ReportChart(
            caption, Markup(curve_svg(lines, title=caption, x_label=x, y_label="Dice, %", x_ticks=ticks, digits=1))
        )
        for caption, x, lines, ticks in charts
    ]


def _draw_heat(names: Sequence[str], drops: Sequence[Sequence[Any]]) -> Markup:
    hardest = [{drop.group: drop for drop in find_hardest(own)} for own in drops]
    groups = list(hardest[0])
    values = [[own[group].drop.value if group in own else math.nan for own in hardest] for group in groups]
    heat = heat_table(
        [
            f"{group.replace('_', ' ')}, {LEVEL_LABELS[hardest[0][group].level]} ({hardest[0][group].drop.n})"
            for group in groups
        ],
        names,
        values,
        caption="Points of Dice lost from Clear by the masks whose image has the operation (number of masks)",
        corner="operation and level",
        value_range=(0.0, max(5.0, float(np.nanmax(values)))),
        digits=1,
    )
    return Markup(heat)
