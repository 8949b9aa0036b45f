"""Files that are either whole or absent: atomic writing, locking, hashing, free names."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
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
_WRITER = re.compile(r"(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-")
_SYNCS_AT_ONCE = 4
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


def cache_folder() -> Path:
    """Return the folder where dmseg keeps what it can make again: ``DMSEG_CACHE``, else the user's cache folder."""
    given = os.environ.get("DMSEG_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("dmseg")


def temporary_sibling(path: Path) -> Path:
    """Return an unused name beside ``path``, which says who writes there: see :func:`remove_temporaries`."""
    # Random, so that two writers never share a temporary file; the suffix stays last, since encoders look at it.
    return path.parent / f"{TEMPORARY_PREFIX}{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{path.suffix}"


@functools.cache
def _machine() -> str:
    """Return 8 hex digits that name this machine and, in a container, the container."""
    space = Path("/proc/self/ns/pid")
    own = f"{socket.gethostname()} {space.stat().st_ino if space.exists() else ''}"
    return hashlib.sha256(own.encode()).hexdigest()[:8]


@contextlib.contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``; on success sync it and rename it to ``path``, on error remove it.

    The parent folder is made. A reader sees the old file or the new one, never a part. A process that is killed
    leaves only a file whose name begins with :data:`TEMPORARY_PREFIX`. Without ``sync`` the same holds for a process
    that is killed, but not for a machine that loses its power: see :func:`sync_together`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        if sync:
            _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename is None and error.errno is not None:  # of a write, the system does not say where
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
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


def write_new(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet, whole; return False where one is there, whoever was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        temporary.write_bytes(content)
        _sync(temporary)
        try:
            os.link(temporary, path)  # unlike a rename, it fails where the name is taken
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with path.open("xb") as handle:
                handle.write(content)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True, needed: bool = True) -> Iterator[None]:
    """Hold the file ``path``, made for this purpose alone; one that was held alone is removed at the end.

    The system frees it when its process ends, in whatever way, so nothing stale can stay behind.

    Args:
        shared: hold it together with other shared holders; else against every other one.
        wait: wait until it is free; else a :class:`BlockingIOError` where it is not.
        needed: False goes on without a lock where the file system has none.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            opened = path.open("ab")
        except FileNotFoundError:  # the folder went away just now, with the job that it was of
            continue
        with opened as handle:
            try:
                _hold(handle, shared, wait)
            except OSError as error:
                if needed or error.errno not in _NO_LOCKS:
                    raise
            if not _is_at(handle, path):  # the holder before has removed it
                continue
            try:
                yield
            finally:
                if not shared:
                    path.unlink(missing_ok=True)
            return


def _is_at(handle: BinaryIO, path: Path) -> bool:
    try:
        return sys.platform == "win32" or os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _hold(handle: BinaryIO, shared: bool, wait: bool) -> None:
        if shared:  # Windows has no shared locks of this kind; there, jobs with other options must not start at once
            return
        while True:
            try:
                msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return
            except OSError:  # gives up after ten seconds
                if not wait:
                    raise BlockingIOError(errno.EAGAIN, "is held", handle.name) from None
                time.sleep(1)

else:

    def _hold(handle: BinaryIO, shared: bool, wait: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)


def is_temporary(path: Path) -> bool:
    """Tell whether a file or folder is one that a writer has not finished."""
    return path.name.startswith(TEMPORARY_PREFIX)


def remove_temporaries(folder: Path, *, below: bool = True, everyone: bool = False) -> None:
    """Remove what killed writers left in ``folder``: files and folders named by :func:`temporary_sibling`.

    Args:
        below: look in the folders below it too.
        everyone: also what writers that still live, or that lived on other machines, have; only where none is left.
    """
    pattern = f"{TEMPORARY_PREFIX}*"
    for path in list(folder.rglob(pattern) if below else folder.glob(pattern)):
        if not (everyone or _writer_is_gone(path.name)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _writer_is_gone(name: str) -> bool:
    named = _WRITER.match(name.removeprefix(TEMPORARY_PREFIX))
    if named is None:
        return True  # of a dmseg that did not say who writes
    return named["machine"] == _machine() and not is_alive(int(named["process"]))


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine lives."""
    if sys.platform == "win32":
        return True  # there is no question to ask that does not end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def sha256_file(path: Path) -> str:
    """Return the sha256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
