"""One reader per original layout, in an explicit registry: the recipe's ``reader`` key -> class."""

from __future__ import annotations

from dmseg.datasets.readers.pairs import KvasirReader
from dmseg.datasets.recipes import Recipe, recipe
from dmseg.datasets.sources import Reader
from dmseg.errors import unknown_name

READERS: dict[str, type[Reader]] = {
    "kvasir": KvasirReader,
}


def reader_of(rules: Recipe) -> Reader:
    """Return the reader that a recipe names.

    Raises:
        UsageError: there is no reader of that name.
    """
    if rules.reader not in READERS:
        raise unknown_name(f"reader in recipe {rules.id}", rules.reader, READERS)
    return READERS[rules.reader](rules)


def reader(name: str) -> Reader:
    """Return the reader of a shipped dataset, by its name."""
    return reader_of(recipe(name))
