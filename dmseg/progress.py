"""Progress of long work: a bar with time left on a terminal, a plain line now and then otherwise. All on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_PLAIN_INTERVAL_S = 10.0


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress(items: Iterable[T], total: int, label: str, unit: str = "items") -> Iterator[T]:
    """Yield ``items`` and report how many of ``total`` are done and how long the rest will take."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        colour = None if os.environ.get("NO_COLOR") else "green"
        yield from tqdm(items, total=total, desc=label, unit=f" {unit}", dynamic_ncols=True, colour=colour)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= _PLAIN_INTERVAL_S and done < total:
            last = now
            left = (now - start) / done * (total - done)
            rate = done / (now - start)
            ends = time.strftime("%H:%M", time.localtime(time.time() + left))
            said = f"{label}: {done}/{total} {unit}, {rate:.3g}/s, {clock(left)} left, ends at {ends}"
            print(said, file=sys.stderr, flush=True)
    print(f"{label}: {total} {unit} in {clock(time.monotonic() - start)}", file=sys.stderr, flush=True)
