"""``dmseg manifest export`` and ``diff``: the citable part of a benchmark, without pixels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from dmseg.cli.options import ANY_PATH

_SHOWN = 20


@click.group("manifest")
def command() -> None:
    """Export a benchmark's manifest, or compare two.

    \b
    Examples:
      dmseg manifest export bench -o paper.zip
      dmseg manifest diff bench paper.zip
    """


@command.command("export")
@click.argument("bench", type=ANY_PATH)
@click.option("-o", "--out", type=ANY_PATH, required=True, help="Folder, or a file that ends in .zip.")
@click.option("--edition", default=None, help="Name to publish it under; default: the benchmark's.")
@click.option("--version", default=None, help="Version to publish it under; default: the benchmark's.")
def export(bench: Path, out: Path, edition: str | None, version: str | None) -> None:
    """Write what others need to build exactly this benchmark: no pixels, and masks only where they may be shared.

    \b
    Examples:
      dmseg manifest export bench -o paper.zip
      dmseg manifest export bench -o dmseg/manifests/dm-seg-phantom-2.0 --edition dm-seg-phantom --version 2.0
    """
    from dmseg import build
    from dmseg.manifests import read_manifest

    exported = build.export_manifest(read_manifest(bench), out, edition=edition, version=version)
    kept = exported.masks.num_rows - exported.masks["rle"].null_count
    click.echo(f"wrote {out}: {exported.info['edition']} {exported.info['version']}")
    click.echo(f"{exported.images.num_rows} images, {exported.masks.num_rows} masks, {kept} of them with their outline")
    click.echo(f"manifest_digest {exported.digest}")
    click.echo(f"next, on another machine: dmseg build --manifest {out} --raw RAW --out bench")


@command.command("diff")
@click.argument("first", type=str)
@click.argument("second", type=str)
def diff(first: str, second: str) -> int:
    """Say how two benchmarks, manifests or published editions differ; exit code 1 where they do.

    \b
    Example:
      dmseg manifest diff bench dm-seg-phantom-2.0
    """
    from dmseg import build, manifests

    found = manifests.diff(build.find_manifest(first), build.find_manifest(second))
    if not found:
        click.echo("the same benchmark")
        return 0
    for difference in found[:_SHOWN]:
        click.echo(f"{difference.file} {difference.row}: {difference.what}".replace(" :", ":"))
    if len(found) > _SHOWN:
        click.echo(f"... and {len(found) - _SHOWN} more")
    counts = Counter(difference.file for difference in found)
    click.echo(f"differences: {', '.join(f'{n} in {file}' for file, n in counts.items())}")
    return 1
