"""A published run: what a submission is, its card and metadata, and nothing of the machine."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from synthetic_runs import write_run

from dmseg.errors import DataError, UsageError
from dmseg.publish import publish_run
from dmseg.results import open_run, run_digest

DAY = datetime.date(2026, 11, 28)


def test_a_run_goes_out_with_its_figures_and_without_its_machine(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "environment.json").write_text('{"host": "secret-host"}')
    out = publish_run(run, tmp_path / "out", date=DAY, creator="Ana Novak")
    assert run_digest(out) == run_digest(run)
    names = {path.name for path in out.iterdir()}
    assert {"README.md", "croissant.json", ".zenodo.json", "run.json", "steps.parquet"} <= names
    assert "environment.json" not in names and "timing.parquet" not in names
    card = (out / "README.md").read_text()
    assert open_run(run).info["model"]["name"] in card
    assert "Self-reported" in card and run_digest(run) in card
    assert json.loads((out / ".zenodo.json").read_text())["creators"] == [{"name": "Ana Novak"}]


def test_what_is_no_finished_run_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError):
        publish_run(tmp_path / "run", tmp_path / "out", date=DAY)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="no empty folder"):
        publish_run(write_run(tmp_path / "real"), tmp_path, date=DAY)
