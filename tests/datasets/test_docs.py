"""The page about datasets says what the recipes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmseg.datasets import PHOTO_RECIPES, RECIPES, recipe

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_has_the_facts_of_every_recipe(name: str) -> None:
    page, card = PAGE.read_text(encoding="utf-8"), recipe(name)
    assert f"### {name}" in page
    for text in (card.url, card.licence, card.target_rule, card.case_rule, card.tree.strip(), card.how_to_get):
        assert text in page
    assert all(f"**{name}**: {text}" in page for text in card.assumed)
    assert card.slice_rule in page


@pytest.mark.parametrize("name", [name for names in PHOTO_RECIPES.values() for name in names])
def test_the_page_of_the_natural_track_has_the_facts_of_its_recipes(name: str) -> None:
    page, card = PAGE.with_name("natural.md").read_text(encoding="utf-8"), recipe(name)
    for text in (
        f"### {name}",
        card.url,
        card.licence,
        card.target_rule,
        card.case_rule,
        card.tree.strip(),
        *card.assumed,
    ):
        assert text in page
