"""The record in the repository: every published number follows from the entries beside it, and they pass the checks."""

from __future__ import annotations

from dmseg.leaderboard import build, check, default_root


def test_the_committed_record_is_what_its_entries_give() -> None:
    assert build(default_root(), check=True) == []


def test_the_committed_entries_pass_their_checks() -> None:
    for path in sorted((default_root() / "entries").glob("*/*/run.json")):
        assert [str(f) for f in check(path.parent).findings if f.is_error] == [], path
