"""The work unit of a build: one source is read, degraded, written and remembered, in whatever process runs it.

The result depends on the task alone, never on other sources, on workers or on order. A source is done as a whole: it is
either unchanged, or done again with all its images. One that cannot be read becomes a row of the report; a write that
fails, or a disk that goes away, is the machine's fault and stops the build.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from dmseg import imaging
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.parts import ERROR, BuildPart, ReportRow, part_name, read_part, write_part
from dmseg.build.raw import FileState
from dmseg.build.stored import StoredSample, store
from dmseg.build.tracks import describe_tables
from dmseg.canonical import digest
from dmseg.datasets import LeftOut, Reader, Source
from dmseg.errors import DmsegError, MachineError
from dmseg.files import sync_together
from dmseg.manifests import SCHEMA_VERSION, image_id
from dmseg.types import MEDICAL, Sample
from dmseg.version import __version__

_LOST = tuple(
    number
    for name in ("ESTALE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT", "ENODEV", "ENXIO", "EMFILE", "ENFILE")
    if (number := getattr(errno, name, None)) is not None
)
"""Errors of a disk, a network or a system that is not there: they say nothing of the source that met them."""


@dataclass(frozen=True)
class Task:
    """One source to be done.

    Attributes:
        folder: the benchmark folder.
        reader, root, source: what to read.
        seed, levels, storage: as in the build's options.
        take: at most so many images of this source, evenly spaced; None = all.
        only: the image ids wanted of this source (rebuild from a manifest); None = all.
        shared: states of files that other sources use too, hashed once by the parent (root-relative path).
        phantoms: root-relative path -> identity of files that were synthesised.
    """

    folder: BenchmarkFolder
    reader: Reader
    root: Path
    source: Source
    seed: int
    levels: tuple[str, ...]
    storage: str = "png"
    take: int | None = None
    only: frozenset[str] | None = None
    track: str = MEDICAL
    shared: Mapping[Path, FileState] | None = None
    phantoms: Mapping[Path, str] | None = None

    @property
    def dataset(self) -> str:
        """The recipe's id."""
        return self.reader.recipe.id

    @property
    def part_name(self) -> str:
        """Where the result is remembered, in the folder's ledger."""
        return part_name(self.dataset, self.source.id)

    def read_part(self) -> BuildPart | None:
        """Return what is remembered of the source, None where nothing is."""
        return read_part(self.folder, self.part_name)


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What became of a task: how many images and errors, and the seconds it took."""

    dataset: str
    n_images: int
    n_errors: int
    seconds: float


def run_task(task: Task) -> TaskOutcome:
    """Do one source, unless its part shows that nothing has changed.

    Raises:
        MachineError: a file of the source was there when the build began, and is gone; its disk or network is lost.
        OSError: the benchmark folder cannot be written.
    """
    start = time.perf_counter()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        before = task.read_part()
        states, unreadable = _file_states(task, before)
        key = _key(task, states)
        if before is not None and before.key == key and not before.errors and _images_are_there(task, before):
            return TaskOutcome(task.dataset, len(before.images), 0, time.perf_counter() - start)
        task.folder.header.unlink(missing_ok=True)
        part = _record_failure(task, key, states, unreadable) if unreadable else _do_task(task, key, states)
        write_part(task.folder, task.part_name, part)
    finally:
        cv2.setNumThreads(threads)
    return TaskOutcome(task.dataset, len(part.images), len(part.errors), time.perf_counter() - start)


def _file_states(task: Task, before: BuildPart | None) -> tuple[dict[str, FileState], Exception | None]:
    """Return the states of the source's files, and why one of them cannot be read."""
    states = {}
    for file in task.source.files:
        shared = (task.shared or {}).get(file)
        known = before.files.get(file.as_posix()) if before else None
        try:
            states[file.as_posix()] = shared or FileState.of(task.root / file, known)
        except OSError as error:
            return states, error
    return states, None


def _key(task: Task, states: Mapping[str, FileState]) -> str:
    source = task.source
    return digest(
        {
            "schema": SCHEMA_VERSION,
            "dmseg": __version__,
            "recipe": task.reader.recipe.digest,
            "tables": list(describe_tables(task.track).values()),
            "options": [task.seed, task.levels, task.storage, task.take, task.only and sorted(task.only)],
            "source": [source.id, source.case_id, source.detail],
            "files": [[file, state.sha256] for file, state in states.items()],
            "phantoms": [(task.phantoms or {}).get(file) for file in source.files],
        }
    )


