"""Looking for folders and files as people unpack them: any letter case, nested, beside what operating systems add."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dmseg.errors import DataError

NESTING = 5
"""How many folders deep a layout may begin inside its dataset's folder (a bundle of DDTI begins that deep)."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_IGNORED = ("__macosx", "thumbs.db", "desktop.ini")


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted by name, without hidden files and what operating systems leave there.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    return sorted((path for path in found if path.name.lower() not in _IGNORED), key=lambda path: path.name)


def folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name."""
    return [path for path in entries(folder) if path.is_dir()]


def child(folder: Path, *names: str) -> Path | None:
    """Return the entry of ``folder`` with one of ``names``, compared without case; the first name wins."""
    if not folder.is_dir():
        return None
    present = {path.name.lower(): path for path in entries(folder)}
    return next((present[name.lower()] for name in names if name.lower() in present), None)


def descend(folder: Path, *names: str) -> Path | None:
    """Return ``folder/names[0]/names[1]/...``, each compared without case, or None."""
    here: Path | None = folder
    for name in names:
        here = child(here, name) if here is not None else None
    return here


def files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the files of a folder whose names end with one of ``suffixes`` (any case), in natural order."""
    endings = tuple(suffix.lower() for suffix in suffixes)
    return natural(path for path in entries(folder) if path.name.lower().endswith(endings) and path.is_file())


def files_below(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the files below a folder at any depth whose names end with one of ``suffixes``, folder by folder.

    Links to folders are followed, each folder once: a link that leads back to where it is makes no endless tree.
    """
    known = {_identify(folder)}
    found, waiting = list[Path](), [folder]
    while waiting:
        here = waiting.pop()
        found += files(here, suffixes)
        waiting += reversed(_list_new(here, known))
    return found


def _list_new(folder: Path, known: set[tuple[int, int]]) -> list[Path]:
    """Return the folders in a folder that are not known yet, by whatever path, and add them to those."""
    new = []
    for inner in folders(folder):
        if (identity := _identify(inner)) not in known:
            known.add(identity)
            new.append(inner)
    return new


def _identify(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    return status.st_dev, status.st_ino


def natural(paths: Iterable[Path]) -> list[Path]:
    """Sort by file name with numbers compared as numbers (``i9`` before ``i10``)."""
    return sorted(paths, key=lambda path: (_natural_key(path.name), path.name))


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Return lower-case stem -> path; of two files that differ only in suffix the first in order wins."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(path.stem.lower(), path)
    return found


def find_places(raw: Path, names: Iterable[str], stem: Callable[[str], str]) -> list[Path]:
    """Return what may hold a dataset: children of ``raw`` (folders, files), then ``raw`` itself, with one of the names.

    Names are compared by their letters and digits alone: ``kvasir_seg`` is ``Kvasir-SEG``. ``stem`` takes the ending
    off a file's name.
    """
    wanted = [_letters(name) for name in names]
    named = [
        (_letters(path.name if path.is_dir() else stem(path.name)), path) for path in [*entries(raw), raw.resolve()]
    ]
    found = [(wanted.index(name), path) for name, path in named if name in wanted]
    return [path for _, path in sorted(found, key=lambda item: item[0])]


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name).lower())


def folders_below(start: Path, depth: int = NESTING) -> Iterator[Path]:
    """Yield ``start`` and the folders below it down to ``depth``, shallow ones first; links as :func:`files_below`."""
    level, known = [start], {_identify(start)}
    for _ in range(depth + 1):
        yield from level
        level = [inner for folder in level for inner in _list_new(folder, known)]
