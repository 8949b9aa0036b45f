"""Synthetic raw data in the original download layouts: modality-faithful images with exact masks, traps included.

Nothing here is taken from the degradation simulators: organs, scatterers and noise are the phantoms' own. Every file
is a function of (generator version, seed, key); ``phantom.json`` beside the data sets says which.
"""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib

from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.files import TEMPORARY_PREFIX, write_text
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.phantoms.sets import SETS, draw_item, tasks
from dmseg.progress import progress

GENERATOR_VERSION = "1"
INDEX = "phantom.json"
DATASETS: tuple[str, ...] = tuple(SETS)


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
        datasets: names out of :data:`DATASETS`; None = all.
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
        if name not in SETS:
            raise unknown_name("data set", name, DATASETS)
    index = read_index(out)
    for name in names:
        _check_replaceable(out / name, index)
    planned = [task for name in names for task in tasks(name, per_dataset, seed)]
    items = iter(progress(_draw_items(planned, jobs), len(planned), "phantoms", "pictures"))
    for name in names:
        count = len(tasks(name, per_dataset, seed))
        entries = _write_dataset(out, name, seed, itertools.islice(items, count))
        index = {file: entry for file, entry in index.items() if not file.startswith(f"{name}/")} | entries
        write_text(out / INDEX, json.dumps(dict(sorted(index.items())), indent=0) + "\n")
    next(items, None)  # ends the progress report
    return [out / name for name in names]


def read_index(out: Path) -> dict[str, dict[str, Any]]:
    """Return ``out/phantom.json``: file (relative, ``/``) -> {version, seed, key}; empty where there is none.

    Raises:
        DataError: the file is not such an index.
    """
    path = out / INDEX
    if not path.is_file():
        return {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON ({error}); remove it together with the phantoms") from None
    if not isinstance(index, dict):
        raise DataError(f"{path}: expected a table of files; remove it together with the phantoms")
    return index


def _check_replaceable(folder: Path, index: dict[str, dict[str, Any]]) -> None:
    if not folder.exists():
        return
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder.parent).as_posix()
        if path.is_file() and relative not in index:
            raise DataError(
                f"{path}: not a phantom, and phantoms are never mixed with other data; choose another --out"
            )


def _draw_items(planned: list[Any], jobs: int) -> Iterable[DrawnItem]:
    if jobs == 1:
        return map(draw_item, planned)
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    results: Iterable[DrawnItem] = parallel(joblib.delayed(draw_item)(task) for task in planned)
    return results


def _write_dataset(out: Path, name: str, seed: int, items: Iterator[DrawnItem]) -> dict[str, dict[str, Any]]:
    """Write one data set into a temporary folder, then move it into place; return its index entries."""
    temporary = out / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    folder = PhantomFolder(temporary, seed, name)
    try:
        temporary.mkdir(parents=True)
        SETS[name].write(folder, items)
        if (out / name).exists():
            shutil.rmtree(out / name)
        temporary.rename(out / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {
        f"{name}/{file}": {"version": GENERATOR_VERSION, "seed": seed, "key": key} for file, key in folder.keys.items()
    }
