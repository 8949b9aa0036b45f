"""A record of many synthetic models, for the page and the text table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_runs import SOURCES, SyntheticSource, make_natural, write_run

import dmseg.leaderboard.record
import dmseg.leaderboard.summaries
from dmseg.results import open_run, run_digest

DATE, NATURAL_DATE = "2026-11-20", "2026-11-21"
PHOTOS = {"ECSSD": SyntheticSource("photo", "unseen", 4), "LVIS": SyntheticSource("photo", "seen", 4)}
MODELS = ("alpha", "beta", "gamma-large", "delta", "epsilon", "zeta")


def write_entries(
    root: Path, patch: pytest.MonkeyPatch, models: tuple[str, ...] = MODELS, natural: tuple[str, ...] = ()
) -> Path:
    """Write entries of models of falling quality on an edition that has exactly their masks, and one partial run.

    Args:
        natural: models with a run on the natural phantom edition as well.
    """
    for i, model in enumerate(models):
        changes = {"quality": 0.9 - 0.05 * i / max(1, len(models) / 4), "drop": 0.05 + 0.03 * (i % 3)}
        _entry(root, model, changes, SOURCES)
    _entry(root, "partial", {"quality": 0.95}, {"busi": SyntheticSource("ultrasound", "seen", 3)})

    for i, model in enumerate(natural):
        _entry(root, model, {"quality": 0.8 - 0.1 * i}, PHOTOS, natural=True)

    published = dmseg.leaderboard.record.find_evaluated_masks

    def masks(name: str, split: str) -> dict[str, str]:
        if not name.startswith(("dm-seg-phantom", "lq-seg-phantom")):
            return published(name, split)
        model, date = (natural[0], NATURAL_DATE) if name.startswith("lq-seg-phantom") else (models[0], DATE)
        steps = open_run(root / "entries" / model / f"{date}-00000000").steps
        rows = steps[steps["split"] == split]
        return dict(zip(rows["mask_id"], rows["image_id"], strict=True))

    patch.setattr(dmseg.leaderboard.record, "find_evaluated_masks", masks)
    if natural:  # the synthetic images are none of the edition, so it has no plans of them
        patch.setattr(dmseg.leaderboard.summaries, "_find_operations", lambda digest: None)
    return root


def _entry(
    root: Path, model: str, changes: dict[str, float], sources: dict[str, SyntheticSource], natural: bool = False
) -> None:
    date = NATURAL_DATE if natural else DATE
    folder = write_run(root / "entries" / model / f"{date}-00000000", model, sources=sources, **changes)
    if natural:
        make_natural(folder)
    tier = "audited" if model < "d" else "re-run"
    checked = {"date": date, "tier": tier, "run_digest": run_digest(folder), "owner": f"lab-{model}"}
    if tier == "audited":
        checked["audit"] = {"masks": 20, "shown": 20, "failed": 0}
    (folder / "checked.json").write_text(json.dumps(checked))
