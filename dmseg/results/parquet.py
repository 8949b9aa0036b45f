"""Parquet files of a run read within budgets: the columns asked for, of their documented types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dmseg.errors import DataError
from dmseg.reading import require_regular, show_name

LONGEST_TEXT = 20_000
"""Longest text of a table, in bytes: a message of a model that failed."""
_MAX_TEXT_BYTES = 1 << 32
_THRIFT_LIMIT = 1 << 24


def read_columns(path: Path, schema: pa.Schema, advice: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a Parquet file as a table of the schema's types.

    Texts are first read as dictionaries, so that a small file which repeats a long text is refused and not unpacked.

    Args:
        schema: every column that the file must have.
        advice: what to do where the file lacks a column.
        columns: which to read; default: all of the schema.

    Raises:
        DataError: the file is missing, no regular file, damaged, lacks a column, or holds one of another type, a
            missing value where none may be, or a text that no run writes; the message names file and column.
    """
    shown = show_name(path)
    names = list(columns) if columns is not None else schema.names
    texts = [name for name in names if pa.types.is_string(schema.field(name).type)]
    try:
        with open_parquet(path, texts) as file:
            missing = [name for name in schema.names if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{shown}: no column {', '.join(missing)}; {advice}")
            table = file.read(names).select(names)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{shown}: not a readable Parquet file: {str(error)[:200]}") from None
    made = [_convert(table[name], schema.field(name), shown) for name in names]
    chosen = pa.schema([schema.field(name) for name in names], metadata=schema.metadata)
    return pa.Table.from_arrays(made, schema=chosen)


def open_parquet(path: Path, texts: Sequence[str] = (), *, links: bool = True) -> pq.ParquetFile:
    """Open a Parquet file of which nothing is believed; ``texts`` are columns to be read as dictionaries.

    Raises:
        DataError: no regular file (``links`` as for :func:`dmseg.reading.require_regular`), or damaged.
        FileNotFoundError: nothing is there.
    """
    require_regular(path, links=links)
    limits = {"thrift_string_size_limit": _THRIFT_LIMIT, "thrift_container_size_limit": _THRIFT_LIMIT}
    with pq.ParquetFile(path, **limits) as file:
        plain = {field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)}
        present = [name for name in texts if name in plain]
    return pq.ParquetFile(path, read_dictionary=present, **limits)


def _convert(column: pa.ChunkedArray, field: pa.Field, shown: str) -> pa.ChunkedArray:
    try:
        if pa.types.is_dictionary(column.type) and pa.types.is_string(field.type):
            _require_sane_texts(column, f"{shown}: {field.name}")
        column = column.cast(field.type)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{shown}: {field.name} is {column.type}, not {field.type} ({str(error)[:120]})") from None
    if not field.nullable and column.null_count:
        raise DataError(f"{shown}: {field.name} is missing in {column.null_count} rows")
    if pa.types.is_floating(field.type):
        if field.nullable:  # what pandas writes for a missing value
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
        if not pc.all(pc.is_finite(column), min_count=0).as_py():
            raise DataError(f"{shown}: {field.name} holds NaN or infinity; a failed prediction has its worst value")
    return column


def _require_sane_texts(column: pa.ChunkedArray, where: str) -> None:
    total = 0
    for chunk in column.chunks:
        chunk.dictionary.validate(full=True)  # text that is no UTF-8
        lengths = pc.binary_length(chunk.dictionary.cast(pa.string()))
        longest = pc.max(lengths).as_py() or 0
        if longest > LONGEST_TEXT:
            raise DataError(f"{where} holds a text of {longest} bytes; at most {LONGEST_TEXT}")
        total += pc.sum(lengths.take(chunk.indices.drop_null())).as_py() or 0
    if total > _MAX_TEXT_BYTES:
        raise DataError(f"{where} holds {total} bytes of text; at most {_MAX_TEXT_BYTES}")
