"""The degradations of batches on a device: agreement with the arrays, waiting, and milliseconds per batch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dmseg.simulators import plan, plan_operations
from dmseg.simulators.batched import OPERATIONS, apply_batch
from dmseg.simulators.operations import home_modality

EQUAL = ("gaussian_noise", "salt_pepper", "motion_blur", "brightness_contrast", "gamma", "jpeg")
BATCH = 16
SIDE = 512


def make_images(count: int, side: int) -> list[np.ndarray]:
    """Lit ellipses with texture in a black frame, uint8 (side, side)."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    inside = (x / 0.45) ** 2 + (y / 0.38) ** 2 < 1
    coarse = [np.random.default_rng(k).random((side // 8, side // 8)) for k in range(count)]
    return [np.where(inside, 60 + 120 * np.kron(each, np.ones((8, 8))), 0).astype(np.uint8) for each in coarse]


def measure(call: Callable[[], Any], wait: Callable[[], None], rounds: int) -> float:
    """Return the median wall milliseconds of a call, the device's work included."""
    spent = []
    for _ in range(rounds + 1):
        wait()
        start = time.perf_counter()
        call()
        wait()
        spent.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(spent[1:]), 3)


def degrade_batches(device: str, *, toy: bool, check: Callable[[str, bool], bool]) -> dict[str, Any]:
    """Check every torch operation against the arrays, that none waits, and time batches beside the loop on arrays."""
    count, side, rounds = (3, 64, 1) if toy else (BATCH, SIDE, 7)
    on_gpu = device.startswith("cuda")
    wait: Callable[[], None] = torch.cuda.synchronize if on_gpu else (lambda: None)
    images = make_images(count, side)
    arrays = torch.from_numpy(np.stack(images)[:, None])
    batch = arrays.to(device)
    chains: dict[str, tuple[Any, str]] = {}
    for name in OPERATIONS:
        modality = home_modality(name) or "mri"
        chains[name] = (
            [plan_operations(f"{k}", name, modality=modality, image=one) for k, one in enumerate(images)],
            "lq3",
        )
    for modality, label in (("mri", "MRI"), ("ct", "CT")):
        plans = [plan(f"{k}", modality=modality, image=one) for k, one in enumerate(images)]
        chains[f"a whole plan of {label}, LQ-3+"] = (plans, "lq3plus")
    found: dict[str, Any] = {"batch": count, "side": side}
    for name, (plans, level) in chains.items():
        wanted = apply_batch(arrays, plans, level, on_arrays=True)
        apply_batch(batch, plans, level, on_arrays=False)  # tables go to the device, kernels are chosen
        waits = False
        if on_gpu:
            torch.cuda.set_sync_debug_mode("error")
        try:
            made = apply_batch(batch, plans, level, on_arrays=False)
        except RuntimeError as error:
            waits, made = "synchroniz" in str(error), None
            if not waits:
                raise
        finally:
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")
        check(f"{name} does not wait for the device", not waits)
        if made is None:
            made = apply_batch(batch, plans, level, on_arrays=False)
        off = (made.cpu().int() - wanted.int()).abs()
        if name in OPERATIONS:
            check(f"{name} agrees with the arrays", int(off.max()) <= (0 if name in EQUAL else 1))
        else:
            check(f"{name} agrees with the arrays", float(off.float().mean()) < 0.1)
        found[name] = {
            "largest_difference": int(off.max()),
            "device_ms": measure(lambda p=plans, v=level: apply_batch(batch, p, v, on_arrays=False), wait, rounds),
            "arrays_ms": measure(lambda p=plans, v=level: apply_batch(arrays, p, v, on_arrays=True), wait, rounds),
        }
    return found
