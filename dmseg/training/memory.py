"""How a training process keeps its memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt's choices, malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed for what is asked for next, and return whether it does.

    By default glibc gives each large block back to the system, which has to clear its pages when the next tensor takes
    them: a third of the time of training on a CPU. Elsewhere than with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
