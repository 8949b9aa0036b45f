"""Fetch the sets that have a public direct link (downloads.toml), into the folder that a build expects.

A transfer goes into ``NAME.part`` and continues there after a cut, by HTTP ranges. A file gets its name only when its
size is what the server (and the table) said, its digest is as published, and an archive is one.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dmseg.datasets.archives import SUFFIXES
from dmseg.datasets.recipes import recipe
from dmseg.errors import DataError
from dmseg.files import sha256_file
from dmseg.progress import show_transfer
from dmseg.tables import read_packaged_table, record

_TIMEOUT_S = 60
_TRIES = 3
_MARKUP = (b"<!doctype html", b"<html")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file with a public link; size (bytes) and sha256 where its owner publishes them."""

    url: str
    size: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The file's name on the disk: the last part of the link."""
        return Path(unquote(urlsplit(self.url).path)).name


def read_downloads() -> dict[str, tuple[RemoteFile, ...]]:
    """Return dataset -> its files, for the sets that can be fetched."""
    table = read_packaged_table("dmseg.datasets", "downloads.toml")
    return {
        name: tuple(record(RemoteFile, entry, f"downloads.toml: {name}") for entry in each["files"])
        for name, each in table.items()
    }


def download(name: str, raw: Path, files: Sequence[RemoteFile]) -> list[Path]:
    """Fetch the files of a dataset into ``raw/<dataset>``; what is there already stays.

    Raises:
        UsageError: no such dataset.
        DataError: a link does not answer, sends another file than expected, or was cut; a cut transfer goes on when the
            same command is run again.
    """
    folder = raw / recipe(name).id
    folder.mkdir(parents=True, exist_ok=True)
    return [_fetch(file, folder) for file in files]


def _fetch(file: RemoteFile, folder: Path) -> Path:
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.exists():
        if file.size is not None and target.stat().st_size != file.size:
            raise DataError(f"{target}: {target.stat().st_size} bytes, not {file.size}; remove it and run again")
        return target
    failed = ""
    for _ in range(_TRIES):
        transfer = _Transfer(file, part)
        failed = transfer.run()
        if not failed:
            _check(file, part)
            part.rename(target)
            return target
        if not transfer.cut:
            break
    kept = f"; {part.stat().st_size} bytes are kept, run the same command to go on" if part.exists() else ""
    raise DataError(f"{file.url}: {failed}{kept}")


class _Transfer:
    """One attempt to fetch a file, or the rest of it."""

    def __init__(self, file: RemoteFile, part: Path) -> None:
        self.file, self.part = file, part
        self.start = part.stat().st_size if part.exists() else 0
        self.expected: int | None = None
        self.cut = False

    def run(self) -> str:
        """Fetch, and return what went wrong, or an empty text."""
        import pooch

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={self.start}-"} if self.start else {})
        try:
            with self.part.open("ab") as stream, show_transfer(self.file.name) as bar:
                self._stream = stream
                pooch.HTTPDownloader(
                    progressbar=bar, timeout=_TIMEOUT_S, headers=headers, hooks={"response": self._look}
                )(self.file.url, stream, None)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            if getattr(error, "errno", None) is not None:
                raise
            size = self.part.stat().st_size
            self.cut = size > self.start or self.start > 0
            if size == 0 or _is_refused_range(error):
                self.part.unlink()
            return f"no answer, or a cut transfer ({' '.join(str(error).split())[:200]})"
        size = self.part.stat().st_size
        if self.expected is not None and size != self.expected:
            self.cut = size < self.expected
            if size > self.expected:
                self.part.unlink()
            return f"{size} bytes arrived, {self.expected} were announced"
        return ""

    def _look(self, response: Any, *args: Any, **options: Any) -> None:
        """Look at an answer before its content is written: redirects, whether it continues, how long it is."""
        if response.is_redirect:
            return
        if urlsplit(self.file.url).scheme == "https" and urlsplit(response.url).scheme != "https":
            raise ValueError(f"redirected to {response.url}, which is not encrypted; nothing was fetched")
        length = response.headers.get("Content-Length")
        continues = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {self.start}-"
        )
        if response.status_code in (200, 206):
            if not continues:
                self._stream.truncate(0)
                self.start = 0
            self.expected = None if length is None else self.start + int(length)


def _is_refused_range(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is not None and response.status_code == 416


def _check(file: RemoteFile, part: Path) -> None:
    """Refuse, and remove, what is not the file that was wanted."""
    size = part.stat().st_size
    wrong = ""
    if file.size is not None and size != file.size:
        wrong = f"sent {size} bytes, not {file.size}"
    elif file.sha256 is not None and (found := sha256_file(part)) != file.sha256:
        wrong = f"sent a file with sha256 {found[:16]}..., not {file.sha256[:16]}..."
    elif file.name.lower().endswith(SUFFIXES) and not (zipfile.is_zipfile(part) or tarfile.is_tarfile(part)):
        wrong = "sent no archive (a page to log in?)"
    elif _begins(part).startswith(_MARKUP):
        wrong = "sent a web page"
    if wrong:
        part.unlink()
        raise DataError(f"{file.url}: {wrong}; nothing was kept. dmseg datasets NAME says how to fetch it by hand")


def _begins(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(64).lstrip().lower()


def find_links(names: Sequence[str], known: Mapping[str, Sequence[RemoteFile]]) -> tuple[list[str], list[str]]:
    """Return which of some datasets can be fetched, and which cannot.

    Raises:
        UsageError: no such dataset.
    """
    ids = [recipe(name).id for name in names]
    return [name for name in ids if name in known], [name for name in ids if name not in known]
