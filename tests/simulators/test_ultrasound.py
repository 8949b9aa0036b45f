"""Ultrasound degradations follow the beam and the statistics of speckle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage, stats

from dmseg.simulators import apply, observe
from dmseg.simulators.geometry import beams
from dmseg.simulators.scene import Scene
from dmseg.simulators.ultrasound import shadow_places, speckle_decibels

LINEAR = {"kind": "linear", "left": 0.0, "right": 511.0, "top": 0.0, "bottom": 511.0}


def lag_one(values: np.ndarray, axis: int) -> float:
    values = values - values.mean()
    a = np.take(values, range(values.shape[axis] - 1), axis)
    b = np.take(values, range(1, values.shape[axis]), axis)
    return float((a * b).mean() / (values**2).mean())


@pytest.fixture(scope="module")
def decibels() -> np.ndarray:
    return speckle_decibels((1024, 1024), 11, 12, 0.8, 1.8).astype(np.float64)


def test_amplitude_is_rayleigh(decibels: np.ndarray) -> None:
    amplitude = 10 ** (decibels / 20)
    assert amplitude.std() / amplitude.mean() == pytest.approx(0.5227, rel=0.01)


def test_log_amplitude_has_the_known_spread_skew_and_mean(decibels: np.ndarray) -> None:
    assert decibels.std() == pytest.approx(5.57, rel=0.01)
    assert stats.skew(decibels.ravel()) == pytest.approx(-1.14, abs=0.05)
    assert decibels.mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("axial", "lateral"), [(0.6, 1.2), (1.0, 2.5)])
def test_intensity_is_correlated_as_the_point_spread_says(axial: float, lateral: float) -> None:
    intensity = 10 ** (speckle_decibels((1024, 512), 21, 22, axial, lateral).astype(np.float64) / 10)
    assert lag_one(intensity, 0) == pytest.approx(np.exp(-1 / (2 * axial**2)), abs=0.02)
    assert lag_one(intensity, 1) == pytest.approx(np.exp(-1 / (2 * lateral**2)), abs=0.02)


def test_speckle_keeps_the_mean_grey_and_its_contrast_at_any_grey() -> None:
    spreads = []
    for value in (90, 150):
        image = np.full((512, 512), value, np.uint8)
        out = apply("speckle", image, key="s", weight=0.5, axial=0.8, lateral=1.8, geometry=LINEAR).astype(float)
        assert out.mean() == pytest.approx(value, abs=0.5)
        spreads.append(out.std())
    assert spreads[0] == pytest.approx(spreads[1], rel=0.01)
    assert spreads[0] == pytest.approx(0.5 * 5.57 / 60 * 255, rel=0.03)


def test_speckle_of_a_convex_sector_stays_inside_and_keeps_its_statistics(convex: dict[str, Any]) -> None:
    where = beams(convex, (256, 256))
    image = np.where(where.inside, np.float32(0.6), np.float32(0))
    out = apply("speckle", image, key="fan", weight=0.4, axial=0.8, lateral=1.8, geometry=convex)
    assert not out[~where.inside].any()
    inner = ndimage.binary_erosion(where.inside, iterations=4)
    change = (out - image)[inner] * 60 / 0.4
    assert change.std() == pytest.approx(5.57, rel=0.05)


def test_speckle_leaves_black_surroundings_black_without_a_sector(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ultrasound")
    out = apply("speckle", image, key="x", geometry={"kind": "none"})
    far = ~ndimage.binary_dilation(image > 0, iterations=4)
    assert not out[far].any()


LINEAR_256 = {"kind": "linear", "left": 0, "right": 255, "top": 0, "bottom": 255}


def shadow(convex: dict[str, Any], **values: float) -> tuple[np.ndarray, np.ndarray]:
    where = beams(convex, (256, 256))
    image = np.where(where.inside, np.float32(0.95), np.float32(0))
    out = apply("acoustic_shadow", image, key="sh", geometry=convex, shadows=1, loss=18, width=0.2, onset=12, **values)
    return image, out


def test_shadow_runs_along_the_beam(convex: dict[str, Any]) -> None:
    image, out = shadow(convex)
    where = beams(convex, image.shape)
    radius, angle = np.meshgrid(np.arange(240, 290), np.linspace(-0.59, 0.54, 600), indexing="ij")
    x = convex["apex"][0] + radius * np.sin(angle)
    y = convex["apex"][1] + radius * np.cos(angle)
    drop = ndimage.map_coordinates(image - out, [y, x], order=1)
    deep = drop[(y < 250).all(axis=1) & (where.deepest > 0)]
    half = deep > deep.max() / 2
    first = half.argmax(axis=1)
    last = half.shape[1] - half[:, ::-1].argmax(axis=1)
    pixels_per_step = 1.13 / 600 * 270
    assert first.std() * pixels_per_step < 1 and last.std() * pixels_per_step < 1


def test_shadow_only_deepens_along_the_beam(convex: dict[str, Any]) -> None:
    image, out = shadow(convex)
    radius, angle = np.meshgrid(np.arange(84, 290), np.linspace(-0.55, 0.5, 60), indexing="ij")
    x, y = convex["apex"][0] + radius * np.sin(angle), convex["apex"][1] + radius * np.cos(angle)
    drop = ndimage.map_coordinates(image - out, [y, x], order=1)
    visible = (y < 254) & (y > 1) & (x > 1) & (x < 254)
    where = beams(convex, (256, 256))
    begin = ndimage.map_coordinates(where.depth, [y, x], order=1)
    observed = observe(image, modality="ultrasound", geometry=convex)
    start = shadow_places(Scene(observed, (0, "sh", "acoustic_shadow"), image), 1)[0][1] * where.deepest
    below = visible & (begin > start + 60)
    steps = np.diff(drop, axis=0)[below[1:] & below[:-1]]
    assert steps.min() > -0.02


def test_shadow_begins_at_its_reflector_and_loses_what_it_says(convex: dict[str, Any]) -> None:
    image, out = shadow(convex)
    where = beams(convex, image.shape)
    observed = observe(image, modality="ultrasound", geometry=convex)
    lateral, start = shadow_places(Scene(observed, (0, "sh", "acoustic_shadow"), image), 1)[0]
    above = where.depth < start * where.deepest
    assert np.array_equal(out[above], image[above]) and np.array_equal(out[~where.inside], image[~where.inside])
    core = where.inside & (np.abs(where.lateral - lateral) < 0.02) & (where.depth > start * where.deepest + 80)
    assert (image - out)[core].mean() * 60 == pytest.approx(18, rel=0.04)


def test_shadow_has_a_bright_cap_and_soft_flanks() -> None:
    image = np.full((256, 256), 0.5, np.float32)
    values = {"shadows": 1, "loss": 20, "width": 0.2, "onset": 30}
    out = apply("acoustic_shadow", image, key="cap", geometry=LINEAR_256, **values)
    rise, fall = (out - image).max() * 60, (image - out).max() * 60
    assert 5 < rise < 9 and fall > 15
    row = (image - out)[-1]
    inside = row > 0.1 * row.max()
    between = inside & (row < 0.9 * row.max())
    assert between.sum() > 0.5 * inside.sum()


def test_shadow_leaves_the_noise_floor(convex: dict[str, Any]) -> None:
    where = beams(convex, (256, 256))
    image = np.where(where.inside, np.uint8(40), np.uint8(0))
    out = apply("acoustic_shadow", image, key="sh", geometry=convex, shadows=1, loss=40, width=0.3)
    assert out[where.inside].min() == int(0.02 * 255)


def test_reverberation_repeats_at_the_spacing_and_decays_geometrically() -> None:
    image = np.full((512, 512), 0.02, np.float32)
    image[58:66] = 0.9
    out = apply("gel_reflection", image, decay=0.5, spacing=40, geometry=LINEAR)
    added = (out - image).mean(axis=1)
    interface = observe(image, modality="ultrasound", geometry=LINEAR)["interface"] * 511
    peaks = [added[int(interface + 40 * k) - 12 : int(interface + 40 * k) + 13].max() for k in (1, 2, 3, 4)]
    assert np.allclose(np.divide(peaks[1:], peaks[:-1]), 0.5, atol=0.02)
    profile = out.mean(axis=1) - out.mean()
    correlation = np.correlate(profile, profile, "full")[511:]
    assert int(correlation[20:60].argmax()) + 20 == 40


def test_reverberation_is_concentric_in_a_convex_sector(convex: dict[str, Any]) -> None:
    where = beams(convex, (256, 256))
    image = np.where(where.inside & (np.abs(where.depth - 30) < 3), np.float32(0.9), np.float32(0.02)) * where.inside
    out = apply("gel_reflection", image.astype(np.float32), decay=0.6, spacing=60, geometry=convex)
    added = np.where(where.inside, out - image, 0)
    near = np.abs(where.depth - 60) < 3  # 30 px at a 256-px side, plus half of the floor of 3 px
    assert added[near & where.inside & (added > 0.05)].size > 200
    assert added[where.inside & (where.depth < 40)].max() < 1e-6


@pytest.mark.parametrize("kind", ["convex", "linear"])
def test_a_dead_element_leaves_a_stripe_that_widens_and_fades_with_depth(kind: str, convex: dict[str, Any]) -> None:
    geometry = convex if kind == "convex" else LINEAR_256
    where = beams(geometry, (256, 256))
    image = np.where(where.inside, np.uint8(150), np.uint8(0))
    out = apply("dead_pixels", image, key="d", modality="ultrasound", geometry=geometry, share=0, lines=1)
    loss = image.astype(float) - out
    assert not loss[~where.inside].any()
    worst, width = [], []
    for depth in (0.05, 0.3, 0.6):
        row = where.inside & (np.abs(where.depth / where.deepest - depth) < 0.02)
        worst.append(loss[row].max())
        width.append(np.ptp(where.lateral[row & (loss > 0.5 * loss[row].max())]))
    assert worst[0] > 20 and worst[0] > 2 * worst[1] > 3 * worst[2] > 0
    assert width[0] < width[1] < width[2] < 0.2
    only = apply("dead_pixels", image, key="d", modality="ultrasound", geometry=geometry, share=0.01, lines=0)
    assert ((only == 0) & where.inside).sum() == round(0.01 * where.inside.sum())
