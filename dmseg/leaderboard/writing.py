"""The files of the record, byte for byte: leaderboard.csv, leaderboard_long.csv, the table schemas and the page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmseg.files import sha256_file, write_bytes
from dmseg.leaderboard.columns import ARTEFACTS, LEADERBOARD, LONG, PAPER, PAPER_NATURAL, CsvColumn, frictionless
from dmseg.leaderboard.page import leaderboard_page
from dmseg.leaderboard.record import (
    ARTEFACTS_FILE,
    LEADERBOARD_FILE,
    LONG_FILE,
    PAGE_FILE,
    PAPER_FILE,
    PAPER_NATURAL_FILE,
    Contest,
    LeaderboardRecord,
    locate_shipped,
)
from dmseg.leaderboard.tables import csv_bytes, csv_header


def record_files(record: LeaderboardRecord) -> dict[str, bytes]:
    """Return the files of the record by name."""
    schemas: Mapping[str, Any] = {
        LEADERBOARD_FILE: LEADERBOARD,
        LONG_FILE: LONG,
        ARTEFACTS_FILE: ARTEFACTS,
        PAPER_FILE: PAPER,
        PAPER_NATURAL_FILE: PAPER_NATURAL,
    }
    files = {LEADERBOARD_FILE: csv_bytes(LEADERBOARD, record.rows)}
    files[LONG_FILE] = _join_lines(LONG, record.long)
    files[ARTEFACTS_FILE] = _join_lines(ARTEFACTS, record.artefacts)
    for name in (PAPER_FILE, PAPER_NATURAL_FILE):
        files[name] = locate_shipped(name).read_bytes()
    for name, columns in schemas.items():
        schema = json.dumps(frictionless(columns), indent=1, ensure_ascii=False) + "\n"
        files[name.replace(".csv", ".schema.json")] = schema.encode()
    files[PAGE_FILE] = leaderboard_page(record).encode()
    return files


def _join_lines(columns: Sequence[CsvColumn], parts: Mapping[tuple[Contest, str], str]) -> bytes:
    return b"".join([csv_header(columns).encode(), *(part.encode() for part in parts.values())])


def write_record(root: Path, record: LeaderboardRecord, *, check: bool = False) -> list[str]:
    """Write the files of a record below ``root``, or only compare them.

    Returns:
        Names of the files that differed from what the entries give (and were written, unless ``check``).
    """
    changed = []
    for name, content in record_files(record).items():
        path = root / name
        if not path.is_file() or sha256_file(path) != hashlib.sha256(content).hexdigest():
            changed.append(name)
            if not check:
                write_bytes(path, content)
    return changed
