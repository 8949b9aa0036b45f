"""A record of many synthetic models, for the page and the text table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_runs import SOURCES, SyntheticSource, write_run

import dmseg.leaderboard.record
from dmseg.results import open_run, run_digest

MODELS = ("alpha", "beta", "gamma-large", "delta", "epsilon", "zeta")


def write_entries(root: Path, patch: pytest.MonkeyPatch, models: tuple[str, ...] = MODELS) -> Path:
    """Write entries of models of falling quality on an edition that has exactly their masks, and one partial run."""
    for i, model in enumerate(models):
        changes = {"quality": 0.9 - 0.05 * i / max(1, len(models) / 4), "drop": 0.05 + 0.03 * (i % 3)}
        _entry(root, model, changes, SOURCES)
    _entry(root, "partial", {"quality": 0.95}, {"busi": SyntheticSource("ultrasound", "seen", 3)})

    published = dmseg.leaderboard.record.find_evaluated_masks

    def masks(name: str, split: str) -> dict[str, str]:
        if not name.startswith("dm-seg-phantom"):
            return published(name, split)
        steps = open_run(next((root / "entries" / models[0]).iterdir())).steps
        rows = steps[steps["split"] == split]
        return dict(zip(rows["mask_id"], rows["image_id"], strict=True))

    patch.setattr(dmseg.leaderboard.record, "find_evaluated_masks", masks)
    return root


def _entry(root: Path, model: str, changes: dict[str, float], sources: dict[str, SyntheticSource]) -> None:
    folder = write_run(root / "entries" / model / "2026-11-20-00000000", model, sources=sources, **changes)
    tier = "audited" if model < "d" else "re-run"
    checked = {"date": "2026-11-20", "tier": tier, "run_digest": run_digest(folder), "owner": f"lab-{model}"}
    if tier == "audited":
        checked["audit"] = {"masks": 20, "shown": 20, "failed": 0}
    (folder / "checked.json").write_text(json.dumps(checked))
