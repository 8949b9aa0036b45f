"""Images for the simulators' tests: small drawings with the structure each modality has, made here from formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from dmseg.simulators import plan_operations

CONVEX = {"kind": "convex", "apex": [128.0, -60.0], "angles": [-0.6, 0.55], "radii": [80.0, 300.0]}


def _texture(seed: int, size: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.random((size // 8, size // 8)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def _ultrasound(seed: int, size: int) -> np.ndarray:
    grey = 90 + 110 * (_texture(seed, size) - 0.5)
    cv2.ellipse(grey, (size // 2, size * 6 // 10), (size // 6, size // 9), 10, 0, 360, 25.0, -1)
    y, x = np.mgrid[:size, :size] * (256 / size)
    radius = np.hypot(x - CONVEX["apex"][0], y - CONVEX["apex"][1])
    angle = np.arctan2(x - CONVEX["apex"][0], y - CONVEX["apex"][1])
    sector = (radius > 80) & (radius < 300) & (angle > -0.6) & (angle < 0.55)
    return np.where(sector, np.clip(grey, 20, 250), 0).astype(np.uint8)


def _body(seed: int, size: int) -> np.ndarray:
    grey = np.zeros((size, size), np.float32)
    centre = (size // 2, size // 2)
    cv2.ellipse(grey, centre, (size * 42 // 100, size * 30 // 100), 0, 0, 360, 120.0, -1)
    grey += np.where(grey > 0, 40 * (_texture(seed, size) - 0.5), 0)
    cv2.ellipse(grey, (size * 35 // 100, size * 45 // 100), (size // 9, size // 8), 20, 0, 360, 170.0, -1)
    for x in (38, 62):
        cv2.circle(grey, (size * x // 100, size * 62 // 100), size // 22, 255.0, -1)
    return grey.clip(0, 255).astype(np.uint8)


def _colour(seed: int, size: int) -> np.ndarray:
    light = 0.55 + 0.45 * _texture(seed, size)
    picture = light[..., None] * np.array([205.0, 120.0, 95.0], np.float32)
    cv2.circle(picture, (size * 55 // 100, size // 2), size // 6, (150.0, 70.0, 80.0), -1)
    return picture.clip(0, 255).astype(np.uint8)


_MAKERS: dict[str, Callable[[int, int], np.ndarray]] = {
    "ultrasound": _ultrasound,
    "mri": _body,
    "ct": _body,
    "xray": _body,
    "dental": _body,
    "endoscopy": _colour,
    "dermoscopy": _colour,
    "microscopy": _colour,
}


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """``picture(modality, seed=0, size=256)`` -> uint8 (H, W) or (H, W, 3)."""
    return lambda modality, seed=0, size=256: _MAKERS[modality](seed, size)


@pytest.fixture(scope="session")
def convex() -> dict[str, Any]:
    """The sector of the ultrasound image of 256 px."""
    return dict(CONVEX)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every proof that applies an operation on tensors as well."""
    if "apply" in metafunc.function.__code__.co_names and hasattr(metafunc.module, "apply"):
        kinds = ["arrays", pytest.param("tensors", marks=pytest.mark.slow)]
        metafunc.parametrize("backend", kinds, indirect=True)


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the name ``apply`` of the test's module stands for."""
    if getattr(request, "param", "arrays") == "tensors":
        monkeypatch.setattr(request.module, "apply", apply_on_tensors)


_LEVELS = {"light": "lq1", "medium": "lq2", "heavy": "lq3"}


def apply_on_tensors(op: str, image: np.ndarray, *, key: str = "", severity: str = "heavy", **given: Any) -> np.ndarray:
    """What :func:`dmseg.simulators.apply` does, by the torch version of the operation."""
    torch = pytest.importorskip("torch")
    from dmseg.simulators.batched import OPERATIONS, apply_batch

    if op not in OPERATIONS or image.dtype not in (np.uint8, np.float32):
        pytest.skip("no torch version")
    context = {name: given.pop(name) for name in ("seed", "modality", "window", "geometry") if name in given}
    drawn = dataclasses.replace(plan_operations(key, {op: given}, image=image, **context), visibility=1.0)
    pixels = image[None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))
    made = apply_batch(torch.from_numpy(pixels)[None], [drawn], _LEVELS[severity], on_arrays=False)[0].numpy()
    return made[0] if image.ndim == 2 else made.transpose(1, 2, 0)
