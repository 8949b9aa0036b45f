"""The demo: every part of the main job leaves what it says, and says where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dmseg import baselines, build, phantoms
from dmseg.cli import group
from dmseg.cli.demo import _list_left_out, _list_runnable


@pytest.fixture
def small_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two datasets in place of all, so that the test takes seconds; the wheel's test runs the whole demo."""
    raw = tmp_path / "raw"
    phantoms.write_phantoms(raw, per_dataset=1, datasets=["Kvasir-SEG", "BUSI"])
    monkeypatch.setattr(build, "phantom_raw", lambda *_: raw)


@pytest.mark.usefixtures("small_raw")
def test_the_demo_leaves_pictures_reports_and_the_table_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    results = [CliRunner().invoke(group, ["demo", "--out", str(out), "--per-dataset", "1"]) for _ in range(2)]
    for result in results:
        assert result.exit_code == 0, result.output
        for path in ("levels.png", "runs/watershed/report.html", "leaderboard/leaderboard.csv"):
            assert (out / path).is_file() and path.split("/")[-1] in result.output
    picture = np.asarray(Image.open(out / "levels.png"))
    assert picture.ndim == 3 and picture.std() > 10
    rows = (out / "leaderboard" / "leaderboard.csv").read_text().splitlines()
    models = {"disk", "watershed", *_list_runnable()}
    assert len(rows) == 1 + 2 + len(_list_runnable())  # one split, unseen: what models are trained on is no test
    assert all(
        f"demo: {len(rows) + 2} steps in" in one.stderr and " s on two free cores" in one.stderr for one in results
    )
    assert {row.split(",")[2] for row in rows[1:]} == models


def test_models_that_need_torch_are_skipped_with_a_line_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "find_missing_packages", lambda card: ("torch",))
    assert _list_runnable() == []
    lines = list(_list_left_out(()))
    assert any(line.startswith("skipped sam-vit-b") and "torch not installed: pip install" in line for line in lines)
    assert sum(line.count("mobile-sam") for line in lines) == 1, "each model is named once"
    monkeypatch.setattr(baselines, "find_missing_packages", lambda card: ())
    (line,) = _list_left_out(["mobile-sam"])
    assert "weights not installed" in line and "mobile-sam" not in line
