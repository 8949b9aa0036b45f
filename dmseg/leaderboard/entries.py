"""Entries: the run folders of the record, ``entries/<model>/<date>-<digest8>/``, and the folder that holds the record.

An entry is the submitted run, byte for byte, and beside it ``checked.json``: what was established when it was added.
An entry that cannot be read is left out and named; it never keeps the others from being published.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs

from dmseg.errors import DataError
from dmseg.leaderboard.run_shape import RUN
from dmseg.naming import name_key, safe_name
from dmseg.reading import read_json, require_regular, show_name
from dmseg.results import open_run
from dmseg.results.cases import CaseTable
from dmseg.schemas import SHA256, Number, Optional, Record, Text, require_shape

RUN_FILES: tuple[str, ...] = ("run.json", "steps.parquet", "prompts.parquet", "inputs.parquet", "audit.jsonl.gz")
"""What a submission is. Times and host names (timing.parquet, environment.json) stay with the submitter."""
CHECKED_FILE = "checked.json"
CHALLENGE_FILE = "challenge.json"
ANSWER_FILE = "answer.jsonl.gz"
RERUN_FILE = "rerun.json"
OWN_FILES: tuple[str, ...] = (CHECKED_FILE, CHALLENGE_FILE, ANSWER_FILE, RERUN_FILE)
"""What the record keeps beside the submitted files."""
PUBLISHED_FILE = "published.csv"
PUBLISHED_LONG_FILE = "published_long.csv"
PUBLISHED_ARTEFACTS_FILE = "published_artefacts.csv"
MAX_JSON_BYTES = 1 << 20
_SHIPPED = {
    "leaderboard.csv": PUBLISHED_FILE,
    "leaderboard_long.csv": PUBLISHED_LONG_FILE,
    "leaderboard_artefacts.csv": PUBLISHED_ARTEFACTS_FILE,
}
TIERS: tuple[str, ...] = ("self-reported", "audited", "re-run")
"""What stands behind a row: the submitter's word, masks drawn after the commitment, the maintainers' own run."""
RANKED_TIERS: tuple[str, ...] = TIERS[1:]
_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_CHECKED = Record(
    {
        "date": Text(10, pattern=_DATE, means="a day as YYYY-MM-DD"),
        "added": Optional(Text(20, pattern=_DATE + r"T\d{2}:\d{2}:\d{2}Z", means="a time as YYYY-MM-DDThh:mm:ssZ")),
        "tier": Text(choices=TIERS),
        "run_digest": Text(64, pattern=SHA256, means="64 lower-case hex digits"),
        "owner": Optional(Text(100, shortest=1)),
        "audit": Optional(Record({"masks": Number(1, 10**7), "shown": Number(0, 10**7), "failed": Number(0, 10**9)})),
    }
)


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of the record.

    Attributes:
        folder: where the run lies.
        date: day it was added, YYYY-MM-DD.
        tier: one of :data:`TIERS`.
        digest: digest of its rows.
        added: time it was added (UTC), of which ``date`` is the day; orders entries of one day.
        owner: whom the name belongs to; empty where nobody was named.
        masks, shown, failed: of its audit: masks drawn, masks shown whole, predictions that did not fit; None without.
    """

    folder: Path
    date: str
    tier: str
    digest: str
    added: str = ""
    owner: str = ""
    masks: int | None = None
    shown: int | None = None
    failed: int | None = None

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """Content of run.json, of the documented shape."""
        path = self.folder / "run.json"
        info: Mapping[str, Any] = read_json(path, limit=MAX_JSON_BYTES, links=False)
        require_shape(info, RUN, show_name(path))
        return info

    @cached_property
    def tables(self) -> dict[str, CaseTable]:
        """The rows by split."""
        return open_run(self.folder).tables

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.info["model"]["name"])

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that its files beside the run say of it."""
        return (*self.order, self.tier, self.owner, self.masks, self.shown, self.failed)

    @property
    def order(self) -> tuple[str, str, str]:
        """What sorts entries by time."""
        return self.date, self.added, self.digest


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


def read_entries(root: Path, problems: list[str] | None = None) -> list[Entry]:
    """Return all entries of a record that can be read, sorted by folder.

    Args:
        problems: takes one line for each entry that was left out; without it such an entry is an error.

    Raises:
        DataError: an entry is damaged, and ``problems`` was not given.
    """
    entries = []
    for folder in _folders(root / "entries"):
        try:
            entries.append(read_entry(folder))
        except (DataError, OSError) as error:
            if problems is None:
                raise DataError(str(error)) from None
            problems.append(str(error))
    return entries


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders two levels down; links are no folders, and names need not be text."""
    try:
        models = sorted(os.scandir(root), key=lambda found: found.name)
    except FileNotFoundError:
        return
    for model in models:
        if model.is_dir(follow_symlinks=False) and not model.name.startswith("."):
            for found in sorted(os.scandir(model.path), key=lambda found: found.name):
                if found.is_dir(follow_symlinks=False) and not found.name.startswith("."):
                    yield Path(found.path)


def read_entry(folder: Path) -> Entry:
    """Return the entry in a folder.

    Raises:
        DataError: a file that is missing, a link or no regular file, or a record of another shape; names the file.
    """
    path = folder / CHECKED_FILE
    again = "add the run again with dmseg leaderboard add"
    try:
        checked = read_json(path, limit=MAX_JSON_BYTES, links=False)
        require_shape(checked, _CHECKED, show_name(path))
        for name in RUN_FILES:
            require_regular(folder / name, links=False)
    except (DataError, OSError) as error:
        raise DataError(f"{show_name(folder)}: not readable ({error}); {again}") from None
    audit = checked.get("audit") or {}
    entry = Entry(
        folder, checked["date"], checked["tier"], checked["run_digest"], checked.get("added") or "",
        checked.get("owner") or "", audit.get("masks"), audit.get("shown"), audit.get("failed"),
    )  # fmt: skip
    _ = entry.info  # its shape is checked here, so that nothing later stumbles over it
    return entry


def strange_files(folder: Path) -> list[str]:
    """Return what lies in a run's folder that is no regular file: links, pipes, devices; names as text."""
    return sorted(
        show_name(found.name)
        for found in os.scandir(folder)
        if found.name in (*RUN_FILES, *OWN_FILES) and not stat.S_ISREG(found.stat(follow_symlinks=False).st_mode)
    )


def entry_folder(root: Path, model: str, date: str, digest: str) -> Path:
    """Return where a run belongs in a record."""
    return root / "entries" / safe_name(model) / f"{date}-{digest[:8]}"


def newest_per_contest(entries: list[Entry]) -> list[tuple[Entry, str]]:
    """Return (entry, split), one per model, preset, benchmark and split: the newest run of each (ties: by digest)."""
    newest: dict[tuple[str, ...], tuple[Entry, str]] = {}
    for entry in sorted(entries, key=lambda e: e.order):
        benchmark = entry.info["benchmark"]
        for split in benchmark["split"]:
            key = (name_key(entry.model), entry.info["protocol"]["preset"], benchmark["manifest_digest"], split)
            newest[key] = (entry, split)
    return [newest[key] for key in sorted(newest)]


def owner_of(entries: list[Entry], model: str) -> str | None:
    """Return the owner of the first entry under a name (in any spelling); None where the name is free."""
    mine = [entry for entry in entries if name_key(entry.model) == name_key(model)]
    return min(mine, key=lambda e: e.order).owner if mine else None
