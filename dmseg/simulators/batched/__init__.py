"""The operations that training needs as torch functions on (B, C, H, W) tensors of any device, over the same plans.

Each agrees with the operation of the same name on arrays: noise, impulses, motion blur, brightness, gamma and JPEG on
uint8 bit for bit, the others within one grey of 255. Nothing waits for the device. Needs torch.
"""

from __future__ import annotations

from dmseg.errors import MissingDependencyError

try:
    from dmseg.simulators.batched.chain import OPERATIONS, apply_batch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingDependencyError(
        'dmseg.simulators.batched needs torch; install it with: pip install "dmseg-bench[models]"'
    ) from None

__all__ = ["OPERATIONS", "apply_batch"]
