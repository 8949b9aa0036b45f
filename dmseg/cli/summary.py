"""``dmseg summary``: a run's tables, with intervals."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER
from dmseg.errors import UsageError


@click.command("summary")
@click.argument("run", type=FOLDER)
@click.option(
    "--format", "form", type=click.Choice(["markdown", "latex", "csv"]), default="markdown", show_default=True
)
@click.option("-o", "--out", type=FILE, default=None, help="Write here instead of printing.")
@click.option("--worst", type=FILE, default=None, help="Draw the worst cases of every split into this PNG.")
@click.option("--data", "benchmark", type=FOLDER, default=None, help="Benchmark of the run, for --worst.")
def command(run: Path, form: str, out: Path | None, worst: Path | None, benchmark: Path | None) -> int:
    """Print the tables of a run: the paper's layout, every metric by level, drop from Clear, number of clicks.

    Shares are per cent. Intervals are 95 %, by bootstrap over cases. The csv has one row per number. --worst draws the
    objects with the lowest final Dice at the hardest level: reference blue, prediction (where the run kept it) orange,
    clicks and box; a run on the phantom edition finds its pictures in the user's cache, any other needs --data.

    \b
    Examples:
      dmseg summary runs/watershed
      dmseg summary runs/watershed --format latex -o table.tex
      dmseg summary runs/watershed --worst worst.png --data bench
    """
    from dmseg import results
    from dmseg.files import write_text
    from dmseg.results.cases import case_tables
    from dmseg.results.layout import long_csv, summary_tables
    from dmseg.results.summary import split_numbers

    opened = results.open_run(run)
    model = str(opened.info["model"]["name"])
    splits = [split_numbers(table) for table in case_tables(opened.steps).values()]
    if form == "csv":
        text = long_csv(model, splits)
    else:
        tables = [table for numbers in splits for table in summary_tables(model, numbers)]
        text = "\n\n".join(table.markdown() if form == "markdown" else table.latex() for table in tables) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(f"wrote {out}")
    if worst is not None:
        click.echo(f"wrote {_draw_worst(run, benchmark, worst)}", err=True)
    if opened.info["n_errors"]:
        click.echo(f"{opened.info['n_errors']} rows have errors; they count as 0", err=True)
    click.echo(f"next: dmseg report {run}; dmseg compare {run} OTHER_RUN", err=True)
    return 0


def _draw_worst(run: Path, benchmark: Path | None, out: Path) -> Path:
    from dmseg.report import find_benchmark, write_worst_cases

    found = benchmark or find_benchmark(run)
    if found is None:
        raise UsageError(f"--worst needs the pictures of the run: dmseg summary {run} --worst {out} --data BENCH")
    return write_worst_cases(run, found, out)
