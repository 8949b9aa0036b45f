"""The record: from entries to rows and standings.

The same entries give the same bytes on every machine: numbers are rounded to fixed decimals, rows are sorted, no date
of today enters. An entry that cannot be read or averaged is left out and named.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from dmseg.leaderboard.columns import ARTEFACTS, LEADERBOARD, LONG, PAPER, PAPER_NATURAL
from dmseg.leaderboard.entries import (
    PUBLISHED_ARTEFACTS_FILE,
    PUBLISHED_FILE,
    PUBLISHED_LONG_FILE,
    Entry,
    newest_per_contest,
    read_entries,
)
from dmseg.leaderboard.ranking import Standing, rank
from dmseg.leaderboard.rows import Row, coverage, find_evaluated_expressions, find_evaluated_masks, is_ranked
from dmseg.leaderboard.summaries import Summary, summary_of
from dmseg.leaderboard.tables import csv_header, csv_lines, parse_csv, read_csv
from dmseg.manifests import LOCAL_EDITION, find_published_header
from dmseg.naming import name_key
from dmseg.results.columns import gives_text
from dmseg.types import LEVELS, MEDICAL, TRACK_LEVELS

LEADERBOARD_FILE = "leaderboard.csv"
LONG_FILE = "leaderboard_long.csv"
ARTEFACTS_FILE = "leaderboard_artefacts.csv"
PAPER_FILE = "paper.csv"
PAPER_NATURAL_FILE = "paper_natural.csv"
PAGE_FILE = "leaderboard.html"

Contest = tuple[str, str, str, str]
"""(edition, version, preset, split): what is ranked together."""


@dataclass(frozen=True)
class LeaderboardRecord:
    """Everything that is published.

    Attributes:
        rows: rows of leaderboard.csv, sorted: by contest, ranked rows first, best first.
        long: (contest, model) -> rows of leaderboard_long.csv as text, sorted.
        artefacts: (contest, model) -> rows of leaderboard_artefacts.csv as text, sorted.
        standings: contest -> the ranking of its complete runs.
        paper: rows of paper.csv.
        paper_natural: rows of paper_natural.csv.
        entries: the runs behind the rows.
        problems: one line for each entry that was left out.
    """

    rows: list[Row]
    long: dict[tuple[Contest, str], str]
    artefacts: dict[tuple[Contest, str], str]
    standings: dict[Contest, Standing]
    paper: list[Row]
    paper_natural: list[Row]
    entries: list[Entry]
    problems: list[str] = field(default_factory=list)

    def long_rows(self, contest: Contest, models: Sequence[str]) -> list[Row]:
        """Return the rows of leaderboard_long.csv of some models of a contest."""
        texts = [self.long.get((contest, model), "") for model in models]
        return parse_csv(csv_header(LONG) + "".join(texts), LONG)

    def artefact_rows(self, contest: Contest, models: Sequence[str]) -> list[Row]:
        """Return the rows of leaderboard_artefacts.csv of some models of a contest."""
        texts = [self.artefacts.get((contest, model), "") for model in models]
        return parse_csv(csv_header(ARTEFACTS) + "".join(texts), ARTEFACTS)


def contest_of(row: Row) -> Contest:
    """Return what a row competes in."""
    return str(row["edition"]), str(row["version"]), str(row["preset"]), str(row["split"])


def make_record(root: Path, given: Sequence[Entry] | None = None) -> LeaderboardRecord:
    """Compute the record of all entries below ``root``; rows published without their runs are kept as published.

    Args:
        given: the entries, where they were read already or are not there yet.
    """
    problems: list[str] = []
    entries = read_entries(root, problems) if given is None else list(given)
    rows: list[Row] = []
    long: dict[tuple[Contest, str], str] = {}
    artefacts: dict[tuple[Contest, str], str] = {}
    competitors: dict[Contest, list[tuple[Row, Summary]]] = {}
    expected: dict[tuple[str, str, bool], frozenset[str]] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for entry, split in newest_per_contest(entries):
        found = _row(entry, split, expected, problems)
        entry.__dict__.pop("tables", None)  # the rows of all entries are never held at once
        if found is None:
            continue
        row, summary = found[0], _share_texts(found[1], shared)
        rows.append(row)
        long[contest_of(row), row["model"]] = summary.long
        artefacts[contest_of(row), row["model"]] = summary.artefacts
        if is_ranked(row):
            competitors.setdefault(contest_of(row), []).append((row, summary))
    standings = {contest: _rank(_comparable(own, problems)) for contest, own in competitors.items()}
    _keep_published(root, rows, {LONG_FILE: long, ARTEFACTS_FILE: artefacts}, set(standings))
    return LeaderboardRecord(
        rows=sorted(rows, key=_place),
        long=dict(sorted(long.items())),
        artefacts=dict(sorted(artefacts.items())),
        standings=dict(sorted(standings.items())),
        paper=read_csv(locate_shipped(PAPER_FILE), PAPER),
        paper_natural=read_csv(locate_shipped(PAPER_NATURAL_FILE), PAPER_NATURAL),
        entries=entries,
        problems=problems,
    )


def _row(
    entry: Entry, split: str, expected: dict[tuple[str, str, bool], frozenset[str]], problems: list[str]
) -> tuple[Row, Summary] | None:
    """Return the row of an entry and split; whatever is wrong with the entry is noted, and it is left out."""
    try:
        summary = summary_of(entry, split)
        if summary is None:
            return None
        benchmark, scores = entry.info["benchmark"], summary.scores
        if benchmark["edition"] == LOCAL_EDITION:
            levels = len(TRACK_LEVELS[benchmark.get("track") or MEDICAL])
            share = coverage(len(scores.mask_ids), len(scores.levels), len(scores.mask_ids), levels)
        else:
            name = f"{benchmark['edition']}-{benchmark['version']}"
            text = gives_text(entry.info["protocol"]["preset"])
            if (name, split, text) not in expected:
                find = find_evaluated_expressions if text else find_evaluated_masks
                expected[name, split, text] = frozenset(find(name, split))
            known = expected[name, split, text]
            if foreign := sorted(set(scores.mask_ids) - known):
                raise ValueError(f"{len(foreign)} masks are not in {name}, the first is {foreign[0]}")
            # How many levels there are is the edition's word, not the run's.
            header = find_published_header(benchmark["manifest_digest"])
            levels = len(LEVELS if header is None else header["levels"])
            share = coverage(len(scores.mask_ids), len(scores.levels), len(known), levels)
        row = summary.row | {
            "coverage": share,
            "tier": entry.tier,
            "masks_drawn": entry.masks,
            "masks_shown": entry.shown,
            "owner": entry.owner or None,
            "date": entry.date,
            "run_digest": entry.digest,
        }
        csv_lines(LEADERBOARD, [row])
        return row, summary
    except Exception as error:  # whatever an entry holds, the others are published
        problems.append(f"{entry.folder.parent.name}/{entry.folder.name}: left out: {type(error).__name__}: {error}")
        return None


def _share_texts(summary: Summary, shared: dict[tuple[str, ...], tuple[str, ...]]) -> Summary:
    """Return a summary whose ids are those of an earlier one where they are equal: hundreds of runs have the same."""
    scores = summary.scores
    ids: dict[str, Any] = {}
    for name in ("mask_ids", "datasets", "cases"):
        own: tuple[str, ...] = getattr(scores, name)
        ids[name] = shared.setdefault(own, own)
    return dataclasses.replace(summary, scores=dataclasses.replace(scores, **ids))


def _comparable(own: Sequence[tuple[Row, Summary]], problems: list[str]) -> list[tuple[Row, Summary]]:
    """Return the runs over the masks and cases that most of them have; the others get no rank, and are named."""
    kinds = [(s.scores.mask_ids, s.scores.cases, s.scores.datasets, s.scores.levels) for _, s in own]
    common = Counter(kinds).most_common(1)[0][0]
    for kind, (row, _) in zip(kinds, own, strict=True):
        if kind != common:
            problems.append(f"{row['model']}: not ranked: other masks, cases or levels than the other runs")
    return [pair for kind, pair in zip(kinds, own, strict=True) if kind == common]


def _rank(competitors: Sequence[tuple[Row, Summary]]) -> Standing:
    standing = rank([row["model"] for row, _ in competitors], [summary.scores for _, summary in competitors])
    for (row, _), low, high in zip(competitors, standing.ranking.low, standing.ranking.high, strict=True):
        row["rank_low"], row["rank_high"] = int(low), int(high)
    return standing


def _keep_published(
    root: Path, rows: list[Row], tables: Mapping[str, dict[tuple[Contest, str], str]], contests: set[Contest]
) -> None:
    """Add the shipped rows whose runs are not here.

    They cannot be ranked against runs that are: where such runs compete, their ranks are left empty.
    """
    if not (root / PUBLISHED_FILE).is_file():
        return
    here = {(name_key(row["model"]), *contest_of(row)) for row in rows}
    kept = [
        row
        for row in read_csv(root / PUBLISHED_FILE, LEADERBOARD)
        if (name_key(row["model"]), *contest_of(row)) not in here
    ]
    for row in kept:
        if contest_of(row) in contests:
            row["rank_low"] = row["rank_high"] = None
    rows += kept
    names = {(contest_of(row), row["model"]) for row in kept}
    kept_tables = ((LONG_FILE, PUBLISHED_LONG_FILE, LONG), (ARTEFACTS_FILE, PUBLISHED_ARTEFACTS_FILE, ARTEFACTS))
    for file, published, columns in kept_tables:
        if file == ARTEFACTS_FILE and not (root / published).is_file():
            continue  # a folder that was begun before there was this table
        parts: dict[tuple[Contest, str], list[Row]] = {}
        for row in read_csv(root / published, columns):
            if (contest_of(row), row["model"]) in names:
                parts.setdefault((contest_of(row), row["model"]), []).append(row)
        tables[file].update({key: csv_lines(columns, part) for key, part in parts.items()})


def locate_shipped(name: str) -> Path:
    """Return where a table that ships with the record lies."""
    return Path(str(resources.files("dmseg.leaderboard").joinpath(name)))


def _place(row: Row) -> tuple[Any, ...]:
    unranked = row["rank_low"] is None
    return (*contest_of(row), unranked, -row["score"], row["model"])
