"""Builds in pieces, for job arrays: each job does a shard of the sources in one folder, ``merge`` finishes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmseg.build.engine import check_engine, run_tasks
from dmseg.build.finish import BuildSummary, Listing, finish
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.phantom_edition import phantom_raw
from dmseg.build.raw import find_datasets
from dmseg.build.tasks import check_options, tasks
from dmseg.errors import DataError, UsageError
from dmseg.progress import progress
from dmseg.rng import key_words
from dmseg.types import LEVELS


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
) -> tuple[int, int]:
    """Do one shard of a build in a folder that all shards share; :func:`merge` finishes the benchmark.

    Args:
        shard: (i, n), i of 1..n: the sources are dealt out by a keyed hash, so every job finds its own without a plan.
        raw, out, datasets, levels, jobs, seed, storage, engine: as for :func:`dmseg.build.build`, equal for all shards.

    Returns:
        Number of images done, and of sources that failed.
    """
    i, n = shard
    if not 1 <= i <= n:
        raise UsageError(f"shard {i}/{n}: give i/n with i of 1..n, such as 1/4")
    options = check_options(seed, levels, storage, datasets, None)
    check_engine(engine, jobs)
    raw = phantom_raw() if raw is None else Path(raw)
    folder = BenchmarkFolder(Path(out))
    found = find_datasets(raw, datasets)
    folder.claim(options, raw)
    everything = [task for dataset in found for task in tasks(dataset, folder, options)]
    Listing.of(found, ((task.dataset, task.source.id) for task in everything)).write(folder.listing)
    mine = [task for task in everything if key_words("shard", task.dataset, task.source.id)[0] % n == i - 1]
    label = f"shard {i}/{n}"
    outcomes = list(progress(run_tasks(mine, jobs, engine), len(mine), label, "sources"))
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
