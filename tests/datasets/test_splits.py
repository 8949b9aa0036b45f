"""Splits: whole cases, at least a fifth of the images, stable when cases come and go."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dmseg.datasets import RECIPES, recipe, splits

CASES = st.dictionaries(st.text("abc0123456789_", min_size=1, max_size=8), st.integers(1, 30), min_size=1, max_size=60)


def _list_seen(cases: dict[str, int]) -> set[str]:
    return {case for case, split in splits.assign(recipe("FLARE"), cases).items() if split == "seen"}


@given(CASES)
def test_validation_cases_hold_at_least_a_fifth_of_the_images_and_no_case_more(cases: dict[str, int]) -> None:
    seen = _list_seen(cases)
    wanted = math.ceil(sum(cases.values()) / 5)
    images = sum(cases[case] for case in seen)
    assert images >= wanted
    assert any(images - cases[case] < wanted for case in seen)


@given(CASES)
def test_the_order_of_the_cases_does_not_matter(cases: dict[str, int]) -> None:
    assert _list_seen(dict(reversed(cases.items()))) == _list_seen(cases)


def test_one_image_a_case_gives_exactly_the_ceiling() -> None:
    for n in (1, 4, 5, 6, 1469, 3694):
        assert len(_list_seen({f"case{i}": 1 for i in range(n)})) == math.ceil(n / 5)


def test_a_new_case_moves_at_most_one_case_at_the_boundary() -> None:
    cases = {f"case{i}": 1 for i in range(200)}
    before = _list_seen(cases)
    for i in range(200, 230):
        after = _list_seen({**cases, f"case{i}": 1})
        assert len((before ^ after) - {f"case{i}"}) <= 1


def test_datasets_differ_in_the_order_of_equal_case_names() -> None:
    cases = {f"case{i}": 1 for i in range(100)}
    other = splits.assign(recipe("BraTS"), cases)
    assert {case for case, split in other.items() if split == "seen"} != _list_seen(cases)


def test_roles_decide_the_splits_of_the_other_datasets() -> None:
    cases = {"a": 3, "b": 1, "c": 9}
    for name in RECIPES:
        card = recipe(name)
        got = set(splits.assign(card, cases).values())
        if card.role == "unseen":
            assert got == {"unseen"}
        elif card.validation:
            assert got == {"train", "seen"}
        else:
            assert got == {"train"}
