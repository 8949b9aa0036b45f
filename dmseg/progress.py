"""Progress of long work: bars on a terminal, a plain line now and then otherwise. All on stderr, all from here."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, Task

T = TypeVar("T")

_PLAIN_INTERVAL_S = 10.0
_MIB = 1 << 20


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress(items: Iterable[T], total: int, label: str, unit: str = "items") -> Iterator[T]:
    """Yield ``items`` and report how many of ``total`` are done, how fast, and when the rest will be.

    Work inside of work has its bar below the outer one.
    """
    if is_terminal():
        with _show_bars() as bars:
            outer, task = not bars.task_ids, bars.add_task(label, total=total, unit=unit)
            for item in items:
                yield item
                bars.advance(task)
            if not outer:  # its bar makes room, its last line stays
                said = describe(total, total, unit, bars.tasks[bars.task_ids.index(task)].elapsed or 0.0)
                bars.console.print(f"{label}: {said}", markup=False, highlight=False)
                bars.remove_task(task)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= _PLAIN_INTERVAL_S and done < total:
            last = now
            print(f"{label}: {describe(done, total, unit, now - start)}", file=sys.stderr, flush=True)
    print(f"{label}: {describe(total, total, unit, time.monotonic() - start)}", file=sys.stderr, flush=True)


@contextmanager
def show_transfer(label: str) -> Iterator[TransferBar | bool]:
    """Yield what ``pooch`` takes as ``progressbar``: a bar on a terminal, False otherwise."""
    if not is_terminal():
        yield False
        return
    with _show_bars() as bars:
        yield TransferBar(bars, label)


class TransferBar:
    """The bar of a download, with the attributes that ``pooch`` asks for; ``total`` is in bytes."""

    total = 0

    def __init__(self, bars: Progress, label: str) -> None:
        self._bars, self._task = bars, bars.add_task(label, total=None, unit="MiB")

    def update(self, n: int) -> None:
        """Count ``n`` bytes more."""
        self._bars.update(self._task, total=self.total / _MIB or None, advance=n / _MIB)

    def reset(self) -> None:
        """Begin at 0 again."""
        self._bars.update(self._task, completed=0)

    def close(self) -> None:
        """Do nothing: the bar ends with its block."""


def is_terminal() -> bool:
    """Return whether stderr shows bars: a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def describe(done: float, total: float, unit: str, seconds: float) -> str:
    """Return one line: how much is done, how fast, how long the rest takes and when it ends."""
    if done >= total:
        return f"{total:.0f} {unit} in {clock(seconds)}"
    if not done or not seconds:
        return f"0/{total:.0f} {unit}, {clock(seconds)}"
    left = seconds / done * (total - done)
    ends = time.strftime("%H:%M", time.localtime(time.time() + left))
    return f"{done:.0f}/{total:.0f} {unit}, {done / seconds:.3g}/s, {clock(left)} left, ends at {ends}"


_SHOWN: list[Progress] = []


@contextmanager
def _show_bars() -> Iterator[Progress]:
    """Yield the bars that are on the screen, or new ones."""
    if _SHOWN:
        yield _SHOWN[0]
        return
    with _make_bars() as bars:
        _SHOWN.append(bars)
        try:
            yield bars
        finally:
            _SHOWN.clear()


def _make_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    class RestColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            unit = task.fields["unit"]
            if task.total is None:
                return Text(f"{task.completed:.0f} {unit}")
            return Text(describe(task.completed, task.total, unit, task.elapsed or 0.0))

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None),
        RestColumn(table_column=Column(no_wrap=True)),
        console=Console(stderr=True),  # without colours where NO_COLOR is set
        expand=True,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
