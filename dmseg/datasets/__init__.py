"""The datasets: recipes, readers of the original layouts, splits. No degradation, no benchmark folder."""

from __future__ import annotations

from dmseg.datasets import splits
from dmseg.datasets.inventory import Survey, survey
from dmseg.datasets.readers import READERS, reader, reader_of
from dmseg.datasets.recipes import RECIPES, Recipe, from_file, recipe
from dmseg.datasets.sources import LeftOut, Reader, Source, clean_id

__all__ = [
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
