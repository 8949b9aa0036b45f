"""``--dry-run``: how many images, bytes and seconds a build will take, measured on a few images, nothing changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dmseg.build.folder import BenchmarkFolder, BuildOptions
from dmseg.build.phantom_edition import phantom_raw
from dmseg.build.raw import FoundDataset, find_datasets
from dmseg.build.tasks import check_options, tasks
from dmseg.build.unit import Task, run_task
from dmseg.tables import read_packaged_table
from dmseg.types import LEVELS, Sample

_MEASURE = read_packaged_table("dmseg.build", "build.toml")["dry_run"]


@dataclass(frozen=True, slots=True)
class BuildEstimate:
    """What one dataset will take, extrapolated from one of its sources.

    ``n_images`` counts the images of the measured source times the sources; ``seconds`` is for one worker.
    """

    dataset: str
    n_sources: int
    n_images: int
    n_bytes: int
    seconds: float


def estimate(
    raw: Path | str | None,
    *,
    datasets: Sequence[str] | None = None,
    levels: Sequence[str] = LEVELS,
    limit: int | None = None,
    seed: int = 0,
    storage: str = "png",
    track: str | None = None,
) -> list[BuildEstimate]:
    """Return what a build with these arguments will take, one entry per dataset; arguments as for ``build``."""
    options = check_options(seed, levels, storage, datasets, _MEASURE["images_measured"], track)
    raw = phantom_raw(track=options.track) if raw is None else Path(raw)
    return [_measure_source(found, options, limit) for found in find_datasets(raw, datasets, options.track)]


def _measure_source(found: FoundDataset, options: BuildOptions, limit: int | None) -> BuildEstimate:
    n_sources = len(found.sources)
    with TemporaryDirectory(prefix="dmseg-dry-run-") as scratch:
        # The first pass compiles kernels and fills caches; only the second is timed.
        for task in tasks(found, BenchmarkFolder(Path(scratch) / "warm"), options)[: _MEASURE["sources_tried"]]:
            run_task(task)
            part = task.read_part()
            if part is not None and part.images:
                break
        else:
            return BuildEstimate(found.name, n_sources, 0, 0, 0.0)
        timed = tasks(found, BenchmarkFolder(Path(scratch) / "timed"), options)
        task = next(other for other in timed if other.source == task.source)
        per_source, reading = _read_once(task)
        storing = max(run_task(task).seconds - reading, 0.0) / len(part.images)
        n_bytes = sum(path.stat().st_size for path in task.folder.path.rglob("*.png")) // len(part.images)
    n_images = n_sources * per_source if limit is None else min(limit, n_sources * per_source)
    n_read = n_sources if limit is None else min(limit, n_sources)
    return BuildEstimate(found.name, n_sources, n_images, n_images * n_bytes, n_read * reading + n_images * storing)


def _read_once(task: Task) -> tuple[int, float]:
    """Return how many images the source gives, and the seconds that reading it takes."""
    start = time.perf_counter()
    n = sum(isinstance(item, Sample) for item in task.reader.read(task.root, task.source))
    return n, time.perf_counter() - start
