"""``dmseg verify``: check a built benchmark against its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dmseg.cli.options import FOLDER, engine_options, jobs_option
from dmseg.errors import UsageError

_SHOWN = 20


def _share(ctx: click.Context, param: click.Parameter, value: Any) -> float:
    """Read ``2%`` or ``0.02`` as a share above 0 and at most 1."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"--sample {text}: give a share of the images, such as 2% or 0.02, up to 100%")
    return share


@click.command("verify")
@click.argument("bench", type=FOLDER)
@click.option(
    "--sample", default="100%", show_default=True, callback=_share, help="Share of images to check the pixels of."
)
@jobs_option
@engine_options
def command(bench: Path, sample: float, jobs: int, engine: str, scheduler: str | None) -> int:
    """Check a built benchmark against its manifest: digests, files, pixels, masks, plans.

    \b
    Example:
      dmseg verify bench --sample 2%
    """
    from dmseg import build

    opened = build.open_benchmark(bench)
    problems = build.verify(opened, sample=sample, jobs=jobs, engine=engine, scheduler=scheduler)
    name = f"{opened.info['edition']} {opened.info['version']} ({opened.digest})"
    if not problems:
        click.echo(f"{bench}: in order; {name}")
        return 0
    for problem in problems[:_SHOWN]:
        click.echo(f"{problem.where}: {problem.what}")
    if len(problems) > _SHOWN:
        click.echo(f"... and {len(problems) - _SHOWN} more")
    click.echo(f"{bench}: {len(problems)} problems; {name}")
    click.echo("next: remove the files named above and run the same `dmseg build` command, which makes them again")
    return 1
