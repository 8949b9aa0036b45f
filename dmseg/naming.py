"""Names: the one rule for ids and relative paths that come from files which others wrote, and when two names are one.

Ids of datasets, images, masks and models name files and folders. One that could name something outside of its folder,
a hidden file or a device is refused, wherever it comes from: recipes, manifests, archives, run folders, submissions.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from dmseg.errors import DataError

MAX_NAME_LENGTH = 255
"""Longest name that file systems allow."""
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")
_ID = re.compile(r"[A-Za-z0-9._-]+")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))})
"""Names that are devices on Windows, with any suffix."""

_LOOKS = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"), ("8", "b"))
"""Letters and digits of case-folded names that readers take for each other."""


def safe_name(text: str) -> str:
    """Return a text as one name inside a folder: of ``[A-Za-z0-9._-]``, never ``.``, ``..``, hidden or too long.

    >>> safe_name("../../evil"), safe_name("..")
    ('_..-..-evil', '_..')
    """
    name = _FOREIGN.sub("-", unicodedata.normalize("NFC", text))[: MAX_NAME_LENGTH - 1]
    plain = name not in ("", "-") and not name.startswith(".") and name.split(".")[0].lower() not in _DEVICES
    return name if plain else f"_{name}"


def require_id(text: object, where: str, longest: int = MAX_NAME_LENGTH) -> str:
    """Return an id that comes from a file, if it can be the name of a file or folder.

    Raises:
        DataError: not a text of letters, digits and ``. _ -``, longer than ``longest``, or one that names another
            folder (``.``, ``..``), a hidden file, or a device of Windows; ``where`` says where it was found.
    """
    shown = ascii(text)[:80]
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise DataError(f"{where}: {shown}; an id is made of letters, digits and . _ -")
    if len(text) > longest:
        raise DataError(f"{where}: {shown}...: {len(text)} characters; an id has at most {longest}")
    if text.startswith(".") or text.split(".")[0].lower() in _DEVICES:
        raise DataError(f"{where}: {shown} cannot be the name of a file; begin with a letter or a digit")
    return text


def require_inside(text: object, where: str) -> str:
    """Return a relative path that comes from a file, if it stays below the folder that it is relative to.

    Raises:
        DataError: not a text, absolute, with ``..``, a drive, a backslash or a control character.
    """
    shown = ascii(text)[:120]
    if not isinstance(text, str) or not text or len(text) > 4000 or not text.isprintable():
        raise DataError(f"{where}: {shown}; give a relative path, as text on one line")
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or re.match(r"[A-Za-z]:", text):
        raise DataError(f"{where}: {shown} leaves its folder; give a path below it, with / and without ..")
    return text


def look_key(name: str) -> str:
    """Return what two plain names share that a reader may take for each other: l, 1 and I, O and 0, rn and m.

    >>> look_key("mini-pge-sarn") == look_key("MINI-PGE-SAM"), look_key("SAM-l") == look_key("SAM-2")
    (True, False)
    """
    look = name_key(name)
    for seen, taken in _LOOKS:
        look = look.replace(seen, taken)
    return look


def name_key(name: str) -> str:
    """Return what two spellings of one name share: letters and digits, compatible forms and case folded.

    >>> name_key("SAM-Med 2D") == name_key("sam_med2d") == name_key("\uff33am.med\uff12d")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(character for character in folded if character.isalnum())
