"""``dmseg table``: several runs in one table."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER, CommaList
from dmseg.errors import UsageError

LAYOUT_NAMES = (
    "table1", "full", "text", "table3", "table13", "table14", "table15", "table16", "table17", "table18", "table19",
    "table20", "table21", "table23",
)  # fmt: skip


@click.command("table")
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option("--layout", type=click.Choice(LAYOUT_NAMES), default="table1", show_default=True,
              help="table1: IoU and Dice, as Tables 1 and 2 of the paper; full: every metric; text: cIoU and gIoU, of "
              "--preset text; the others: by dataset, as that table of the paper, from runs of a natural track.",
              )  # fmt: skip
@click.option("--metrics", type=CommaList(), default=None, help="Columns of steps.parquet, in place of a layout's.")
@click.option("--over", type=click.Choice(["final", "step_mean"]), default="final", show_default=True,
              help="After the last step, or the mean over steps.")  # fmt: skip
@click.option("--average", type=click.Choice(["macro", "plain"]), default="macro", show_default=True,
              help="Mean over datasets, or over masks.")  # fmt: skip
@click.option("--drop", is_flag=True, help="Add the drop from Clear to the hardest level, absolute and relative.")
@click.option("--intervals", is_flag=True, help="Print 95 % intervals beside the numbers.")
@click.option("--format", "form", type=click.Choice(["markdown", "latex", "html", "csv"]), default="markdown",
              show_default=True)  # fmt: skip
@click.option("-o", "--out", type=FILE, default=None, help="Write here instead of printing.")
def command(
    runs: tuple[Path, ...],
    layout: str,
    metrics: tuple[str, ...] | None,
    over: str,
    average: str,
    drop: bool,
    intervals: bool,
    form: str,
    out: Path | None,
) -> int:
    """Print models x levels x metrics for several runs of one benchmark: the best of a column bold.

    A number marked = cannot be told from the best of its column: the 95 % interval of the paired difference, by
    bootstrap over cases, holds zero. LaTeX needs the packages booktabs and graphicx and fits a page.

    \b
    Examples:
      dmseg table runs/disk runs/watershed
      dmseg table runs/* --layout full --drop --format latex -o table.tex
      dmseg table runs/sam runs/moce --layout table3
      dmseg table runs/lisa runs/ufo --layout text
      dmseg table runs/sam-tight runs/sam-min runs/sam-max --layout table23
    """
    from dmseg import results
    from dmseg.files import write_text
    from dmseg.results import model_table, paper_tables

    opened = [results.open_run(run) for run in runs]
    if layout in paper_tables.PAPER_TABLES:
        if metrics or drop or average != "macro":
            raise UsageError(f"--layout {layout} has its own columns; leave out --metrics, --drop and --average")
        tables = [paper_tables.build_paper_table(opened, layout, over=over)]
    else:
        chosen = metrics or model_table.LAYOUTS[layout]
        tables = model_table.build_tables(opened, chosen, over=over, average=average, drop=drop)
    if form == "csv":
        text = model_table.format_csv(tables)
    else:
        formats = {
            "markdown": model_table.format_markdown,
            "latex": model_table.format_latex,
            "html": model_table.format_html,
        }
        text = "\n\n".join(formats[form](table, intervals) for table in tables) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(f"wrote {out}")
    for run in opened:
        if run.info["n_errors"]:
            click.echo(f"{run.path}: {run.info['n_errors']} rows have errors; they count as 0", err=True)
    return 0
