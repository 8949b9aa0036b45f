"""Honest runs pass: every model that ships, in every preset that it can serve; and runs made with other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dmseg.baselines import model_cards
from dmseg.baselines.weights import list_shipped
from dmseg.build import open_benchmark
from dmseg.errors import UsageError
from dmseg.harness import evaluate
from dmseg.leaderboard import add, check, pack
from dmseg.protocol import PRESETS

MODELS = sorted({name for name, card in model_cards().items() if card.kind == "classical"} | set(list_shipped()))
NOT_ALL = {"text"}
"""Presets that need what a model without words does not take."""


def test_there_are_models_of_both_kinds() -> None:
    assert {"watershed", "disk", "mini-sam", "mini-pge-sam"} <= set(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_an_honest_run_passes_all_checks_in_every_preset(model: str, published: Any, tmp_path: Path) -> None:
    served = set()
    for preset in PRESETS:
        run = tmp_path / preset
        try:
            evaluate(model, open_benchmark(published.benchmark), run, preset=preset)
        except UsageError:
            continue
        served.add(preset)
        verdict = check(run, root=tmp_path / "record")
        assert verdict.accepted and verdict.rescored, (preset, [str(finding) for finding in verdict.findings])
        pack(run, tmp_path / f"{preset}.zip", root=tmp_path / "record")
        assert add(tmp_path / f"{preset}.zip", tmp_path / "record").new
    assert served == set(PRESETS) - NOT_ALL, "a preset that ships must be one that the models can run"
