"""The natural track on a leaderboard: a contest of its own, complete with its own levels, apart from medical runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import SOURCES, SyntheticSource, declare, make_natural, write_run

import dmseg.leaderboard.record
import dmseg.leaderboard.summaries
from dmseg.errors import DataError
from dmseg.leaderboard import build
from dmseg.leaderboard.checks.coverage import note_partial
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.reference import reference_of
from dmseg.leaderboard.record import make_record
from dmseg.manifests import find_published
from dmseg.results import open_run, run_digest
from dmseg.types import LEVELS, TRACK_LEVELS

PHOTOS = {"ECSSD": SyntheticSource("photo", "unseen", 3)}


def _enter(root: Path, model: str, quality: float, *, natural: bool) -> Path:
    run = write_run(
        root / "entries" / model / "2026-11-20-0", model, quality=quality, sources=PHOTOS if natural else SOURCES
    )
    if natural:
        make_natural(run)
    checked = {"date": "2026-11-20", "tier": "re-run", "run_digest": run_digest(run), "owner": "lab"}
    (run / "checked.json").write_text(json.dumps(checked))
    return run


def test_natural_runs_are_ranked_among_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [_enter(tmp_path, f"photo-{n}", 0.9 - n / 10, natural=True) for n in range(2)]
    runs.append(_enter(tmp_path, "medical", 0.95, natural=False))

    def find_masks(name: str, split: str) -> dict[str, str]:
        rows = open_run(runs[0] if name.startswith("lq-seg") else runs[-1]).steps.query("split == @split")
        return dict(zip(rows["mask_id"], rows["image_id"], strict=True))

    monkeypatch.setattr(dmseg.leaderboard.record, "find_evaluated_masks", find_masks)
    # The synthetic images are none of the edition, so it has no plans of them.
    monkeypatch.setattr(dmseg.leaderboard.summaries, "_find_operations", lambda digest: None)
    assert make_record(tmp_path).problems == []
    build(tmp_path)
    with (tmp_path / "leaderboard.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "unseen"]
    assert {(row["edition"], row["model"]): (row["coverage"], row["rank_low"]) for row in rows} == {
        ("dm-seg-phantom", "medical"): ("1", "1"),
        ("lq-seg-phantom", "photo-0"): ("1", "1"),
        ("lq-seg-phantom", "photo-1"): ("1", "2"),
    }
    assert all(row["dice_lq3plus"] == "" for row in rows if row["edition"] == "lq-seg-phantom")
    for row in rows:
        hardest = "dice_lq3" if row["edition"] == "lq-seg-phantom" else "dice_lq3plus"
        assert float(row["drop"]) == pytest.approx(float(row["dice_clear"]) - float(row[hardest]), abs=2e-6)
    text = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    medical, _, natural = text.partition('id="track-natural"')
    assert "lq-seg-phantom 1.0" in natural and "lq-seg-phantom" not in medical.partition("<main>")[2]
    assert "dm-seg-phantom 1.0" in medical and "dm-seg-phantom" not in natural
    assert "Tab. 14, RobustSeg" in natural and "Tab. 14" not in medical
    board = natural.partition('<table class="board"')[2].partition("</table>")[0]
    assert "LQ-3<" in board and "LQ-3+" not in board
    assert 'data-optional="LQ-2"' in board and 'data-optional="LQ-3"' not in board
    assert "Unseen datasets (phantom) · preset dmseg · lq-seg-phantom 1.0" in natural


def _benchmark(**changes: Any) -> dict[str, Any]:
    digest = find_published("lq-seg-phantom-1.0").digest
    named = {"edition": "lq-seg-phantom", "version": "1.0", "manifest_digest": digest, "track": "natural"}
    declared = {**named, "levels": list(TRACK_LEVELS["natural"]), **changes}
    return {"benchmark": declared, "protocol": {"preset": "dmseg"}}


def test_four_levels_are_whole_on_the_natural_track_alone() -> None:
    assert not note_partial(_benchmark(), Findings())
    assert note_partial(_benchmark(track=None), Findings())
    assert note_partial(_benchmark(levels=["clear"]), Findings())
    assert not note_partial(_benchmark(track=None, levels=list(LEVELS)), Findings())


def test_a_run_that_declares_another_track_than_its_edition_is_refused() -> None:
    findings = Findings()
    assert reference_of(_benchmark(), None, findings) is not None
    assert reference_of(_benchmark(track=None), None, findings) is None
    assert "track is medical, that of lq-seg-phantom-1.0 is natural" in str(findings)


def test_an_unknown_track_is_no_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    declare(run, "benchmark", track="other")
    with pytest.raises(DataError, match="track"):
        open_run(run)
