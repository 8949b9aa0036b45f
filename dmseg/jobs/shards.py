"""A share of a job: every n-th unit from the i-th on, for job arrays and for the processes of torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

from dmseg.errors import UsageError

U = TypeVar("U")
Shard = tuple[int, int]
WHOLE: Shard = (1, 1)


def read_shard(text: str) -> Shard:
    """Read ``i/n``, i of 1..n."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise UsageError(f"--shard {text}: give i/n with i of 1..n, such as 1/4")
    return check_shard((int(index), int(count)))


def check_shard(shard: Shard) -> Shard:
    """Return a shard (i, n), or raise :class:`~dmseg.errors.UsageError` where i is not one of 1..n."""
    index, count = shard
    if not 1 <= index <= count:
        raise UsageError(f"shard {index}/{count}: give i/n with i of 1..n, such as 1/4")
    return shard


def torchrun_shard() -> Shard:
    """Return this process's share under torchrun (RANK of WORLD_SIZE), else everything."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and size.isdecimal()):
        raise UsageError(
            f"RANK={rank} and WORLD_SIZE={size} are set but are no numbers; unset them, or give --shard i/n"
        )
    return int(rank) + 1, int(size)


def take_shard(units: Iterable[U], shard: Shard) -> list[U]:
    """Return every n-th unit, from the i-th on."""
    index, count = shard
    return [unit for place, unit in enumerate(units) if place % count == index - 1]
