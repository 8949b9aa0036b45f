"""Entries: the run folders of the record, ``entries/<model>/<date>-<digest8>/``, and the folder that holds the record.

An entry is the submitted run, byte for byte, and beside it ``checked.json``: what was established when it was added.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs

from dmseg.errors import DataError
from dmseg.manifests import clean_text
from dmseg.results import open_run
from dmseg.results.cases import CaseTable, case_tables

RUN_FILES: tuple[str, ...] = ("run.json", "steps.parquet", "prompts.parquet", "inputs.parquet", "audit.jsonl.gz")
"""What a submission is. Times and host names (timing.parquet, environment.json) stay with the submitter."""
CHECKED_FILE = "checked.json"
PUBLISHED_FILE = "published.csv"
PUBLISHED_LONG_FILE = "published_long.csv"
_SHIPPED = {"leaderboard.csv": PUBLISHED_FILE, "leaderboard_long.csv": PUBLISHED_LONG_FILE}
_TIERS = ("self-reported", "rescored")


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of the record.

    Attributes:
        folder: where the run lies.
        date: day it was added, YYYY-MM-DD.
        tier: ``self-reported`` or ``rescored``.
        digest: digest of its rows.
    """

    folder: Path
    date: str
    tier: str
    digest: str

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """Content of run.json."""
        info: Mapping[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return info

    @cached_property
    def tables(self) -> dict[str, CaseTable]:
        """The rows by split."""
        return case_tables(open_run(self.folder).steps)

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.info["model"]["name"])


def default_root() -> Path:
    """Return the folder of the record: the package's own in an editable checkout, else one in the user's data folder.

    The user's folder begins with the shipped record, whose runs are not shipped: its rows are kept as published.
    """
    package = Path(str(resources.files("dmseg.leaderboard")))
    if (package.parents[1] / "setup.cfg").is_file() and (package.parents[1] / ".git").exists():
        return package
    root = Path(platformdirs.user_data_dir("dmseg")) / "leaderboard"
    if not root.exists():
        root.mkdir(parents=True)
        for shipped, kept in _SHIPPED.items():
            if (package / shipped).is_file():
                shutil.copyfile(package / shipped, root / kept)
    return root


def read_entries(root: Path) -> list[Entry]:
    """Return all entries of a record, sorted by folder.

    Raises:
        DataError: an entry without ``checked.json``, or with a damaged one.
    """
    return [_entry(path.parent) for path in sorted((root / "entries").glob("*/*/run.json"))]


def _entry(folder: Path) -> Entry:
    path = folder / CHECKED_FILE
    try:
        checked = json.loads(path.read_text(encoding="utf-8"))
        if checked["tier"] not in _TIERS:
            raise ValueError(f'tier "{checked["tier"]}", one of: {", ".join(_TIERS)}')
        return Entry(folder, str(checked["date"]), checked["tier"], str(checked["run_digest"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not readable ({error}); add the run again with dmseg leaderboard add") from None


def entry_folder(root: Path, model: str, date: str, digest: str) -> Path:
    """Return where a run belongs in a record."""
    return root / "entries" / clean_text(model) / f"{date}-{digest[:8]}"


def newest_per_contest(entries: list[Entry]) -> list[tuple[Entry, str]]:
    """Return (entry, split), one per model, preset, benchmark and split: the newest run of each (ties: by digest)."""
    newest: dict[tuple[str, ...], tuple[Entry, str]] = {}
    for entry in sorted(entries, key=lambda e: (e.date, e.digest)):
        benchmark = entry.info["benchmark"]
        for split in entry.tables:
            key = (entry.model, entry.info["protocol"]["preset"], benchmark["manifest_digest"], split)
            newest[key] = (entry, split)
    return [newest[key] for key in sorted(newest)]
