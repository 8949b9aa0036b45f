"""A finished run folder: opened, and named by its digest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dmseg.canonical import digest_rows
from dmseg.errors import DataError
from dmseg.reading import read_json, show_name
from dmseg.results.cases import ADVICE, CaseTable, read_case_tables
from dmseg.results.columns import PARTS_FOLDER, RUN_FILE, SCHEMA_VERSION, gives_text, list_columns, run_schema
from dmseg.results.parquet import TextCodes, count_group_rows, read_batches, read_columns
from dmseg.schemas import Either, Items, Loose, Number, Optional, Record, Text, require_shape
from dmseg.types import ALL_LEVELS, SPLITS, TRACKS

_BATCH_ROWS = 10_000
_BLOCK_ROWS = 100_000
"""Rows that are sorted, and held whole, at a time."""
_MAX_INFO_BYTES = 1 << 24
_ANY = Loose(10_000, 10, 100_000)
_NOTE = Text(1000)
_INFO = Record(
    {
        "schema_version": Number(SCHEMA_VERSION, SCHEMA_VERSION),
        "protocol": Record(
            {
                "id": Text(60),
                "preset": Text(60),
                "corrective": Optional(Text(60)),
                "steps": Number(1, 1000),
                "seed": Number(-(2**63), 2**63 - 1),
                "prompts_sha256": Optional(_NOTE),
            },
            _ANY,
        ),
        "benchmark": Record(
            {
                "edition": Text(100),
                "version": Text(100),
                "manifest_digest": Text(100),
                "split": Items(Text(choices=SPLITS), len(SPLITS)),
                "levels": Items(Text(choices=ALL_LEVELS), len(ALL_LEVELS)),
                "track": Optional(Text(choices=TRACKS)),
                "limit": Optional(Number(0, 10**9)),
            },
            _ANY,
        ),
        "model": Record(
            {
                "name": Text(300),
                "version": Optional(Either((_NOTE, Number(0, 10**9, whole=False)))),
                "params": Optional(Number(0, 10**13)),
                "license": Optional(_NOTE),
                "trained_on": Optional(Items(_NOTE, 1000)),
                "mode": Optional(_NOTE),
                "weights_sha256": Optional(_NOTE),
                "arguments": Optional(_ANY),
                "restorer": Optional(Record({"name": Optional(_NOTE), "weights_sha256": Optional(_NOTE)}, _ANY)),
            },
            _ANY,
        ),
        "metrics": Record(
            {"grid": Either((_NOTE, Number(0, 10**6))), "boundary": _NOTE, "hd95": _NOTE},
            _ANY,
        ),
        "run_key": _NOTE,
        "precision": Optional(_NOTE),
        "chunk": Optional(Number(1, 10**6)),
        "batch_images": Optional(Number(1, 10**6)),
        "submitter": Optional(_NOTE),
        "given_model": Optional(Text(4000)),
        "synthetic": Optional(Items(_NOTE, 1000)),
        "n_masks": Number(0, 10**9),
        "n_errors": Number(0, 10**12),
    },
    _ANY,
)
"""What readers of a run rely on in run.json; a submission is looked at more closely."""
_RowChoice = Callable[[pa.RecordBatch], pa.BooleanArray]
_DIGEST_ORDER = ("level", "mask_id", "seed", "step")


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run. Tables are read when they are asked for; ``tables`` and ``select`` also of large runs.

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
        """One row per object, level and step; columns as in ``dmseg.results.columns.STEPS``, and ``TEXT_STEPS`` where
        the preset gives sentences. About 1.5 KB a row.
        """
        return self._frame("steps")

    @functools.cached_property
    def tables(self) -> dict[str, CaseTable]:
        """The rows of ``steps`` by split, arranged (:func:`~dmseg.results.cases.case_tables`). About 80 bytes a row."""
        return read_case_tables(self.path / "steps.parquet", text=self.gives_text)

    @property
    def gives_text(self) -> bool:
        """Whether its preset gives sentences: then rows are about sentences, and have further columns."""
        return gives_text(self.info["protocol"]["preset"])

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
        return read_columns(self.path / f"{name}.parquet", run_schema(name, text=self.gives_text), ADVICE)

    def list_masks(self) -> list[str]:
        """Return the ids of the masks that ``steps`` has rows of, sorted within their split."""
        return [mask_id for table in self.tables.values() for mask_id in table.mask_ids]

    def select(
        self, name: str, columns: Sequence[str], rows: Callable[[pa.RecordBatch], pa.BooleanArray]
    ) -> pd.DataFrame:
        """Return columns of some rows of a table, in file order; the others are never held.

        Args:
            name: table, as in ``dmseg.results.columns.TABLES``.
            columns: which to read.
            rows: tells of a batch of these columns which rows to return, (N,) bool.

        Raises:
            DataError: as :meth:`table`.
        """
        schema, path = run_schema(name, text=self.gives_text), self.path / f"{name}.parquet"
        found = [batch.filter(rows(batch)) for batch in read_batches(path, schema, ADVICE, columns)]
        chosen = pa.schema([schema.field(column) for column in columns], metadata=schema.metadata)
        frame: pd.DataFrame = pa.Table.from_batches(found, schema=chosen).to_pandas()
        return frame


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
    run = open_run(path)
    return digest_rows(_list_sorted_rows(run.path / "steps.parquet", run.gives_text))


def _list_sorted_rows(path: Path, text: bool) -> Iterator[Any]:
    """Yield the names of the columns, then all rows in the order of the digest, block by block."""
    yield [column.name for column in list_columns("steps", text=text)]
    order = [(name, "ascending") for name in _DIGEST_ORDER]
    blocks, number = _plan_blocks(path)
    for block in blocks:
        table = _read_block(path, block, text).sort_by(order)
        number -= len(table)
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    if number:
        raise DataError(f"{show_name(path)}: its row groups hold other numbers of rows than they say")


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows of one level and of masks from ``first`` to ``last`` (ids, in order), and the row groups they are in."""

    level: str
    first: str
    last: str
    groups: list[int]


