"""Keys of fresh draws: from a number of the host's generator, and the worker that drew it.

A forked worker starts with a copy of its parent's generators. Libraries that seed theirs per worker are right already;
those that do not would give every worker, and every epoch with new workers, the same degradations. So in a worker the
seed that PyTorch gave it is part of the key: it differs between workers and between epochs, and follows from
``torch.manual_seed``. In other child processes their name stands in for it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys

import numpy as np
from numpy.typing import NDArray


def make_fresh_key(word: int) -> str:
    """Return the key of a draw from a random 63-bit word, unique to this worker."""
    worker = _worker()
    return f"draw {word:016x}" + (f" of {worker}" if worker else "")


def _worker() -> str:
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    if info is not None:
        return f"worker {info.seed}"
    process = multiprocessing.current_process().name
    return "" if process == "MainProcess" else process


def make_pixel_key(pixels: NDArray[np.generic]) -> str:
    """Return the key of an image without a name: the digest of its pixels, 32 hex digits."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16).hexdigest()
