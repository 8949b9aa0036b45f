"""``dmseg compare``: two runs, or two models of the leaderboard's record, paired."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import FILE, FOLDER

if TYPE_CHECKING:
    from dmseg.results import Run
    from dmseg.results.comparing import RunDifference


@click.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("--metric", default="dice", show_default=True, help="A metric column of steps.parquet.")
@click.option("--root", type=FOLDER, default=None, help="Record of the leaderboard, where models are named.")
@click.option("-o", "--out", type=FILE, default=None, help="Write all differences as CSV as well.")
def command(first: str, second: str, metric: str, root: Path | None, out: Path | None) -> int:
    """Compare two runs object by object after the last step: SECOND minus FIRST.

    Each is a run folder, or a model of the leaderboard's record (its newest entries are taken). Per level; and over
    all levels by dataset, modality, structure and object size (COCO's groups). Intervals are 95 %, by bootstrap over
    cases, on the paired differences: + higher, - lower, = not told apart, ? only one case each.

    \b
    Examples:
      dmseg compare runs/disk runs/watershed
      dmseg compare watershed runs/mine
    """
    from dmseg import leaderboard, results
    from dmseg.files import write_text
    from dmseg.results.comparing import compare
    from dmseg.results.layout import csv_text
    from dmseg.types import SPLITS

    are_folders = [Path(name).is_dir() or len(Path(name).parts) > 1 for name in (first, second)]
    if all(are_folders):
        pairs = [(results.open_run(first), results.open_run(second), SPLITS)]
    else:
        pairs = leaderboard.find_pairs(first, second, root)
    found = []
    for one, two, splits in pairs:
        differences = compare(one, two, metric, splits=splits)
        _show(one, two, metric, differences)
        found += differences
    if out is not None:
        header = ("split", "by", "group", "first", "second", "difference", "low", "high", "masks", "cases", "verdict")
        rows = [
            (row.split, row.grouping, row.group, row.first, row.second, row.difference.value, row.difference.low,
             row.difference.high, row.difference.n, row.difference.cases, row.verdict)
            for row in found
        ]  # fmt: skip
        write_text(out, csv_text(header, rows))
        click.echo(f"wrote {out}")
    return 0


def _show(one: Run, two: Run, metric: str, differences: list[RunDifference]) -> None:
    names = (f"{run.info['model']['name']} ({run.path})" for run in (two, one))
    click.echo(f"{metric}, preset {one.info['protocol']['preset']}: {' minus '.join(names)}")
    click.echo(
        f"{'split':<8}{'by':<11}{'group':<24}{'first':>8}{'second':>8}{'difference':>12}  {'95 %':<18}{'masks':>6}"
    )
    for row in differences:
        bounds = f"[{row.difference.low:+.2f}, {row.difference.high:+.2f}]"
        click.echo(
            f"{row.split:<8}{row.grouping:<11}{row.group:<24}{row.first:>8.2f}{row.second:>8.2f}"
            f"{row.difference.value:>+12.2f}  {bounds:<18}{row.difference.n:>6}  {row.verdict}"
        )