def _source_sha256(task: Task, states: Mapping[str, FileState]) -> str:
    """Return the identity of the source: its files' digests in the reader's order (entries of phantoms instead)."""
    phantoms = task.phantoms or {}
    return digest([phantoms.get(file) or states[file.as_posix()].sha256 for file in task.source.files])


def _images_are_there(task: Task, part: BuildPart) -> bool:
    levels = list_stored_levels(task.levels, task.storage)
    return all(
        task.folder.locate(task.dataset, level, row["image_id"]).is_file() for row in part.images for level in levels
    )


def list_stored_levels(levels: Sequence[str], storage: str) -> tuple[str, ...]:
    """Return the levels that are stored as files."""
    return tuple(levels) if storage == "png" else ("clear",)


def _record_failure(task: Task, key: str, states: Mapping[str, FileState], error: Exception) -> BuildPart:
    """Return the part of a source that cannot be read; where the machine is to blame, that is raised instead."""
    _check_machine(task, error)
    if isinstance(error, OSError):
        reason = f"{error.filename or task.source.files[0]}: {error.strerror or error}"
    else:
        reason = str(error) if isinstance(error, DmsegError) else f"{type(error).__name__}: {error}"
    plain = reason.replace(f"{task.root}/", "").replace(f"{task.folder.path}/", "")
    return BuildPart(key, states, report=[ReportRow(task.dataset, task.source.id, ERROR, 1, plain)])


def _check_machine(task: Task, error: Exception) -> None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MachineError) or (isinstance(cause, OSError) and cause.errno in _LOST):
            raise MachineError(f"{task.root}: {cause}; what was finished is kept, the same command goes on") from None
        cause = cause.__context__
    # A link to nothing is the source's own fault; a name that is no longer there is not.
    gone = [file for file in task.source.files if not os.path.lexists(task.root / file)]
    if gone:
        raise MachineError(
            f"{task.root / gone[0]}: was there when the build began, and is gone; is its disk still there? "
            "What was finished is kept, the same command goes on"
        ) from None


def _do_task(task: Task, key: str, states: Mapping[str, FileState]) -> BuildPart:
    """Read, degrade and write the source's images; a failure to read makes the source fail, and only it.

    When this returns, every image that the part speaks of is on the disk, so no power cut can leave a part whose
    images are not whole.
    """
    part = BuildPart(key, states)
    stored = _store_wanted(task, _source_sha256(task, states))
    with sync_together() as sync:
        while True:
            try:
                item = next(stored, None)
            except Exception as error:  # one strange image must not end a build of days; the row names the fault
                return _record_failure(task, key, states, error)
            if item is None:
                return part
            if isinstance(item, ReportRow):
                part.report.append(item)
            else:
                _write(task, item, part, sync)


def _store_wanted(task: Task, source_sha256: str) -> Iterator[StoredSample | ReportRow]:
    """Yield what is stored of the source's images, or why one is left out; nothing is written."""
    for item in _read_wanted(task):
        if isinstance(item, LeftOut):
            yield ReportRow(task.dataset, item.source, item.kind, 1, item.reason)
        else:
            yield store(
                item,
                task.reader.recipe,
                source_sha256=source_sha256,
                levels=task.levels,
                seed=task.seed,
                track=task.track,
            )


def _read_wanted(task: Task) -> Iterator[Sample | LeftOut]:
    """Yield what the reader yields, restricted to the images that are asked for."""
    items = task.reader.read(task.root, task.source)
    if task.only is not None:
        items = (i for i in items if isinstance(i, Sample) and image_id(task.dataset, i.source_id) in task.only)
    if task.take is None:
        yield from items
        return
    listed = list(items)
    samples = [item for item in listed if isinstance(item, Sample)]
    yield from (item for item in listed if isinstance(item, LeftOut))
    n = min(task.take, len(samples))
    yield from (samples[(2 * k + 1) * len(samples) // (2 * n)] for k in range(n))


def _write(task: Task, stored: StoredSample, part: BuildPart, sync: Callable[[Path], None]) -> None:
    """Write the images of one sample and add its rows to the part."""
    for level in list_stored_levels(task.levels, task.storage):
        path = task.folder.locate(task.dataset, level, stored.image["image_id"])
        imaging.write_png(path, stored.images[level], sync=False)
        sync(path)
    part.images.append(stored.image)
    part.masks.extend(stored.masks)
    part.degradations.extend(stored.degradations)
    part.report.extend(stored.report)
