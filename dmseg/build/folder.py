"""The benchmark folder while it is built: where things lie, whose folder it is, which options it was begun with.

``benchmark.json`` is written last, so where it is the benchmark is complete. ``.build/`` is the memory of the build
(one part per source); it is what lets a build continue. Removing it costs time only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmseg import tables
from dmseg.errors import DataError, UsageError
from dmseg.jobs import Ledger
from dmseg.manifests import HEADER_FILE
from dmseg.naming import require_id
from dmseg.types import MEDICAL

STORAGES = ("png", "recipe")
"""``png``: every level as a file. ``recipe``: Clear only; the other levels are made on reading, pixel-identical."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build was asked for.

    Attributes:
        seed, levels, storage, manifest: decide the content of every image; a folder keeps them for life.
            ``manifest`` is the digest of the manifest that is rebuilt, or None.
        track: whose datasets and levels these are, for life too.
        datasets, limit: decide which images there are (None = all that is found); a later build may only widen them.
    """

    seed: int
    levels: tuple[str, ...]
    storage: str = "png"
    manifest: str | None = None
    datasets: tuple[str, ...] | None = None
    limit: int | None = None
    track: str = MEDICAL

    def json(self) -> dict[str, Any]:
        """Return the options as a JSON-able record."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class BenchmarkFolder:
    """Paths inside a benchmark folder."""

    path: Path

    @property
    def header(self) -> Path:
        """``benchmark.json``."""
        return self.path / HEADER_FILE

    @property
    def report(self) -> Path:
        """``build_report.csv``: what was left out and what failed, and why."""
        return self.path / "build_report.csv"

    @property
    def memory(self) -> Path:
        """``.build/``, with one part per source."""
        return self.path / ".build"

    @property
    def options(self) -> Path:
        """The options that the build was begun with."""
        return self.memory / "options.json"

    @property
    def listing(self) -> Path:
        """What the benchmark is made of, for ``merge``; the shards write it."""
        return self.memory / "listing.json"

    @property
    def ledger(self) -> Ledger:
        """The memory of the build: options, and one part per source."""
        return Ledger(self.memory, (self.options,))

    def locate(self, dataset: str, level: str, identifier: str) -> Path:
        """Return the path of the PNG of one image at one level; never outside of the folder, whatever the names."""
        for name, kind in ((dataset, "dataset"), (level, "level"), (identifier, "image_id")):
            require_id(name, f"{self.path}: {kind}")
        return self.path / "images" / dataset / level / f"{identifier}.png"

    @contextlib.contextmanager
    def session(self, options: BuildOptions, raw: Path) -> Iterator[None]:
        """Make the folder this build's for the body, or refuse without changing anything.

        Raises:
            DataError: it is a file, holds something else, lies inside the raw data, or cannot be written.
            UsageError: it was begun with other options, or is being built with fewer.
        """
        self._check_place(raw)
        with contextlib.ExitStack() as stack:
            try:
                widens = functools.partial(self._is_widened_by, options)
                stack.enter_context(self.ledger.session(options.json(), widens, self._refuse))
            except OSError as error:
                raise DataError(
                    f"{self.path}: cannot write there: {error.strerror}; give --out another folder"
                ) from None
            yield

    def _refuse(self) -> DataError:
        holds = "a finished benchmark without its .build memory" if self.header.exists() else "something else"
        return DataError(f"{self.path}: the folder holds {holds}; give --out a new or empty folder")

    def _is_widened_by(self, options: BuildOptions, record: Mapping[str, Any]) -> bool:
        before = self._options_of(record)
        _check_same(before.json(), options, self.path)
        return before != options

    def read_options(self) -> BuildOptions:
        """Return the options that the build was begun with.

        Raises:
            DataError: the file that says so is damaged, or not there.
        """
        record = self.ledger.read_job()
        if record is None:
            raise DataError(f"{self.path}: no build was begun there")
        return self._options_of(record)

    def _options_of(self, record: Mapping[str, Any]) -> BuildOptions:
        given = {name: value for name, value in record.items() if value is not None}
        try:
            return tables.record(BuildOptions, given, str(self.options))
        except (ValueError, AttributeError) as error:
            raise DataError(f"{self.options}: not readable ({error}); give --out a new folder") from None

    def _check_place(self, raw: Path) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise DataError(f"{self.path}: is a file; give --out a folder")
        out = self.path.resolve()
        if out == raw.resolve() or raw.resolve() in out.parents:
            raise DataError(
                f"{self.path}: lies inside the raw data {raw}, which is never changed; give --out another place"
            )


def _check_same(before: dict[str, Any], options: BuildOptions, path: Path) -> None:
    now = options.json()
    for name in ("track", "seed", "levels", "storage", "manifest"):
        if before[name] != now[name]:
            raise UsageError(
                f"{path}: was begun with {name} {_format(before[name])}, now {_format(now[name])} is asked for; "
                "give --out another folder, or the same options to continue"
            )
    lost = set(before["datasets"] or ()) - set(now["datasets"] or before["datasets"] or ())
    narrowed = before["datasets"] is None and now["datasets"] is not None
    fewer = now["limit"] is not None and (before["limit"] is None or now["limit"] < before["limit"])
    if lost or narrowed or fewer:
        raise UsageError(
            f"{path}: was begun with datasets {_format(before['datasets'])} and limit {_format(before['limit'])}; with "
            f"datasets {_format(now['datasets'])} and limit {_format(now['limit'])} images would be lost; "
            "give --out another folder, or the same options to continue"
        )


def _format(value: object) -> str:
    if value is None:
        return "(none: all)"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(str(item) for item in value)
    return str(value)
