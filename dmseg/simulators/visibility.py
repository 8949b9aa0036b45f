"""The visibility cap: drawn blindly, brightness, gamma and glare turn one image in ten white or black.

A benchmark image whose object is gone measures nothing. So the strength of these three is reduced by one factor per
plan, found on Clear: the largest of 1.00, 0.95, ..., 0.05 for which the three together, at their heavy values, clip few
of the pixels that were not clipped before, leave enough of their contrast, and do not bury them under a veil (numbers
in ``visibility.toml``). The same factor serves all levels, so their order is kept. No mask is seen here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dmseg.compiled import compile_function
from dmseg.simulators.tables import visibility_table
from dmseg.types import Image

Values = Mapping[str, float]


def _brightness_contrast(values: Values, factor: float) -> dict[str, float]:
    return {"brightness": values["brightness"] * factor, "contrast": values["contrast"] ** factor}


def _gamma(values: Values, factor: float) -> dict[str, float]:
    return {"gamma": values["gamma"] ** factor}


def _glare(values: Values, factor: float) -> dict[str, float]:
    return {**values, "intensity": values["intensity"] * factor}


_WEAKER: dict[str, Callable[[Values, float], dict[str, float]]] = {
    "brightness_contrast": _brightness_contrast,
    "gamma": _gamma,
    "glare": _glare,
}

CAPPED: tuple[str, ...] = tuple(_WEAKER)
"""Operations that the factor weakens."""


def weaker(operation: str, values: Values, factor: float) -> Values:
    """Return the values at ``factor`` of their strength (1: unchanged, 0: no effect); other operations keep theirs."""
    return _WEAKER[operation](values, factor) if operation in _WEAKER and factor != 1 else values


def estimate_clipped_share(observed: Mapping[str, Any], brightness: float, contrast: float) -> float:
    """Return about which share of Clear's pixels between black and white the stretch makes black or white.

    Read off the recorded histogram, within a bin of it by straight lines.
    """
    midtones, white, mean = (float(observed[name]) for name in ("midtones", "white", "mean"))
    counts = np.array(observed["histogram"], np.float64)
    counts[0] -= 1 - midtones - white
    counts[-1] -= white
    reached = np.concatenate([[0.0], np.cumsum(counts)])
    edges = np.linspace(0, 1, reached.size)
    low, high = (mean + (end - mean - brightness) / contrast for end in (0.0, 1.0))
    below, above = np.interp(low, edges, reached), reached[-1] - np.interp(high, edges, reached)
    return float(np.clip((below + above) / max(midtones, 1e-9), 0, 1))


def cap(clear: Image, chain: Callable[[Image, float], Image]) -> float:
    """Return the factor for one image.

    Args:
        clear: working image (uint8, uint16 or float32).
        chain: applies the capped operations of the plan, in order, at a factor.
    """
    table = visibility_table()
    step = max(1, min(clear.shape[:2]) // table.sample_side)
    sample = np.ascontiguousarray(clear[::step, ::step])
    black, white = _ends(sample)
    for factor in _factors(table.steps):
        free, variance, clipped, covariance, deviation = _compare(sample, chain(sample, factor), black, white)
        related = covariance >= table.correlation * math.sqrt(variance) * deviation
        if not free or (clipped <= table.clipped and covariance >= table.gain * variance and related):
            return factor
    return 1.0 / table.steps


@compile_function
def _compare(before, after, black, white):  # type: ignore[no-untyped-def]
    # Of the pixels between black and white before: how many, their variance, the share that is at an end after, the
    # covariance, the standard deviation after.
    before, after = before.reshape(-1), after.reshape(-1)
    count, first, second, clipped = 0, 0.0, 0.0, 0
    for i in range(before.size):
        if black < before[i] < white:
            count += 1
            first += before[i]
            second += after[i]
            clipped += after[i] <= black or after[i] >= white
    if count == 0:
        return 0, 0.0, 0.0, 0.0, 0.0
    first, second = first / count, second / count
    variance, covariance, spread = 0.0, 0.0, 0.0
    for i in range(before.size):
        if black < before[i] < white:
            one, two = before[i] - first, after[i] - second
            variance += one * one
            covariance += one * two
            spread += two * two
    return count, variance / count, clipped / count, covariance / count, math.sqrt(spread / count)


def _ends(image: Image) -> tuple[float, float]:
    """Return the values at and beyond which a pixel counts as clipped: the ends of the range, in 8-bit steps."""
    if image.dtype == np.uint8:
        return 0, 255
    white = 65535 if image.dtype == np.uint16 else 1.0
    return 0.5 / 255 * white, 254.5 / 255 * white


def _factors(steps: int) -> Sequence[float]:
    return [round(1 - i / steps, 6) for i in range(steps)]
