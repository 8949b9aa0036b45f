"""What the cards say of training data: names that the benchmark knows, and where an overlap is known from."""

from __future__ import annotations

import pytest

from dmseg import datasets
from dmseg.baselines import list_unseen_prompts, model_cards
from dmseg.baselines.cards import PROMPT_KINDS
from dmseg.protocol import preset

NETWORKS = {name: card for name, card in model_cards().items() if card.mode == "zero-shot"}


@pytest.mark.parametrize("name", NETWORKS)
def test_overlap_with_the_benchmark_is_named_as_the_benchmark_does_and_sourced(name: str) -> None:
    card, known = NETWORKS[name], {one.casefold(): one for one in datasets.RECIPES}
    assert card.trained_on
    for trained in card.trained_on:
        assert known.get(trained.casefold(), trained) == trained
    overlap = set(card.trained_on) & {*datasets.RECIPES, *datasets.PHOTO_RECIPES["natural-text"]}
    assert bool(overlap) == bool(card.trained_on_note)


@pytest.mark.parametrize("model", ["medsam", "lite-medsam"])
def test_a_box_row_was_trained_on_what_its_model_was(model: str) -> None:
    assert NETWORKS[f"{model}-box"].trained_on == NETWORKS[model].trained_on


def test_what_a_preset_gives_beyond_training_is_listed() -> None:
    cards = model_cards()
    clicks, box = preset("dmseg"), preset("box-only")
    assert list_unseen_prompts(cards["lite-medsam"], clicks.capabilities, clicks.steps) == ["points", "masks"]
    assert list_unseen_prompts(cards["lite-medsam"], box.capabilities, box.steps) == []
    assert list_unseen_prompts(cards["sam-vit-b"], clicks.capabilities, clicks.steps) == []
    assert list_unseen_prompts(cards["watershed"], clicks.capabilities, clicks.steps) == []  # nothing is known of it
    for card in cards.values():
        assert set(card.trained_prompts) <= set(PROMPT_KINDS)
