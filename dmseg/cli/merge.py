"""``dmseg merge``: finish a benchmark that was built in shards."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.build import show_summary
from dmseg.cli.options import FOLDER


@click.command("merge")
@click.argument("bench", type=FOLDER)
def command(bench: Path) -> int:
    """Finish a benchmark whose shards are all done: splits, tables, report, benchmark.json.

    \b
    Example, two jobs on one file system and then:
      dmseg build --raw raw --out bench --shard 1/2
      dmseg build --raw raw --out bench --shard 2/2
      dmseg merge bench
    """
    from dmseg import build

    return show_summary(bench, build.merge(bench))
