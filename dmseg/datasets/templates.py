"""Where the files of one's own data are: a path with ``{id}``, ``{case}`` and ``{k}`` in place of what varies.

``images/{id}`` and ``masks/{id}_mask{k}`` say: an image and its masks share the part ``{id}``, and a mask may end in a
number. ``{case}`` is the patient. The file's suffix is not part of a template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dmseg.errors import DataError
from dmseg.imaging import stem

_FIELDS = {"id": r"(?P<id>[^/]+?)", "case": r"(?P<case>[^/]+?)", "k": r"(?P<k>(?:[ _-]?\(?\d+\)?)?)"}


def matcher(template: str) -> re.Pattern[str]:
    """Return the pattern that a path without its suffix must match.

    Raises:
        DataError: an unknown field, one given twice, or no ``{id}``.
    """
    parts = re.split(r"\{(\w*)\}", template)
    names = parts[1::2]
    if sorted(set(names)) != sorted(names) or "id" not in names or not set(names) <= set(_FIELDS):
        raise DataError(f'path "{template}": give {{id}} once, and {{case}} and {{k}} at most once; no other field')
    pattern = "".join(_FIELDS[part] if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.compile(pattern, re.IGNORECASE)


def match_template(template: str, root: Path, files: Iterable[Path]) -> list[tuple[Path, str, str]]:
    """Return (file, case or empty, id) of the files below ``root`` that a template names, in the order given."""
    pattern = matcher(template)
    found = []
    for file in files:
        name = file.relative_to(root)
        if hit := pattern.fullmatch((name.parent / stem(file)).as_posix()):
            fields = hit.groupdict()
            found.append((file, fields.get("case") or "", fields["id"]))
    return found
