"""Models of the literature of which nothing is public: a card says so, and asking for one says it again."""

from __future__ import annotations

from typing import NoReturn

from dmseg.baselines.cards import model_cards
from dmseg.errors import ModelError


def refuse_unpublished(name: str) -> NoReturn:
    """Say why there is nothing to run.

    Raises:
        ModelError: always.
    """
    card = model_cards()[name]
    raise ModelError(
        f'model "{name}" cannot be run: neither code nor weights are public ({card.paper}, {card.paper_url}); '
        "see dmseg models for those that can"
    )
