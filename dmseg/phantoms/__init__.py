"""Synthetic raw data in the original download layouts: modality-faithful images with exact masks, traps included.

Nothing here is taken from the degradation simulators: organs, scatterers and noise are the phantoms' own. Every file
is a function of (generator version, seed, key); ``phantom.json`` beside the data sets says which.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dmseg.datasets.synthetic import read_index, write_index
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.files import TEMPORARY_PREFIX, lock, remove_temporaries, temporary_sibling
from dmseg.jobs import Backend, guard_disk, run
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.phantoms.sets import ALL_SETS, SETS, draw_item, tasks
from dmseg.progress import progress

GENERATOR_VERSION = "1"
DATASETS: tuple[str, ...] = tuple(SETS)
"""The data sets of the medical track."""
ALL_DATASETS: tuple[str, ...] = tuple(ALL_SETS)
"""The data sets of all tracks."""


def write_phantoms(
    out: Path, *, per_dataset: int, seed: int = 0, datasets: Sequence[str] | None = None, jobs: int = 1
) -> list[Path]:
    """Write synthetic raw data: ``out/<dataset>/<original layout>`` and the index ``out/phantom.json``.

    A reader finds ``per_dataset`` images in each data set, in cases of two where the original has patients; what the
    original has besides (images without objects, broken files) is added on top and yields none. Patients that come as
    volumes are written whole, so an odd number is rounded up there. The first N images do not depend on how many are
    written. A data set's folder appears when it is complete; one written before is replaced.

    Args:
        out: folder of the raw data; made if missing.
        per_dataset: images of each data set, at least 1.
        seed: another seed gives other patients.
        datasets: names out of :data:`ALL_DATASETS`; None = those of the medical track.
        jobs: worker processes; the files do not depend on it.

    Returns:
        The folder of each data set.

    Raises:
        UsageError: an unknown data set, or fewer than 1 image.
        DataError: ``out/<dataset>`` holds files that no phantom generator wrote.
    """
    if per_dataset < 1:
        raise UsageError(f"per_dataset is {per_dataset}; give at least 1 image per data set")
    names = tuple(dict.fromkeys(datasets)) if datasets is not None else DATASETS
    for name in names:
        if name not in ALL_SETS:
            raise unknown_name("data set", name, ALL_DATASETS)
    index = read_index(out)
    for name in names:
        _check_replaceable(out / name, index)
    remove_temporaries(out, below=False)
    planned = [task for name in names for task in tasks(name, per_dataset, seed)]
    with guard_disk(out), run(draw_item, planned, Backend("loky", jobs), ordered=True) as results:
        items = iter(progress(results, len(planned), "phantoms", "images"))
        for name in names:
            count = len(tasks(name, per_dataset, seed))
            _write_dataset(out, name, seed, itertools.islice(items, count))
        next(items, None)  # ends the progress report
    return [out / name for name in names]


def _check_replaceable(folder: Path, index: dict[str, dict[str, Any]]) -> None:
    if not folder.exists():
        return
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder.parent).as_posix()
        if path.is_file() and relative not in index:
            raise DataError(
                f"{path}: not a phantom, and phantoms are never mixed with other data; choose another --out"
            )


def _write_dataset(out: Path, name: str, seed: int, items: Iterator[DrawnItem]) -> None:
    """Write one data set into a temporary folder, then put it into its place and into the index."""
    temporary = temporary_sibling(out / name)
    folder = PhantomFolder(temporary, seed, name)
    try:
        temporary.mkdir(parents=True)
        ALL_SETS[name].write(folder, items)
        _publish(out, name, temporary, {file: _entry(seed, key) for file, key in folder.keys.items()})
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _entry(seed: int, key: str) -> dict[str, Any]:
    return {"version": GENERATOR_VERSION, "seed": seed, "key": key}


def _publish(out: Path, name: str, written: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Put a finished folder into its place; others may write other data sets, or the same, at this moment.

    The index is changed while the folder is away: a process that is killed here leaves entries without files, which
    mean nothing, never files under the entries of others.
    """
    before = temporary_sibling(out / name)
    try:
        with lock(out / f"{TEMPORARY_PREFIX}lock", needed=False):
            index = read_index(out)
            _check_replaceable(out / name, index)
            if (out / name).exists():
                (out / name).rename(before)
            kept = {file: entry for file, entry in index.items() if not file.startswith(f"{name}/")}
            write_index(out, kept | {f"{name}/{file}": entry for file, entry in entries.items()})
            written.rename(out / name)
    finally:
        shutil.rmtree(before, ignore_errors=True)
