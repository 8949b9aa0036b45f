"""``dmseg splits``: images per dataset and split, beside the paper's."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FOLDER


@click.command("splits")
@click.argument("bench", type=FOLDER)
def command(bench: Path) -> None:
    """Print images per dataset and split of a benchmark, beside the numbers that the paper prints.

    \b
    Example:
      dmseg splits bench
    """
    from dmseg import build

    counts = build.split_counts(build.open_benchmark(bench))
    click.echo(counts.to_string())
    if "paper" not in counts:
        return
    click.echo("\npaper: the dataset's images in the paper (column), and its images per split (last row)")
    click.echo("cases are never divided between splits, so a split may hold a few images more than a fifth")
