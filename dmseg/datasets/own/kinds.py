"""Which kind of data a folder holds: one function per reader, each giving the reader's parameters or nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmseg.datasets import templates, tree
from dmseg.datasets.own.layouts import choose_paths
from dmseg.datasets.own.names import read_channel_names, read_colour_names, read_label_names
from dmseg.datasets.own.paths import Paths
from dmseg.datasets.own.values import Meaning, decide
from dmseg.datasets.readers.own.annotations import list_annotated
from dmseg.datasets.readers.own.dicom import tags_below
from dmseg.datasets.readers.own.images import find_images, name_of_structure
from dmseg.datasets.readers.own.pairing import Paired, pair_listed, pair_named
from dmseg.datasets.readers.own.volumes import VOLUME_SUFFIXES
from dmseg.errors import DmsegError
from dmseg.reading import read_json
from dmseg.tables import read_packaged_table

_OWN = read_packaged_table("dmseg.datasets", "datasets.toml")["own"]


@dataclass
class Kind:
    """What was made out of a folder.

    Attributes:
        reader: name of the reader.
        structures: names of the objects.
        lines: of ``[parameters]``; ``tables`` come after them.
        files: the files that were looked at, ``used`` those that the recipe speaks of.
        said: what was understood, in words; ``notes`` is what was not.
        paired: images with their masks, relative to the folder, where the reader pairs files.
    """

    reader: str
    structures: list[str]
    lines: list[str]
    files: Sequence[Path]
    used: set[Path]
    said: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    paired: Sequence[Paired] = ()


def recognise(folder: Path) -> Kind:
    """Return the kind of a folder's data; where nothing is understood, a beginning to be written by hand."""
    volumes = tree.files_below(folder, VOLUME_SUFFIXES)
    images = find_images(folder)
    return (
        _dicom(folder, ())
        or _annotations(folder, images)
        or _files(folder, volumes)
        or (_dicom(folder, volumes) if volumes else None)
        or _files(folder, images)
        or _describe_nothing(folder, volumes, images)
    )


