"""Identifiers of images, masks and cases. They decide all randomness, so their rules never change within a schema.

Ids become names of files and folders, so an id can name nothing outside of its folder: :func:`require_id` is asked
wherever an id or a relative path comes from a file that somebody else wrote.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from dmseg.errors import DataError

MAX_ID_LENGTH = 180
"""Longest image or case id: with a suffix it stays below the 255 bytes that file systems allow for a name."""
MAX_NAME_LENGTH = 255

_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")
_ID = re.compile(r"[A-Za-z0-9._-]+")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))})
"""Names that are devices on Windows, with any suffix."""


def clean_text(text: str) -> str:
    """Return composed Unicode ``text`` with every character outside ``[A-Za-z0-9._-]`` replaced by ``-``.

    >>> clean_text("benign (12)")
    'benign--12-'
    """
    return _FOREIGN.sub("-", unicodedata.normalize("NFC", text))


def safe_name(text: str) -> str:
    """Return :func:`clean_text` text that is one name inside a folder: never ``.``, ``..``, empty, hidden or too long.

    >>> safe_name("../../evil"), safe_name("..")
    ('_..-..-evil', '_..')
    """
    name = clean_text(text)[: MAX_NAME_LENGTH - 1]
    plain = name not in ("", "-") and not name.startswith(".") and name.split(".")[0].lower() not in _DEVICES
    return name if plain else f"_{name}"


def require_id(text: object, where: str) -> str:
    """Return an id that comes from a file, if it can be the name of a file or folder.

    Raises:
        DataError: not a text of letters, digits and ``. _ -``, longer than 255, or one that names another folder
            (``.``, ``..``), a hidden file, or a device of Windows; ``where`` says where it was found.
    """
    shown = ascii(text)[:80]
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise DataError(f"{where}: {shown}; an id is made of letters, digits and . _ -")
    if len(text) > MAX_NAME_LENGTH:
        raise DataError(f"{where}: {shown}...: {len(text)} characters; an id has at most {MAX_NAME_LENGTH}")
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


def _join(dataset: str, inner: str) -> str:
    identifier = f"{clean_text(dataset)}__{clean_text(inner)}"
    if len(identifier) <= MAX_ID_LENGTH:
        return identifier
    # A long name keeps its readable beginning; the digest of the whole original keeps it unique.
    tail = hashlib.sha256(inner.encode()).hexdigest()[:16]
    return f"{identifier[: MAX_ID_LENGTH - 17]}-{tail}"


def image_id(dataset: str, source_id: str) -> str:
    """Return ``<dataset>__<source id>``; over-long ids end in a digest of the original.

    >>> image_id("BUSI", "benign (12)")
    'BUSI__benign--12-'
    """
    return _join(dataset, source_id)


def case_id(dataset: str, patient: str) -> str:
    """Return ``<dataset>__<patient>``, made like :func:`image_id`."""
    return _join(dataset, patient)


def mask_id(image: str, structure: str, k: int) -> str:
    """Return ``<image_id>__<structure>__<k>`` for the ``k``-th object (from 0) of a structure in an image.

    >>> mask_id("BUSI__benign--12-", "lesion", 0)
    'BUSI__benign--12-__lesion__0'
    """
    return f"{image}__{clean_text(structure)}__{k}"
