"""What a training configuration may hold; a value that it may not is named with what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmseg.errors import UsageError, unknown_name


def check_number(
    name: str,
    value: float,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Raise UsageError for a number out of its limits; ``least`` and ``most`` are allowed, the others are not."""
    if least <= value <= most and (above == -math.inf or value > above) and (below == math.inf or value < below):
        return
    limits = (("at least", least), ("above", above), ("at most", most), ("below", below))
    said = " and ".join(f"{words} {limit:g}" for words, limit in limits if math.isfinite(limit))
    raise UsageError(f"{name} = {value:g}: must be {said}")


def check_names(name: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise UsageError for a list of names that is empty or holds an unknown one."""
    if not given:
        raise UsageError(f"{name} is empty: name at least one of {', '.join(allowed)}")
    for one in given:
        if one not in allowed:
            raise unknown_name(name, one, allowed)
