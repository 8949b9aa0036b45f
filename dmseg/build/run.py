"""``build``: find, plan the work, do it on any number of workers, write the index."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg.build.engine import check_engine, run_tasks
from dmseg.build.folder import STORAGES, Folder, Options
from dmseg.build.index import Collected, read_parts, write_index
from dmseg.build.parts import ERROR, LEFT_OUT, read_part
from dmseg.build.phantom_edition import IMAGES_PER_DATASET, phantom_raw
from dmseg.build.raw import FileState, FoundDataset, find_datasets, phantom_identities, synthetic_datasets
from dmseg.build.unit import Task
from dmseg.errors import UsageError, unknown_name
from dmseg.files import cache_folder
from dmseg.progress import progress
from dmseg.rng import key_words
from dmseg.types import LEVELS, check_level


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What a build gave.

    Attributes:
        n_images: images in the benchmark.
        n_left_out: images that were left out on purpose (no mask, empty mask, ...); build_report.csv says why.
        errors: one text per source that failed.
        manifest_digest: the name of exactly this benchmark (64 hex digits).
        edition, version: those of the published manifest with that digest, else ``local`` and ``0+<digest8>``.
    """

    n_images: int
    n_left_out: int
    errors: tuple[str, ...]
    manifest_digest: str
    edition: str
    version: str

    @property
    def exit_code(self) -> int:
        """0 done, 1 done with errors that are recorded in build_report.csv."""
        return 1 if self.errors else 0


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
    options = checked_options(seed, levels, storage, datasets, limit)
    check_engine(engine, jobs)
    raw = phantom_raw() if raw is None else Path(raw)
    folder = Folder(Path(out))
    found = find_datasets(raw, datasets)
    folder.claim(options, raw)
    wanted = _do(found, folder, options, raw, jobs, engine)
    collected = Collected(read_parts(folder, wanted))
    for dataset in found:
        collected.add_problems(dataset.name, dataset.problems)
    synthetic = synthetic_datasets(found, raw)
    info = write_index(folder, options, [dataset.recipe for dataset in found], collected, synthetic)
    return BuildSummary(
        n_images=info["counts"]["images"],
        n_left_out=sum(row.n for row in collected.report if row.kind == LEFT_OUT),
        errors=tuple(f"{row.dataset}/{row.source}: {row.reason}" for row in collected.report if row.kind == ERROR),
        manifest_digest=info["manifest_digest"],
        edition=info["edition"],
        version=info["version"],
    )


def checked_options(
    seed: int, levels: Sequence[str], storage: str, datasets: Sequence[str] | None, limit: int | None
) -> Options:
    """Return the options of a build, or raise :class:`~dmseg.errors.UsageError` for what cannot be meant."""
    chosen = {check_level(level) for level in levels}
    if not chosen:
        raise UsageError(f"no level is given; choose from {', '.join(LEVELS)}")
    if storage not in STORAGES:
        raise unknown_name("storage", storage, STORAGES)
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; give at least 1 image per dataset, or none for all")
    ordered = tuple(level for level in LEVELS if level in chosen)
    return Options(seed, ordered, storage, None, None if datasets is None else tuple(datasets), limit)


def phantom_benchmark(limit: int | None = None, jobs: int = 1) -> Path:
    """Return the phantom edition's folder in the user's cache, built there on first use and checked on every other.

    Args:
        limit: so many images of each dataset instead of the whole edition.
        jobs: worker processes.
    """
    raw = phantom_raw(limit or IMAGES_PER_DATASET, jobs)
    folder = cache_folder() / "benchmarks" / raw.name
    build(raw, folder, limit=limit, jobs=jobs)
    return folder


def _do(
    found: Sequence[FoundDataset], folder: Folder, options: Options, raw: Path, jobs: int, engine: str
) -> list[tuple[str, str]]:
    """Do the sources, and return which (dataset, source id) the benchmark is made of.

    With a limit, sources that turn out to give no image are made up for by the next ones in keyed order.
    """
    queues = {dataset.name: tasks(dataset, folder, options, raw) for dataset in found}
    waiting = {name: iter(queue) for name, queue in queues.items()}
    built: Counter[str] = Counter()
    done: list[tuple[str, str]] = []
    while True:
        batch = [
            task
            for name, queue in waiting.items()
            for task in itertools.islice(queue, None if options.limit is None else options.limit - built[name])
        ]
        if not batch:
            return done
        done += [(task.dataset, task.source.id) for task in batch]
        for outcome in progress(run_tasks(batch, jobs, engine), len(batch), "build", "sources"):
            built[outcome.dataset] += outcome.n_images


def tasks(found: FoundDataset, folder: Folder, options: Options, raw: Path) -> list[Task]:
    """Return the tasks of a dataset: all sources by id, or, with a limit, in keyed order and with their share."""
    sources = list(found.sources)
    if options.limit is not None:
        sources.sort(key=lambda source: (key_words("limit", found.name, source.id), source.id))
    phantoms = phantom_identities(raw)
    shared = _shared_files(found, folder)
    return [
        Task(
            folder=folder,
            reader=found.reader,
            root=found.root,
            source=source,
            seed=options.seed,
            levels=options.levels,
            storage=options.storage,
            take=_share(options.limit, len(sources), rank),
            shared={file: shared[file] for file in source.files if file in shared},
            phantoms={file: phantoms.get((found.root / file).resolve(), "") for file in source.files if phantoms},
        )
        for rank, source in enumerate(sources)
    ]


def _share(limit: int | None, n_sources: int, rank: int) -> int | None:
    """Return how many images the source at a rank gives: the limit, dealt out one by one."""
    if limit is None:
        return None
    return max(1, limit // n_sources + (rank < limit % n_sources))


def _shared_files(found: FoundDataset, folder: Folder) -> dict[Path, FileState]:
    """Return the state of each file that several sources of a dataset use, hashed once (root-relative path)."""
    uses = Counter(file for source in found.sources for file in set(source.files))
    shared: dict[Path, FileState] = {}
    for source in found.sources:
        for file in source.files:
            if uses[file] > 1 and file not in shared and (found.root / file).is_file():
                before = read_part(folder.part(found.name, source.id))
                shared[file] = FileState.of(found.root / file, before.files.get(file.as_posix()) if before else None)
    return shared
