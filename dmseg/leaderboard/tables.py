"""The tables of the record as CSV: written to the same bytes everywhere, read back strictly."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dmseg.errors import DataError
from dmseg.leaderboard.columns import CsvColumn
from dmseg.leaderboard.rows import Row
from dmseg.reading import read_regular, show_name


def csv_lines(columns: Sequence[CsvColumn], rows: Iterable[Row]) -> str:
    """Return rows as CSV lines: comma, ``\\n``, numbers with at most their column's decimals, missing empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(column, row[column.name]) for column in columns])
    return text.getvalue()


def csv_header(columns: Sequence[CsvColumn]) -> str:
    """Return the header line of a table."""
    return ",".join(column.name for column in columns) + "\n"


def csv_bytes(columns: Sequence[CsvColumn], rows: Iterable[Row]) -> bytes:
    """Return a table as UTF-8 CSV with its header."""
    return (csv_header(columns) + csv_lines(columns, rows)).encode()


def _cell(column: CsvColumn, value: Any) -> str:
    if value is None:
        return ""
    if column.type == "number":
        shown = f"{float(value):.{column.digits}f}".rstrip("0").rstrip(".")
        return "0" if shown in ("", "-0") else shown
    return str(value)


def read_csv(path: Path, columns: Sequence[CsvColumn]) -> list[Row]:
    """Read a table of the record; numbers become numbers, empty cells None.

    Raises:
        DataError: the file is missing, or its header or a value is not as documented.
    """
    try:
        text = read_regular(path, limit=1 << 30).decode("utf-8")
        return parse_csv(text, columns)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{show_name(path)}: not a readable table of the record: {error}") from None


def parse_csv(text: str, columns: Sequence[CsvColumn]) -> list[Row]:
    """Return the rows of a table given as text with its header; a wrong header or value is a ValueError."""
    kinds = {"number": float, "integer": int, "string": str, "date": str}
    by_name = {column.name: column for column in columns}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if list(reader.fieldnames or ()) != list(by_name):
        raise ValueError(f"its columns are {reader.fieldnames}, expected {list(by_name)}")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num} has another number of cells than the header")
        rows.append({name: kinds[by_name[name].type](cell) if cell else None for name, cell in row.items()})
    if any(isinstance(v, float) and not math.isfinite(v) for row in rows for v in row.values()):
        raise ValueError("a number is not finite")
    return rows
