"""``dmseg compare``: two runs, paired."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER


@click.command("compare")
@click.argument("first", type=FOLDER)
@click.argument("second", type=FOLDER)
@click.option("--metric", default="dice", show_default=True, help="A metric column of steps.parquet.")
@click.option("-o", "--out", type=FILE, default=None, help="Write all differences as CSV as well.")
def command(first: Path, second: Path, metric: str, out: Path | None) -> int:
    """Compare two runs object by object after the last step: SECOND minus FIRST.

    Per level; and over all levels by dataset, modality, structure and object size (COCO's groups). Intervals are 95 %,
    by bootstrap over cases, on the paired differences: + higher, - lower, = not told apart, ? only one case each.

    \b
    Example:
      dmseg compare runs/disk runs/watershed
    """
    from dmseg import results
    from dmseg.files import write_text
    from dmseg.results.comparing import compare
    from dmseg.results.layout import csv_text

    one, two = results.open_run(first), results.open_run(second)
    found = compare(one, two, metric)
    click.echo(f"{metric}: {two.info['model']['name']} ({second}) minus {one.info['model']['name']} ({first})")
    click.echo(
        f"{'split':<8}{'by':<11}{'group':<24}{'first':>8}{'second':>8}{'difference':>12}  {'95 %':<18}{'masks':>6}"
    )
    for row in found:
        bounds = f"[{row.difference.low:+.2f}, {row.difference.high:+.2f}]"
        click.echo(
            f"{row.split:<8}{row.grouping:<11}{row.group:<24}{row.first:>8.2f}{row.second:>8.2f}"
            f"{row.difference.value:>+12.2f}  {bounds:<18}{row.difference.n:>6}  {row.verdict}"
        )
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
