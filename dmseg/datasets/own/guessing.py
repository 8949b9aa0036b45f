"""Guess a recipe for one's own folder of images and masks, to be read, corrected and built.

Three kinds are told apart: NIfTI volumes with label volumes, DICOM series with DICOM segmentations, and images with
mask files, whose objects are one per file, labels or colours.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets import templates, tree
from dmseg.datasets.mask_rules import is_mask_name, mask_ending
from dmseg.datasets.readers import reader_of
from dmseg.datasets.readers.dicom_seg import tags_below
from dmseg.datasets.readers.own import PICTURE_SUFFIXES
from dmseg.datasets.readers.volumes import NIFTI_SUFFIXES
from dmseg.datasets.recipes import Recipe, from_table
from dmseg.datasets.sources import LeftOut, clean_id
from dmseg.errors import DataError
from dmseg.imaging import DicomTags, grey_if_colourless, read_grey, read_image, read_label_volume, stem
from dmseg.tables import read_packaged_table
from dmseg.types import Window, check_modality

_OWN = read_packaged_table("dmseg.datasets", "datasets.toml")["own"]


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


@dataclass(frozen=True, slots=True)
class _Kind:
    """What was made out of a folder: the reader, the objects' names and the lines of the recipe's parameters.

    ``used`` are the files that the recipe speaks of, of all ``files`` that were looked at.
    """

    reader: str
    structures: Sequence[str]
    parameters: Sequence[str]
    files: Sequence[Path]
    used: Set[Path]


def guess(
    folder: Path, *, modality: str, domain: Sequence[str], window: Window | None = None, name: str | None = None
) -> Guess:
    """Look at a folder and guess which files are images, which are masks, and what the masks' values mean.

    Args:
        folder: images with mask files, NIfTI volumes with label volumes, or DICOM series with DICOM segmentations,
            at any depth.
        modality: one of :data:`dmseg.types.MODALITIES`; it cannot be guessed.
        domain: names of the domain degradations of LQ-3+.
        window: grey window for values of more than 8 bits; None = percentiles of each image or volume.
        name: id of the dataset; None = the folder's name.

    Raises:
        UsageError: an unknown modality.
        DataError: no pair of an image and a mask can be made out, or the masks' colours run into each other.
        MissingDependencyError: there are DICOM segmentations, and highdicom is not installed.
    """
    check_modality(modality)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds your images and masks")
    kind = _kind(folder)
    identity = clean_id(name or folder.resolve().name)
    text = _toml(identity, folder, modality, domain, window, kind)
    recipe = from_table(tomllib.loads(text), f"the recipe guessed for {folder}")
    scan = reader_of(recipe).scan(folder)
    if not scan.sources:
        raise DataError(_without_pairs(folder, recipe, len(kind.files)))
    unmatched = [file.relative_to(folder) for file in kind.files if file not in kind.used]
    return Guess(recipe, text, len(scan.sources), scan.left_out, unmatched)


def _without_pairs(folder: Path, recipe: Recipe, n_files: int) -> str:
    rules = recipe.parameters
    if "image" not in rules:
        return (
            f"{folder}: {n_files} DICOM files, but no segmentation refers to a series that is there; "
            "put the series and its segmentations into one folder"
        )
    return (
        f"{folder}: {n_files} files, but no image has a mask by the guess image={rules['image']!r}, "
        f"mask={rules['mask']!r}; name masks like their images, in a folder masks/ or with an ending such as _mask"
    )


def _kind(folder: Path) -> _Kind:
    """Return what is in the folder: volumes before segmentations before images."""
    if files := tree.files_below(folder, NIFTI_SUFFIXES):
        return _pair_files(folder, files, volumes=True)
    tags = tags_below(folder)
    if any(found.segments is not None for found in tags.values()):
        return _dicom(tags)
    return _pair_files(folder, tree.files_below(folder, PICTURE_SUFFIXES), volumes=False)


def _dicom(tags: Mapping[Path, DicomTags]) -> _Kind:
    """Return the kind of DICOM series with segmentations; every label that occurs is a structure."""
    labels = sorted({label for found in tags.values() for label in found.segments or ()})
    names = _unique_names(labels)
    lines = _percentile_lines()
    lines += ["", "[parameters.segments]  # structure = label of the segment in the segmentations"]
    lines += [f"{json.dumps(name)} = {_quote(label)}" for name, label in zip(names, labels, strict=True)]
    used = {file for file, found in tags.items() if found.picture or found.segments is not None}
    return _Kind("own_dicom_seg", names, lines, list(tags), used)


def _unique_names(labels: Sequence[str]) -> list[str]:
    """Return labels as names for mask ids; those that are then equal get a number."""
    names: list[str] = []
    for label in labels:
        name = clean_id(label.strip().lower()) or "segment"
        names.append(name if name not in names else f"{name}-{len(names)}")
    return names


def _pair_files(folder: Path, files: Sequence[Path], *, volumes: bool) -> _Kind:
    """Return the kind of images and masks in files of their own, paired by their names."""
    image, mask = _templates(folder, files)
    used = {file for template in (image, mask) for file, _, _ in templates.match_template(template, folder, files)}
    objects = _objects([file for file, _, _ in templates.match_template(mask, folder, files)], volumes)
    lines = [
        "# Paths without suffix: {id} is the part that image and mask share, {case} the patient, {k} a number.",
        f"image = {_quote(image)}",
        f"mask = {_quote(mask)}",
        f"mask_above = {objects.above}  # a mask is what lies above this grey (masks without labels)",
        *_percentile_lines(),
        *objects.lines(),
    ]
    reader = "own_volumes" if volumes else "own_pictures"
    return _Kind(reader, list(objects.labels or objects.colours or ["object"]), lines, files, used)


def _percentile_lines() -> list[str]:
    return [
        f"percentiles = {json.dumps(_OWN['percentiles'])}  # black and white of values beyond 8 bit without a window"
    ]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _templates(folder: Path, files: Sequence[Path]) -> tuple[str, str]:
    """Return the templates of images and masks: the kinds that most files follow."""
    names = [(file.relative_to(folder).parent, stem(file)) for file in files]
    masks = [(parent, name) for parent, name in names if is_mask_name(parent, name)]
    images = [(parent, name) for parent, name in names if not is_mask_name(parent, name)]
    if not masks or not images:
        found = f"{len(images)} images and {len(masks)} masks" if files else "no PNG, JPEG, TIFF, DICOM or NIfTI file"
        raise DataError(
            f"{folder}: {found}; expected both, masks in a folder such as masks/ or with an ending such as _mask"
        )
    ending = _most(mask_ending(name) for _, name in masks)
    image_ending = _most(_image_ending(name, {other for _, other in masks}, ending) for _, name in images)
    numbered = "{k}" if any(re.fullmatch(r".*" + re.escape(ending) + r"[ _-]?\d+", name) for _, name in masks) else ""
    numbered = numbered if ending else ""
    return (
        f"{_folders([parent for parent, _ in images])}{{id}}{image_ending}",
        f"{_folders([parent for parent, _ in masks])}{{id}}{ending}{numbered}",
    )


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


@dataclass(frozen=True, slots=True)
class _Objects:
    """What the values of masks mean: structures by label or by RGB colour; neither: one object per file."""

    above: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    colours: Mapping[str, Sequence[int]] = field(default_factory=dict)
    background: Sequence[int] = (0, 0, 0)

    def lines(self) -> list[str]:
        """Return the lines of the recipe."""
        if self.labels:
            return ["", "[parameters.labels]", *(f"{name} = {value}" for name, value in self.labels.items())]
        if not self.colours:
            return []
        return [
            f"background = {json.dumps(list(self.background))}  # the colour that is no object",
            f"colour_within = {_OWN['colour_within']}  # a pixel within this RGB distance of a colour has it",
            f"colour_core = {_OWN['colour_core']}  # least side of an area of a colour; 3 or more where edges are soft",
            "",
            "[parameters.colours]  # structure = RGB",
            *(f"{name} = {json.dumps(list(colour))}" for name, colour in self.colours.items()),
        ]


def _objects(masks: Sequence[Path], volumes: bool) -> _Objects:
    """Return what the values of some of the masks mean."""
    chosen = masks[:: max(1, len(masks) // _OWN["masks_looked_at"])]
    lossy = any(path.suffix.lower() in (".jpg", ".jpeg") for path in chosen)
    if not volumes and any(_has_colour(path) for path in chosen):
        return _colours(chosen)
    seen = set(np.concatenate([np.unique(_read(path, volumes)) for path in chosen]).tolist()) - {0}
    if not volumes and (lossy or seen <= {1} or seen <= {255} or len(seen) > _OWN["most_labels"]):
        return _Objects(above=0 if seen <= {1} else _OWN["mask_above"])
    if not seen:
        raise DataError(f"the masks looked at are all empty ({chosen[0]} and others)")
    return _Objects(labels={f"label_{value}": int(value) for value in sorted(seen)})


def _has_colour(path: Path) -> bool:
    """Return whether a mask is an image in which some pixel has a colour."""
    pixels = grey_if_colourless(read_image(path).pixels)
    return pixels.ndim == 3


def _colours(masks: Sequence[Path]) -> _Objects:
    """Return the colours of drawings, named by their hexadecimal RGB; black, else the most frequent, is no object."""
    counts: Counter[tuple[int, ...]] = Counter()
    for path in masks:
        pixels = read_image(path).pixels
        pixels = pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, axis=2)
        found, n = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        counts.update(dict(zip(map(tuple, found.tolist()), n.tolist(), strict=True)))
    if len(counts) > _OWN["most_labels"] + 1:
        raise DataError(
            f"{masks[0]} and others: {len(counts)} colours, so their edges are soft or they are JPEG files; "
            "init-recipe takes every colour for a structure. Save them without soft edges as PNG"
        )
    background = (0, 0, 0) if (0, 0, 0) in counts else counts.most_common(1)[0][0]
    structures = sorted(colour for colour in counts if colour != background)
    names = {"colour_" + "".join(f"{part:02x}" for part in colour): colour for colour in structures}
    return _Objects(colours=names, background=background)


def _read(path: Path, volumes: bool) -> NDArray[Any]:
    return read_label_volume(path).values if volumes else read_grey(path)


def _toml(identity: str, folder: Path, modality: str, domain: Sequence[str], window: Window | None, kind: _Kind) -> str:
    slices = kind.reader != "own_pictures"
    where = "the patient id" if kind.reader == "own_dicom_seg" else "{case} of the paths below"
    lines = [
        "# Guessed by dmseg init-recipe. Read it, correct it, then: dmseg build --recipe THIS --raw FOLDER --out BENCH",
        f"id = {json.dumps(identity)}",
        "version = 1",
        f"title = {_quote(f'Own data: {folder.resolve().name}')}",
        f"modalities = {json.dumps([modality])}",
        'anatomy = "say what is shown"',
        f"structures = {json.dumps(list(kind.structures))}  # names in mask ids; rename them here and below",
        f'reader = "{kind.reader}"',
        f"folders = [{_quote(folder.resolve().name)}]",
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
        f"{modality} = {json.dumps(list(domain))}",
        "",
        *([f"[windows.{modality}]", f"center = {window.center}", f"width = {window.width}", ""] if window else []),
        "[parameters]",
        *kind.parameters,
    ]
    return "\n".join(lines) + "\n"
