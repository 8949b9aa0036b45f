"""Parquet files of a run read within budgets: the columns asked for, of their documented types."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dmseg.errors import DataError
from dmseg.reading import require_regular, show_name

LONGEST_TEXT = 20_000
"""Longest text of a table, in bytes: a message of a model that failed."""
_MAX_TEXT_BYTES = 1 << 32
_THRIFT_LIMIT = 1 << 24
_BATCH_ROWS = 1 << 16


def read_columns(path: Path, schema: pa.Schema, advice: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a Parquet file as a table of the schema's types.

    Arguments and errors are those of :func:`read_batches`.
    """
    names = list(columns) if columns is not None else schema.names
    chosen = pa.schema([schema.field(name) for name in names], metadata=schema.metadata)
    return pa.Table.from_batches(read_batches(path, schema, advice, names), schema=chosen)


def read_batches(
    path: Path,
    schema: pa.Schema,
    advice: str,
    columns: Sequence[str] | None = None,
    *,
    coded: bool = False,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield columns of a Parquet file batch by batch, in file order, of the schema's types.

    Texts are first read as dictionaries, so that a small file which repeats a long text is refused and not unpacked.

    Args:
        schema: every column that the file must have.
        advice: what to do where the file lacks a column.
        columns: which to read; default: all of the schema.
        coded: leave texts as they are read, dictionaries (int32 to string) of their batch.
        groups: read only these row groups; default: all.

    Raises:
        DataError: the file is missing, no regular file, damaged, lacks a column, or holds one of another type, a
            missing value where none may be, or a text that no run writes; the message names file and column.
    """
    shown = show_name(path)
    names = list(columns) if columns is not None else schema.names
    texts = [name for name in names if pa.types.is_string(schema.field(name).type)]
    totals = dict.fromkeys(names, 0)
    try:
        with open_parquet(path, texts) as file:
            missing = [name for name in schema.names if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{shown}: no column {', '.join(missing)}; {advice}")
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names):
                made = [_convert(batch.column(name), schema.field(name), shown, totals, coded) for name in names]
                fields = [schema.field(name).with_type(one.type) for name, one in zip(names, made, strict=True)]
                yield pa.RecordBatch.from_arrays(made, schema=pa.schema(fields, metadata=schema.metadata))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{shown}: not a readable Parquet file: {str(error)[:200]}") from None


def count_group_rows(path: Path) -> list[int]:
    """Return how many rows each row group of a Parquet file says that it has.

    Raises:
        DataError: the file is missing, no regular file, or damaged.
    """
    try:
        with open_parquet(path) as file:
            return [file.metadata.row_group(place).num_rows for place in range(file.metadata.num_row_groups)]
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{show_name(path)}: not a readable Parquet file: {str(error)[:200]}") from None


class TextCodes:
    """The texts of a column as numbers, collected batch by batch."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._parts: list[NDArray[np.int32]] = []
        self._dictionary: pa.Array | None = None
        self._places = np.empty(0, dtype=np.int32)

    def add(self, column: pa.DictionaryArray) -> None:
        """Add the next rows, of a batch that :func:`read_batches` yielded coded; no value may be missing."""
        if self._dictionary is None or not column.dictionary.equals(self._dictionary):
            texts, known = column.dictionary.to_pylist(), self._known
            self._places = np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int32)
            self._dictionary = column.dictionary
        self._parts.append(self._places[column.indices.to_numpy()])

    def finish(self) -> tuple[NDArray[np.int32], list[str]]:
        """Return the place of each row's text, (N,) int32, and the texts that occur, sorted by code points."""
        codes = np.concatenate(self._parts) if self._parts else np.empty(0, dtype=np.int32)
        self._parts = []
        occurs = np.bincount(codes, minlength=len(self._known)) > 0
        texts = sorted((text, place) for text, place in self._known.items() if occurs[place])
        rank = np.zeros(len(self._known), dtype=np.int32)
        rank[[place for _, place in texts]] = np.arange(len(texts))
        return rank[codes], [text for text, _ in texts]


def open_parquet(path: Path, texts: Sequence[str] = (), *, links: bool = True) -> pq.ParquetFile:
    """Open a Parquet file of which nothing is believed; ``texts`` are columns to be read as dictionaries.

    Raises:
        DataError: no regular file (``links`` as for :func:`dmseg.reading.require_regular`), or damaged.
        FileNotFoundError: nothing is there.
    """
    require_regular(path, links=links)
    limits = {"thrift_string_size_limit": _THRIFT_LIMIT, "thrift_container_size_limit": _THRIFT_LIMIT}
    with pa.OSFile(os.fsencode(path)) as stream, pq.ParquetFile(stream, **limits) as file:
        plain = {field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)}
        present = [name for name in texts if name in plain]
    return pq.ParquetFile(pa.OSFile(os.fsencode(path)), read_dictionary=present, **limits)  # names need not be text


def _convert(column: pa.Array, field: pa.Field, shown: str, totals: dict[str, int], coded: bool) -> pa.Array:
    try:
        if pa.types.is_dictionary(column.type) and pa.types.is_string(field.type):
            totals[field.name] += _measure_sane_texts(column, totals[field.name], f"{shown}: {field.name}")
            if coded:
                dictionary = column.dictionary.cast(field.type)
                column = pa.DictionaryArray.from_arrays(column.indices.cast(pa.int32()), dictionary)
        if not (coded and pa.types.is_string(field.type)):
            column = column.cast(field.type)
        elif not pa.types.is_dictionary(column.type):
            column = column.cast(field.type).dictionary_encode()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{shown}: {field.name} is {column.type}, not {field.type} ({str(error)[:120]})") from None
    if not field.nullable and column.null_count:
        raise DataError(f"{shown}: {field.name} is missing in {column.null_count} of {len(column)} rows")
    if pa.types.is_floating(field.type):
        if field.nullable:  # what pandas writes for a missing value
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
        if not pc.all(pc.is_finite(column), min_count=0).as_py():
            raise DataError(f"{shown}: {field.name} holds NaN or infinity; a failed prediction has its worst value")
    return column


def _measure_sane_texts(column: pa.DictionaryArray, before: int, where: str) -> int:
    """Return the bytes of a batch's texts; refuse what is no UTF-8, too long, or with those before too much."""
    column.dictionary.validate(full=True)  # text that is no UTF-8
    lengths = pc.binary_length(column.dictionary.cast(pa.string()))
    longest = pc.max(lengths).as_py() or 0
    if longest > LONGEST_TEXT:
        raise DataError(f"{where} holds a text of {longest} bytes; at most {LONGEST_TEXT}")
    size = int(pc.sum(lengths.take(column.indices.drop_null())).as_py() or 0)
    if before + size > _MAX_TEXT_BYTES:
        raise DataError(f"{where} holds {before + size} bytes of text; at most {_MAX_TEXT_BYTES}")
    return size
