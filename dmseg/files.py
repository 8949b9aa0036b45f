"""Files that are either whole or absent: atomic writing, locking, hashing, free names."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import platformdirs

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TEMPORARY_PREFIX = ".dmseg-tmp-"
_SYNCS_AT_ONCE = 4


def cache_folder() -> Path:
    """Return the folder where dmseg keeps what it can make again: ``DMSEG_CACHE``, else the user's cache folder."""
    given = os.environ.get("DMSEG_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("dmseg")


@contextlib.contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``; on success sync it and rename it to ``path``, on error remove it.

    The parent folder is made. A reader sees the old file or the new one, never a part. A process that is killed
    leaves only a file whose name begins with :data:`TEMPORARY_PREFIX`. Without ``sync`` the same holds for a process
    that is killed, but not for a machine that loses its power: see :func:`sync_together`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, so that two processes never share a temporary file; the suffix stays last, since encoders look at it.
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}"
    try:
        yield temporary
        if sync:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    try:
        with path.open("rb+") as handle:
            os.fsync(handle.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextlib.contextmanager
def sync_together() -> Iterator[Callable[[Path], None]]:
    """Yield a function that syncs a file behind the caller's back; the block ends when all of them are on the disk.

    Waiting for the disk after each of many files can take longer than making them. Here it is done by threads while
    the next file is made. What relies on the files (a record that says they are there) is written after the block.

    Raises:
        OSError: at the end of the block, for the first file that could not be synced.
    """
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        waiting: list[Future[None]] = []
        yield lambda path: waiting.append(pool.submit(_sync, path))
        for each in waiting:
            each.result()


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write ``content`` to ``path`` atomically; ``sync`` as for :func:`atomic_path`."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str, *, sync: bool = True) -> None:
    """Write UTF-8 text to ``path`` atomically, with ``\\n`` line ends on every system."""
    write_bytes(path, content.encode(), sync=sync)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the file ``path``, made for this purpose alone, against every other holder; wait until it is free.

    The system frees it when its process ends, in whatever way, so nothing stale can stay behind.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        _hold(handle)
        yield


if sys.platform == "win32":

    def _hold(handle: BinaryIO) -> None:
        while True:
            try:
                msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)  # gives up after ten seconds
                return
            except OSError:
                time.sleep(1)

else:

    def _hold(handle: BinaryIO) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left below ``folder``. Call it only while no other writer works there."""
    for path in folder.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the sha256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
