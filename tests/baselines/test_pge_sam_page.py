"""Figures in docs/pge_sam.md are those of the cards and of the counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmseg.baselines import model_cards

PAGE = (Path(__file__).parents[2] / "docs" / "pge_sam.md").read_text(encoding="utf-8")
ROWS = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", ["lite-pge-sam", "pge-sam", "pge-sam-l", "lite-robust-sam"])
def test_counts(name: str) -> None:
    card = model_cards()[name]
    (row,) = [row for row in ROWS if row[0] == name and len(row) == 7]
    assert card.added_params is not None and card.params is not None
    assert row[1] == f"{card.added_params / 1e6:.3f}"
    assert row[3] == f"{card.params / 1e6:.3f}"


def test_every_model_that_is_trained_here_is_listed_with_its_weights() -> None:
    listed = {row[0]: row[-1] for row in ROWS if len(row) == 4}
    for name, card in model_cards().items():
        if card.bases or card.shipped:
            assert listed[name].startswith("ship" if card.shipped else "train it"), name


def test_operations() -> None:
    pytest.importorskip("torch", reason="network baselines need the extra [models]")
    from dmseg.baselines import cost_of

    for name in ("lite-pge-sam", "pge-sam"):
        (row,) = [row for row in ROWS if row[0] == name and len(row) == 7]
        assert row[5] == f"{cost_of(name).listed / 1e9:.2f}"


def test_the_page_names_every_ablation_and_no_other() -> None:
    pytest.importorskip("torch", reason="training needs torch")
    from dmseg.training.config import preset_names

    named = {f"mini-pge-sam{suffix}" for suffix in re.findall(r"`(-[a-z0-9][a-z0-9-]*)`", PAGE)}
    ablations = {name for name in preset_names() if name.startswith("mini-pge-sam-")}
    assert named == ablations
