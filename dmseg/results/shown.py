"""The cases that pages show: best, median and worst of a split. A run keeps their predictions in ``shown.jsonl.gz``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WORST_CASES = 5
"""So many of the worst are drawn by ``dmseg summary --worst``."""


def choose_cases(mask_ids: Sequence[str], dice: Sequence[float]) -> dict[str, int]:
    """Return name -> place of up to three different masks by final Dice at the hardest level, ties by id.

    >>> choose_cases(["a", "b", "c"], [0.5, 0.9, 0.1])
    {'Best': 1, 'Median': 0, 'Worst': 2}
    """
    ranked = sorted(range(len(mask_ids)), key=lambda place: (-dice[place], mask_ids[place]))
    places = {"Best": ranked[0], "Median": ranked[len(ranked) // 2], "Worst": ranked[-1]}
    return {name: place for name, place in places.items() if name == "Best" or place != ranked[0]}


def find_worst(mask_ids: Sequence[str], dice: Sequence[float], count: int = WORST_CASES) -> list[int]:
    """Return the places of the masks with the lowest Dice, the lowest first, ties by id."""
    return sorted(range(len(mask_ids)), key=lambda place: (dice[place], mask_ids[place]))[:count]


def list_shown(final: Mapping[str, Mapping[str, float]]) -> set[str]:
    """Return the ids of the masks that pages and sheets show.

    Args:
        final: split -> mask_id -> final Dice at the hardest level.
    """
    chosen: set[str] = set()
    for masks in final.values():
        ids, dice = list(masks), list(masks.values())
        chosen |= {ids[place] for place in choose_cases(ids, dice).values()}
        chosen |= {ids[place] for place in find_worst(ids, dice)}
    return chosen
