"""Guess the templates of images and masks from the paths of the files alone.

Masks are told by :mod:`dmseg.datasets.mask_rules`; each is paired with the image whose name it contains. What all pairs
have in common is written out, what varies becomes a field.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg.datasets.mask_rules import find_mask_names, looks_like_labels
from dmseg.datasets.templates import plain_stem
from dmseg.errors import DmsegError
from dmseg.imaging import read_image
from dmseg.tables import read_packaged_table

_OWN = read_packaged_table("dmseg.datasets", "datasets.toml")["own"]
_NUMBER = re.compile(r"[ _-]?\(?\d+\)?$")
_SAMPLES = 5
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Paths:
    """Templates of images and masks, and of the files that tell objects apart, if there are any."""

    name: str
    image: tuple[str, ...]
    mask: tuple[str, ...]
    objects: str = ""


@dataclass(frozen=True, slots=True)
class _Pair:
    """An image and a mask: folders, and what stands before and after the part that their names share."""

    image: tuple[str, ...]
    mask: tuple[str, ...]
    core: str
    around: tuple[str, str, str, str]  # image before, image after, mask before, mask after


def guess_paths(folder: Path, files: Sequence[Path]) -> Paths | None:
    """Return the templates that most files follow, or None where no mask or no image can be told.

    Args:
        folder: the data.
        files: images (or volumes) below it.
    """
    names = {file: (file.relative_to(folder).parent.parts, plain_stem(file)) for file in files}
    masks = find_masks(files)
    pairs = _pair([names[f] for f in files if f not in masks], [names[f] for f in files if f in masks])
    found: list[tuple[str, str]] = []
    for _ in range(_ROUNDS):
        if not pairs:
            break
        depths = Counter((len(pair.image), len(pair.mask)) for pair in pairs).most_common(1)[0][0]
        alike = [pair for pair in pairs if (len(pair.image), len(pair.mask)) == depths]
        found.append(_templates(alike))
        pairs = [pair for pair in pairs if (len(pair.image), len(pair.mask)) != depths]
    if not found:
        return None
    images, drawn = (tuple(dict.fromkeys(part)) for part in zip(*found, strict=True))
    return Paths("", images, drawn)


def find_masks(files: Sequence[Path]) -> set[Path]:
    """Return the files that are masks by their names; where no name says so, those in folders that hold only masks."""
    if found := find_mask_names(files):
        return found
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    drawn = {folder for folder, inside in folders.items() if all(map(_looks_drawn, _spread(inside)))}
    return set() if len(drawn) == len(folders) else {file for folder in drawn for file in folders[folder]}


def _spread(files: Sequence[Path]) -> Sequence[Path]:
    return files[:: max(1, len(files) // _SAMPLES)][:_SAMPLES]


def _looks_drawn(file: Path) -> bool:
    try:
        return looks_like_labels(read_image(file).pixels)
    except DmsegError:
        return False


def _cores(stem: str) -> Iterable[tuple[str, str, str]]:
    """Yield (before, core, after) for each usual beginning and ending that an image's name has."""
    lowered = stem.lower()
    for before in ("", *_OWN["image_beginnings"]):
        for after in ("", *_OWN["image_endings"]):
            core = stem[len(before) : len(stem) - len(after)]
            if lowered.startswith(before) and lowered.endswith(after.lower()) and core:
                yield stem[: len(before)], core, stem[len(stem) - len(after) :]


