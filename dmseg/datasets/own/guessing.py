"""From a folder to a recipe that can be read, corrected and built: what was understood and what not, in comments."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmseg.datasets.ids import plain_id
from dmseg.datasets.own.kinds import Kind, quote, recognise
from dmseg.datasets.readers import reader_of
from dmseg.datasets.readers.own.volumes import read_labels
from dmseg.datasets.recipes import RECIPES, Recipe, from_table
from dmseg.datasets.sources import LEFT_OUT, LeftOut, Scan
from dmseg.errors import DataError, DmsegError
from dmseg.imaging import describe_difference, image_orientation, read_image, read_volume, recognise_scale
from dmseg.tables import read_packaged_table
from dmseg.types import Window, check_modality

_OWN = read_packaged_table("dmseg.datasets", "datasets.toml")["own"]
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Guess:
    """A guessed recipe and what it was guessed from.

    Attributes:
        recipe: the recipe; ``text`` is its TOML.
        text: the file to write.
        n_sources: images (or volumes, or series) with masks that it finds.
        left_out: images without a mask and masks without an image.
        unmatched: image files that the recipe does not speak of.
        said: what was understood, in words.
        notes: what was not, or is not certain.
    """

    recipe: Recipe
    text: str
    n_sources: int
    left_out: Sequence[LeftOut]
    unmatched: Sequence[Path]
    said: Sequence[str]
    notes: Sequence[str]


def guess(
    folder: Path,
    *,
    modality: str,
    domain: Sequence[str],
    window: Window | None = None,
    name: str | None = None,
    rescale: str = "",
) -> Guess:
    """Look at a folder and guess which files are images, which are masks, and what the masks' values mean.

    There is always a recipe: where nothing is understood, one to be completed by hand.

    Args:
        folder: images with mask files, volumes with label volumes, DICOM series with what was drawn on them, or images
            with annotation files, at any depth.
        modality: one of :data:`dmseg.types.MODALITIES`; it cannot be guessed.
        domain: names of the domain degradations of LQ-3+.
        window: grey window for values of more than 8 bits; None = percentiles of each image or volume.
        name: id of the dataset; None = the folder's name.
        rescale: conversion of CT values to HU (:func:`dmseg.imaging.parse_rescale`); empty: as the values look.

    Raises:
        UsageError: an unknown modality.
        DataError: no such folder.
        MissingDependencyError: there are DICOM segmentations, and highdicom is not installed.
    """
    modality = check_modality(modality)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds your images and masks")
    kind = recognise(folder)
    _look_at_orientations(folder, kind)
    if modality == "ct":
        _look_at_scales(folder, kind, rescale)
    if kind.reader == "own_volumes":
        _look_at_affines(folder, kind)
    identity = plain_id(name or folder.resolve().name)
    identity = f"my-{identity}" if identity.lower() in {known.lower() for known in RECIPES} else identity
    scan = _scan(identity, folder, modality, domain, window, kind)
    unmatched = [file.relative_to(folder) for file in kind.files if file not in kind.used]
    text = _write_recipe(identity, folder, modality, domain, window, kind, scan, unmatched)
    recipe = from_table(tomllib.loads(text), f"the recipe guessed for {folder}")
    left_out = [item for item in scan.left_out if item.kind == LEFT_OUT]
    return Guess(recipe, text, len(scan.sources), left_out, unmatched, kind.said, kind.notes)


def _scan(identity: str, folder: Path, modality: str, domain: Sequence[str], window: Window | None, kind: Kind) -> Scan:
    text = _write_recipe(identity, folder, modality, domain, window, kind, Scan([]), [])
    recipe = from_table(tomllib.loads(text), f"the recipe guessed for {folder}")
    try:
        return reader_of(recipe).scan(folder)
    except DataError as error:
        kind.notes.append(str(error))
        return Scan([])


def _look_at_orientations(folder: Path, kind: Kind) -> None:
    """Say how many images are turned by their EXIF orientation, and on which grid their masks are drawn."""
    if kind.reader != "own_images":
        return
    turned = [pair for pair in kind.paired if _orientation(folder / pair.image) != 1]
    if not turned:
        return
    kind.said.append(f"{len(turned)} of {len(kind.paired)} images are turned by their EXIF orientation")
    kind.lines.append(
        'mask_orientation = ""  # of masks of turned images: "stored" or "upright"; empty: as the sizes say'
    )
    square = sum(_is_square(folder / pair.image) or _orientation(folder / pair.image) < 5 for pair in turned)
    if square:
        kind.notes.append(
            f"of {square} turned images the size does not say whether their masks are turned too; left out until "
            'mask_orientation says "stored" (masks on the stored grid) or "upright"'
        )


def _orientation(path: Path) -> int:
    try:
        return image_orientation(path)
    except DmsegError:
        return 1


def _is_square(path: Path) -> bool:
    height, width = read_image(path).pixels.shape[:2]
    return bool(height == width)


def _look_at_scales(folder: Path, kind: Kind, rescale: str) -> None:
    """Say in which scale CT values are, and name the conversion that fits, if one does."""
    images = [folder / pair.image for pair in kind.paired]
    chosen = images[:: max(1, len(images) // _OWN["scales_looked_at"])]
    if rescale:
        kind.lines.append(f"rescale = {quote(rescale)}  # conversion to Hounsfield units (HU), as given")
        return
    seen: dict[tuple[str, ...], str] = {}
    for path in chosen:
        try:
            values = read_volume(path).values if kind.reader == "own_volumes" else read_image(path).pixels
        except DmsegError:
            continue
        if values.dtype != np.uint8 or kind.reader == "own_volumes":
            scale = recognise_scale(values)
            seen.setdefault(scale.names, f"{path.relative_to(folder)}: {scale.seen}")
    if not seen or set(seen) == {("hu",)}:
        return
    common = set.intersection(*map(set, seen)) - {"hu"}
    if len(common) == 1 and all(len(names) == 1 for names in seen):
        found = next(iter(common))
        kind.lines.append(
            f"rescale = {quote(found)}  # conversion to Hounsfield units (HU), by the looks of the values"
        )
        kind.said.append(
            f'CT values are not in Hounsfield units, but look like "{found}" ({next(iter(seen.values()))})'
        )
        return
    kind.lines.append(
        'rescale = ""  # name the conversion to Hounsfield units (HU), such as "hu+1024"; "hu": they are HU'
    )
    for names, text in seen.items():
        kind.notes.append(f"CT values that are not in Hounsfield units: {text}; rescale = {' or '.join(names) or '?'}")


def _look_at_affines(folder: Path, kind: Kind) -> None:
    """Say where labels do not lie in the place of their volumes, and which volumes hold several."""
    pairs = kind.paired[:: max(1, len(kind.paired) // _OWN["scales_looked_at"])]
    for pair in pairs:
        try:
            volume = read_volume(folder / pair.image)
        except DmsegError as error:
            kind.notes.append(f"{error}; volume = 0 under [parameters] takes the first of several")
            continue
        try:
            labels = read_labels(folder / pair.masks[0], {"masks": "binary"}, volume)
        except DmsegError as error:
            kind.notes.append(str(error))
            continue
        if difference := describe_difference(volume, labels):
            trusted = read_volume(folder / pair.masks[0], volume.stored_axes).values.shape == volume.values.shape
            hint = '; if the order of the voxels is right, write mask_affine = "image"' if trusted else ""
            kind.notes.append(f"{pair.masks[0].as_posix()}: labels in another place: {difference}{hint}")


def _write_recipe(
    identity: str,
    folder: Path,
    modality: str,
    domain: Sequence[str],
    window: Window | None,
    kind: Kind,
    scan: Scan,
    unmatched: Sequence[Path],
) -> str:
    """Return the TOML of the recipe."""
    slices = kind.reader in ("own_volumes", "own_dicom")
    where = "the patient id" if kind.reader == "own_dicom" else "{case} of the paths below"
    title = folder.resolve().name
    lines = [
        "# Guessed by dmseg init-recipe. Read it, correct it, then: dmseg build --recipe THIS --raw FOLDER --out BENCH",
        *_comments("Understood", kind.said),
        *_comments("Not understood, or not certain", kind.notes),
        *_comments("Without a partner", [f"{item.source}: {item.reason}" for item in scan.left_out]),
        *_comments("Files that the recipe does not speak of", [file.as_posix() for file in unmatched]),
        f"id = {quote(identity)}",
        "version = 1",
        f"title = {quote(f'Own data: {title}')}",
        f"modalities = [{quote(modality)}]",
        'anatomy = "say what is shown"',
        f"structures = [{', '.join(map(quote, kind.structures))}]  # names in mask ids; rename them here and below",
        f'reader = "{kind.reader}"',
        f"folders = [{quote(title)}]",
        'role = "unseen"  # unseen: evaluation only; seen: training',
        "expected_images = 0",
        'target_rule = "say what is annotated, and by whom"',
        f'case_rule = "{where}, else each image is its own case"',
        *(['slice_rule = "every slice with an object"'] if slices else []),
        'citation = ""',
        'licence = "say under which licence"',
        'url = ""',
        'how_to_get = "say where it comes from"',
        'tree = ""',
        "",
        "[domain]  # degradations of LQ-3+",
        f"{modality} = [{', '.join(map(quote, domain))}]",
        "",
        *([f"[windows.{modality}]", f"center = {window.center}", f"width = {window.width}", ""] if window else []),
        "[parameters]",
        *kind.lines,
        *kind.tables,
    ]
    return "\n".join(lines) + "\n"


def _comments(title: str, items: Sequence[str]) -> list[str]:
    """Return a block of comments; whatever stands in a file name, a comment stays one line."""
    if not items:
        return []
    shown = [f"#   {' '.join(''.join(c if c.isprintable() else ' ' for c in item).split())}" for item in items[:_SHOWN]]
    more = [f"#   and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return [f"# {title}:", *shown, *more]
