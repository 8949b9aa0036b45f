"""A finished run folder: opened, and named by its digest."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dmseg.canonical import digest_rows
from dmseg.errors import DataError
from dmseg.reading import read_json
from dmseg.results.columns import PARTS_FOLDER, RUN_FILE, SCHEMA_VERSION, STEPS, run_schema
from dmseg.results.parquet import read_columns
from dmseg.schemas import Items, Loose, Number, Record, Text, require_shape
from dmseg.types import LEVELS, SPLITS

_BATCH_ROWS = 10_000
_MAX_INFO_BYTES = 1 << 24
_ANY = Loose(10_000, 10, 100_000)
_INFO = Record(
    {
        "schema_version": Number(SCHEMA_VERSION, SCHEMA_VERSION),
        "protocol": Record({"preset": Text(60), "steps": Number(1, 1000), "seed": Number(-(2**63), 2**63 - 1)}, _ANY),
        "benchmark": Record(
            {
                "edition": Text(100),
                "version": Text(100),
                "manifest_digest": Text(100),
                "split": Items(Text(choices=SPLITS), len(SPLITS)),
                "levels": Items(Text(choices=LEVELS), len(LEVELS)),
            },
            _ANY,
        ),
        "model": Record({"name": Text(300)}, _ANY),
        "n_masks": Number(0, 10**9),
        "n_errors": Number(0, 10**12),
    },
    _ANY,
)
"""What readers of a run rely on in run.json; a submission is looked at more closely."""
_DIGEST_ORDER = ("level", "mask_id", "seed", "step")


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes:
        path: the folder.
        info: content of run.json.
    """

    path: Path
    info: Mapping[str, Any]

    def __repr__(self) -> str:
        info, benchmark = self.info, self.info["benchmark"]
        errors = f", {info['n_errors']} rows with errors" if info["n_errors"] else ""
        return (
            f"{type(self).__name__}({info['model']['name']} on {benchmark['edition']} {benchmark['version']}: "
            f"{info['n_masks']} objects, {len(benchmark['levels'])} levels, {info['protocol']['steps']} steps{errors}; "
            f"{self.path})"
        )

    @functools.cached_property
    def steps(self) -> pd.DataFrame:
        """One row per object, level and step; columns as in ``dmseg.results.columns.STEPS``."""
        return self._frame("steps")

    @functools.cached_property
    def prompts(self) -> pd.DataFrame:
        """One row per prompt given."""
        return self._frame("prompts")

    @functools.cached_property
    def inputs(self) -> pd.DataFrame:
        """One row per image and level: what the model was given."""
        return self._frame("inputs")

    @functools.cached_property
    def timing(self) -> pd.DataFrame:
        """One row per image and level: milliseconds by phase."""
        return self._frame("timing")

    def _frame(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    def table(self, name: str) -> pa.Table:
        """Return a table of the run as it is stored.

        Raises:
            DataError: the file is missing, damaged, or lacks a column.
        """
        return read_columns(self.path / f"{name}.parquet", run_schema(name), "is this the folder of a dmseg run?")


def open_run(path: Path | str) -> Run:
    """Open a finished run folder.

    Raises:
        DataError: no run there, one that is not finished, or an unknown schema version.
    """
    path = Path(path)
    try:
        info = read_json(path / RUN_FILE, limit=_MAX_INFO_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(_absent(path)) from None
    version = info.get("schema_version") if isinstance(info, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path / RUN_FILE}: schema_version {version!r}; this dmseg reads version {SCHEMA_VERSION}")
    require_shape(info, _INFO, str(path / RUN_FILE))
    return Run(path, info)


def _absent(path: Path) -> str:
    if (path / PARTS_FOLDER / RUN_FILE).is_file():
        return f"{path}: this run is not finished; run the same dmseg evaluate command again, it goes on from there"
    if not path.is_dir():
        return f"{path}: no such folder; give a folder that dmseg evaluate wrote (it holds {RUN_FILE})"
    return f"{path}: no {RUN_FILE} there; give a folder that dmseg evaluate wrote"


def run_digest(path: Path | str) -> str:
    """Return the digest (64 hex digits) that names a run's results: sha256 over the rows of steps.parquet.

    Rows are sorted by (level, mask_id, seed, step) and encoded canonically, all columns in schema order; the bytes of
    the file do not matter, nor do times, hosts or shards, which are in other files.
    """
    table = open_run(path).table("steps").select([column.name for column in STEPS])
    return digest_rows(_rows(table.sort_by([(name, "ascending") for name in _DIGEST_ORDER])))


def _rows(table: pa.Table) -> Iterator[Any]:
    yield table.column_names
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
