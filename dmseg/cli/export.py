"""``dmseg export``: a benchmark for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER, complete_level, split_option
from dmseg.types import ALL_LEVELS, check_level


@click.command("export")
@click.argument("bench", type=FOLDER)
@click.option("-o", "--out", type=FILE, required=True, help="The JSON file.")
@click.option(
    "--level",
    default="clear",
    shell_complete=complete_level,
    show_default=True,
    help="Level whose images the file names.",
)
@split_option("all")
def command(bench: Path, out: Path, level: str, splits: tuple[str, ...]) -> None:
    """Write images, objects and categories of one level as COCO JSON; file names are relative to the benchmark.

    \b
    Example:
      dmseg export bench -o bench/clear.json --level clear --split seen,unseen
    """
    from dmseg import build

    n = build.export_coco(build.open_benchmark(bench), out, level=check_level(level, allowed=ALL_LEVELS), splits=splits)
    click.echo(f"wrote {out}: {n} annotations")
