"""From finished sources to the finished benchmark: what it is made of, and the summary of the build."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg import datasets
from dmseg.build.folder import BenchmarkFolder, BuildOptions
from dmseg.build.index import Collected, read_parts, write_index
from dmseg.build.parts import ERROR, LEFT_OUT, ReportRow
from dmseg.build.raw import FoundDataset, find_recipe
from dmseg.errors import DataError, UsageError
from dmseg.files import write_text
from dmseg.jobs import guard_disk
from dmseg.manifests import Manifest


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


@dataclass(frozen=True, slots=True)
class Listing:
    """What a benchmark is made of: (dataset, source id) pairs, what is left out by name, which sets are phantoms."""

    sources: Sequence[tuple[str, str]]
    left_out: Sequence[ReportRow]
    synthetic: Sequence[str]

    @classmethod
    def of(cls, found: Sequence[FoundDataset], sources: Iterable[tuple[str, str]]) -> Listing:
        """Return the listing of found datasets restricted to some of their sources."""
        left_out = [
            ReportRow(dataset.name, problem.source, problem.kind, 1, problem.reason)
            for dataset in found
            for problem in dataset.problems
        ]
        return cls(list(sources), left_out, [dataset.name for dataset in found if dataset.phantoms])

    def write(self, path: Path) -> None:
        """Write the listing atomically."""
        write_text(path, json.dumps(dataclasses.asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> Listing:
        """Read a listing.

        Raises:
            DataError: there is none, or it is damaged.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            sources = [(str(dataset), str(source)) for dataset, source in record["sources"]]
            return cls(sources, [ReportRow(**row) for row in record["left_out"]], record["synthetic"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path.parent.parent}: no shards of a build are there ({path.name}: {error})") from None


def finish(
    folder: BenchmarkFolder, options: BuildOptions, listing: Listing, frozen: Manifest | None = None
) -> BuildSummary:
    """Write the index over the parts of a listing and return the summary.

    Args:
        folder: where all sources of the listing are done.
        options: of the build.
        listing: what the benchmark is made of.
        frozen: manifest whose splits and evaluation subset are taken instead of new ones.

    Raises:
        UsageError: the build was widened by another command meanwhile, which finishes it.
        DataError: a source is not done, no image could be built, two images share an id, the folder cannot be written.
    """
    with guard_disk(folder.path), folder.ledger.alone():
        if folder.read_options() != options:
            raise UsageError(
                f"{folder.path}: another command has widened this build while it was done, and finishes it; "
                "what was done here is kept"
            )
        collected = Collected(read_parts(folder, listing.sources))
        collected.report += listing.left_out
        names = dict.fromkeys(dataset for dataset, _ in listing.sources)
        own = {recipe.id: recipe for recipe in map(find_recipe, options.datasets or ())}
        recipes = [own.get(name) or datasets.recipe(name) for name in names]
        info = write_index(folder, options, recipes, collected, listing.synthetic, frozen)
    return BuildSummary(
        n_images=info["counts"]["images"],
        n_left_out=sum(row.n for row in collected.report if row.kind == LEFT_OUT),
        errors=tuple(f"{row.dataset}/{row.source}: {row.reason}" for row in collected.report if row.kind == ERROR),
        manifest_digest=info["manifest_digest"],
        edition=info["edition"],
        version=info["version"],
    )
