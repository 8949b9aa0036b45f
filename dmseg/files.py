"""Files that are either whole or absent: atomic writing, hashing, free names."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import platformdirs

TEMPORARY_PREFIX = ".dmseg-tmp-"


def cache_folder() -> Path:
    """Return the folder where dmseg keeps what it can make again: ``DMSEG_CACHE``, else the user's cache folder."""
    given = os.environ.get("DMSEG_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("dmseg")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``; on success sync it and rename it to ``path``, on error remove it.

    The parent folder is made. A reader sees the old file or the new one, never a part. A process that is killed
    leaves only a file whose name begins with :data:`TEMPORARY_PREFIX`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, so that two processes never share a temporary file; the suffix stays last, since encoders look at it.
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}"
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text to ``path`` atomically, with ``\\n`` line ends on every system."""
    write_bytes(path, content.encode())


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left below ``folder``. Call it only while no other writer works there."""
    for path in folder.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the sha256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
