"""The memory of a job: whose folder it is, which units are done, what they gave, and who worked on it.

A folder is claimed in one step, so that of many jobs that begin at once exactly one is first; the others either are the
same job and share it, or are refused and change nothing. Sessions that are at work hold the folder together; it is
finished by one that holds it alone. Parts are written whole, read one by one, and lost to nothing but a damaged disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmseg.canonical import canonical_json, plain
from dmseg.errors import DataError, DmsegError, MachineError, UsageError
from dmseg.files import is_temporary, lock, write_bytes, write_new

Record = Mapping[str, Any]
_SESSIONS = "sessions.jsonl"


@contextlib.contextmanager
def guard_disk(out: Path) -> Iterator[None]:
    """Turn an error of the disk in the body into a :class:`~dmseg.errors.MachineError` that says what to do."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename and str(error.filename) != str(out) else ""
        raise MachineError(
            f"{out}: cannot be written: {error.strerror or error}{place}; make room there, or mend what is wrong, and "
            "run the same command again; what was finished is kept, the same command goes on from where it stopped"
        ) from error


@dataclass(frozen=True, slots=True)
class Ledger:
    """The memory of one job.

    Attributes:
        folder: where it is: a folder directly inside the one that the job writes.
        jobs: files that may say which job it is, first to last; the last, inside ``folder``, is written by the claim.
    """

    folder: Path
    jobs: tuple[Path, ...]

    @property
    def out(self) -> Path:
        """The folder that the job writes."""
        return self.folder.parent

    def read_job(self) -> dict[str, Any] | None:
        """Return what the folder was begun for, None where no job was.

        Raises:
            DataError: the file that says so is damaged.
        """
        for path in self.jobs:
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if not isinstance(record, dict):
                    raise ValueError("not an object")
                return record
            except FileNotFoundError:
                continue
            except ValueError as error:
                raise DataError(f"{path}: not readable ({error}); remove the folder, or give another --out") from None
        return None

    @contextlib.contextmanager
    def session(
        self, job: Record, check: Callable[[Record], bool], refusal: Callable[[], DmsegError]
    ) -> Iterator[None]:
        """Claim the folder for a job, or join it there; hold it together with its other sessions during the body.

        Args:
            job: what the folder is for.
            check: given what it was begun for, raises where that is another job, and is true where this one widens it.
            refusal: makes the error for a folder that holds something else.

        Raises:
            UsageError: sessions are at work there, for a job that this one would widen.
        """
        while True:
            before = self.read_job()
            if before is None:
                if self._holds_something_else():
                    raise refusal()
                if not write_new(self.jobs[-1], _json(job)):
                    continue  # another was first; is it the same job?
            elif check(before):
                self._widen(job, check)
            with self._hold(shared=True):
                now = self.read_job()
                if now is None or check(now):
                    continue  # it was finished, removed or widened just now
                yield
                return

    def _widen(self, job: Record, check: Callable[[Record], bool]) -> None:
        try:
            with self._hold(shared=False, wait=False):
                now = self.read_job()
                if now is not None and check(now):
                    write_bytes(self.jobs[-1], _json(job))
        except BlockingIOError:
            raise UsageError(
                f"{self.out}: another command is at work there that was begun with other options; "
                "wait until it has ended, or give --out another folder"
            ) from None

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold the folder alone, to finish it; waits until no session is at work there."""
        return self._hold(shared=False)

    def _hold(self, *, shared: bool, wait: bool = True) -> contextlib.AbstractContextManager[None]:
        # The claim itself needs no locks: without them, only widening a job while another runs is not refused.
        return lock(self.folder / "lock", shared=shared, wait=wait, needed=False)

    def _holds_something_else(self) -> bool:
        return self.out.is_dir() and any(path != self.folder and not is_temporary(path) for path in self.out.iterdir())

    def write(self, name: str, record: Any, *, sync: bool = True) -> None:
        """Keep what a unit gave, whole or not at all; unsynced, a power cut may damage it, and it is done again."""
        content = json.dumps(record, default=_plain, separators=(",", ":")).encode()
        path = self.folder / name
        write_bytes(path, gzip.compress(content, 3, mtime=0) if path.suffix == ".gz" else content, sync=sync)

    def read(self, name: str) -> Any:
        """Return what a unit gave; None where it is not done, or its part is damaged."""
        path = self.folder / name
        try:
            content = path.read_bytes()
            return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        except (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error, ValueError):
            return None

    def has(self, name: str) -> bool:
        """Tell whether a unit is done."""
        return (self.folder / name).is_file()

    def find_missing(self, names: Iterable[str]) -> list[str]:
        """Return the names of the units that are not done."""
        try:
            done = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.json*")}
        except FileNotFoundError:  # another session has finished the job, and removes its memory just now
            done = set()
        return [name for name in names if name not in done]

    def stream(self, names: Iterable[str]) -> Iterator[Any]:
        """Yield what the units gave, one after the other, in the order of the names.

        Raises:
            DataError: a unit is not done; or its part is damaged, which is removed so that the same command does it.
        """
        for name in names:
            record = self.read(name)
            if record is None and self.has(name):
                (self.folder / name).unlink(missing_ok=True)
                raise DataError(f"{self.folder / name} was damaged and is removed; run the same command again")
            if record is None:
                raise DataError(
                    f"{self.out}: {name} is not done yet; run the same command again, it goes on from there"
                )
            yield record

    def note_session(self, facts: Record) -> None:
        """Keep facts about a session: host, versions, device."""
        with (self.folder / _SESSIONS).open("ab") as stream:
            stream.write(canonical_json(facts).encode() + b"\n")

    def sessions(self) -> list[dict[str, Any]]:
        """Return the facts about all sessions, by start; a line that a kill has cut short is left out."""
        notes = []
        for line in (self.folder / _SESSIONS).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                notes.append(json.loads(line))
        return sorted(notes, key=lambda facts: str(facts["started"]))

    def keep_only(self, names: Sequence[str], below: str) -> None:
        """Remove parts below a folder of the ledger that are none of ``names``."""
        wanted = {self.folder / name for name in names}
        for path in (self.folder / below).rglob("*.json*"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the memory, once everything is in the finished files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_json(path: Path, content: Record) -> None:
    """Write a JSON file for people and programs, whole or not at all."""
    write_bytes(path, _json(content))


def _json(content: Record) -> bytes:
    return (json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"no JSON for {type(value).__name__}")
