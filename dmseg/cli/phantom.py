"""``dmseg phantom``: write synthetic raw data in the original layouts."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FOLDER, CommaList, jobs_option, seed_option, track_option
from dmseg.types import MEDICAL


@click.command("phantom")
@click.option("--out", type=FOLDER, required=True, help="Folder of the raw data; each data set gets its own folder.")
@click.option("--per-dataset", type=click.IntRange(min=1), required=True, help="Images of each data set.")
@click.option("--datasets", type=CommaList(), default=None, help="Comma-separated; default: all of the track.")
@track_option
@seed_option
@jobs_option
def command(
    out: Path, per_dataset: int, datasets: tuple[str, ...] | None, track: str | None, seed: int, jobs: int
) -> int:
    """Write synthetic raw data in the original layouts, with exact masks.

    \b
    Example:
      dmseg phantom --out raw --per-dataset 4 --datasets BUSI,CHAOS
      dmseg build --raw raw --out bench
      dmseg phantom --out photos --per-dataset 4 --track natural
    """
    from dmseg.build.raw import choose_track, list_names
    from dmseg.phantoms import write_phantoms

    track = choose_track(track, datasets)
    datasets = list_names(track) if datasets is None else datasets

    folders = write_phantoms(out, per_dataset=per_dataset, seed=seed, datasets=datasets, jobs=jobs)
    click.echo(f"wrote {len(folders)} data sets to {out}: {', '.join(folder.name for folder in folders)}")
    click.echo(f"next: dmseg build --raw {out}{'' if track == MEDICAL else f' --track {track}'} --out bench")
    return 0
