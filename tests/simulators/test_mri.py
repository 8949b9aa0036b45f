"""MRI degradations equal their k-space definitions."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.simulators import apply
from dmseg.simulators.mri import bias_gain, legendre, truncate_frequencies
from dmseg.simulators.scene import Scene


def square(size: int = 256, low: int = 112, high: int = 144) -> np.ndarray:
    image = np.zeros((size, size), np.float32)
    image[low:high, low:high] = 0.5
    return image


@pytest.mark.parametrize("ratio", [1.2, 1.5, 3.0])
def test_bias_is_a_cubic_of_zero_mean_log_and_exact_ratio(ratio: float) -> None:
    log = np.log(
        bias_gain(Scene({}, (0, "b", "bias_field"), np.zeros((1, 1))), (200, 260), ratio, 0.0).astype(np.float64)
    )
    assert np.exp(np.ptp(log)) == pytest.approx(ratio, rel=1e-4)
    assert abs(log.mean()) < 1e-3
    down, across = legendre(200), legendre(260)
    basis = np.stack([np.outer(down[i], across[j]).ravel() for i in range(4) for j in range(4 - i)], axis=1)
    fit = basis @ np.linalg.lstsq(basis, log.ravel(), rcond=None)[0]
    assert np.abs(fit - log.ravel()).max() < 1e-3


def test_bias_brightens_and_darkens_every_picture() -> None:
    image = np.full((64, 64), 100, np.uint8)
    for key in range(60):
        out = apply("bias_field", image, key=str(key), ratio=1.5, modality="mri").astype(float)
        assert out.min() < 95 and out.max() > 105
        assert np.exp(np.log(out).mean()) == pytest.approx(100, abs=0.5)


def test_bias_is_shared_by_the_channels() -> None:
    image = np.zeros((64, 64, 3), np.float32)
    image[...] = (0.2, 0.3, 0.4)
    gains = apply("bias_field", image, key="c", ratio=1.4, modality="mri") / image
    assert np.abs(gains - gains[..., :1]).max() < 1e-5


def test_bias_of_ultrasound_falls_with_depth() -> None:
    image = np.full((128, 128), 0.4, np.float32)
    tall = [apply("bias_field", image, key=str(k), ratio=2, depth_share=0.9, modality="ultrasound") for k in range(8)]
    assert all(out[:20].mean() > out[-20:].mean() for out in tall)


@pytest.mark.parametrize(("axis", "fraction", "shape"), [(0, 0.4, (128, 96)), (1, 0.63, (90, 131)), (0, 0.8, (65, 64))])
def test_ringing_is_the_zero_filled_transform(axis: int, fraction: float, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    size = shape[axis]
    frequency = np.abs(np.fft.fftfreq(size) * size)
    kept = frequency <= min(int(fraction * size / 2), (size - 1) // 2)
    spectrum = np.fft.fft(image, axis=axis) * (kept[:, None] if axis == 0 else kept[None, :])
    reference = np.fft.ifft(spectrum, axis=axis).real
    out = truncate_frequencies(image, fraction, axis)
    assert np.abs(out - reference).max() < 1e-5
    outside = np.fft.fft(out.astype(np.float64), axis=axis)
    outside = outside[~kept] if axis == 0 else outside[:, ~kept]
    assert np.abs(outside).max() < 1e-3
    visible = apply("gibbs_ringing", image, fraction=fraction, axis=axis)
    assert np.abs(visible - np.abs(reference).clip(0, 1)).max() < 1e-5


def test_ringing_overshoots_by_nine_percent_and_has_its_period() -> None:
    size, fraction = 4096, 0.05
    edge = np.zeros((16, size), np.float32)
    edge[:, size // 4 : 3 * size // 4] = 0.5
    row = truncate_frequencies(edge, fraction, 1)[0].astype(np.float64)
    assert row.max() / 0.5 - 1 == pytest.approx(0.0895, abs=0.003)
    ripple = row[size // 2 - 400 : size // 2 + 400] - 0.5
    period = 800 / np.abs(np.fft.rfft(ripple * np.hanning(800))).argmax()
    assert period == pytest.approx(2 / fraction, rel=0.05)


@pytest.mark.parametrize("fraction", [0.95, 0.85, 0.75])
def test_ringing_has_no_dead_zone_for_straight_edges(fraction: float) -> None:
    image = np.zeros((128, 128), np.float32)
    image[:, 50:90] = 0.5
    assert apply("gibbs_ringing", image, fraction=fraction, axis=1).max() > 0.505


@pytest.mark.parametrize(("ghosts", "phase"), [(3, 20.0), (4, 0.0), (5, 90.0), (6, 200.0)])
def test_two_ghosts_sit_at_n_over_k(ghosts: int, phase: float) -> None:
    image = square(low=120, high=136)
    out = apply("mr_ghosting", image, intensity=0.4, ghosts=ghosts, phase=phase, axis=0)
    shift = round(256 / ghosts)
    for sign in (-1, 1):
        place = (128 + sign * shift) % 256
        assert out[place, 128] == pytest.approx(0.2 * 0.5, rel=0.01)
    ghost = np.abs(out - image)
    rows = np.flatnonzero(ghost[:, 128] > 0.01)
    expected = {(row + sign * shift) % 256 for row in range(120, 136) for sign in (-1, 1)}
    assert set(rows.tolist()) - set(range(120, 136)) == expected - set(range(120, 136))
    assert not np.delete(ghost, np.arange(120, 136), axis=1).any()


def test_ghosting_equals_modulated_k_space() -> None:
    image = np.random.default_rng(3).random((128, 64)).astype(np.float32) * 0.4
    out = apply("mr_ghosting", image, intensity=0.5, ghosts=4, phase=50, axis=0)
    lines = np.fft.fftfreq(128) * 128
    modulation = 1 + 0.5 * np.cos(2 * np.pi * lines / 4 + np.radians(50))
    reference = np.abs(np.fft.ifft(np.fft.fft(image, axis=0) * modulation[:, None], axis=0))
    assert np.abs(out - reference).max() < 2e-5


@pytest.mark.parametrize("phase", [0.0, 60.0, 90.0, 170.0])
def test_nyquist_ghost_is_one_and_never_nothing(phase: float) -> None:
    image = square(low=120, high=136)
    out = apply("mr_ghosting", image, intensity=0.3, ghosts=2, phase=phase, axis=1)
    assert out[128, 0] == pytest.approx(0.3 * 0.5, rel=0.01)


def test_ghosting_keeps_the_mean_line_and_does_not_wrap() -> None:
    image = np.full((64, 64), 230, np.uint8)
    out = apply("mr_ghosting", image, intensity=0.6, ghosts=4, phase=0, axis=0)
    assert out.min() == 255  # saturates; the k-space centre is not cut


@pytest.mark.parametrize("sigma", [0.05, 0.15])
def test_rician_background_is_rayleigh(sigma: float) -> None:
    out = apply("rician_noise", np.zeros((512, 512), np.float32), key="r", sigma=sigma).astype(np.float64)
    assert out.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.005)
    assert out.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.01)
    bright = apply("rician_noise", np.full((512, 512), 0.5, np.float32), key="r", sigma=0.05).astype(np.float64)
    assert bright.std() == pytest.approx(0.05, rel=0.02)
