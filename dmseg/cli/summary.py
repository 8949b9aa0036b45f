"""``dmseg summary``: a run's tables, with intervals."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER


@click.command("summary")
@click.argument("run", type=FOLDER)
@click.option(
    "--format", "form", type=click.Choice(["markdown", "latex", "csv"]), default="markdown", show_default=True
)
@click.option("-o", "--out", type=FILE, default=None, help="Write here instead of printing.")
def command(run: Path, form: str, out: Path | None) -> int:
    """Print the tables of a run: the paper's layout, every metric by level, drop from Clear, number of clicks.

    Shares are per cent. Intervals are 95 %, by bootstrap over cases. The csv has one row per number.

    \b
    Examples:
      dmseg summary runs/watershed
      dmseg summary runs/watershed --format latex -o table.tex
    """
    from dmseg import harness
    from dmseg.files import write_text
    from dmseg.harness.cases import case_tables
    from dmseg.harness.layout import long_csv, summary_tables
    from dmseg.harness.summary import split_numbers

    opened = harness.open_run(run)
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
    if opened.info["n_errors"]:
        click.echo(f"{opened.info['n_errors']} rows have errors; they count as 0", err=True)
    click.echo(f"next: dmseg report {run}; dmseg compare {run} OTHER_RUN", err=True)
    return 0