def _pieces(stem: str) -> Iterable[tuple[int, int]]:
    """Yield (start, end) of every run of words and numbers of a name, longest first."""
    edges = sorted({0, len(stem), *(m.start() for m in re.finditer(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", stem))})
    for sign in re.finditer(r"[ _.-]+", stem):
        edges += [sign.start(), sign.end()]
    edges = sorted(set(edges))
    spans = [(start, end) for i, start in enumerate(edges) for end in edges[i + 1 :]]
    return sorted(spans, key=lambda span: span[0] - span[1])


def _pair(images: Sequence[tuple[tuple[str, ...], str]], masks: Sequence[tuple[tuple[str, ...], str]]) -> list[_Pair]:
    """Pair each mask with the image whose name, without what only images have, is the longest part of its own."""
    if len({stem for _, stem in images}) == 1 < len(images):
        return _pair_by_folder(images, masks)
    index: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
    for parents, stem in images:
        for before, core, after in _cores(stem):
            index.setdefault(core.lower(), []).append((parents, before, after))
    pairs = []
    for parents, stem in masks:
        span = next((span for span in _pieces(stem) if stem[slice(*span)].lower() in index), None)
        if span is not None:
            core = stem[slice(*span)]
            best = max(
                index[core.lower()], key=lambda each: (_count_shared(each[0], parents), -len(each[1]) - len(each[2]))
            )
            pairs.append(_Pair(best[0], parents, core, (best[1], best[2], stem[: span[0]], stem[span[1] :])))
    return pairs


def _count_shared(one: Sequence[str], other: Sequence[str]) -> int:
    return len(set(one) & set(other))


def _pair_by_folder(
    images: Sequence[tuple[tuple[str, ...], str]], masks: Sequence[tuple[tuple[str, ...], str]]
) -> list[_Pair]:
    """Pair images that all have one name with the masks that have most folders in common with them."""
    pairs = []
    for parents, stem in masks:
        best = max(images, key=lambda each: _n_leading(each[0], parents))
        pairs.append(_Pair(best[0], parents, "", (best[1], "", stem, "")))
    return pairs


def _n_leading(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many first items two sequences have in common."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _common_beginning(texts: set[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: _n_leading(first, last)]


def _templates(pairs: Sequence[_Pair]) -> tuple[str, str]:
    """Return the templates of pairs of equal depths."""
    by_name = any(pair.core for pair in pairs)
    image_folders, mask_folders = _folders(pairs, by_name)
    before, after = (Counter(pair.around[k] for pair in pairs).most_common(1)[0][0] for k in (0, 1))
    if not by_name:
        drawn = {pair.around[2] for pair in pairs}
        return f"{image_folders}{before}", f"{mask_folders}{_mark_varying(drawn, 'structure')}"
    mask_before = Counter(pair.around[2] for pair in pairs).most_common(1)[0][0]
    endings = Counter(pair.around[3] for pair in pairs)
    return f"{image_folders}{before}{{id}}{after}", f"{mask_folders}{mask_before}{{id}}{_join_endings(endings)}"


def _join_endings(endings: Counter[str]) -> str:
    """Return the ending of masks: fixed, with a number, or with the word that varies."""
    bare: Counter[str] = Counter()
    for ending, n in endings.items():
        bare[_NUMBER.sub("", ending) if re.search(r"[A-Za-z]", ending) else ending] += n
    if len(bare) == 1:
        only = next(iter(bare))
        return only + ("{k}" if set(endings) != {only} else "")
    common = bare.most_common(1)[0]
    if common[1] > 0.8 * bare.total():
        return common[0] + ("{k}" if any(e != common[0] and _NUMBER.sub("", e) == common[0] for e in endings) else "")
    return _mark_varying(set(endings), "structure")


def _mark_varying(texts: set[str], otherwise: str) -> str:
    """Return what texts have in common, with a field for the word that varies: ``{reader}`` by its look, or another."""
    if len(texts) == 1:
        return next(iter(texts))
    first = _common_beginning(texts)
    first = (
        re.sub(r"[A-Za-z0-9]+$", "", first) if first and any(t[len(first) :][:1].isalnum() for t in texts) else first
    )
    last = _common_beginning({text[len(first) :][::-1] for text in texts})[::-1]
    last = re.sub(r"^[A-Za-z0-9]+", "", last)
    words = {text[len(first) : len(text) - len(last)] for text in texts}
    return f"{first}{{{'reader' if all(map(_is_reader, words)) else otherwise}}}{last}"


def _is_reader(word: str) -> bool:
    return re.sub(r"[\d _-]", "", word).lower() in _OWN["readers"]


def _folders(pairs: Sequence[_Pair], by_name: bool) -> tuple[str, str]:
    """Return the folders of both templates, with a slash after each."""
    images = [list(level) for level in zip(*(pair.image for pair in pairs), strict=True)]
    masks = [list(level) for level in zip(*(pair.mask for pair in pairs), strict=True)]
    image_parts = [level[0] if len(set(level)) == 1 else "" for level in images]
    mask_parts = [level[0] if len(set(level)) == 1 else "" for level in masks]
    shared = [
        (i, m) for i, part in enumerate(image_parts) if not part for m in _same_levels(images[i], masks, mask_parts)
    ]
    for k, (i, m) in enumerate(shared):
        field = _field(set(images[i]), image_parts) if by_name or k < len(shared) - 1 else "{id}"
        image_parts[i] = mask_parts[m] = field
    image_parts = [part or "{any}" for part in image_parts]
    for m, part in enumerate(mask_parts):
        if not part:
            free = not any("{structure}" in p or "{reader}" in p for p in mask_parts)
            mask_parts[m] = _mark_varying(set(masks[m]), "structure") if free else "{any}"
    return "".join(f"{part}/" for part in image_parts), "".join(f"{part}/" for part in mask_parts)


def _same_levels(level: Sequence[str], masks: Sequence[Sequence[str]], taken: Sequence[str]) -> list[int]:
    """Return the first level of the masks' folders that varies as a level of the images' does, if there is one."""
    same = [m for m, other in enumerate(masks) if not taken[m] and list(other) == list(level)]
    return same[:1]


def _field(names: set[str], taken: Sequence[str]) -> str:
    """Return ``{group}`` for folders that are no patients, else ``{case}``; each once."""
    first, second = ("{group}", "{case}") if are_groups(names) else ("{case}", "{group}")
    return next((field for field in (first, second) if field not in taken), "{any}")


def are_groups(names: set[str]) -> bool:
    """Return whether folder names are groups of images (train, benign, site 3) and not patients."""
    bases = {re.sub(r"[\d _.-]", "", name).lower() for name in names}
    if bases <= set(_OWN["groups"]) and bases != {""}:
        return True
    return len(names) <= _OWN["most_groups"] and not any(re.search(r"\d", name) for name in names)
