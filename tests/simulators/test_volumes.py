"""One plan for a volume: settings shared, smooth fields smooth along it, noise fresh on every slice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dmseg.errors import UsageError
from dmseg.simulators import degrade, plan_volume
from dmseg.types import Window


def scan(slices: int = 12, size: int = 64) -> np.ndarray:
    """A smooth body in air, uint8 (slices, size, size)."""
    z, y, x = np.meshgrid(np.linspace(-0.5, 0.5, slices), *2 * [np.linspace(-1, 1, size)], indexing="ij")
    body = (x / 0.85) ** 2 + (y / 0.7) ** 2 + z**2 < 1
    grey = np.where(body, 110 + 40 * np.sin(3 * x + 2 * z) * np.cos(2 * y), 0)
    return ndimage.gaussian_filter(grey, (1, 1, 1)).astype(np.uint8)


STANDARD_ERRORS, SMOOTH = 4.0, 1.5
"""Bend of the mean from slice to slice that counts as no flicker: so many standard errors of what differs from pixel to
pixel (noise), and so many greys of fields that are smooth along the volume."""


def measure_bend(volume: np.ndarray, degraded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how the mean change of the body bends at each slice (second difference), and its standard error, greys.

    A field that rises evenly along the volume has no bend, a slice that stands out has one of twice its excess.
    """
    body = (volume > 60).all(axis=0)
    change = (degraded.astype(float) - volume)[:, body]
    bend = change[2:] - 2 * change[1:-1] + change[:-2]
    return np.abs(bend.mean(axis=1)), bend.std(axis=1) / np.sqrt(body.sum())


@pytest.mark.parametrize("modality", ["mri", "ct"])
@pytest.mark.parametrize("key", ["a", "b", "c", "d"])  # with noise and without
@pytest.mark.parametrize("level", ["lq2", "lq3plus"])
def test_a_volume_does_not_flicker(modality: str, key: str, level: str) -> None:
    volume = scan(24)
    out = plan_volume(key, volume, modality=modality).apply(volume, level)
    assert out.shape == volume.shape and out.dtype == volume.dtype
    assert (out != volume).any(axis=(1, 2)).all()
    bend, error = measure_bend(volume, out)
    assert np.all(bend <= STANDARD_ERRORS * error + SMOOTH), (bend - STANDARD_ERRORS * error).max()
    alone = np.stack([degrade(one, level, modality=modality, key=f"{key}{z}") for z, one in enumerate(volume)])
    assert measure_bend(volume, alone)[0].max() > 10 * bend.max()


def test_bias_is_smooth_along_the_volume_and_differs_at_its_ends() -> None:
    volume = np.full((16, 48, 48), 0.4, np.float32)
    gain = plan_volume("bias", volume, modality="mri", ops=("bias_field",)).apply(volume, "lq3") / 0.4
    along = np.abs(np.diff(gain, axis=0)).max()
    assert along < 0.25 and np.abs(gain[-1] - gain[0]).max() > 0.05
    assert 1.9 < gain.max() / gain.min() < 3.1


def test_noise_is_fresh_on_every_slice_and_repeats() -> None:
    volume = np.full((4, 48, 48), 128, np.uint8)
    drawn = plan_volume("n", volume, modality="ct", ops=("gaussian_noise", "salt_pepper"))
    out = drawn.apply(volume, "lq2")
    assert len({one.tobytes() for one in out}) == 4
    assert np.array_equal(out, drawn.apply(volume, "lq2"))
    assert np.array_equal(out[2], drawn.plan.at_slice(2, 4).apply(volume[2], "lq2"))


def test_rings_are_those_of_one_detector() -> None:
    volume = np.full((5, 64, 64), 40, np.int16)
    options = {"modality": "ct", "ops": ("ct_ring",), "window": Window(40, 400)}
    out = plan_volume("r", volume, **options).apply(volume, "lq3")
    assert (out != volume).any() and all(np.array_equal(one, out[0]) for one in out)


def test_what_is_no_volume_or_another_one_is_refused() -> None:
    with pytest.raises(UsageError, match="axial slices first"):
        plan_volume("x", np.zeros((32, 32), np.uint8), modality="ct")
    drawn = plan_volume("x", np.full((3, 32, 32), 9, np.uint8), modality="ct")
    with pytest.raises(UsageError, match="3 slices"):
        drawn.apply(np.full((4, 32, 32), 9, np.uint8), "lq1")
