"""Guess a recipe for one's own folder of images and masks, to be read, corrected and built."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets import templates, tree
from dmseg.datasets.readers import reader_of
from dmseg.datasets.readers.own import PICTURE_SUFFIXES
from dmseg.datasets.readers.volumes import NIFTI_SUFFIXES
from dmseg.datasets.recipes import Recipe, from_table
from dmseg.datasets.sources import LeftOut, clean_id
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import read_grey, read_label_volume, stem
from dmseg.tables import packaged_table
from dmseg.types import Window, check_modality

_MASK = re.compile(r"(?:^|(?<=[ _-]))(?:mask|seg|segmentation|label|gt|ground[ _-]?truth|annotation)s?", re.IGNORECASE)
_OWN = packaged_table("dmseg.datasets", "datasets.toml")["own"]


@dataclass(frozen=True, slots=True)
class Guess:
    """A guessed recipe and what it was guessed from.

    Attributes:
        recipe: the recipe; ``text`` is its TOML.
        text: the file to write.
        n_sources: images (or volumes) with masks that it finds.
        left_out: images without a mask and masks without an image.
        unmatched: files of a known kind that neither template names.
    """

    recipe: Recipe
    text: str
    n_sources: int
    left_out: Sequence[LeftOut]
    unmatched: Sequence[Path]


def guess(
    folder: Path, *, modality: str, domain: Sequence[str], window: Window | None = None, name: str | None = None
) -> Guess:
    """Look at a folder and guess which files are images, which are masks, and what the masks' values mean.

    Args:
        folder: pictures with mask files, or NIfTI volumes with label volumes, at any depth.
        modality: one of :data:`dmseg.types.MODALITIES`; it cannot be guessed.
        domain: names of the domain degradations of LQ-3+.
        window: grey window for values of more than 8 bits; None = percentiles of each picture or volume.
        name: id of the dataset; None = the folder's name.

    Raises:
        UsageError: an unknown modality.
        DataError: no pair of an image and a mask can be made out, or the masks are colour-coded.
    """
    check_modality(modality)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds your images and masks")
    files = tree.files_below(folder, NIFTI_SUFFIXES)
    volumes = bool(files)
    files = files or tree.files_below(folder, PICTURE_SUFFIXES)
    image, mask = _templates(folder, files)
    used = {file for template in (image, mask) for file, _, _ in templates.matched(template, folder, files)}
    labels, above = _values([file for file, _, _ in templates.matched(mask, folder, files)], volumes)
    identity = clean_id(name or folder.resolve().name)
    text = _toml(identity, folder, modality, domain, window, volumes, (image, mask), labels, above)
    recipe = from_table(tomllib.loads(text), f"the recipe guessed for {folder}")
    scan = reader_of(recipe).scan(folder)
    if not scan.sources:
        raise DataError(
            f"{folder}: {len(files)} files, but no image has a mask by the guess image={image!r}, mask={mask!r}; "
            "name masks like their images, in a folder masks/ or with an ending such as _mask"
        )
    unmatched = [file.relative_to(folder) for file in files if file not in used]
    return Guess(recipe, text, len(scan.sources), scan.left_out, unmatched)


def _templates(folder: Path, files: Sequence[Path]) -> tuple[str, str]:
    """Return the templates of images and masks: the kinds that most files follow."""
    names = [(file.relative_to(folder).parent, stem(file)) for file in files]
    masks = [(parent, name) for parent, name in names if _mask_place(parent, name)]
    images = [(parent, name) for parent, name in names if not _mask_place(parent, name)]
    if not masks or not images:
        found = f"{len(images)} images and {len(masks)} masks" if files else "no PNG, JPEG, TIFF, DICOM or NIfTI file"
        raise DataError(
            f"{folder}: {found}; expected both, masks in a folder such as masks/ or with an ending such as _mask"
        )
    ending = _most(_ending(name) for _, name in masks)
    image_ending = _most(_image_ending(name, {other for _, other in masks}, ending) for _, name in images)
    numbered = "{k}" if any(re.fullmatch(r".*" + re.escape(ending) + r"[ _-]?\d+", name) for _, name in masks) else ""
    numbered = numbered if ending else ""
    return (
        f"{_folders([parent for parent, _ in images])}{{id}}{image_ending}",
        f"{_folders([parent for parent, _ in masks])}{{id}}{ending}{numbered}",
    )


def _mask_place(parent: Path, name: str) -> bool:
    return bool(_ending(name)) or any(_MASK.search(part) for part in parent.parts)


def _ending(name: str) -> str:
    """Return the ending of a mask's stem that says so, with its separator, without a number after it."""
    found = re.search(r"([ _-])(" + _MASK.pattern + r")(?=(?:[ _-]?\d+)?$)", name, re.IGNORECASE)
    return f"{found.group(1)}{found.group(2)}" if found else ""


