"""Archives that people leave packed: unpacked once into the user's cache, safely, never beside the download.

A dataset folder with archives gets a *mirror* in the cache: each archive unpacked into a folder of its name, everything
else as a link to the original. Archives come from strangers: absolute names, ``..``, links and devices are refused,
and so is an archive that would not fit on the disk. What an archive is, its content says, not its name
(``.tar.gz`` that is a plain tar).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from dmseg.datasets import tree
from dmseg.errors import DataError
from dmseg.files import TEMPORARY_PREFIX, cache_folder

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_COPY_BYTES = 1 << 20


def find_archives(place: Path) -> list[Path]:
    """Return the archives in a folder and one folder deeper, or the file itself if it is one."""
    if place.is_file():
        return [place] if place.name.lower().endswith(SUFFIXES) else []
    inner = [file for folder in tree.folders(place) for file in tree.files(folder, SUFFIXES)]
    return [*tree.files(place, SUFFIXES), *inner]


def without_suffix(name: str) -> str:
    """Return a file name without the ending of an archive."""
    return next(
        (name[: -len(suffix)] for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix)),
        name,
    )


def mirror(place: Path) -> Path:
    """Return the folder in the cache in which the archives of ``place`` are unpacked; made on first use.

    Args:
        place: a dataset's folder as it was downloaded, or one archive.

    Raises:
        DataError: an archive is damaged, holds a name or link that leads outside, or does not fit on the disk.
    """
    found = find_archives(place)
    state = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in found]
    key = hashlib.blake2b(repr(state).encode(), digest_size=10).hexdigest()
    target = cache_folder() / "unpacked" / f"{without_suffix(place.name)}-{key}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _fill(place, found, temporary)
        temporary.rename(target)
    except OSError:
        # Another process made the same mirror meanwhile; if not, the disk is the problem and the user must know.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _fill(place: Path, archives: list[Path], target: Path) -> None:
    base = place if place.is_dir() else place.parent
    target.mkdir()
    for archive in archives:
        print(f"unpacking {archive} into {target.parent} ...", file=sys.stderr, flush=True)
        unpack(archive, target / archive.relative_to(base).parent / without_suffix(archive.name))
    if place.is_dir():
        for original in tree.entries(place):
            _link(original, target / original.name, archives)


def _link(original: Path, copy: Path, archives: list[Path]) -> None:
    """Link ``original`` at ``copy``; a folder that holds archives is made anew and its entries are linked."""
    if original in archives:
        return
    if original.is_dir() and any(archive.parent == original for archive in archives):
        copy.mkdir(exist_ok=True)
        for inner in tree.entries(original):
            _link(inner, copy / inner.name, archives)
    elif not copy.exists():
        copy.symlink_to(original.resolve(), target_is_directory=original.is_dir())


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar file (plain or compressed) into the new folder ``target``.

    Raises:
        DataError: as :func:`mirror`.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _unpack_zip(archive, opened, target)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _unpack_tar(archive, tar, target)
        else:
            raise DataError(f"{archive}: neither a zip nor a tar file (damaged?); download it again")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{archive}: damaged or not supported ({error}); download it again or unpack it") from None


def _unpack_zip(archive: Path, opened: zipfile.ZipFile, target: Path) -> None:
    _check_room(archive, sum(member.file_size for member in opened.infolist()), target)
    for member in opened.infolist():
        place = _inside(archive, member.filename, target)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f'{archive}: "{member.filename}" is a link; such an archive is refused')
        if not member.is_dir():
            with opened.open(member) as content:
                _write(archive, content, place, member.file_size)


def _unpack_tar(archive: Path, opened: tarfile.TarFile, target: Path) -> None:
    for member in opened:
        place = _inside(archive, member.name, target)
        if not (member.isfile() or member.isdir()):
            raise DataError(f'{archive}: "{member.name}" is a link or device; such an archive is refused')
        _check_room(archive, member.size, target)
        if member.isfile() and (content := opened.extractfile(member)) is not None:
            _write(archive, content, place, member.size)


def _inside(archive: Path, name: str, target: Path) -> Path:
    """Return where a member goes; a name that leads outside the target is refused."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name.split("/")[0]:
        raise DataError(f'{archive}: "{name}" leads outside the archive; such an archive is refused')
    return target.joinpath(*parts.parts)


def _check_room(archive: Path, size: int, target: Path) -> None:
    existing = next(folder for folder in (target, *target.parents) if folder.exists())
    if size > (free := shutil.disk_usage(existing).free):
        raise DataError(
            f"{archive}: needs {size / 1e9:.1f} GB unpacked, {free / 1e9:.1f} GB are free in {existing}; "
            "set DMSEG_CACHE to a larger disk"
        )


def _write(archive: Path, content: IO[bytes], place: Path, size: int) -> None:
    """Copy exactly ``size`` bytes: a member that is longer or shorter than it declares is damaged or a trap."""
    place.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with place.open("wb") as out:
        for chunk in _chunks(content):
            written += len(chunk)
            if written > size:
                break
            out.write(chunk)
    if written != size:
        raise DataError(f'{archive}: "{place.name}" does not have the size it declares; download it again')


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(_COPY_BYTES):
        yield chunk
