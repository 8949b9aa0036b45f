"""``dmseg report``: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER


@click.command("report")
@click.argument("run", type=FOLDER)
@click.option("--data", "benchmark", type=FOLDER, default=None, help="Benchmark of the run, for the panels.")
@click.option("--out", type=FILE, default=None, help="File to write; default RUN/report.html.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def command(run: Path, benchmark: Path | None, out: Path | None, show: bool) -> int:
    """Write one self-contained HTML page about a run: tables, curves, panels, how to reproduce. It opens offline.

    Without --data, a run on the phantom edition finds its pictures in the user's cache.

    \b
    Examples:
      dmseg report runs/watershed
      dmseg report runs/sam --data bench --open
    """
    from dmseg.report import find_benchmark, write_report

    found = benchmark or find_benchmark(run)
    path = write_report(run, found, out)
    click.echo(f"{path}: written; open it in a browser")
    if found is None:
        click.echo(f"no pictures in it: give the benchmark with --data, as in: dmseg report {run} --data BENCH")
    click.echo(f"next: dmseg leaderboard add {run}")
    if show:
        click.launch(str(path.resolve()))
    return 0
