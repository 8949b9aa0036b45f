"""Masks as 64-bit words of eight 0/1 bytes: the form in which kernels pass over eight pixels at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_mask_uint64(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return a (H, W) mask of 0/1 bytes as (H, ceil(W / 8)) uint64; missing columns are background.

    No copy is made where the memory can be read as words. A bool array viewed from other bytes than 0 and 1 keeps
    them; kernels notice, and :func:`zero_or_one` puts it right.
    """
    height, width = mask.shape
    if width % 8 or mask.ctypes.data % 8 or not mask.flags.carray:  # one kind of array means one compilation
        padded = np.zeros((height, -(-width // 8) * 8), dtype=np.uint8)
        padded[:, :width] = mask.view(np.uint8)
        return padded.view(np.uint64)
    return mask.view(np.uint64)


def zero_or_one(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a (H, W) mask whose True is stored as the byte 1."""
    return np.asarray(np.not_equal(mask.view(np.uint8), 0))