def _image_ending(name: str, masks: set[str], ending: str) -> str:
    """Return the ending of an image's stem that its mask does not share, such as ``_0000``."""
    endings: list[str] = ["", *_OWN["image_endings"]]
    for known in endings:
        if name.endswith(known) and f"{name.removesuffix(known)}{ending}" in masks:
            return known
    return ""


def _folders(parents: Sequence[Path]) -> str:
    """Return the folders of a template: fixed where they are the same for most files, ``{case}`` where they vary."""
    depth = Counter(len(parent.parts) for parent in parents).most_common(1)[0][0]
    levels = zip(*(parent.parts for parent in parents if len(parent.parts) == depth), strict=True)
    parts, varying = [], False
    for level in map(set, levels):
        if len(level) == 1:
            parts.append(level.pop())
        elif not varying:
            parts.append("{case}")
            varying = True
        else:
            raise DataError("folders vary at two depths; give init-recipe a folder with one level of case folders")
    return "".join(f"{part}/" for part in parts)


def _most(endings: Iterable[str]) -> str:
    return Counter(endings).most_common(1)[0][0]


def _values(masks: Sequence[Path], volumes: bool) -> tuple[dict[str, int], int]:
    """Return label names and values (empty for masks of one object), and the grey above which such a mask is set."""
    chosen = masks[:: max(1, len(masks) // _OWN["masks_looked_at"])]
    try:
        seen = set(np.concatenate([np.unique(_read(path, volumes)) for path in chosen]).tolist()) - {0}
    except ImageFileError as error:
        raise DataError(f"{error}; init-recipe needs masks of grey values or labels") from None
    lossy = any(path.suffix.lower() in (".jpg", ".jpeg") for path in chosen)
    if not volumes and (lossy or seen <= {1} or seen <= {255} or len(seen) > _OWN["most_labels"]):
        return {}, 0 if seen <= {1} else _OWN["mask_above"]
    if not seen:
        raise DataError(f"the masks looked at are all empty ({chosen[0]} and others)")
    return {f"label_{value}": int(value) for value in sorted(seen)}, 0


def _read(path: Path, volumes: bool) -> NDArray[Any]:
    return read_label_volume(path).values if volumes else read_grey(path)


def _toml(
    identity: str,
    folder: Path,
    modality: str,
    domain: Sequence[str],
    window: Window | None,
    volumes: bool,
    paths: tuple[str, str],
    labels: dict[str, int],
    above: int,
) -> str:
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in (("image", paths[0]), ("mask", paths[1]))}
    lines = [
        "# Guessed by dmseg init-recipe. Read it, correct it, then: dmseg build --recipe THIS --raw FOLDER --out BENCH",
        f"id = {json.dumps(identity)}",
        "version = 1",
        f"title = {json.dumps(f'Own data: {folder.resolve().name}', ensure_ascii=False)}",
        f"modalities = {json.dumps([modality])}",
        'anatomy = "say what is shown"',
        f"structures = {json.dumps(list(labels) or ['object'])}  # names in mask ids; rename them here and below",
        f'reader = "{"own_volumes" if volumes else "own_pictures"}"',
        f"folders = {json.dumps([folder.resolve().name], ensure_ascii=False)}",
        'role = "unseen"  # unseen: evaluation only; seen: training',
        "expected_images = 0",
        'target_rule = "say what is annotated, and by whom"',
        'case_rule = "{case} of the paths below, else each image is its own case"',
        *(['slice_rule = "every axial slice with an object"'] if volumes else []),
        'citation = ""',
        'licence = "say under which licence"',
        'url = ""',
        'how_to_get = "say where it comes from"',
        'tree = ""',
        "",
        "[domain]  # degradations of LQ-3+",
        f"{modality} = {json.dumps(list(domain))}",
        "",
        *([f"[windows.{modality}]", f"center = {window.center}", f"width = {window.width}", ""] if window else []),
        "[parameters]",
        "# Paths without suffix: {id} is the part that image and mask share, {case} the patient, {k} a number.",
        f"image = {quoted['image']}",
        f"mask = {quoted['mask']}",
        f"mask_above = {above}  # a mask is what lies above this grey (masks without labels)",
        f"percentiles = {json.dumps(_OWN['percentiles'])}  # black and white of values beyond 8 bit without a window",
    ]
    if labels:
        lines += ["", "[parameters.labels]", *(f"{name} = {value}" for name, value in labels.items())]
    return "\n".join(lines) + "\n"