def quote(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def percentile_line() -> str:
    """Return the line of the percentiles between which deep images are seen."""
    return f"percentiles = {json.dumps(_OWN['percentiles'])}  # black and white of values beyond 8 bit without a window"


def _unique_names(labels: Sequence[str]) -> list[str]:
    """Return labels as names for mask ids; those that are then equal get a number."""
    names: list[str] = []
    for label in labels:
        name = name_of_structure(label) or "segment"
        names.append(name if name not in names else f"{name}-{len(names)}")
    return names


def _dicom(folder: Path, volumes: Sequence[Path]) -> Kind | None:
    """Recognise DICOM series with segmentations, structure sets or label volumes."""
    tags = tags_below(folder)
    series = {found.series for found in tags.values() if found.is_image}
    labels = sorted({label for found in tags.values() for label in (*(found.segments or ()), *(found.contours or ()))})
    drawn = any(found.segments is not None or found.contours is not None for found in tags.values())
    if not drawn and not (series and volumes):
        return None
    lines, said, tables, notes = [percentile_line()], [f"{len(series)} DICOM series"], [], []
    structures = _unique_names(labels)
    used = {file for file, found in tags.items() if found.is_image or found.segments is not None or found.contours}
    if labels:
        tables += ["", "[parameters.segments]  # structure = label of the segment or region in the file"]
        tables += [f"{quote(name)} = {quote(label)}" for name, label in zip(structures, labels, strict=True)]
        said.append(f"{len(labels)} segments or regions drawn on them, by their unique ids")
    if volumes:
        template = _label_template(folder, volumes, [file for file, found in tags.items() if found.is_image])
        meaning = decide(volumes, volumes=True, names=read_label_names(folder / "dataset.json"))
        lines += [
            f"mask = {quote(template)}  # label volumes; {{id}} is a folder, patient id or series id",
            *_affine_lines(),
            *meaning.lines,
        ]
        tables += meaning.tables
        structures += [name for name in meaning.structures if name not in structures]
        said.append(f"labels in files of their own: {meaning.said}")
        notes += meaning.notes
        used |= {match.file for match in templates.match_template(template, folder, volumes)}
    return Kind("own_dicom", structures, lines, [*tags, *volumes], used, said, notes, tables)


def _label_template(folder: Path, labels: Sequence[Path], images: Sequence[Path]) -> str:
    """Return the template of label volumes: ``{id}`` is the name or the folder that DICOM folders have too."""
    parts = {part.lower() for image in images for part in image.relative_to(folder).parent.parts}
    votes: Counter[str] = Counter()
    for label in labels:
        name = label.relative_to(folder)
        pieces = [*name.parent.parts, templates.plain_stem(label)]
        hit = next((k for k in reversed(range(len(pieces))) if pieces[k].lower() in parts), len(pieces) - 1)
        votes["/".join("{id}" if k == hit else piece if k > hit else "{any}" for k, piece in enumerate(pieces))] += 1
    best = votes.most_common(1)[0][0]
    fixed = {label.relative_to(folder).parts[0] for label in labels}
    return best.replace("{any}", next(iter(fixed)), 1) if best.startswith("{any}") and len(fixed) == 1 else best


def _affine_lines() -> list[str]:
    return ['mask_affine = "own"  # "image" trusts the order of the voxels where mask files do not say where they lie']


def _annotations(folder: Path, images: Sequence[Path]) -> Kind | None:
    """Recognise annotation files: COCO, Label Studio, LabelMe."""
    files = tree.files_below(folder, (".json",))
    kinds: dict[str, list[Path]] = {}
    for file in files:
        if form := _annotation_format(file):
            kinds.setdefault(form, []).append(file)
    if not kinds or not images:
        return None
    form = max(kinds, key=lambda name: len(kinds[name]))
    given = ["*.json"] if form == "labelme" else [file.relative_to(folder).as_posix() for file in kinds[form]]
    rules = {"format": form, "annotations": given}
    labels: Counter[str] = Counter()
    try:
        for entry in list_annotated(folder, rules):
            labels.update(str(shape.get("label", "")) for shape in entry.shapes())
    except DmsegError as error:
        return Kind("own_annotations", ["object"], [], files, set(), [], [str(error)])
    names = _unique_names(sorted(labels))
    lines = [
        f"format = {quote(form)}",
        f"annotations = {json.dumps(given, ensure_ascii=False)}  # from the folder; *.json is all below it",
        percentile_line(),
    ]
    tables = ["", "[parameters.names]  # structure = label in the annotation files"]
    tables += [f"{quote(name)} = {quote(label)}" for name, label in zip(names, sorted(labels), strict=True)]
    said = [
        f"{form.replace('_', ' ')} annotations in {len(kinds[form])} files: "
        f"{sum(labels.values())} shapes, {len(labels)} labels"
    ]
    return Kind("own_annotations", names or ["object"], lines, images, set(images), said, [], tables)


def _annotation_format(file: Path) -> str:
    """Return which annotation format a JSON file has, or an empty text."""
    with file.open("rb") as stream:
        head = stream.read(1 << 16)
    if b'"annotations"' in head and b'"images"' in head and b'"categories"' in _whole(file, head):
        return "coco"
    if b'"shapes"' in head and b'"imagePath"' in _whole(file, head):
        return "labelme"
    return (
        "label_studio"
        if head.lstrip()[:1] == b"[" and b'"annotations"' in head and b'"data"' in _whole(file, head)
        else ""
    )


def _whole(file: Path, head: bytes) -> bytes:
    return head if len(head) < 1 << 16 else file.read_bytes()


def _files(folder: Path, files: Sequence[Path]) -> Kind | None:
    """Recognise images, or volumes, with masks in files of their own: by their paths, or by a list that names both."""
    if not files:
        return None
    volumes = files[0].name.lower().endswith(VOLUME_SUFFIXES)
    paths = choose_paths(folder, files, volumes=volumes)
    rules: dict[str, Any] = {} if paths is None else {"image": list(paths.image), "mask": list(paths.mask)}
    paired, _ = pair_named(rules, folder, files) if rules else ([], [])
    listed = _best_list(folder)
    if listed and len(listed[1]) > len(paired):
        name, paired = listed
        lines, said = [f"list = {quote(name)}  # names images and masks"], [f"pairs from {name}"]
        masks = [folder / mask for pair in paired for mask in pair.masks]
    elif not paired or paths is None:
        return None
    else:
        lines, said = _path_lines(paths), [_paths_text(paths)]
        masks = [match.file for match in templates.match_template(paths.mask, folder, files)]
        lines += _reader_lines(paths, folder, files)
    meaning = _decide_meaning(folder, masks, paths, volumes)
    structures = _file_structures(paired, meaning)
    lines += [*meaning.lines, percentile_line(), *(_affine_lines() if volumes else [])]
    used = {folder / file for pair in paired for file in (pair.image, *pair.masks)} | set(masks)
    if rules:
        used |= {match.file for match in templates.match_template(rules["image"], folder, files)}
    if paths and paths.objects and (same := templates.match_template(paths.objects, folder, files)):
        lines.append(f"objects = {quote(paths.objects)}  # tells the objects of a structure apart")
        used |= {match.file for match in same}
    if channels := read_channel_names(folder / "dataset.json"):
        said.append(f"channels of dataset.json: {', '.join(channels)}; the first is read")
    reader = "own_volumes" if volumes else "own_images"
    said.append(meaning.said)
    return Kind(reader, structures, lines, files, used, said, meaning.notes, meaning.tables, paired)


def _path_lines(paths: Paths) -> list[str]:
    return [
        "# Paths without suffix: {id} is what image and mask share, {case} the patient, {group} a folder that is none,",
        "# {structure} what is drawn, {reader} who drew it, {k} a number, {any} anything.",
        f"image = {json.dumps(list(paths.image), ensure_ascii=False)}",
        f"mask = {json.dumps(list(paths.mask), ensure_ascii=False)}",
    ]


def _paths_text(paths: Paths) -> str:
    name = f"{paths.name}: " if paths.name else ""
    return f"{name}images: {', '.join(paths.image)}    masks: {', '.join(paths.mask)}"


def _reader_lines(paths: Paths, folder: Path, files: Sequence[Path]) -> list[str]:
    readers = sorted({match.reader for match in templates.match_template(paths.mask, folder, files)} - {""})
    if not readers:
        return []
    return [
        f"readers = {json.dumps(readers, ensure_ascii=False)}  # of each image the first of these who drew it is taken"
    ]


def _best_list(folder: Path) -> tuple[str, list[Paired]] | None:
    """Return the data list that pairs most images (MONAI, MSD, nnU-Net 1), if there is one."""
    found = []
    for file in tree.files(folder, (".json",)):
        try:
            content = read_json(file)
            if isinstance(content, Mapping) and isinstance(content.get("training"), list):
                found.append((file.name, pair_listed(folder, file.name)[0]))
        except DmsegError:
            continue
    return max(found, key=lambda each: len(each[1]), default=None)


def _decide_meaning(folder: Path, masks: Sequence[Path], paths: Paths | None, volumes: bool) -> Meaning:
    """Decide on the masks' values, with the names that files beside them give."""
    top = folder / paths.image[0].split("{")[0] if paths else folder
    places = [place for place in (top, *top.parents) if place == folder or folder in place.parents]
    names = next(filter(None, (read_label_names(place / "dataset.json") for place in places)), None)
    colours = next(filter(None, (read_colour_names(place / "labelmap.txt") for place in places)), None)
    return decide(masks, volumes=volumes, names=names, colours=colours)


def _file_structures(paired: Sequence[Paired], meaning: Meaning) -> list[str]:
    """Return the names of the structures: those that the paths of masks give, or those of the values."""
    named = {name for pair in paired for name in pair.structures if name}
    return _unique_names(sorted(named)) if named and meaning.kind in ("binary", "instances") else meaning.structures


def _describe_nothing(folder: Path, volumes: Sequence[Path], images: Sequence[Path]) -> Kind:
    """Return the beginning of a recipe for a folder of which nothing was understood."""
    files = volumes or images
    places: dict[str, list[str]] = {}
    for file in files:
        places.setdefault(file.relative_to(folder).parent.as_posix(), []).append(file.name)
    notes = [f"{len(names)} files in {place}/, such as {names[0]}" for place, names in list(places.items())[:10]]
    notes = notes or ["no image or volume file was found"]
    lines = [
        *_path_lines(Paths("", ("images/{id}",), ("masks/{id}",))),
        'masks = "binary"  # or "instances", "labels", "colours"',
        'mask_above = "half"',
        percentile_line(),
    ]
    return Kind(
        "own_volumes" if volumes else "own_images",
        ["object"],
        lines,
        files,
        set(),
        ["no pair of an image and a mask"],
        notes,
    )
