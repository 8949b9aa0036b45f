"""``dmseg publish``: a benchmark or a run as a folder to publish."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from dmseg.cli.options import FOLDER
from dmseg.errors import UsageError


@click.command("publish")
@click.argument("folder", type=FOLDER)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--creator", default="The dmseg users", show_default=True, help="Who publishes.")
@click.option("--date", "day", default=None, help="Of publication, YYYY-MM-DD.  [default: today]")
def command(folder: Path, out: Path, creator: str, day: str | None) -> int:
    """Write a benchmark or a run as a folder to publish.

    A benchmark becomes the layout of a Hugging Face dataset (Parquet), which `dmseg.open` and every command that takes
    a benchmark read too; pixels and masks only where the licence of their dataset allows it, else the manifest, from
    which anyone with the raw data builds the same benchmark. Both get Croissant 1.1 metadata, a card and .zenodo.json.

    \b
    Examples:
      dmseg publish BENCH -o published
      dmseg publish runs/watershed -o published-run --creator "Ana Novak"
    """
    from dmseg import publish
    from dmseg.build import open_benchmark
    from dmseg.manifests import HEADER_FILE
    from dmseg.results.columns import RUN_FILE

    try:
        date = datetime.date.fromisoformat(day) if day else datetime.date.today()
    except ValueError:
        raise UsageError(f"--date {day}: give a day such as 2026-11-28") from None
    if (folder / RUN_FILE).is_file():
        publish.publish_run(folder, out, date=date, creator=creator)
        click.echo(f"wrote {out}: a run; read README.md before you send it anywhere")
        return 0
    if not (folder / HEADER_FILE).is_file():
        raise UsageError(f"{folder}: neither a built benchmark ({HEADER_FILE}) nor a finished run ({RUN_FILE})")
    done = publish.publish_benchmark(open_benchmark(folder), out, date=date, creator=creator)
    click.echo(f"wrote {out}: {done.rows} images with pixels, of {len(done.shared)} datasets")
    if done.withheld:
        click.echo(f"only the manifest, by licence: {', '.join(done.withheld)}")
    return 0
