"""Keyed randomness: every random number of dmseg is a pure function of a key.

A key is a sequence of parts joined by the unit separator (``\\x1f``) and hashed by BLAKE2b to the 128-bit key of a
Philox counter generator, of which only the raw 64-bit words are used. Everything else (uniform, integers, choice,
permutation, normal) is made from those words here, because numpy may change the streams of its ``Generator``
methods between versions but never the Philox bits. Nothing reads or writes a global generator, so results do not
depend on order, batch, worker or what ran before.

Fields with one number per pixel belong to the simulators, not to this module.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

T = TypeVar("T")

_SEPARATOR = "\x1f"
_DOUBLE = 2.0**-53


def key_words(*parts: str | int) -> tuple[int, int]:
    """Return the two little-endian 64-bit words of BLAKE2b-128 over the joined parts.

    Raises:
        ValueError: a part contains the separator, so that two different keys could join to the same text.
    """
    text = _SEPARATOR.join(map(str, parts))
    if text.count(_SEPARATOR) != len(parts) - 1:
        raise ValueError(f"a key part contains the unit separator: {parts!r}")
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


class _Key(ISeedSequence):
    """Hands Philox its key; given as ``key=`` it would draw entropy from the system as well, for nothing."""

    def __init__(self, words: tuple[int, int]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        return np.array(self._words[:n_words], dtype)


_BLOCK = 4
_MASK = 2**64 - 1


def _make_first_block(first: int, second: int) -> tuple[int, int, int, int]:
    """Return the first four words of Philox4x64-10 (Salmon and others 2011) of a key."""
    a, b, c, d = 1, 0, 0, 0
    for _ in range(10):
        one, two = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (two >> 64) ^ b ^ first, two & _MASK, (one >> 64) ^ d ^ second, one & _MASK
        first, second = (first + 0x9E3779B97F4A7C15) & _MASK, (second + 0xBB67AE8584CAA73B) & _MASK
    return a, b, c, d


class Stream:
    """Random numbers of one key, read in order.

    >>> Stream("example", 0).integers(0, 9, 5).tolist() == Stream("example", 0).integers(0, 9, 5).tolist()
    True
    """

    def __init__(self, *parts: str | int) -> None:
        self._key = key_words(*parts)
        self._block: tuple[int, ...] = ()
        self._taken = 0
        self._philox: np.random.Philox | None = None

    def _generator(self) -> np.random.Philox:
        if self._philox is None:
            self._philox = np.random.Philox(_Key(self._key))  # type: ignore[arg-type]  # the stub leaves out ISeedSequence
            self._philox.random_raw(self._taken)
        return self._philox

    def words(self, n: int) -> NDArray[np.uint64]:
        """Return the next ``n`` raw 64-bit words, uint64 (n,)."""
        return np.asarray(self._generator().random_raw(n), dtype=np.uint64)

    def _word(self) -> int:
        # Most streams give a word or two: the first block is made here, as a generator takes long to set up.
        if self._philox is not None or self._taken == _BLOCK:
            return int(self._generator().random_raw())
        if not self._block:
            self._block = _make_first_block(*self._key)
        self._taken += 1
        return self._block[self._taken - 1]

    def uniforms(self, n: int) -> NDArray[np.float64]:
        """Return ``n`` numbers in [0, 1), float64 (n,): the top 53 bits of one word each."""
        return (self.words(n) >> np.uint64(11)).astype(np.float64) * _DOUBLE

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return one number in [low, high)."""
        return low + (high - low) * ((self._word() >> 11) * _DOUBLE)

    def integer(self, low: int, high: int) -> int:
        """Return one integer of low..high, both included, without bias (rejection on the top bits)."""
        if high < low:
            raise ValueError(f"empty range {low}..{high}")
        span = high - low + 1
        bits = (span - 1).bit_length()
        if bits == 0:
            return low
        if bits > 64:
            raise ValueError(f"range {low}..{high} exceeds 64 bits")
        while True:
            value = self._word() >> (64 - bits)
            if value < span:
                return low + value

    def integers(self, low: int, high: int, n: int) -> NDArray[np.int64]:
        """Return ``n`` integers of low..high, both included, int64 (n,)."""
        return np.array([self.integer(low, high) for _ in range(n)], dtype=np.int64)

    def choice(self, options: Sequence[T]) -> T:
        """Return one element of a non-empty sequence."""
        return options[self.integer(0, len(options) - 1)]

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return 0..n-1 in random order (Fisher-Yates), int64 (n,)."""
        order = np.arange(n, dtype=np.int64)
        for last in range(n - 1, 0, -1):
            other = self.integer(0, last)
            order[last], order[other] = order[other], order[last]
        return order

    def sample(self, options: Sequence[T], k: int) -> list[T]:
        """Return ``k`` distinct elements in random order; k is at most ``len(options)``."""
        if k > len(options):
            raise ValueError(f"cannot take {k} of {len(options)} without replacement")
        return [options[int(i)] for i in self.permutation(len(options))[:k]]

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> float:
        """Return one normal number (Box-Muller, cosine branch, two words)."""
        first, second = self.uniform(), self.uniform()
        return mean + sd * math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
