"""The datasets: recipes, readers of the original layouts, splits. No degradation, no benchmark folder."""

from __future__ import annotations

from dmseg.datasets import splits
from dmseg.datasets.inventory import Survey, survey
from dmseg.datasets.readers import READERS, reader, reader_of
from dmseg.datasets.recipes import ALL_RECIPES, PHOTO_RECIPES, RECIPES, Recipe, from_file, recipe
from dmseg.datasets.sources import NOTE, LeftOut, Reader, Source, clean_id

__all__ = [
    "ALL_RECIPES",
    "NOTE",
    "PHOTO_RECIPES",
    "READERS",
    "RECIPES",
    "LeftOut",
    "Reader",
    "Recipe",
    "Source",
    "Survey",
    "clean_id",
    "from_file",
    "reader",
    "reader_of",
    "recipe",
    "splits",
    "survey",
]
