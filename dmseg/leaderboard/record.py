"""The record: from entries to leaderboard.csv, leaderboard_long.csv, the table schemas and the page, byte for byte.

The same entries give the same bytes on every machine: numbers are rounded to fixed decimals, rows are sorted, no date
of today enters.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dmseg.errors import DataError
from dmseg.files import write_bytes
from dmseg.leaderboard.columns import LEADERBOARD, LONG, PAPER, CsvColumn, frictionless
from dmseg.leaderboard.entries import PUBLISHED_FILE, PUBLISHED_LONG_FILE, Entry, newest_per_contest, read_entries
from dmseg.leaderboard.ranking import Standing, rank
from dmseg.leaderboard.rows import Row, is_ranked, leaderboard_row, long_rows

LEADERBOARD_FILE = "leaderboard.csv"
LONG_FILE = "leaderboard_long.csv"
PAPER_FILE = "paper.csv"
PAGE_FILE = "leaderboard.html"

Contest = tuple[str, str, str, str]
"""(edition, version, preset, split): what is ranked together."""


@dataclass(frozen=True)
class LeaderboardRecord:
    """Everything that is published.

    Attributes:
        rows: rows of leaderboard.csv, sorted: by contest, ranked rows first, best first.
        long: rows of leaderboard_long.csv, sorted.
        standings: contest -> the ranking of its complete runs.
        paper: rows of paper.csv.
        entries: the runs behind the rows.
    """

    rows: list[Row]
    long: list[Row]
    standings: dict[Contest, Standing]
    paper: list[Row]
    entries: list[Entry]


def contest_of(row: Row) -> Contest:
    """Return what a row competes in."""
    return str(row["edition"]), str(row["version"]), str(row["preset"]), str(row["split"])


def make_record(root: Path) -> LeaderboardRecord:
    """Compute the record of all entries below ``root``; rows published without their runs are kept as published."""
    entries = read_entries(root)
    chosen = newest_per_contest(entries)
    rows, long = [], []
    ranked: dict[Contest, list[tuple[Row, Entry]]] = {}
    for entry, split in chosen:
        row = leaderboard_row(entry, split)
        rows.append(row)
        long.extend(long_rows(entry, split))
        if is_ranked(row):
            ranked.setdefault(contest_of(row), []).append((row, entry))
    standings = {contest: _rank(contest, competitors) for contest, competitors in ranked.items()}
    kept, kept_long = _read_published(root, rows, set(standings))
    return LeaderboardRecord(
        rows=sorted(rows + kept, key=_place),
        long=sorted(long + kept_long, key=_long_place),
        standings=dict(sorted(standings.items())),
        paper=read_csv(_paper_path(), PAPER),
        entries=entries,
    )


def _rank(contest: Contest, competitors: Sequence[tuple[Row, Entry]]) -> Standing:
    standing = rank([row["model"] for row, _ in competitors], [entry.tables[contest[3]] for _, entry in competitors])
    for (row, _), low, high in zip(competitors, standing.ranking.low, standing.ranking.high, strict=True):
        row["rank_low"], row["rank_high"] = int(low), int(high)
    return standing


def _read_published(root: Path, rows: list[Row], contests: set[Contest]) -> tuple[list[Row], list[Row]]:
    """Return the shipped rows whose runs are not here.

    They cannot be ranked against runs that are: where such runs compete, their ranks are left empty.
    """
    if not (root / PUBLISHED_FILE).is_file():
        return [], []
    here = {(row["model"], *contest_of(row)) for row in rows}
    kept = [row for row in read_csv(root / PUBLISHED_FILE, LEADERBOARD) if (row["model"], *contest_of(row)) not in here]
    for row in kept:
        if contest_of(row) in contests:
            row["rank_low"] = row["rank_high"] = None
    names = {(row["model"], *contest_of(row)) for row in kept}
    long = [row for row in read_csv(root / PUBLISHED_LONG_FILE, LONG) if (row["model"], *contest_of(row)) in names]
    return kept, long


def _paper_path() -> Path:
    return Path(str(resources.files("dmseg.leaderboard").joinpath(PAPER_FILE)))


def _place(row: Row) -> tuple[Any, ...]:
    unranked = row["rank_low"] is None
    return (*contest_of(row), unranked, -row["score"], row["model"])


def _long_place(row: Row) -> tuple[Any, ...]:
    return tuple(
        row[name] for name in ("edition", "version", "preset", "split", "model", "dataset", "level", "step", "metric")
    )


def csv_bytes(columns: Sequence[CsvColumn], rows: Iterable[Row]) -> bytes:
    """Return a table as CSV: UTF-8, comma, ``\\n``, numbers with at most their column's decimals, missing empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(column, row[column.name]) for column in columns])
    return text.getvalue().encode()


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
    kinds = {"number": float, "integer": int, "string": str, "date": str}
    by_name = {column.name: column for column in columns}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if list(reader.fieldnames or ()) != list(by_name):
                raise ValueError(f"its columns are {reader.fieldnames}, expected {list(by_name)}")
            rows = [
                {name: kinds[by_name[name].type](text) if text else None for name, text in row.items()}
                for row in reader
            ]
    except (OSError, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table of the record: {error}") from None
    if any(isinstance(v, float) and not math.isfinite(v) for row in rows for v in row.values()):
        raise DataError(f"{path}: a number is not finite")
    return rows


def record_files(record: LeaderboardRecord) -> dict[str, bytes]:
    """Return the files of the record by name."""
    from dmseg.leaderboard.page import leaderboard_page

    schemas = {LEADERBOARD_FILE: LEADERBOARD, LONG_FILE: LONG, PAPER_FILE: PAPER}
    files = {LEADERBOARD_FILE: csv_bytes(LEADERBOARD, record.rows), LONG_FILE: csv_bytes(LONG, record.long)}
    files[PAPER_FILE] = _paper_path().read_bytes()
    for name, columns in schemas.items():
        schema = json.dumps(frictionless(columns), indent=1, ensure_ascii=False) + "\n"
        files[name.replace(".csv", ".schema.json")] = schema.encode()
    files[PAGE_FILE] = leaderboard_page(record).encode()
    return files


def build_record(root: Path, *, check: bool = False) -> list[str]:
    """Write the record's files below ``root``, or only compare them.

    Returns:
        Names of the files that differed from what the entries give (and were written, unless ``check``).
    """
    changed = []
    for name, content in record_files(make_record(root)).items():
        path = root / name
        if not path.is_file() or path.read_bytes() != content:
            changed.append(name)
            if not check:
                write_bytes(path, content)
    return changed
