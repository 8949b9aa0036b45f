"""Which masks belong to which image, by the templates of a recipe or by a list that names both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dmseg.datasets import templates
from dmseg.datasets.ids import plain_id, unique_ids
from dmseg.datasets.sources import NOTE, LeftOut, Reader, Scan, Source
from dmseg.datasets.templates import KEY, Match
from dmseg.errors import DataError
from dmseg.imaging import stem
from dmseg.reading import read_json

_LISTS = ("training", "validation")
_Key = tuple[str, ...]


@dataclass
class Paired:
    """An image with its masks: names for the ids, files relative to the root, the structure of each mask file."""

    names: tuple[str, str, str]
    image: Path
    masks: list[Path] = field(default_factory=list)
    structures: list[str] = field(default_factory=list)


def pair_files(reader: Reader, root: Path, files: Sequence[Path]) -> Scan:
    """Pair images with their masks by the recipe's templates ``image`` and ``mask``, or by its ``list``.

    Sources have the image first, then its masks; ``detail`` is a JSON list of the masks' structures (empty texts where
    the recipe's other rules name them). What has no partner is left out with a reason.
    """
    rules = reader.recipe.parameters
    if "list" in rules:
        paired, left_out = pair_listed(root, rules["list"], rules.get("lists", _LISTS))
    else:
        paired, left_out = pair_named(rules, root, files)
    ids = unique_ids([pair.names for pair in paired])
    cases = [plain_id(pair.names[1]) if pair.names[1] else identity for pair, identity in zip(paired, ids, strict=True)]
    return Scan([_source(*each) for each in zip(paired, ids, cases, strict=True)], left_out)


def _source(pair: Paired, identity: str, case: str) -> Source:
    return Source(identity, case, (pair.image, *pair.masks), json.dumps(pair.structures))


def pair_named(rules: Mapping[str, Any], root: Path, files: Sequence[Path]) -> tuple[list[Paired], list[LeftOut]]:
    """Pair files by the templates."""
    masks = templates.match_template(rules["mask"], root, files)
    drawn = {match.file for match in masks}
    images = templates.match_template(rules["image"], root, [file for file in files if file not in drawn])
    shared = _find_shared_fields(rules["image"], rules["mask"])
    groups, left_out = _by_key(images, shared, root)
    of_image: dict[_Key, list[Match]] = {key: [] for key in groups}
    for mask in masks:
        key = _partner(_key(mask, shared), groups)
        if key is None:
            left_out.append(LeftOut(mask.file.relative_to(root).as_posix(), "mask without an image"))
        else:
            of_image[key].append(mask)
    paired = []
    for key, image in groups.items():
        chosen, others = _of_one_reader(of_image[key], rules.get("readers", ()))
        left_out += [
            LeftOut(
                match.file.relative_to(root).as_posix(), f'drawn by reader "{match.reader}"; "{taken}" is taken', NOTE
            )
            for match, taken in others
        ]
        if not chosen:
            left_out.append(LeftOut(image.file.relative_to(root).as_posix(), "mask missing"))
            continue
        paired.append(
            Paired(
                (image.group, image.case, image.id),
                image.file.relative_to(root),
                [match.file.relative_to(root) for match in chosen],
                [match.structure for match in chosen],
            )
        )
    return paired, left_out


def _find_shared_fields(image: str | Sequence[str], mask: str | Sequence[str]) -> tuple[str, ...]:
    """Return the fields that tell images apart and that every template has."""
    every = [given for both in (image, mask) for given in ([both] if isinstance(both, str) else both)]
    return tuple(name for name in KEY if all(name in templates.fields_of(template) for template in every))


def _key(match: Match, shared: Iterable[str]) -> _Key:
    return tuple(getattr(match, name) for name in shared)


def _by_key(images: Sequence[Match], shared: Sequence[str], root: Path) -> tuple[dict[_Key, Match], list[LeftOut]]:
    """Return key -> image; images that cannot be told apart by what masks say of them are left out, all of them."""
    found: dict[_Key, list[Match]] = {}
    for match in images:
        found.setdefault(_key(match, shared), []).append(match)
    left_out = [
        LeftOut(match.file.relative_to(root).as_posix(), f"one of {len(same)} images with the same name; keep one")
        for same in found.values()
        if len(same) > 1
        for match in same
    ]
    return {key: same[0] for key, same in found.items() if len(same) == 1}, left_out


def _partner(key: _Key, groups: Mapping[_Key, Match]) -> _Key | None:
    """Return the key of the image: the equal one, or the only one that is equal without regard to case."""
    if key in groups:
        return key
    lowered = tuple(part.lower() for part in key)
    same = [other for other in groups if tuple(part.lower() for part in other) == lowered]
    return same[0] if len(same) == 1 else None


def _of_one_reader(masks: Sequence[Match], order: Sequence[str]) -> tuple[list[Match], list[tuple[Match, str]]]:
    """Return the masks of the first reader who drew this image, and the others with the name of the one taken."""
    present = {match.reader for match in masks}
    if len(present) <= 1:
        return list(masks), []
    taken = next((name for name in order if name in present), min(present))
    return [m for m in masks if m.reader == taken], [(m, taken) for m in masks if m.reader != taken]


def pair_listed(root: Path, name: str, lists: Sequence[str] = _LISTS) -> tuple[list[Paired], list[LeftOut]]:
    """Pair files by a data list: ``{"training": [{"image": path, "label": path}, ...]}`` (MONAI, MSD, nnU-Net 1).

    Raises:
        DataError: the list cannot be read, or a path in it leads outside of the folder.
    """
    entries = read_json(root / name)
    if not isinstance(entries, Mapping):
        raise DataError(f"{root / name}: expected an object with lists such as training")
    paired: list[Paired] = []
    left_out: list[LeftOut] = []
    for part in lists:
        for entry in entries.get(part) or []:
            if not isinstance(entry, Mapping) or "image" not in entry:
                left_out.append(LeftOut(f"{name}#{part}", f"no image in the entry {str(entry)[:80]}"))
                continue
            image = _inside(root / name, entry["image"])
            label = entry.get("label")
            if label is None:
                left_out.append(LeftOut(image.as_posix(), f'no label in the list "{part}" of {name}'))
                continue
            mask = _inside(root / name, label)
            absent = [file.as_posix() for file in (image, mask) if not (root / file).is_file()]
            if absent:
                left_out.append(LeftOut(image.as_posix(), f"{absent[0]}: listed in {name}, not there"))
                continue
            case = entry.get("patient") or entry.get("subject") or ""
            paired.append(Paired(("", str(case), stem(image)), image, [mask], [""]))
    times = Counter(pair.names for pair in paired)
    for pair in paired:
        if times[pair.names] > 1:
            pair.names = (pair.image.parent.as_posix(), *pair.names[1:])
    return paired, left_out


def _inside(table: Path, text: Any) -> Path:
    """Return a listed path relative to the root; lists of channels give their first."""
    first = text[0] if isinstance(text, list) and text else text
    path = PurePosixPath(str(first).replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise DataError(f'{table}: path "{first}" leads outside of the folder; give paths relative to it')
    return Path(*path.parts)
