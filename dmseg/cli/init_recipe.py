"""``dmseg init-recipe``: guess a recipe for one's own images and masks."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import FILE, FOLDER

_SHOWN = 10


@click.command(epilog="Example: dmseg init-recipe my-scans --modality ultrasound --out my-scans.toml")
@click.argument("folder", type=FOLDER)
@click.option("--modality", required=True, help="ultrasound, mri, ct, xray, dental, endoscopy, dermoscopy, microscopy.")
@click.option("--name", default=None, help="Name of the dataset; default: the folder's.")
@click.option("--out", type=FILE, default=None, help="Recipe file to write; default: NAME.toml here.")
@click.option("--force", is_flag=True, help="Replace the recipe file if it is there.")
def command(folder: Path, modality: str, name: str | None, out: Path | None, force: bool) -> None:
    """Guess a recipe for your own folder of images and masks, and say what did not match.

    Images (PNG, JPEG, TIFF, DICOM) with mask files, NIfTI volumes with label volumes, or DICOM series with DICOM
    segmentations, at any depth. Mask files are told by a folder such as masks/ or an ending such as _mask; each label
    or colour in them is a structure.
    """
    from dmseg.datasets import own
    from dmseg.errors import UsageError
    from dmseg.files import write_text
    from dmseg.simulators.tables import default_window, modality_tables
    from dmseg.types import check_modality

    domain = modality_tables()[check_modality(modality)].operations
    guessed = own.guess(folder, modality=modality, domain=domain, window=default_window(modality), name=name)
    path = out or Path(f"{guessed.recipe.id}.toml")
    if path.exists() and not force:
        raise UsageError(f"{path}: there already; give another --out, or --force to replace it")
    write_text(path, guessed.text)
    parameters = guessed.recipe.parameters
    if "image" in parameters:
        click.echo(f"images: {parameters['image']}    masks: {parameters['mask']}")
    else:
        click.echo("images: DICOM series    masks: DICOM segmentations that refer to them")
    named: dict[str, object] = next(
        (parameters[kind] for kind in ("labels", "colours", "segments") if kind in parameters), {}
    )
    objects = ", ".join(f"{structure} = {value}" for structure, value in named.items())
    click.echo(f"objects: {objects or 'one per mask file, grey above ' + str(parameters['mask_above'])}")
    click.echo(f"{guessed.n_sources} with masks, {len(guessed.left_out)} without a partner")
    lines = [f"  {item.source}: {item.reason}" for item in guessed.left_out]
    lines += [f"  {file}: matches neither path" for file in guessed.unmatched]
    click.echo("\n".join([*lines[:_SHOWN], *([f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])]))
    click.echo(f"wrote {path}; read and correct it, then: dmseg build --recipe {path} --raw {folder} --out BENCH")
