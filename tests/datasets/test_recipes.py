"""Recipes: complete, consistent with the paper, with a digest of the rules only."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from dmseg import datasets
from dmseg.datasets import ALL_RECIPES, READERS, RECIPES, recipe, recipes
from dmseg.errors import DataError, UsageError
from dmseg.simulators import OPS
from dmseg.types import MODALITIES, Window

DOMAIN_OPS = {name for name, operation in OPS.items() if operation.kind == "domain"}
PAPER = RECIPES[:17]
"""The paper's datasets come first; further ones follow them."""


def test_every_recipe_file_is_in_the_order_of_the_datasets() -> None:
    files = {path.stem for path in Path(recipes.__file__).parent.glob("*.toml")}
    assert files == set(ALL_RECIPES), "a recipe that datasets.toml does not name is never looked for"


def test_the_17_datasets_have_the_counts_of_the_paper() -> None:
    cards = [recipe(name) for name in PAPER]
    assert sum(card.expected_images for card in cards if card.role == "seen") == 40_653
    assert sum(card.expected_images for card in cards if card.role == "unseen") == 4_154
    validation = [card for card in cards if card.validation]
    assert {card.id for card in validation} == {"FLARE", "ISIC", "MMOTU", "NerveUS", "MuscleUS", "BraTS"}
    assert sum(math.ceil(card.expected_images / 5) for card in validation) == 4_620


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete(name: str) -> None:
    card = recipe(name)
    assert card.id == name
    assert card.reader in READERS
    assert set(card.modalities) <= set(MODALITIES)
    assert set(card.domain) == set(card.modalities)
    assert all(ops and set(ops) <= DOMAIN_OPS for ops in card.domain.values())
    assert card.citation.strip().startswith("@") and card.citation.count("{") == card.citation.count("}")
    assert card.url.startswith("http")
    for text in (card.licence, card.how_to_get, card.tree, card.target_rule, card.case_rule, card.anatomy):
        assert text.strip()
    assert datasets.reader(name).recipe is card


def test_domain_operations_depend_on_the_modality_of_the_image() -> None:
    assert recipe("CHAOS").domain_ops("ct") == ("ct_ring",)
    assert recipe("CHAOS").domain_ops("mri") == ("bias_field",)
    assert recipe("BUSI").domain_ops() == ("speckle", "acoustic_shadow", "gel_reflection")
    with pytest.raises(UsageError, match="ct and mri"):
        recipe("CHAOS").domain_ops()
    with pytest.raises(UsageError, match="one of: ct, mri"):
        recipe("CHAOS").domain_ops("xray")


def test_an_unknown_dataset_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match='did you mean "BUSI"'):
        recipe("Bussi")


def test_the_digest_is_of_the_rules_not_of_the_prose() -> None:
    card = recipe("FLARE")
    for name in ("url", "licence", "citation", "how_to_get", "tree", "title"):
        assert dataclasses.replace(card, **{name: "changed"}).digest == card.digest
    for changed in (
        {"windows": {"ct": Window(41, 400)}},
        {"evaluate_at_most": 3},
        {"version": 2},
        {"parameters": {**card.parameters, "labels": {"liver": 1}}},
        {"domain": {"ct": ("ct_ring",)}},
    ):
        assert dataclasses.replace(card, **changed).digest != card.digest
    assert len({recipe(name).digest for name in RECIPES}) == len(RECIPES)


def test_a_recipe_of_ones_own_is_checked(tmp_path: Path) -> None:
    text = '\n'.join(
        [
            'id = "mine"', "version = 1", 'title = "t"', 'modalities = ["ct"]', 'anatomy = "a"',
            'structures = ["s"]', 'reader = "kvasir"', 'role = "unseen"', "expected_images = 1", 'target_rule = "r"',
            'case_rule = "c"', 'citation = "@misc{a}"', 'licence = "l"', 'url = "http://x"', 'how_to_get = "h"',
            'tree = "t"',
        ]
    )  # fmt: skip
    path = tmp_path / "mine.toml"
    path.write_text(text + '\n[domain]\nct = ["ct_ring"]\n')
    assert datasets.from_file(path).id == "mine"
    path.write_text(text + '\nrol = "x"\n[domain]\nct = ["ct_ring"]\n')
    with pytest.raises(DataError, match=r'mine.toml: unknown key "rol" \(did you mean "role"'):
        datasets.from_file(path)
    path.write_text(text.replace('"unseen"', '"validation"') + '\n[domain]\nct = ["ct_ring"]\n')
    with pytest.raises(UsageError, match='unknown role "validation"'):
        datasets.from_file(path)
    path.write_text(text + '\nvalidation = true\n[domain]\nct = ["ct_ring"]\n')
    with pytest.raises(DataError, match="only a seen dataset"):
        datasets.from_file(path)
    path.write_text(text.replace('"kvasir"', '"kvasr"') + '\n[domain]\nct = ["ct_ring"]\n')
    with pytest.raises(UsageError, match='did you mean "kvasir"'):
        datasets.reader_of(datasets.from_file(path))


def test_a_track_changes_the_digest_and_medical_recipes_have_none_in_theirs() -> None:
    card = recipe("Kvasir-SEG")
    assert dataclasses.replace(card, track="medical").digest == card.digest
    photo = recipe("ECSSD")
    assert dataclasses.replace(photo, track="natural-real").digest != photo.digest
    with pytest.raises(UsageError, match="modality in recipe ECSSD"):
        dataclasses.replace(photo, modalities=("ct",))
    with pytest.raises(UsageError, match="modality"):
        dataclasses.replace(card, modalities=("photo",))
