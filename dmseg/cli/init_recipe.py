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
@click.option("--rescale", default="", help="CT values to HU: hu, hu+1024, hu+32768, 0..1, 0..1=-160..240.")
@click.option("--out", type=FILE, default=None, help="Recipe file to write; default: NAME.toml here.")
@click.option("--force", is_flag=True, help="Replace the recipe file if it is there.")
def command(folder: Path, modality: str, name: str | None, rescale: str, out: Path | None, force: bool) -> int:
    """Guess a recipe for your own folder of images and masks, and say what did not match.

    Images (PNG, JPEG, TIFF, BMP, GIF, DICOM) with mask files, or with COCO, LabelMe or Label Studio files; volumes
    (NIfTI, MetaImage, NRRD) with label volumes; DICOM series with segmentations (SEG), structure sets (RTSTRUCT) or
    label volumes; at any depth. What the values of masks mean is decided from all of them. There is always a recipe:
    what was not understood stands in it as comments, to be corrected by hand (exit code 1 if nothing could be paired).

    \b
    Example:
      dmseg init-recipe raw/mine --modality ultrasound
    """
    from dmseg.datasets import own
    from dmseg.errors import UsageError
    from dmseg.files import write_text
    from dmseg.imaging import parse_rescale
    from dmseg.simulators.tables import default_window, modality_tables
    from dmseg.types import check_modality

    modality = check_modality(modality)
    domain, window = modality_tables()[modality].operations, default_window(modality)
    if rescale:
        parse_rescale(rescale, window)
    guessed = own.guess(folder, modality=modality, domain=domain, window=window, name=name, rescale=rescale)
    path = out or Path(f"{guessed.recipe.id}.toml")
    if path.exists() and not force:
        raise UsageError(f"{path}: there already; give another --out, or --force to replace it")
    write_text(path, guessed.text)
    for line in guessed.said:
        click.echo(line)
    for line in guessed.notes:
        click.echo(f"note: {line}")
    click.echo(f"{guessed.n_sources} with masks, {len(guessed.left_out)} without a partner")
    lines = [f"  {item.source}: {item.reason}" for item in guessed.left_out]
    lines += [f"  {file}: the recipe does not speak of it" for file in guessed.unmatched]
    click.echo("\n".join([*lines[:_SHOWN], *([f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])]))
    click.echo(f"wrote {path}; read and correct it, then: dmseg build --recipe {path} --raw {folder} --out BENCH")
    return 0 if guessed.n_sources else 1
