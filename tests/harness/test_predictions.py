"""Predictions can be kept, and made again: both give masks with the digests that the rows commit to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmseg.errors import UsageError
from dmseg.harness import evaluate, prepare, repeat_predictions
from dmseg.manifests import mask_sha256
from dmseg.results import open_run, run_digest
from dmseg.results.audit import AUDIT_FILE, PREDICTIONS_FILE, read_audit


@pytest.fixture(name="kept", scope="module")
def keep_predictions(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "run"
    evaluate("watershed", tiny, out, keep_predictions=True)
    return out


def test_every_prediction_is_kept_and_has_the_digest_of_its_row(kept: Path) -> None:
    rows = open_run(kept).steps.set_index(["mask_id", "level", "step"])["pred_digest"]
    found = {(r.mask_id, r.level, r.step): mask_sha256(r.mask()) for r in read_audit(kept / PREDICTIONS_FILE)}
    assert found == rows.to_dict()
    assert len(list(read_audit(kept / AUDIT_FILE))) < len(found)


def test_keeping_changes_neither_rows_nor_key(kept: Path, tiny: Path, tmp_path: Path) -> None:
    evaluate("watershed", tiny, tmp_path / "run")
    assert run_digest(kept) == run_digest(tmp_path / "run")
    assert open_run(kept).info["run_key"] == open_run(tmp_path / "run").info["run_key"]
    assert not (tmp_path / "run" / PREDICTIONS_FILE).exists()


def test_predictions_made_again_are_those_of_the_run(kept: Path, tiny: Path, tmp_path: Path) -> None:
    run = open_run(kept)
    chosen = sorted(set(run.steps["mask_id"]))[2:4]
    plan = prepare("watershed", tiny, tmp_path / "nothing")
    again = {(r.mask_id, r.level, r.step): r.rle for r in repeat_predictions(plan, chosen)}
    first = {(r.mask_id, r.level, r.step): r.rle for r in read_audit(kept / PREDICTIONS_FILE) if r.mask_id in chosen}
    assert again == first and not (tmp_path / "nothing").exists()
    with pytest.raises(UsageError, match="not part of this run, the first is nobody"):
        list(repeat_predictions(plan, ["nobody"]))
