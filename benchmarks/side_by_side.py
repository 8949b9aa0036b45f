"""Times several functions on the same inputs, in turns in one process, on CPU time; prints them with their ratios.

Turns make a loaded machine slow all of them alike; CPU time leaves out what other processes do. One thread each.
"""

from __future__ import annotations

import importlib
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 (after the number of threads is set)
from numpy.typing import NDArray  # noqa: E402

Mask = NDArray[np.bool_]


def peer(module: str) -> Any | None:
    """Import a peer, or print why it is left out."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a peer may fail in any way; the others are still compared
        print(f"left out: {module}: {type(error).__name__}: {error}")
        return None


def star(size: int, *, area: float, phase: float) -> Mask:
    """Return a (size, size) star-shaped blob that covers about ``area`` of the image."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    angle = np.arctan2(y, x)
    wave = 1 + 0.22 * np.sin(3 * angle + phase) + 0.1 * np.sin(7 * angle + 2 * phase)
    return np.asarray(y**2 + x**2 < area * size**2 / np.pi * wave**2)


def compare(title: str, functions: Mapping[str, Callable[..., Any]], inputs: Sequence[Any], rounds: int = 9) -> None:
    """Print the median CPU milliseconds per input of each function, and how many times as long as the first it takes.

    A function is called with one input unpacked. The first round warms up and is not counted.
    """
    spent: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            repeats = max(1, round(8 / len(inputs))) if turn else 1
            start = time.process_time()
            for _ in range(repeats):
                for item in inputs:
                    function(*item)
            if turn:
                spent[name].append((time.process_time() - start) / repeats / len(inputs) * 1000)
    ours = statistics.median(next(iter(spent.values())))
    print(f"\n{title}: CPU ms per input, median of {rounds} rounds over {len(inputs)}")
    for name, values in spent.items():
        middle = statistics.median(values)
        print(f"  {name:34s} {middle:9.3f}   {middle / ours:7.1f} x   [{min(values):.3f} .. {max(values):.3f}]")
