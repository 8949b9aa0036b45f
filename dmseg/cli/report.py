"""``dmseg report``: one HTML page about a run, or about several."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER
from dmseg.errors import UsageError


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option("--data", "benchmark", type=FOLDER, default=None, help="Benchmark of the run, for the pictures.")
@click.option("--out", type=FILE, default=None, help="Default RUN/report.html; of several, comparison.html.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def command(runs: tuple[Path, ...], benchmark: Path | None, out: Path | None, show: bool) -> int:
    """Write one self-contained HTML page about a run: tables, curves, cases, how to reproduce. It opens offline.

    Of several runs: models by level, curves, and which artefact hurts which model. The pictures are found where the run
    was made; else give --data. A page with pictures is never replaced by one without.

    \b
    Examples:
      dmseg report runs/watershed
      dmseg report runs/sam --data bench --open
      dmseg report runs/disk runs/watershed --out both.html
    """
    from dmseg import report

    if len(runs) > 1:
        if benchmark is not None:
            raise UsageError("the page of several runs has no pictures; leave out --data, or give one run")
        path = report.write_comparison(runs, out)
        click.echo(f"{path}: written; open it in a browser")
    else:
        run = runs[0]
        found = benchmark or report.find_benchmark(run)
        path = report.write_report(run, found, out, _list_warnings(run))
        click.echo(f"{path}: written; open it in a browser")
        if found is None:
            click.echo(f"no pictures in it: give the benchmark with --data, as in: dmseg report {run} --data BENCH")
        click.echo(f"next: dmseg submit check {run}")
    if show:
        click.launch(str(path.resolve()))
    return 0


def _list_warnings(run: Path) -> list[str]:
    """Return what must be warned of; the rows of the run are not held on to."""
    from dmseg import leaderboard, results

    opened = results.open_run(run)
    return [str(warning) for warning in leaderboard.find_warnings(opened.info, opened.tables)]
