"""A power of every pixel of a float image: in double precision, rounded once, and as fast as single precision."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_arithmetic

_CHUNK = 512
_ONE = np.int64(1023) << np.int64(52)
_MANTISSA = (np.int64(1) << np.int64(52)) - np.int64(1)
_HALF_ROOT = np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2): mantissas are taken from there to sqrt(2)
_LOST = np.int64(0x1FFFFFFF)  # what float32 leaves off a float64
_TIE = np.int64(0x10000000)
_DOUBT = np.int64(1 << 14)
"""Distance from a tie of float32, in units of the last place of float64, within which the slow power decides: thirty
times what the polynomials are off."""
_LOWEST = -1000.0
_SMALLEST = 2.0**-126
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (2 / math.log(2) / (2 * k + 1) for k in range(8))
_E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10, _E11 = (math.log(2) ** k / math.factorial(k) for k in range(1, 12))


@compile_arithmetic
def _raise(image, exponent, out):  # type: ignore[no-untyped-def]
    # Passes over short stretches, each of which vectorises: bits, logarithm by atanh, exponential by its series.
    values, bits = np.empty(_CHUNK), np.empty(_CHUNK, np.int64)
    whole = np.empty(_CHUNK)
    as_bits, as_values = values.view(np.int64), bits.view(np.float64)
    for start in range(0, image.size, _CHUNK):
        count = min(_CHUNK, image.size - start)
        given, made = image[start : start + count], out[start : start + count]
        for i in range(count):
            values[i] = given[i]
        for i in range(count):
            over = as_bits[i] - _HALF_ROOT
            whole[i] = np.int32(over >> np.int64(52))
            bits[i] = (over & _MANTISSA) + _HALF_ROOT
        for i in range(count):
            t = (as_values[i] - 1) / (as_values[i] + 1)
            s = t * t
            log = t * (_L0 + s * (_L1 + s * (_L2 + s * (_L3 + s * (_L4 + s * (_L5 + s * (_L6 + s * _L7)))))))
            power = max((log + whole[i]) * exponent, _LOWEST)
            nearest = np.floor(power + 0.5)
            whole[i] = nearest
            f = power - nearest
            upper = _E7 + f * (_E8 + f * (_E9 + f * (_E10 + f * _E11)))
            values[i] = 1 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * (_E6 + f * upper))))))
        nearest_tie = _TIE
        for i in range(count):
            as_bits[i] += np.int64(np.int32(whole[i])) << np.int64(52)
            nearest_tie = min(nearest_tie, abs((as_bits[i] & _LOST) - _TIE))
        lowest = 1.0
        for i in range(count):
            made[i] = values[i] if given[i] > 0 else 0
            lowest = min(lowest, values[i] if given[i] > 0 else 1)
        if nearest_tie > _DOUBT and lowest > _SMALLEST:
            continue
        for i in range(count):
            if given[i] > 0 and (abs((as_bits[i] & _LOST) - _TIE) <= _DOUBT or values[i] <= _SMALLEST):
                made[i] = np.float64(given[i]) ** exponent


def raise_to(image: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """Return ``image ** exponent``.

    Args:
        image: contiguous, in [0, 1], any shape.
        exponent: above 0.

    Returns:
        the power in double precision, rounded to float32; in [0, 1].
    """
    out = np.empty_like(image)
    _raise(image.reshape(-1), float(exponent), out.reshape(-1))
    return out