def _plan_blocks(path: Path) -> tuple[list[_Block], int]:
    """Return the blocks in the order of the digest, and the number of all rows."""
    codes = {name: TextCodes() for name in _DIGEST_ORDER[:2]}
    for batch in read_batches(path, run_schema("steps"), ADVICE, list(codes), coded=True):
        for name, column in codes.items():
            column.add(batch[name])
    (level_codes, levels), (mask_codes, masks) = (column.finish() for column in codes.values())
    ends = np.cumsum(count_group_rows(path))
    blocks = []
    for place, level in enumerate(levels):
        rows = np.flatnonzero(level_codes == place)
        own = mask_codes[rows]
        numbers = np.cumsum(np.bincount(own, minlength=len(masks)))
        first = 0
        while first < len(masks):
            before = numbers[first - 1] if first else 0
            last = max(first, int(np.searchsorted(numbers, before + _BLOCK_ROWS, side="right")) - 1)
            inside = rows[(own >= first) & (own <= last)]
            if len(inside):
                groups = np.unique(np.searchsorted(ends, inside, side="right"))
                blocks.append(_Block(level, masks[first], masks[last], groups[groups < len(ends)].tolist()))
            first = last + 1
    return blocks, len(level_codes)


def _read_block(path: Path, block: _Block, text: bool) -> pa.Table:
    schema = run_schema("steps", text=text)
    found = []
    for batch in read_batches(path, schema, ADVICE, coded=True, groups=block.groups):
        mask = batch["mask_id"].cast(pa.string())
        inside = pc.and_(pc.greater_equal(mask, block.first), pc.less_equal(mask, block.last))
        inside = pc.and_(inside, pc.equal(batch["level"].cast(pa.string()), block.level))
        found.append(pa.Table.from_batches([batch.filter(inside)]).cast(schema))  # a batch casts from pyarrow 16 on
    return pa.concat_tables(found) if found else schema.empty_table()
