"""A name for code that has no version number: the digest of the file that defines it."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any


def source_digest(defined: Any) -> str | None:
    """Return the first 12 hex digits of the sha256 of the file that defines a class or function, or None."""
    try:
        source = inspect.getsourcefile(defined)
    except TypeError:
        return None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:12] if source and Path(source).is_file() else None
