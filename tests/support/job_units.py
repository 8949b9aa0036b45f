"""Functions that tests run as units of jobs in other processes, where they must be importable."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from dmseg.errors import DataError
from dmseg.jobs import Backend, run


def square(number: int) -> int:
    return number * number


def square_late(number: int) -> int:
    """The first ones take longest, so that results come in another order."""
    time.sleep(0.05 * max(0, 3 - number))
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise DataError("three is no good")
    return number


def fill_disk(number: int) -> int:
    if number == 2:
        raise OSError(28, "No space left on device", "bench/x.png")
    time.sleep(0.3)
    return number


_HELD: list[bytearray] = []


def hold_a_model(number: int) -> tuple[int, str]:
    """Hold 400 MB from the second unit on, as a network's weights; say which process it is, and where."""
    if number and not _HELD:
        _HELD.append(bytearray(os.urandom(1) * 400_000_000))
    time.sleep(1.1)
    return os.getpid(), str(Path.cwd())


def die_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return number


def note_and_wait(folder: str, number: int) -> int:
    """Say which process works on which unit, then take a while."""
    Path(folder, f"{number}-{os.getpid()}").touch()
    time.sleep(0.7)
    return number


class Notes:
    """:func:`note_and_wait` with its folder; picklable."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        return note_and_wait(self.folder, number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are begun without
    with run(Notes(sys.argv[1]), range(200), Backend(sys.argv[2], 2, *sys.argv[3:])) as results:
        for _ in results:
            pass
