"""What the record needs of one entry, computed once and kept: adding an entry costs one entry, not all.

A summary is a function of run.json, steps.parquet and the code that averages; the key of a kept one is the digest of
all three. It lies in dmseg's cache folder, where removing it costs only time. A damaged one is made again.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.canonical import digest
from dmseg.files import cache_folder, sha256_file, write_bytes
from dmseg.leaderboard.columns import ARTEFACTS, LONG
from dmseg.leaderboard.entries import Entry
from dmseg.leaderboard.ranking import RANKED_METRICS, Scores, scores_of
from dmseg.leaderboard.rows import Row, artefact_rows, leaderboard_row, long_rows
from dmseg.leaderboard.tables import csv_lines
from dmseg.results.cases import CaseTable
from dmseg.results.grouping import Operations, find_degradations, list_operations, read_mask_facts
from dmseg.results.runs import Run

_CODE = {
    "dmseg": ("statistics.py", "rng.py"),
    "dmseg.leaderboard": ("rows.py", "columns.py", "ranking.py", "tables.py", "summaries.py"),
    "dmseg.results": ("cases.py", "grouping.py", "notices.py"),
}
"""Files that a summary depends on: another text, another key."""
_TEXTS = ("mask_ids", "datasets", "cases", "levels")


@dataclass(frozen=True, eq=False)
class Summary:
    """One entry and split.

    Attributes:
        row: row of leaderboard.csv without rank, tier, dates and coverage.
        long: rows of leaderboard_long.csv as text, sorted.
        artefacts: rows of leaderboard_artefacts.csv as text, sorted; empty where the plans are not published.
        scores: what ranking needs.
        final: final Dice, (N, L) float32: what copies are told by.
        steps: number of steps.
    """

    row: Row
    long: str
    artefacts: str
    scores: Scores
    final: NDArray[np.float32]
    steps: int


def summary_of(entry: Entry, split: str) -> Summary | None:
    """Return the summary of an entry and split, kept or made; None where the entry has no rows of the split.

    Raises:
        DataError: the entry's rows cannot be arranged.
    """
    path = cache_folder() / "leaderboard" / f"{_key(entry, split)}.npz"
    kept = _load(path.read_bytes()) if path.is_file() else None
    if kept is not None:
        return kept
    table = entry.tables.get(split)
    if table is None:
        return None
    made = make_summary(Run(entry.folder, entry.info), table)
    write_bytes(path, _dump(made), sync=False)
    return made


def make_summary(run: Run, table: CaseTable) -> Summary:
    """Compute the summary of the rows of one split of a run."""
    info = run.info
    long = sorted(long_rows(info, table), key=lambda row: (row["dataset"], row["level"], row["step"], row["metric"]))
    final = table.values["dice"][:, :, -1].astype(np.float32)
    drops = artefact_rows(info, table, read_mask_facts(run), _find_operations(info["benchmark"]["manifest_digest"]))
    artefacts = csv_lines(ARTEFACTS, drops)
    return Summary(leaderboard_row(info, table), csv_lines(LONG, long), artefacts, scores_of(table), final, table.steps)


@functools.lru_cache(maxsize=4)
def _find_operations(manifest_digest: str) -> Operations | None:
    degradations = find_degradations(manifest_digest)
    return None if degradations is None else list_operations(degradations)


@functools.cache
def _code_digest() -> str:
    texts = [resources.files(package).joinpath(name).read_bytes() for package, names in _CODE.items() for name in names]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _key(entry: Entry, split: str) -> str:
    files = [sha256_file(entry.folder / name) for name in ("run.json", "steps.parquet")]
    return digest([_code_digest(), *files, split])


def _dump(summary: Summary) -> bytes:
    stream = io.BytesIO()
    texts: dict[str, Any] = {name: list(getattr(summary.scores, name)) for name in _TEXTS}
    texts |= {"row": summary.row, "long": summary.long, "artefacts": summary.artefacts, "steps": summary.steps}
    np.savez(
        stream,
        allow_pickle=False,
        texts=np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8),
        final=summary.final,
        **summary.scores.values,
    )
    return stream.getvalue()


def _load(content: bytes) -> Summary | None:
    """Return a kept summary, None where it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            texts = json.loads(stored["texts"].tobytes())
            values = {metric: stored[metric] for metric in RANKED_METRICS}
            final = stored["final"]
        scores = Scores(**{name: tuple(texts[name]) for name in _TEXTS}, values=values)
        return Summary(texts["row"], texts["long"], texts["artefacts"], scores, final, texts["steps"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


assert {field.name for field in fields(Scores)} == {*_TEXTS, "values"}
