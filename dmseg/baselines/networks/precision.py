"""Which arithmetic "fp32" means: the same in evaluation and in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def use_full_fp32() -> Iterator[None]:
    """Compute without TF32, neither in convolutions nor in matrix products; all other settings stay the caller's.

    TF32 keeps 10 bits of a number. torch allows it in convolutions unless told otherwise, so that an fp32 run on a GPU
    would differ from one on a CPU by more than rounding. Whether cuDNN is deterministic or searches for the fastest
    algorithm is the caller's choice.
    """
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32
    cudnn.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, products.allow_tf32 = before
