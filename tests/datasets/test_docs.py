"""The page about datasets says what the recipes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmseg.datasets import RECIPES, recipe

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_has_the_facts_of_every_recipe(name: str) -> None:
    page, card = PAGE.read_text(encoding="utf-8"), recipe(name)
    assert f"### {name}" in page
    for text in (card.url, card.licence, card.target_rule, card.case_rule, card.tree.strip(), card.how_to_get):
        assert text in page
    assert all(f"**{name}**: {text}" in page for text in card.assumed)
    assert card.slice_rule in page
