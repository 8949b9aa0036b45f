"""A submission as one zip: packed to the same bytes everywhere, unpacked without trusting it."""

from __future__ import annotations

import contextlib
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dmseg.errors import DataError
from dmseg.files import atomic_path
from dmseg.leaderboard.checks.findings import Finding
from dmseg.leaderboard.entries import RUN_FILES

MAX_BYTES = 4 * 2**30
MAX_RATIO = 400
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


class UnsafePackageError(DataError):
    """A zip that is no submission; ``finding`` is the E101 that says why. Nothing was unpacked."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def pack_files(folder: Path, out: Path) -> None:
    """Write the run's files to a zip; the same files give the same bytes."""
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(RUN_FILES):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr, entry.create_system = _MODE, 3
            archive.writestr(entry, (folder / name).read_bytes())


@contextlib.contextmanager
def open_submission(path: Path) -> Iterator[Path]:
    """Yield the run folder of a submission: the folder itself, or a zip unpacked into a temporary one.

    Raises:
        DataError: no such file or folder.
        UnsafePackageError: not a zip, a path that leaves the folder, a link, a file that does not belong there, or a
            size out of bounds; looked at before anything is unpacked.
    """
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; give a run folder, or a zip that dmseg submit pack wrote")
    with tempfile.TemporaryDirectory(prefix="dmseg-submission-") as temporary:
        target = Path(temporary) / path.stem
        target.mkdir()
        _unpack(path, target)
        yield target


def _unpack(path: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in _check_member(path, archive):
                with archive.open(entry) as source, (target / entry.filename).open("wb") as sink:
                    _copy(path, entry, source, sink)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise _unsafe(path, f"not a readable zip ({error})", "send the file that dmseg submit pack wrote") from None


def _copy(path: Path, entry: zipfile.ZipInfo, source: IO[bytes], sink: IO[bytes]) -> None:
    """Copy one member, and stop where it grows beyond what it declared."""
    left = entry.file_size
    while block := source.read(1 << 20):
        left -= len(block)
        if left < 0:
            raise _unsafe(path, f"{entry.filename} is larger than it declares", "pack it again")
        sink.write(block)


def _check_member(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    fix = "pack the run with dmseg submit pack"
    for entry in entries:
        parts = Path(entry.filename.replace("\\", "/")).parts
        if entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in entry.filename:
            raise _unsafe(path, f"{entry.filename!r} leaves the folder", fix)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _unsafe(path, f"{entry.filename!r} is a link", fix)
        if entry.filename not in RUN_FILES:
            raise _unsafe(path, f"{entry.filename!r} does not belong to a run", f"only {', '.join(RUN_FILES)}")
        if entry.file_size > MAX_RATIO * max(entry.compress_size, 1 << 12):
            raise _unsafe(path, f"{entry.filename} unpacks {entry.file_size // max(1, entry.compress_size)}-fold", fix)
    if len(set(names)) < len(names):
        raise _unsafe(path, "a file occurs twice", fix)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES:
        raise _unsafe(path, f"{total} bytes unpacked", f"at most {MAX_BYTES}")
    return entries


def _unsafe(path: Path, what: str, fix: str) -> UnsafePackageError:
    return UnsafePackageError(Finding("E101", path.name, what, fix))
