"""Random fields with one number per pixel, made by a counter: pixel i of a field depends on (key, i) and nothing else.

A 64-bit mix of key and counter gives four 16-bit numbers; normal deviates are looked up in an integer table of the
inverse normal distribution. All arithmetic is on integers, so the fields are the same bits on every machine, for any
thread, worker, order and batch. The mix is SplitMix64 (Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from dmseg.compiled import compile_function, compile_inline

NORMAL_BITS = 12
"""The normal table holds deviates times 2**12, rounded; its tails end at 4.3 standard deviations."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_S16, _S32, _S48 = np.uint64(16), np.uint64(32), np.uint64(48)
_LANE = np.uint64(0xFFFF)
_ONE = np.uint64(1)


@functools.cache
def normal_table() -> NDArray[np.int16]:
    """Return the inverse normal distribution at (i + 1/2) / 65536, times 4096, int16 (65536,)."""
    from scipy.special import ndtri

    upper = np.rint(ndtri((np.arange(32768, 65536) + 0.5) / 65536) * 2**NORMAL_BITS).astype(np.int16)
    return np.concatenate([-upper[::-1], upper])


@compile_inline
def mix(key, counter):  # type: ignore[no-untyped-def]
    """Return 64 mixed bits of a key and a counter (both uint64)."""
    z = key + (counter + _ONE) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@compile_function
def _normals(key, table, out):  # type: ignore[no-untyped-def]
    whole = out.size // 4 * 4
    for start in range(0, whole, 4):
        z = mix(key, np.uint64(start) >> np.uint64(2))
        out[start] = table[z & _LANE]
        out[start + 1] = table[(z >> _S16) & _LANE]
        out[start + 2] = table[(z >> _S32) & _LANE]
        out[start + 3] = table[z >> _S48]
    z = mix(key, np.uint64(whole) >> np.uint64(2))
    for i in range(whole, out.size):
        out[i] = table[(z >> (np.uint64(i - whole) * _S16)) & _LANE]


def normals(key: int, n: int) -> NDArray[np.int16]:
    """Return ``n`` normal deviates times 4096, int16 (n,)."""
    out = np.empty(n, np.int16)
    _normals(np.uint64(key), normal_table(), out)
    return out


@compile_function
def _places(key, size, first, out):  # type: ignore[no-untyped-def]
    bits = np.uint64(1)
    while (_ONE << bits) < size:
        bits += _ONE
    low = bits // np.uint64(2)
    high = bits - low
    low_mask = (_ONE << low) - _ONE
    high_mask = (_ONE << high) - _ONE
    for i in range(out.size):
        value = np.uint64(first + i)
        while True:
            left, right = value >> low, value & low_mask
            for turn in range(3):
                left ^= mix(key + np.uint64(2 * turn), right) & high_mask
                right ^= mix(key + np.uint64(2 * turn + 1), left) & low_mask
            value = (left << low) | right
            if value < size:
                break
        out[i] = value


def places(key: int, size: int, first: int, count: int) -> NDArray[np.int64]:
    """Return positions ``first .. first + count - 1`` of a keyed permutation of 0..size-1, int64 (count,).

    A Feistel network with cycle walking: any part of the permutation is made without the rest, and a longer prefix
    contains every shorter one.
    """
    out = np.empty(count, np.int64)
    _places(np.uint64(key), np.uint64(size), np.int64(first), out)
    return out
