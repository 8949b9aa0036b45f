"""Light fields, reflections, veils, stripes, dead pixels: equations, exact sets, and what must keep its bits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from dmseg.simulators import apply, observe
from dmseg.simulators.optical import reflection_lobes, shadow_map, smooth_field
from dmseg.simulators.scene import Scene


def smooth_share(field: np.ndarray, cycles: int) -> float:
    power = fft.dctn(field.astype(np.float64), norm="ortho") ** 2
    power[0, 0] = 0
    low = power[: 2 * cycles, : 2 * cycles].sum()
    return float(low / power.sum())


@pytest.mark.parametrize("transmission", [0.7, 0.4, 0.15])
def test_vignette_is_one_at_the_centre_and_the_parameter_at_the_corner(transmission: float) -> None:
    image = np.full((201, 301), 0.8, np.float32)
    gain = apply("vignette", image, modality="endoscopy", transmission=transmission, x=0, y=0) / 0.8
    assert gain[100, 150] == pytest.approx(1, abs=1e-5)
    assert gain[0, 0] == pytest.approx(transmission, abs=1e-3)
    assert np.allclose(gain, gain[::-1, ::-1], atol=1e-5)
    y, x = np.indices(gain.shape)
    squared = (y - 100) ** 2 + (x - 150) ** 2
    focal = (100**2 + 150**2) / (transmission**-0.5 - 1)
    assert np.abs(np.log(gain) + 2 * np.log1p(squared / focal)).max() < 1e-4


def test_vignette_darkens_more_at_each_severity_and_follows_the_field_of_view() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[:, 80:] = (200, 120, 90)
    means = [
        apply("vignette", image, key="v", severity=s, modality="endoscopy").mean() for s in ("light", "medium", "heavy")
    ]
    assert means[0] > means[1] > means[2]
    out = apply("vignette", image, modality="endoscopy", transmission=0.3, x=0, y=0)
    assert abs(int(out[100, 190, 0]) - 200) <= 1 and not out[:, :78].any()


def test_vignette_of_a_sector_falls_to_its_edges(convex, picture) -> None:  # type: ignore[no-untyped-def]
    from dmseg.simulators.geometry import beams

    where = beams(convex, (256, 256))
    image = np.where(where.inside, np.float32(0.8), np.float32(0))
    gain = apply("vignette", image, modality="ultrasound", geometry=convex, transmission=0.3)[where.inside] / 0.8
    lateral = where.lateral[where.inside]
    assert gain[np.abs(lateral - 0.5) < 0.01].mean() == pytest.approx(1, abs=0.01)
    assert gain[lateral < 0.01].mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("depth", "area"), [(0.4, 0.15), (0.9, 0.3), (1.7, 0.5)])
def test_illumination_shadow_has_its_area_and_depth_and_is_smooth(depth: float, area: float) -> None:
    image = np.full((256, 320), 0.9, np.float32)
    gain = apply("illumination_shadow", image, key="il", depth=depth, area=area) / 0.9
    assert gain.max() <= 1 + 1e-6
    assert gain.min() == pytest.approx(np.exp(-depth), abs=0.01)
    assert (gain < np.exp(-depth / 2)).mean() == pytest.approx(area, abs=0.02)
    assert smooth_share(np.log(gain), 8) > 0.95


def test_specular_cores_are_white_and_the_rest_is_untouched(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("endoscopy")
    out = apply("specular_reflection", image, key="sp", spots=8, radius=0.04)
    scene = Scene(observe(image, modality="endoscopy"), (0, "sp", "specular_reflection"), image)
    rows = reflection_lobes(scene, image.shape, 8, 0.04)
    y, x = np.indices(image.shape[:2])
    distance = np.full(image.shape[:2], np.inf)
    for x0, y0, long, short, cosine, sine in rows:
        u, v = ((x - x0) * cosine + (y - y0) * sine) / long, ((y - y0) * cosine - (x - x0) * sine) / short
        distance = np.minimum(distance, np.hypot(u, v))
    assert out[distance < 0.7].min() >= 0.98 * 255
    assert np.array_equal(out[distance >= 1], image[distance >= 1])
    area = (distance < 1).mean()
    assert (out != image).any(axis=2).mean() == pytest.approx(area, rel=0.12)


def test_reflections_sit_on_the_lit_part() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[60:200, 60:200] = (190, 110, 90)
    image[100:140, 100:140] += 30
    out = apply("specular_reflection", image, key="lit", spots=12, radius=0.02, modality="endoscopy")
    changed = (out != image).any(axis=2)
    assert changed[50:210, 50:210].sum() == changed.sum() > 0


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 235.0])
def test_double_exposure_adds_a_copy_at_its_distance(angle: float) -> None:
    image = np.zeros((512, 512), np.float32)
    image[256, 256] = 1
    out = apply("double_exposure", image, weight=0.3, distance=16, angle=angle)
    dx, dy = round(16 * np.cos(np.radians(angle))), round(16 * np.sin(np.radians(angle)))
    assert out[256, 256] == pytest.approx(0.7, abs=1e-6)
    assert out[256 + dy, 256 + dx] == pytest.approx(0.3, abs=1e-6)
    assert np.count_nonzero(out) == 2


@pytest.mark.parametrize("transmission", [0.7, 0.5, 0.3])
def test_fog_keeps_contrast_t_and_tends_to_the_airlight(transmission: float) -> None:
    y, x = np.indices((256, 256))
    image = np.where((x // 2 + y // 2) % 2, np.float32(0.6), np.float32(0.4))
    out = apply("fog", image, key="f", transmission=transmission, airlight=1.0)
    scene = Scene({}, (0, "f", "fog"), image)
    surface = smooth_field(scene, "fog")
    path = 0.5 + (surface - surface.min()) / np.ptp(surface)
    kept = np.kron(transmission**path, np.ones((4, 4)))
    local = np.abs(np.diff(out[::2, ::2].astype(np.float64), axis=1)) / 0.2
    assert np.abs(np.median(local / kept[::2, 2::2]) - 1) < 0.02
    assert smooth_share(transmission**path, 6) > 0.99
    veiled = apply("fog", image, key="f", transmission=0.01, airlight=1.0)
    assert np.median(veiled) == pytest.approx(observe(image, modality="microscopy")["bright"], abs=0.05)


@pytest.mark.parametrize(("frequency", "tilt"), [(0.05, 0.0), (0.11, 1.5), (0.15, -2.0)])
def test_grid_has_its_frequency_and_modulation_and_nothing_across(frequency: float, tilt: float) -> None:
    image = np.full((512, 512), 0.6, np.float32)
    gain = apply("grid_banding", image, modulation=0.1, frequency=frequency, tilt=tilt, phase=40) / 0.6
    assert gain.min() >= 0.9 - 1e-5 and gain.max() <= 1 + 1e-6
    spectrum = np.abs(np.fft.rfft2(gain - gain.mean())) / gain.size
    row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert abs(column - frequency * np.cos(np.radians(tilt)) * 512) <= 1
    assert abs((row + 256) % 512 - 256 - frequency * np.sin(np.radians(tilt)) * 512) <= 1
    assert np.ptp(gain) == pytest.approx(0.1, rel=0.02)
    assert gain.mean() == pytest.approx(0.95, abs=0.003)
    assert spectrum[20:-20, 0].max() < 1e-4


@pytest.mark.parametrize("beta", [0.02, 0.04, 0.08])
def test_projection_hardening_is_its_parabola(beta: float) -> None:
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (16, 1))
    out = apply("beam_hardening", ramp, modality="dental", beta=beta)
    integral = 4 * ramp.astype(np.float64)
    assert np.abs(4 * out - (integral - beta * integral**2)).max() < 1e-5
    assert np.all(np.diff(out[0]) > 0)


def test_dead_pixels_are_an_exact_set_in_one_channel_of_the_mosaic() -> None:
    image = np.random.default_rng(0).integers(1, 255, (128, 160, 3)).astype(np.uint8)
    out = apply("dead_pixels", image, key="d", modality="dermoscopy", share=0.01, lines=0)
    changed = out != image
    assert changed.any(axis=2).sum() == round(0.01 * 128 * 160) and changed.sum(axis=2).max() == 1
    rows, columns, channels = np.nonzero(changed)
    assert np.array_equal(channels, rows % 2 + columns % 2)
    assert set(np.unique(out[changed])) == {0, 255}


def test_dead_columns_are_whole() -> None:
    image = np.full((64, 96), 120, np.uint8)
    out = apply("dead_pixels", image, key="c", modality="dermoscopy", share=0, lines=3)
    columns = np.flatnonzero((out != image).all(axis=0))
    assert 1 <= columns.size <= 3 and (out != image).sum() == columns.size * 64
    assert set(np.unique(out[:, columns])) <= {0, 255}


def test_shadow_map_outline_is_its_area() -> None:
    scene = Scene({}, (0, "m", "illumination_shadow"), np.zeros((1, 1)))
    for area in (0.1, 0.35):
        field = shadow_map(scene, area)
        assert (field > 0.5).mean() == pytest.approx(area, abs=0.01) and field.max() == pytest.approx(1, abs=1e-6)
