"""Which predicted mask file belongs to which reference: never a guess between two, never another patient's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmseg import imaging
from dmseg.errors import DataError


@dataclass(frozen=True)
class Pairs:
    """Files by name below both folders; ``hints`` say why names may not have matched."""

    both: dict[str, tuple[Path, Path]]
    only_reference: dict[str, Path]
    only_prediction: dict[str, Path]
    ambiguous: dict[str, str] = field(default_factory=dict)
    hints: Sequence[str] = ()


def match_files(reference: Path, prediction: Path, strip: Sequence[str] = ()) -> Pairs:
    """Match the mask files below two folders by their relative path without extension.

    Equal paths match first (letter case counts only where two names differ in nothing else). Then a path matches the
    one that it is the end of, ``a`` and ``p1/a``, if among *all* files, matched or not, no other fits either of them.

    Args:
        reference, prediction: the folders.
        strip: endings that are taken off names before they are compared, such as ``_segmentation``.

    Raises:
        DataError: a folder is missing, or holds no mask files.
    """
    left, doubled = _masks_below(reference, strip)
    right, also_doubled = _masks_below(prediction, strip)
    pairs = {name: name for name in left.keys() & right.keys()}
    folded = [_group_by_folded(side) for side in (left, right)]
    for key in folded[0].keys() & folded[1].keys():
        if len(folded[0][key]) == len(folded[1][key]) == 1:
            pairs.setdefault(folded[0][key][0], folded[1][key][0])
    pairs |= _match_ends(left, right, pairs)
    both = {name: (left[name], right[pairs[name]]) for name in sorted(pairs)}
    taken = set(pairs.values())
    only_left = {name: path for name, path in left.items() if name not in pairs}
    only_right = {name: path for name, path in right.items() if name not in taken}
    return Pairs(both, only_left, only_right, doubled | also_doubled, _hints(only_left, only_right))


def _group_by_folded(files: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in files:
        found.setdefault(name.casefold(), []).append(name)
    return found


def _match_ends(left: Iterable[str], right: Iterable[str], pairs: Mapping[str, str]) -> dict[str, str]:
    """Match paths of which one is the end of the other, where nothing else on either side could be meant."""
    lefts, rights = _by_last(left), _by_last(right)
    taken = set(pairs.values())
    found = {}
    for last in lefts.keys() & rights.keys():
        for name in lefts[last]:
            fits = [other for other in rights[last] if _is_end(name, other)]
            if len(fits) == 1 and name not in pairs and fits[0] not in taken:
                back = [each for each in lefts[last] if _is_end(each, fits[0])]
                if len(back) == 1:
                    found[name] = fits[0]
    return found


def _by_last(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition("/")[2].casefold(), []).append(name)
    return found


def _is_end(one: str, other: str) -> bool:
    """Return whether one path is the other or its end, folder by folder."""
    shorter, longer = sorted((one.casefold().split("/"), other.casefold().split("/")), key=len)
    return longer[-len(shorter) :] == shorter


def _hints(left: Iterable[str], right: Iterable[str]) -> list[str]:
    """Say which ending, taken off, would make names equal."""
    names = {name.rpartition("/")[2] for name in left}
    others = {name.rpartition("/")[2] for name in right}
    endings: dict[str, int] = {}
    for some, more in ((names, others), (others, names)):
        for name in some:
            for longer in more:
                if longer != name and longer.startswith(name) and not longer[len(name)].isalnum():
                    endings[longer[len(name) :]] = endings.get(longer[len(name) :], 0) + 1
    best = max(endings, key=lambda ending: endings[ending], default="")
    return [f"--strip-suffix {best} would match {endings[best]} of the names"] if best else []


def _masks_below(folder: Path, strip: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return name -> file, and name -> what is wrong for names that two files share."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    doubled: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or imaging.EXTENSIONS.get(imaging.extension(path)) in (None, "DICOM") or not path.is_file():
            continue
        stem = imaging.stem(path)
        ending = next((each for each in strip if stem.endswith(each) and stem != each), "")
        name = (relative.parent / stem.removesuffix(ending)).as_posix()
        if name in files:
            doubled[name] = f"{files[name]} and {path.name} have the same name; keep one"
        files[name] = path
    if not files:
        raise DataError(f"{folder}: no PNG, TIFF, JPEG or NIfTI files there")
    return files, doubled
