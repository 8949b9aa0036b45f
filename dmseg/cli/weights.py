"""``dmseg weights``: which official weights are here, and how to get the others."""

from __future__ import annotations

import click


@click.command("weights")
@click.option("--download", "model", metavar="NAME", default=None, help="Fetch the file of this model.")
def command(model: str | None) -> int:
    """List the official weights files: verified, installed, missing, and how to get them.

    `verified`: the sha256 begins as the authors publish it. `installed`: the authors publish none; loading compares
    every key and shape. The folder is DMSEG_WEIGHTS, or `weights` in the user's data folder. The exit code is 1 where a
    file is not the authors'.

    \b
    Examples:
      dmseg weights
      dmseg weights --download mobile-sam
      dmseg weights --download lite-medsam
    """
    from dmseg.baselines import weights
    from dmseg.baselines.checkpoints import weights_folder

    if model is not None:
        return _download(model)
    files = weights.weights_files()
    click.echo(f"folder: {weights_folder()}")
    for one in files:
        click.echo(f"{one.checkpoint.file:<28}{one.state:<11}{', '.join(one.models)}")
        if one.state == weights.WRONG:
            click.echo(f"  its sha256 does not begin with {one.checkpoint.sha256_prefix}: remove it and get it again")
        if one.state in (weights.WRONG, weights.MISSING):
            click.echo(f"  {one.checkpoint.steps}" + ("" if one.checkpoint.direct else f" {one.checkpoint.source}"))
    for name, there in weights.list_shipped().items():
        click.echo(f"{'(in this package)':<28}{weights.INSTALLED if there else weights.MISSING:<11}{name}")
    missing = [one.models[0] for one in files if one.state == weights.MISSING and one.checkpoint.fetched]
    ready = [one.models[0] for one in files if one.state in (weights.VERIFIED, weights.INSTALLED)]
    if ready:
        click.echo(f"next: dmseg evaluate --model {ready[0]} --limit 2")
    elif missing:
        click.echo(f"next: dmseg weights --download {missing[-1]}")
    return 1 if any(one.state == weights.WRONG for one in files) else 0


def _download(model: str) -> int:
    from dmseg.baselines import weights

    before = weights.weights_of(model)
    if before.state in (weights.VERIFIED, weights.INSTALLED):
        click.echo(f"{before.path} is there already ({before.state})")
    else:
        path = weights.download(model)
        click.echo(f"wrote {path} ({weights.weights_of(model).state})")
    click.echo(f"next: dmseg evaluate --model {model} --limit 2")
    return 0
