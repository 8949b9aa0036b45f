"""The record in the repository: every published number follows from the entries beside it, and they pass the checks."""

from __future__ import annotations

from dmseg.leaderboard import build, check, default_root, read_entries, recheck


def test_the_committed_record_is_what_its_entries_give() -> None:
    problems: list[str] = []
    assert build(default_root(), check=True, problems=problems) == [] and problems == []


def test_the_committed_entries_pass_their_checks() -> None:
    for entry in read_entries(default_root()):
        assert [str(f) for f in check(entry.folder, owner=entry.owner).findings if f.is_error] == [], entry.folder
        assert recheck(entry) == []
