"""The brush masks of Label Studio: runs of bytes of an RGBA image, packed bit by bit; alpha is the mask.

The stream: 32 bits the number of bytes, 5 bits the word size - 1, four times 4 bits the sizes of run lengths - 1; then
blocks: 1 bit whether one value repeats, 2 bits which size the length has, the length - 1, and one value or all values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmseg.types import Mask

_CHANNELS = 4


class _Bits:
    """Numbers of any width from bytes, most significant bit first."""

    def __init__(self, content: Sequence[int]) -> None:
        self._bits = np.unpackbits(np.array(content, dtype=np.uint8))
        self._at = 0

    def take(self, width: int) -> int:
        part = self._bits[self._at : self._at + width]
        if part.size < width:
            raise ValueError("the runs of a brush end too early")
        self._at += width
        return int(part @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64)))


def decode_brush(content: Sequence[int], size: tuple[int, int]) -> Mask:
    """Return the bool (H, W) mask of a brush.

    Raises:
        ValueError: damaged runs, or runs of another size.
    """
    bits = _Bits(content)
    n, word = bits.take(32), bits.take(5) + 1
    lengths = [bits.take(4) + 1 for _ in range(4)]
    if n != size[0] * size[1] * _CHANNELS:
        raise ValueError(f"a brush of {n // _CHANNELS} pixels for an image of {size[1]}x{size[0]}")
    values = np.empty(n, np.int64)
    at = 0
    while at < n:
        repeats, which = bits.take(1), bits.take(2)
        end = at + bits.take(lengths[which]) + 1
        if end > n:
            raise ValueError("the runs of a brush are longer than its image")
        if repeats:
            values[at:end] = bits.take(word)
        else:
            values[at:end] = [bits.take(word) for _ in range(end - at)]
        at = end
    return np.asarray(values.reshape(*size, _CHANNELS)[..., -1] > 0)
