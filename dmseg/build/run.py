"""``build``, whole or in shards: find, plan the work, do it on any number of workers, write the index."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg import datasets
from dmseg.build.finish import BuildSummary, Listing, finish
from dmseg.build.folder import BenchmarkFolder, BuildOptions
from dmseg.build.phantom_edition import IMAGES_PER_DATASET, hold_folder, phantom_raw
from dmseg.build.raw import FoundDataset, find_datasets, list_names
from dmseg.build.tasks import check_options, tasks
from dmseg.build.tracks import describe_tables
from dmseg.build.unit import Task, TaskOutcome, run_task
from dmseg.canonical import digest
from dmseg.errors import DataError
from dmseg.files import cache_folder
from dmseg.jobs import Backend, check_shard, guard_disk, run, session_facts, take_shard
from dmseg.manifests import SCHEMA_VERSION
from dmseg.progress import progress
from dmseg.types import LEVELS, MEDICAL
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
    scheduler: str | None = None,
    track: str | None = None,
) -> BuildSummary:
    """Build a benchmark folder from raw downloads, or continue one; the result does not depend on jobs or order.

    Args:
        raw: folder that holds the raw downloads; None takes the phantom edition's in the user's cache.
        out: the benchmark folder: new, empty, or one that was begun with the same options.
        datasets: names of datasets that must be there; None takes all that are found.
        levels: level ids.
        jobs, engine, scheduler: where the sources are done, see :class:`dmseg.jobs.Backend`.
        limit: at most so many images of each dataset, the same ones every time.
        seed: seed of all keyed randomness.
        storage: ``png`` or ``recipe`` (see :data:`dmseg.build.folder.STORAGES`).
        track: one of :data:`dmseg.types.TRACKS`; None: that of the datasets, or medical.

    Raises:
        UsageError: an unknown name, or a folder that was begun with other options.
        DataError: unusable raw data or output folder; what was finished stays and the next build goes on from there.
    """
    options = check_options(seed, levels, storage, datasets, limit, track)
    work = Work.find(raw, out, options, Backend(engine, jobs, scheduler))
    with work.session():
        done = _do_limited(work)
    return finish(work.folder, options, work.make_listing(done))


def build_shard(
    raw: Path | str | None,
    out: Path | str,
    shard: tuple[int, int],
    *,
    datasets: Sequence[str] | None = None,
    levels: Sequence[str] = LEVELS,
    jobs: int = 1,
    seed: int = 0,
    storage: str = "png",
    engine: str = "loky",
    scheduler: str | None = None,
    track: str | None = None,
) -> tuple[int, int]:
    """Do one shard of a build in a folder that all shards share; :func:`merge` finishes the benchmark.

    Args:
        shard: (i, n), i of 1..n: every n-th source, from the i-th on.
        raw, out, datasets, levels, jobs, seed, storage, engine, scheduler, track: see :func:`build`, equal for all.

    Returns:
        Number of images done, and of sources that failed.
    """
    check_shard(shard)
    options = check_options(seed, levels, storage, datasets, None, track)
    work = Work.find(raw, out, options, Backend(engine, jobs, scheduler))
    with work.session():
        everything = work.tasks()
        work.make_listing(everything).write(work.folder.listing)
        outcomes = work.do(take_shard(everything, shard), f"shard {shard[0]}/{shard[1]}")
    return sum(outcome.n_images for outcome in outcomes), sum(outcome.n_errors for outcome in outcomes)


def merge(out: Path | str) -> BuildSummary:
    """Finish a benchmark whose shards are all done.

    Raises:
        DataError: no shards there, or a source that no shard has done yet.
    """
    folder = BenchmarkFolder(Path(out))
    if not folder.options.is_file():
        raise DataError(f"{folder.path}: no build was begun there; run `dmseg build ... --shard i/n` first")
    return finish(folder, folder.read_options(), Listing.read(folder.listing))


@dataclass(frozen=True, slots=True)
class Work:
    """A build that is ready to begin: everything is found and checked, nothing is written."""

    raw: Path
    folder: BenchmarkFolder
    found: Sequence[FoundDataset]
    options: BuildOptions
    backend: Backend

    @classmethod
    def find(cls, raw: Path | str | None, out: Path | str, options: BuildOptions, backend: Backend) -> Work:
        """Find the datasets below ``raw``, or the phantom edition's where it is None."""
        raw = phantom_raw(track=options.track) if raw is None else Path(raw)
        found = find_datasets(raw, options.datasets, options.track)
        return cls(raw, BenchmarkFolder(Path(out)), found, options, backend)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Hold the folder during the body, in which sources are done."""
        with self.folder.session(self.options, self.raw), guard_disk(self.folder.path):
            self.folder.ledger.note_session(session_facts("cpu", self.backend.jobs, self.backend.name))
            yield

    def tasks(self, only: frozenset[str] | None = None) -> list[Task]:
        """Return one task per source; see :func:`dmseg.build.tasks.tasks`."""
        return [task for found in self.found for task in tasks(found, self.folder, self.options, only)]

    def do(self, work: Sequence[Task], label: str) -> list[TaskOutcome]:
        """Do some sources, and return what became of them."""
        with run(run_task, work, self.backend) as outcomes:
            return list(progress(outcomes, len(work), label, "sources"))

    def make_listing(self, done: Iterable[Task]) -> Listing:
        """Return what a benchmark of these sources is made of."""
        return Listing.of(self.found, [(task.dataset, task.source.id) for task in done])


def _do_limited(work: Work) -> list[Task]:
    """Do the sources, and return those that the benchmark is made of.

    With a limit, sources that turn out to give no image are made up for by the next ones in keyed order.
    """
    limit = work.options.limit
    waiting = {found.name: iter(tasks(found, work.folder, work.options)) for found in work.found}
    built: Counter[str] = Counter()
    done: list[Task] = []
    while True:
        batch = [
            task
            for name, queue in waiting.items()
            for task in itertools.islice(queue, None if limit is None else limit - built[name])
        ]
        if not batch:
            return done
        done += batch
        for outcome in work.do(batch, "build"):
            built[outcome.dataset] += outcome.n_images


def phantom_benchmark(limit: int | None = None, jobs: int = 1, track: str = MEDICAL) -> Path:
    """Return the phantom edition's folder in the user's cache, built there on first use and not touched after.

    Its name says what it was built by, so a dmseg with other recipes or tables builds another one. Several processes
    may ask at once: one builds, the others wait for it.

    Args:
        limit: so many images of each dataset instead of the whole edition.
        jobs: worker processes.
        track: whose edition it is.

    Raises:
        DataError: the cache cannot be written or locked, or an image could not be made.
    """
    raw = phantom_raw(limit or IMAGES_PER_DATASET, jobs, track)
    recipes = [datasets.recipe(name).digest for name in list_names(track)]
    built_by = digest([SCHEMA_VERSION, __version__, recipes, *describe_tables(track).values()])
    folder = BenchmarkFolder(cache_folder() / "benchmarks" / f"{raw.name}-{built_by[:8]}")
    if not folder.header.is_file():
        with hold_folder(folder.path):
            if not folder.header.is_file():
                errors = build(raw, folder.path, limit=limit, jobs=jobs, track=track).errors
                if errors:
                    folder.header.unlink()
                    raise DataError(f"{folder.path}: {errors[0]}; the next call tries again")
    return folder.path
