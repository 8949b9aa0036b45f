"""``dmseg summary``: the tables of a run, or of several, with intervals; and which artefact hurts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import FILE, FOLDER
from dmseg.errors import UsageError, unknown_name

if TYPE_CHECKING:
    import pyarrow as pa

    from dmseg.results import Run
    from dmseg.results.cases import CaseTable
    from dmseg.results.layout import TextTable

_FORMATS = ("markdown", "latex", "csv")


def _check_grouping(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from dmseg.results.grouping import GROUPINGS

    if value is not None and value not in GROUPINGS:
        raise unknown_name("grouping", value, GROUPINGS)
    return value


@click.command("summary")
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option("--format", "form", type=click.Choice(_FORMATS), default="markdown", show_default=True)
@click.option("--full", is_flag=True, help="Every table, not only those that fit a screen.")
@click.option("--by", "grouping", callback=_check_grouping, default=None,
              help="Drop from Clear by operation, modality, size, prompt_kind or structure.")  # fmt: skip
@click.option("--metric", default="dice", show_default=True, help="For --by: a metric column of steps.parquet.")
@click.option("-o", "--out", type=FILE, default=None, help="Write here instead of printing.")
@click.option("--worst", type=FILE, default=None, help="Draw the worst cases of every split into this PNG.")
@click.option("--data", "benchmark", type=FOLDER, default=None, help="Benchmark of the run, for --worst and --by.")
def command(
    runs: tuple[Path, ...],
    form: str,
    full: bool,
    grouping: str | None,
    metric: str,
    out: Path | None,
    worst: Path | None,
    benchmark: Path | None,
) -> int:
    """Print the tables of one or more runs: metrics by level, drop from Clear, number of clicks.

    Shares are per cent. Intervals are 95 %, by bootstrap over cases; a number without one has one case per dataset.
    What fits a screen is printed; --full, LaTeX and CSV hold everything. --by says what hurts: the drop of the
    objects whose image has an operation, against the same objects at Clear; "added" is how much more they lose than
    objects of the same datasets without it. --worst draws the objects with the lowest final Dice at the hardest level.

    \b
    Examples:
      dmseg summary runs/watershed
      dmseg summary runs/disk runs/watershed
      dmseg summary runs/watershed --by operation
      dmseg summary runs/watershed --format latex -o table.tex
      dmseg summary runs/watershed --worst worst.png --data bench
    """
    from dmseg import results
    from dmseg.files import write_text

    opened = [results.open_run(run) for run in runs]
    if worst is not None and len(runs) > 1:
        raise UsageError("--worst draws the cases of one run; give one")
    if grouping is not None:
        text = _write_groups(opened, grouping, metric, form, benchmark)
    elif len(opened) == 1:
        text = _write_run(opened[0], form, full or out is not None)
    else:
        text = _write_runs(opened, form, full)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(f"wrote {out}")
    if worst is not None:
        click.echo(f"wrote {_draw_worst(runs[0], benchmark, worst)}", err=True)
    for run in opened:
        if run.info["n_errors"]:
            click.echo(f"{run.path}: {run.info['n_errors']} rows have errors; they count as 0", err=True)
    others = "" if len(runs) > 1 else f"; dmseg compare {runs[0]} OTHER_RUN"
    click.echo(f"next: dmseg report {' '.join(map(str, runs))}{others}", err=True)
    return 0


def _write_run(run: Run, form: str, full: bool) -> str:
    from dmseg.results.layout import long_csv, screen_table, summary_tables, text_table
    from dmseg.results.summary import split_numbers

    model = str(run.info["model"]["name"])
    tables = run.tables
    splits = [split_numbers(table) for table in tables.values()]
    if form == "csv":
        _say_notices(run, tables, err=True)
        return long_csv(model, splits)
    if form == "latex" or full:
        parts = [table for numbers in splits for table in summary_tables(model, numbers)]
    else:
        parts = [screen_table(model, numbers) for numbers in splits]
        parts = [text_table(model, numbers) for numbers in splits if numbers.text] + parts
    _say_notices(run, tables, err=form == "latex")
    return _join(run, parts, form)


def _write_runs(runs: Sequence[Run], form: str, full: bool) -> str:
    from dmseg.results import model_table

    tables = model_table.build_tables(runs, model_table.LAYOUTS["full" if full else "table1"], drop=True)
    _say_notices(runs[0], runs[0].tables, err=form != "markdown")
    if form == "csv":
        return model_table.format_csv(tables)
    draw = model_table.format_markdown if form == "markdown" else model_table.format_latex
    return "\n\n".join(draw(table) for table in tables) + "\n"


def _write_groups(runs: Sequence[Run], grouping: str, metric: str, form: str, benchmark: Path | None) -> str:
    from dmseg.results.comparing import require_pair
    from dmseg.results.grouping import find_degradations, list_operations, measure_drops, read_mask_facts
    from dmseg.results.layout import groups_csv, groups_table, models_groups_table
    from dmseg.results.model_table import name_runs

    for run in runs[1:]:
        require_pair(runs[0], run, runs[0].tables, run.tables)
    facts, operations = read_mask_facts(runs[0]), None
    if grouping == "operation":
        digest = runs[0].info["benchmark"]["manifest_digest"]
        published = None if benchmark is not None else find_degradations(digest)
        operations = list_operations(_read_plans(runs[0], benchmark) if published is None else published)
    names = name_runs(runs)
    tables = [run.tables for run in runs]
    _say_notices(runs[0], tables[0], err=form != "markdown")
    drops = [
        [measure_drops(table, grouping, facts, operations, metric) for table in one.values()] for one in tables
    ]  # runs, splits, groups
    if form == "csv":
        return groups_csv(metric, [(name, own) for name, one in zip(names, drops, strict=True) for own in one])
    if len(runs) == 1:
        parts = [groups_table(metric, own) for own in drops[0]]
    else:
        parts = [models_groups_table(metric, names, list(own)) for own in zip(*drops, strict=True)]
    return _join(runs[0], parts, form)


def _read_plans(run: Run, benchmark: Path | None) -> pa.Table:
    from dmseg.build import open_benchmark
    from dmseg.report import find_benchmark

    found = benchmark or find_benchmark(run.path)
    if found is None:
        raise UsageError(
            f"--by operation needs the plans of the benchmark: dmseg summary {run.path} --by operation --data BENCH"
        )
    opened, wanted = open_benchmark(found), run.info["benchmark"]["manifest_digest"]
    if opened.digest != wanted:
        raise UsageError(f"{found}: benchmark {opened.digest[:8]}, but the run was made on {wanted[:8]}; give its own")
    return opened.table("degradations", ("image_id", "level", "plan"))


def _say_notices(run: Run, tables: Mapping[str, CaseTable], err: bool) -> None:
    """Print what must stand above the numbers: before a table on the screen, beside a file."""
    from dmseg import leaderboard
    from dmseg.results.notices import format_notices, list_notices

    datasets = {name for table in tables.values() for name in table.datasets}
    click.echo(format_notices(list_notices(run.info, datasets)), nl=False, err=err)
    for warning in leaderboard.find_warnings(run.info, tables):
        click.echo(f"warning {warning}", err=err)


def _join(run: Run, tables: Sequence[TextTable], form: str) -> str:
    """Return tables as text; their titles say what is synthetic, wherever they are copied to."""
    from dmseg.results.notices import mark_title

    datasets = {name for table in run.tables.values() for name in table.datasets}
    tables = [dataclasses.replace(table, title=mark_title(table.title, run.info, datasets)) for table in tables]
    return "\n\n".join(table.markdown() if form == "markdown" else table.latex() for table in tables) + "\n"


def _draw_worst(run: Path, benchmark: Path | None, out: Path) -> Path:
    from dmseg.report import find_benchmark, write_worst_cases

    found = benchmark or find_benchmark(run)
    if found is None:
        raise UsageError(f"--worst needs the pictures of the run: dmseg summary {run} --worst {out} --data BENCH")
    return write_worst_cases(run, found, out)
