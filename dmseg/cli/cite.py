"""``dmseg cite``: BibTeX and licences of what a benchmark is made of."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import ANY_PATH


@click.command("cite")
@click.argument("bench", type=ANY_PATH)
def command(bench: Path) -> None:
    """Print BibTeX of the paper and of every dataset in a benchmark or manifest, with their licences.

    \b
    Example:
      dmseg cite bench > sources.bib
    """
    from dmseg import build
    from dmseg.manifests import read_manifest

    click.echo(build.cite(read_manifest(bench)), nl=False)
