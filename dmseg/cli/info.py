"""``dmseg info``: what is in a benchmark."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER


@click.command("info")
@click.argument("bench", type=FOLDER)
@click.option("--histogram", type=FILE, default=None, help="Write a PNG with the sizes of the objects per dataset.")
def command(bench: Path, histogram: Path | None) -> None:
    """Print tables of a benchmark per dataset, modality, split and level.

    \b
    Example:
      dmseg info bench --histogram sizes.png
    """
    from dmseg import build

    opened = build.open_benchmark(bench)
    info = opened.info
    storage = info.get("storage", "png")
    click.echo(f"{bench}: {info['edition']} {info['version']}, seed {info['seed']}, storage {storage}")
    click.echo(f"manifest_digest {opened.digest}")
    if info.get("synthetic"):
        click.echo(f"synthetic: {', '.join(info['synthetic'])}")
    for column in ("dataset", "modality", "split"):
        click.echo(f"\n{build.counts_by(opened, column).to_string()}")
    click.echo(f"\n{build.level_table(opened).to_string()}")
    shares = build.measure_capped_shares(opened)
    parts = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if name != "all")
    click.echo(f"\nvisibility cap: weakens the degradation of {shares['all']:.0%} of the images ({parts})")
    if histogram is not None:
        build.write_histogram(opened, histogram)
        click.echo(f"\nwrote {histogram}")
