"""Entries and runs found by what people type."""

from __future__ import annotations

from pathlib import Path

from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import UsageError, unknown_name
from dmseg.leaderboard.entries import Entry, default_root, newest_per_contest, read_entries
from dmseg.manifests import Manifest
from dmseg.naming import name_key
from dmseg.results import Run, open_run


def find_entry(name: str | Path, root: Path | None = None) -> Entry:
    """Return an entry by its folder, by ``<model>/<date>-<digest8>``, or by its model (the newest).

    Raises:
        UsageError: there is none; the message lists what there is.
    """
    root = root or default_root()
    entries = read_entries(root, [])
    wanted = Path(name)
    for entry in entries:
        if wanted in (entry.folder, Path(entry.folder.parent.name, entry.folder.name)) or (
            wanted.is_dir() and wanted.resolve() == entry.folder.resolve()
        ):
            return entry
    mine = [entry for entry in entries if name_key(entry.model) == name_key(str(name))]
    if not mine:
        known = [f"{entry.folder.parent.name}/{entry.folder.name}" for entry in entries]
        raise unknown_name("entry", str(name), [*sorted({entry.model for entry in entries}), *known])
    return max(mine, key=lambda entry: entry.order)


def find_pairs(first: str, second: str, root: Path | None = None) -> list[tuple[Run, Run, tuple[str, ...]]]:
    """Return the runs of two models that can be compared, with the splits that both have.

    Args:
        first, second: model names of the record (their newest entries), or run folders.

    Raises:
        UsageError: an unknown model, or no preset, benchmark and split that both have.
    """
    root = root or default_root()
    left, right = _runs_of(first, root), _runs_of(second, root)
    splits: dict[tuple[Path, Path], list[str]] = {}
    for key in sorted(left.keys() & right.keys()):
        splits.setdefault((left[key], right[key]), []).append(key[-1])
    if not splits:
        raise UsageError(f"{first} and {second} share no preset, benchmark and split")
    return [(open_run(one), open_run(two), tuple(names)) for (one, two), names in splits.items()]


def _runs_of(name: str, root: Path) -> dict[tuple[str, str, str], Path]:
    """Return (benchmark digest, preset, split) -> run folder of a model of the record, or of the folder named."""
    if Path(name).is_dir():
        entry = Entry(Path(name), "", "self-reported", "")
        pairs = [(entry, split) for split in entry.tables]
    else:
        newest = newest_per_contest(read_entries(root, []))
        pairs = [(entry, split) for entry, split in newest if entry.model == name and split in entry.tables]
        if not pairs:
            raise unknown_name("model of the record", name, sorted({entry.model for entry, _ in newest}))
    return {
        (entry.info["benchmark"]["manifest_digest"], entry.info["protocol"]["preset"], split): entry.folder
        for entry, split in pairs
    }


def find_manifest(benchmark: Path | Benchmark | None) -> Manifest | None:
    """Return the manifest of a benchmark that a caller gave, as folder or open; None where none was given."""
    if benchmark is None:
        return None
    return (open_benchmark(benchmark) if isinstance(benchmark, Path) else benchmark).manifest
