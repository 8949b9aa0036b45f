"""``dmseg digest``: the name of a run's results."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FOLDER


@click.command("digest")
@click.argument("run", type=FOLDER)
def command(run: Path) -> int:
    """Print the sha256 over the rows of a finished run, in canonical order and encoding.

    Two runs with one digest have the same results to the last bit, whatever their jobs, shards or interruptions.

    \b
    Example:
      dmseg digest runs/watershed
    """
    from dmseg import results

    click.echo(results.run_digest(run))
    return 0
