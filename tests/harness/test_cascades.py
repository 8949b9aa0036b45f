"""Runs of a restorer before a model: one restoration per image and level, shared on the disk, named in the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dmseg import harness, results

torch = pytest.importorskip("torch", reason="restorers need the extra [models]")

from dmseg.baselines import restorers  # noqa: E402
from dmseg.baselines.networks.restoration import RestorationNetwork  # noqa: E402


class Halved(RestorationNetwork):
    """Half as bright; counts its runs."""

    multiple = 8
    runs = 0

    def forward(self, pixels: Any) -> Any:
        Halved.runs += 1
        return pixels / 2


def test_an_image_is_restored_once_per_level_and_shared_by_models(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorers, "_load_network", lambda *_: (Halved(), "0" * 64))
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path / "cache"))
    summary = harness.evaluate("dcpt+watershed", tiny, tmp_path / "one", arguments={"restorer.tile": 64})
    levels = results.open_run(summary.path).steps["level"].nunique()
    assert summary.n_masks > summary.n_images
    assert Halved.runs == summary.n_images * levels
    record = json.loads((tmp_path / "one" / "run.json").read_text())["model"]
    assert record["name"] == "dcpt+watershed" and record["weights_sha256"] != "0" * 64
    assert record["restorer"]["name"] == "dcpt" and record["restorer"]["weights_sha256"] == "0" * 64
    assert record["restorer"]["arguments"]["tile"] == 64
    harness.evaluate("dcpt+disk", tiny, tmp_path / "two", arguments={"restorer.tile": 64})
    assert Halved.runs == summary.n_images * levels


def test_identity_before_a_model_gives_the_rows_of_the_model(tiny: Path, tmp_path: Path) -> None:
    plain, cascade = (
        results.open_run(harness.evaluate(model, tiny, tmp_path / model).path).steps
        for model in ("watershed", "identity+watershed")
    )
    assert cascade.equals(plain)
