"""``build``: find, plan the work, do it on any number of workers, write the index."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dmseg import datasets, simulators
from dmseg.build.engine import check_engine, run_tasks
from dmseg.build.finish import BuildSummary, Listing, finish
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.phantom_edition import IMAGES_PER_DATASET, hold_folder, phantom_raw
from dmseg.build.raw import find_datasets
from dmseg.build.tasks import check_options, tasks
from dmseg.build.unit import Task
from dmseg.canonical import digest
from dmseg.errors import DataError
from dmseg.files import cache_folder
from dmseg.manifests import SCHEMA_VERSION
from dmseg.progress import progress
from dmseg.types import LEVELS
from dmseg.version import __version__


def build(
    raw: Path | str | None,
    out: Path | str,
    *,
    datasets: Sequence[str] | None = None,
    levels: Sequence[str] = LEVELS,
    jobs: int = 1,
    limit: int | None = None,
    seed: int = 0,
    storage: str = "png",
    engine: str = "loky",
) -> BuildSummary:
    """Build a benchmark folder from raw downloads, or continue one; the result does not depend on jobs or order.

    Args:
        raw: folder that holds the raw downloads; None takes the phantom edition's in the user's cache.
        out: the benchmark folder: new, empty, or one that was begun with the same options.
        datasets: names of datasets that must be there; None takes all that are found.
        levels: level ids.
        jobs: worker processes.
        limit: at most so many images of each dataset, the same ones every time.
        seed: seed of all keyed randomness.
        storage: ``png`` or ``recipe`` (see :data:`dmseg.build.folder.STORAGES`).
        engine: ``loky`` or ``dask``.

    Raises:
        UsageError: an unknown name, or a folder that was begun with other options.
        DataError: unusable raw data or output folder; what was finished stays and the next build goes on from there.
    """
    options = check_options(seed, levels, storage, datasets, limit)
    check_engine(engine, jobs)
    raw = phantom_raw() if raw is None else Path(raw)
    folder = BenchmarkFolder(Path(out))
    found = find_datasets(raw, datasets)
    folder.claim(options, raw)
    queues = {dataset.name: tasks(dataset, folder, options) for dataset in found}
    done = _do(queues, limit, jobs, engine)
    return finish(folder, options, Listing.of(found, done))


def _do(queues: Mapping[str, Sequence[Task]], limit: int | None, jobs: int, engine: str) -> Sequence[tuple[str, str]]:
    """Do the sources, and return which (dataset, source id) the benchmark is made of.

    With a limit, sources that turn out to give no image are made up for by the next ones in keyed order.
    """
    waiting: dict[str, Iterator[Task]] = {name: iter(queue) for name, queue in queues.items()}
    built: Counter[str] = Counter()
    done: list[tuple[str, str]] = []
    while True:
        batch = [
            task
            for name, queue in waiting.items()
            for task in itertools.islice(queue, None if limit is None else limit - built[name])
        ]
        if not batch:
            return done
        done += [(task.dataset, task.source.id) for task in batch]
        for outcome in progress(run_tasks(batch, jobs, engine), len(batch), "build", "sources"):
            built[outcome.dataset] += outcome.n_images


def phantom_benchmark(limit: int | None = None, jobs: int = 1) -> Path:
    """Return the phantom edition's folder in the user's cache, built there on first use and not touched after.

    Its name says what it was built by, so a dmseg with other recipes or tables builds another one. Several processes
    may ask at once: one builds, the others wait for it.

    Args:
        limit: so many images of each dataset instead of the whole edition.
        jobs: worker processes.

    Raises:
        DataError: the cache cannot be written or locked, or an image could not be made.
    """
    raw = phantom_raw(limit or IMAGES_PER_DATASET, jobs)
    recipes = [datasets.recipe(name).digest for name in datasets.RECIPES]
    built_by = digest([SCHEMA_VERSION, __version__, recipes, simulators.TABLES_VERSION, simulators.tables_digest()])
    folder = BenchmarkFolder(cache_folder() / "benchmarks" / f"{raw.name}-{built_by[:8]}")
    if not folder.header.is_file():
        with hold_folder(folder.path):
            if not folder.header.is_file():
                errors = build(raw, folder.path, limit=limit, jobs=jobs).errors
                if errors:
                    folder.header.unlink()
                    raise DataError(f"{folder.path}: {errors[0]}; the next call tries again")
    return folder.path
