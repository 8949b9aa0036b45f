"""What the cards say of training data: names that the benchmark knows, and where an overlap is known from."""

from __future__ import annotations

import pytest

from dmseg import datasets
from dmseg.baselines import model_cards

NETWORKS = {name: card for name, card in model_cards().items() if card.mode == "zero-shot"}


@pytest.mark.parametrize("name", NETWORKS)
def test_overlap_with_the_benchmark_is_named_as_the_benchmark_does_and_sourced(name: str) -> None:
    card, known = NETWORKS[name], {one.casefold(): one for one in datasets.RECIPES}
    assert card.trained_on
    for trained in card.trained_on:
        assert known.get(trained.casefold(), trained) == trained
    overlap = set(card.trained_on) & set(datasets.RECIPES)
    assert bool(overlap) == bool(card.trained_on_note)


@pytest.mark.parametrize("model", ["medsam", "lite-medsam"])
def test_a_box_row_was_trained_on_what_its_model_was(model: str) -> None:
    assert NETWORKS[f"{model}-box"].trained_on == NETWORKS[model].trained_on
