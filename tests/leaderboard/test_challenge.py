"""Commit, then audit: what honest runs show, what made-up rows cannot, and what a second run confirms."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import declare

from dmseg.build import open_benchmark
from dmseg.cli import main
from dmseg.errors import DataError, UsageError
from dmseg.harness import evaluate
from dmseg.leaderboard import add, answer, audit, build, challenge, confirm, find_entry, read_entries, recheck
from dmseg.leaderboard.challenge import draw_masks
from dmseg.leaderboard.columns import LEADERBOARD
from dmseg.leaderboard.tables import read_csv
from dmseg.results.audit import PREDICTIONS_FILE

BEACON = "8d61d9100567de44682506aea1a7a6fa6e5491cd27a0a0ed349ef6910ac5ac20"


@pytest.fixture(name="kept")
def keep_predictions(published: Any, tmp_path: Path) -> Path:
    out = tmp_path / "kept"
    evaluate("watershed", open_benchmark(published.benchmark), out, keep_predictions=True)
    return out


def _tiers(root: Path) -> set[tuple[str, bool]]:
    return {(row["tier"], row["rank_low"] is not None) for row in read_csv(root / "leaderboard.csv", LEADERBOARD)}


def test_an_honest_run_is_audited_and_then_ranked(kept: Path, tmp_path: Path) -> None:
    root = tmp_path / "record"
    add(kept, root, owner="lab")
    assert _tiers(root) == {("self-reported", False)}
    made = challenge("watershed", root, beacon=BEACON, source="drand round 1", masks=8)
    path = find_entry("watershed", root).folder / "challenge.json"
    assert answer(path, kept, tmp_path / "a.gz") == 8 * 5 * 5
    outcome = audit("watershed", tmp_path / "a.gz", root)
    assert outcome.passed and (outcome.shown, outcome.masks, outcome.failed) == (8, 8, 0)
    assert _tiers(root) == {("audited", True)}
    (entry,) = read_entries(root)
    assert recheck(entry) == [] and (entry.masks, entry.shown) == (8, 8)
    assert len(made.masks) == 8 and list(made.masks) == sorted(made.masks)


def test_predictions_that_were_not_kept_are_made_again(published: Any, tmp_path: Path) -> None:
    root = tmp_path / "record"
    run = published.copy("watershed", tmp_path / "run")
    (run / PREDICTIONS_FILE).unlink()
    add(run, root)
    challenge("watershed", root, beacon=BEACON, masks=3)
    path = find_entry("watershed", root).folder / "challenge.json"
    with pytest.raises(UsageError, match="made without --keep-predictions"):
        answer(path, run, tmp_path / "a.gz")
    with pytest.raises(UsageError, match="made in another way"):
        answer(path, run, tmp_path / "a.gz", model="disk", benchmark=published.benchmark)
    answer(path, run, tmp_path / "a.gz", model="watershed", benchmark=published.benchmark)
    assert audit("watershed", tmp_path / "a.gz", root).passed


def test_masks_follow_from_rows_and_beacon_alone() -> None:
    masks = [f"m{i}" for i in range(1000)]
    drawn = draw_masks("a" * 64, BEACON, masks, 50)
    assert drawn == draw_masks("a" * 64, BEACON, masks[::-1], 50) and len(set(drawn)) == 50
    others = [draw_masks("b" * 64, BEACON, masks, 50), draw_masks("a" * 64, BEACON + "1", masks, 50)]
    assert all(len(set(drawn) & set(other)) < 12 for other in others)


def test_an_answer_of_other_predictions_fails_and_the_row_says_so(kept: Path, published: Any, tmp_path: Path) -> None:
    """What somebody can do who has rows but not the predictions: send those of another model, or only some."""
    root = tmp_path / "record"
    add(kept, root)
    challenge("watershed", root, beacon=BEACON, masks=6)
    path = find_entry("watershed", root).folder / "challenge.json"
    answer(path, kept, tmp_path / "a.gz")
    lines = gzip.decompress((tmp_path / "a.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"".join(lines[: len(lines) // 2])))
    outcome = audit("watershed", tmp_path / "half.gz", root)
    assert not outcome.passed and outcome.failed == 0 and outcome.shown < 6
    assert _tiers(root) == {("self-reported", False)}
    wrong = tmp_path / "wrong"
    evaluate("disk", open_benchmark(published.benchmark), wrong, keep_predictions=True)
    records = gzip.decompress((wrong / "predictions.jsonl.gz").read_bytes())
    (tmp_path / "other.gz").write_bytes(gzip.compress(records))
    outcome = audit("watershed", tmp_path / "other.gz", root)
    assert not outcome.passed and outcome.failed > 0 and outcome.shown == 0
    row = read_csv(root / "leaderboard.csv", LEADERBOARD)[0]
    assert (row["tier"], row["masks_drawn"], row["masks_shown"]) == ("self-reported", 6, 0)
    assert audit("watershed", tmp_path / "a.gz", root).passed


def test_a_challenge_is_drawn_once_and_not_for_another_run(kept: Path, published: Any, tmp_path: Path) -> None:
    root = tmp_path / "record"
    add(kept, root)
    with pytest.raises(UsageError, match="not challenged yet"):
        audit("watershed", tmp_path / "a.gz", root)
    with pytest.raises(UsageError, match="at least 8 characters"):
        challenge("watershed", root, beacon="4")
    challenge("watershed", root, masks=4)
    with pytest.raises(UsageError, match="challenged already"):
        challenge("watershed", root, masks=4)
    path = find_entry("watershed", root).folder / "challenge.json"
    with pytest.raises(UsageError, match="the challenge is for"):
        answer(path, published.runs["disk"], tmp_path / "a.gz")
    asked = json.loads(path.read_text())
    path.write_text(json.dumps(asked | {"masks": [*asked["masks"][:2], "made__up", "made__up2"]}))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="not those that its beacon draws"):
        audit("watershed", tmp_path / "a.gz", root)


def test_a_tier_without_what_it_rests_on_is_found(published: Any, tmp_path: Path) -> None:
    root = tmp_path / "record"
    folder = add(published.runs["disk"], root).folder
    checked = json.loads((folder / "checked.json").read_text())
    for tier in ("audited", "re-run"):
        (folder / "checked.json").write_text(json.dumps(checked | {"tier": tier}))
        (entry,) = read_entries(root)
        assert any(f"tier {tier} without" in problem for problem in recheck(entry))


def test_the_maintainers_own_run_confirms_an_entry(published: Any, tmp_path: Path) -> None:
    root = tmp_path / "record"
    add(published.runs["watershed"], root)
    with pytest.raises(UsageError, match="a run of disk"):
        confirm("watershed", published.runs["disk"], root)
    again = published.copy("watershed", tmp_path / "again")
    assert confirm("watershed", again, root).equal
    assert _tiers(root) == {("re-run", True)}


def test_another_model_under_the_name_does_not_confirm(published: Any, tmp_path: Path) -> None:
    root = tmp_path / "record"
    add(published.runs["watershed"], root)
    other = published.copy("disk", tmp_path / "other")
    declare(other, "model", name="watershed")
    assert not confirm("watershed", other, root).agrees
    assert _tiers(root) == {("self-reported", False)}


def test_a_name_belongs_to_its_first_owner_in_any_spelling(published: Any, tmp_path: Path) -> None:
    from dmseg.leaderboard import check

    root = tmp_path / "record"
    add(published.runs["watershed"], root, owner="First Lab")
    run = published.copy("disk", tmp_path / "run")
    for name in ("watershed", "WATERSHED", "Water-Shed", "water_shed"):
        declare(run, "model", name=name)
        assert "E506" in {f.code for f in check(run, root=root, owner="somebody").findings}, name
        assert "E506" in {f.code for f in check(run, root=root).findings}, name
        assert "E506" not in {f.code for f in check(run, root=root, owner="first lab").findings}, name


def test_of_one_day_the_later_entry_counts(published: Any, tmp_path: Path) -> None:
    import datetime

    root, day = tmp_path / "record", datetime.datetime(2026, 11, 20, 9, tzinfo=datetime.UTC)
    add(published.runs["disk"], root, date=day.replace(hour=15))
    run = published.copy("watershed", tmp_path / "run")
    declare(run, "model", name="disk")
    add(run, root, date=day)
    first = {entry.digest for entry in read_entries(root) if entry.added.endswith("15:00:00Z")}
    rows = read_csv(root / "leaderboard.csv", LEADERBOARD)
    assert {row["run_digest"] for row in rows} == first and build(root) == []


def test_the_commands_go_through(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = ["--root", str(tmp_path / "r")], tmp_path / "c.json"

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return int(left.value.code or 0), capsys.readouterr().out

    assert run("leaderboard", "add", kept, "--owner", "lab", *root)[0] == 0
    code, text = run("leaderboard", "challenge", "watershed", "--masks", 2, "-o", out, *root)
    assert code == 0 and "2 masks of watershed drawn" in text
    assert run("submit", "answer", out, kept, "-o", tmp_path / "a.gz")[0] == 0
    code, text = run("leaderboard", "audit", "watershed", tmp_path / "a.gz", *root)
    assert code == 0 and "2 of 2 masks shown" in text
    code, text = run("leaderboard", "show", *root)
    assert "audited (2 of 2)" in text
    code, text = run("leaderboard", "confirm", "watershed", kept, *root)
    assert code == 0 and "equal to the last bit" in text
