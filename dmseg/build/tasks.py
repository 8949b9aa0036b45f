"""The plan of the work: from the options and what was found to one task per source, in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmseg.build.folder import STORAGES, BenchmarkFolder, BuildOptions
from dmseg.build.parts import part_name, read_part
from dmseg.build.raw import FileState, FoundDataset, choose_track
from dmseg.build.unit import Task
from dmseg.errors import UsageError, unknown_name
from dmseg.manifests import image_id
from dmseg.rng import key_words
from dmseg.types import ALL_LEVELS, LEVELS, TRACK_LEVELS, check_level


def check_options(
    seed: int,
    levels: Sequence[str],
    storage: str,
    datasets: Sequence[str] | None,
    limit: int | None,
    track: str | None = None,
) -> BuildOptions:
    """Return the options of a build, or raise :class:`~dmseg.errors.UsageError` for what cannot be meant.

    All five levels are all that the track has. Without a track it is that of the datasets, or else medical.
    """
    track = choose_track(track, datasets)
    chosen = {check_level(level, allowed=ALL_LEVELS) for level in levels}
    if chosen == set(LEVELS):
        chosen = set(TRACK_LEVELS[track])
    if foreign := [level for level in ALL_LEVELS if level in chosen and level not in TRACK_LEVELS[track]]:
        raise UsageError(f"the track {track} has the levels {', '.join(TRACK_LEVELS[track])}, not {', '.join(foreign)}")
    if not chosen:
        raise UsageError(f"no level is given; choose from {', '.join(TRACK_LEVELS[track])}")
    if storage not in STORAGES:
        raise unknown_name("storage", storage, STORAGES)
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; give at least 1 image per dataset, or none for all")
    ordered = tuple(level for level in ALL_LEVELS if level in chosen)
    return BuildOptions(seed, ordered, storage, None, None if datasets is None else tuple(datasets), limit, track)


def tasks(
    found: FoundDataset, folder: BenchmarkFolder, options: BuildOptions, only: frozenset[str] | None = None
) -> list[Task]:
    """Return the tasks of a dataset: all sources by id, or, with a limit, in keyed order and with their share.

    ``only`` restricts them to the sources that can hold one of these images.
    """
    sources = list(found.sources)
    if options.limit is not None:
        sources.sort(key=lambda source: (key_words("limit", found.name, source.id), source.id))
    wanted = {source.id: _of_source(found.name, source.id, only) for source in sources}
    sources = [source for source in sources if wanted[source.id] != frozenset()]
    shared = _hash_shared_files(found, folder)
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
            only=wanted[source.id],
            track=options.track,
            shared={file: shared[file] for file in source.files if file in shared},
            phantoms={file: found.phantoms[file] for file in source.files if file in found.phantoms},
        )
        for rank, source in enumerate(sources)
    ]


def _of_source(dataset: str, source_id: str, only: frozenset[str] | None) -> frozenset[str] | None:
    """Return which of the wanted images a source can hold: those whose id is its own or goes on after ``_``."""
    if only is None:
        return None
    own = image_id(dataset, source_id)
    # A volume's long id may have been cut before the slice number; then only the beginnings can be compared.
    start = own[:-17] if image_id(dataset, f"{source_id}_z000")[: len(own)] != own else f"{own}_"
    return frozenset(image for image in only if image == own or image.startswith(start))


def _share(limit: int | None, n_sources: int, rank: int) -> int | None:
    """Return how many images the source at a rank gives: the limit, dealt out one by one."""
    if limit is None:
        return None
    return max(1, limit // n_sources + (rank < limit % n_sources))


def _hash_shared_files(found: FoundDataset, folder: BenchmarkFolder) -> Mapping[Path, FileState]:
    """Return the state of each file that several sources of a dataset use, hashed once (root-relative path)."""
    uses = Counter(file for source in found.sources for file in set(source.files))
    shared: dict[Path, FileState] = {}
    for source in found.sources:
        for file in source.files:
            if uses[file] > 1 and file not in shared and (found.root / file).is_file():
                before = read_part(folder, part_name(found.name, source.id))
                shared[file] = FileState.of(found.root / file, before.files.get(file.as_posix()) if before else None)
    return shared
