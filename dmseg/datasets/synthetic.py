"""Which files below RAW are synthetic: ``phantom.json``, which whoever writes phantoms keeps beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmseg.errors import DataError
from dmseg.files import write_text
from dmseg.reading import read_json

INDEX = "phantom.json"
Entries = Mapping[str, Mapping[str, Any]]


def read_index(raw: Path) -> dict[str, dict[str, Any]]:
    """Return ``raw/phantom.json``: file (relative, ``/``) -> {version, seed, key}; empty where there is none.

    Raises:
        DataError: the file is not such an index.
    """
    path = raw / INDEX
    try:
        index = read_json(path, limit=1 << 30)
    except FileNotFoundError:
        return {}
    except DataError as error:
        raise DataError(f"{error}; remove it together with the phantoms") from None
    if not isinstance(index, dict):
        raise DataError(f"{path}: expected a table of files; remove it together with the phantoms")
    return index


def write_index(raw: Path, entries: Entries) -> None:
    """Write ``raw/phantom.json`` atomically."""
    write_text(raw / INDEX, json.dumps(dict(sorted(entries.items())), indent=0) + "\n")
