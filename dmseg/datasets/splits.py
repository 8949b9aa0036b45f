"""Which split a case belongs to: train, seen or unseen, by whole cases in keyed-hash order.

All images of an unseen dataset are ``unseen``. A seen dataset without validation is ``train``. A seen dataset with
validation gives its cases, in the order of a keyed hash, to ``seen`` until these hold at least a fifth of its images;
the rest is ``train``. The order depends on the case alone, so a case more or less moves only those at the boundary.
Where a dataset's own lists say the split, its cases' ids begin with the list's name, and ``parts`` of the recipe is the
rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from dmseg.datasets.recipes import Recipe
from dmseg.errors import DataError
from dmseg.rng import key_words
from dmseg.tables import read_packaged_table

VALIDATION_SHARE = float(read_packaged_table("dmseg.datasets", "datasets.toml")["splits"]["validation_share"])
"""Share of images that the ``seen`` split of a dataset with validation holds at least."""


def assign(recipe: Recipe, cases: Mapping[str, int]) -> dict[str, str]:
    """Return case id -> split for all cases of one dataset.

    Args:
        recipe: says the role of the dataset.
        cases: case id -> number of images of that case.
    """
    if recipe.parts:
        return {case: _find_part(recipe, case) for case in cases}
    if recipe.role == "unseen":
        return dict.fromkeys(cases, "unseen")
    chosen = dict.fromkeys(cases, "train")
    if recipe.validation:
        wanted = math.ceil(Fraction(str(VALIDATION_SHARE)) * sum(cases.values()))
        for case in sorted(cases, key=lambda case: (key_words("split", recipe.id, case), case)):
            if wanted <= 0:
                break
            chosen[case] = "seen"
            wanted -= cases[case]
    return chosen


def _find_part(recipe: Recipe, case: str) -> str:
    name = case.removeprefix(f"{recipe.id}__")
    for beginning, split in recipe.parts.items():
        if name.startswith(beginning):
            return split
    raise DataError(f"{recipe.id}: case {case} belongs to none of the parts {', '.join(recipe.parts)} of its recipe")
