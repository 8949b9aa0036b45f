"""Where the files of one's own data are: a path with fields such as ``{id}`` in place of what varies.

``images/{id}`` and ``masks/{id}_mask{k}`` say: an image and its masks share the part ``{id}``, and a mask may end in a
number. The file's suffix is not part of a template; one that is written there (``images/{id}.png``) changes nothing.

========================  ============================================================================
``{id}``                  what the names of an image and its masks share
``{case}``                the patient: images of one patient never sit on both sides of a split
``{group}``               a folder that is no patient: train, val, benign, site 3
``{structure}``           what is drawn in the mask file: ``masks/liver/7.png``
``{reader}``              who drew the mask
``{k}``                   a number, where an image has several mask files
``{any}``                 anything; may occur several times
========================  ============================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg.errors import DataError
from dmseg.imaging import EXTENSIONS, extension, stem

_WHOLE = r"[^/]+?"
_WORD = r"[^/_. -]+?"
_NUMBER = r"(?:[ _-]?\(?\d+\)?)?"
FIELDS = ("id", "case", "group", "structure", "reader", "k", "any")
KEY = ("group", "case", "id")
"""The fields that tell which image a file belongs to."""


@dataclass(frozen=True, slots=True)
class Match:
    """A file that a template names, and the text of its fields (empty where the template does not have one)."""

    file: Path
    id: str
    case: str = ""
    group: str = ""
    structure: str = ""
    reader: str = ""


def plain_stem(path: Path) -> str:
    """Return a file's name without its suffix; a name without a known suffix (DICOM's ``IM.7``) is whole."""
    return stem(path) if extension(path) in EXTENSIONS else path.name


def fields_of(template: str) -> list[str]:
    """Return the names of a template's fields, in order."""
    return re.findall(r"\{(\w*)\}", template)


def matcher(template: str) -> re.Pattern[str]:
    """Return the pattern that a path without its suffix must match.

    Raises:
        DataError: an unknown field, one given twice, or no ``{id}``.
    """
    names = [name for name in fields_of(template) if name != "any"]
    if sorted(set(names)) != sorted(names) or "id" not in names or not set(names) <= set(FIELDS):
        raise DataError(
            f'path "{template}": give {{id}} once, and {{case}}, {{group}}, {{structure}}, {{reader}} and {{k}} at '
            "most once, {any} as often as needed; no other field"
        )
    suffix = extension(Path(template))
    optional = f"(?:{re.escape(suffix)})?" if suffix in EXTENSIONS else ""
    path = template[: -len(suffix)] if optional else template
    return re.compile("/".join(map(_part_pattern, path.split("/"))) + optional, re.IGNORECASE)


def _part_pattern(part: str) -> str:
    pieces = re.split(r"\{(\w*)\}", part)
    return "".join(_field_pattern(piece, part) if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))


def _field_pattern(name: str, part: str) -> str:
    """Return the pattern of a field; a structure or reader beside other text is a single word, else ids end early."""
    if name == "any":
        return r"[^/]*?"
    if name == "k":
        return f"(?P<k>{_NUMBER})"
    word = name in ("structure", "reader") and part != f"{{{name}}}"
    return f"(?P<{name}>{_WORD if word else _WHOLE})"


def match_template(given: str | Sequence[str], root: Path, files: Iterable[Path]) -> list[Match]:
    """Return the files below ``root`` that a template, or the first of several that fits, names."""
    patterns = [matcher(template) for template in ([given] if isinstance(given, str) else given)]
    found = []
    for file in files:
        name = file.relative_to(root)
        path = (name.parent / plain_stem(file)).as_posix()
        if hit := next(filter(None, (pattern.fullmatch(path) for pattern in patterns)), None):
            fields = {key: text or "" for key, text in hit.groupdict().items() if key != "k"}
            found.append(Match(file, **fields))
    return found
