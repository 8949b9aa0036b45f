"""CT artefacts equal the reconstruction of the detector errors that cause them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dmseg import imaging
from dmseg.simulators import OPS, apply, ct, degrade, observe, tables, tomography
from dmseg.simulators.scene import Scene
from dmseg.types import Window

WIDE = Window(0.0, 4000.0)


def disc(size: int, radius: float, centre: tuple[float, float] | None = None) -> np.ndarray:
    y, x = np.indices((size, size)) - (size - 1) / 2
    cx, cy = centre or (0.0, 0.0)
    return (np.hypot(x - cx, y - cy) < radius).astype(np.float32)


def scene(clear: np.ndarray, window: Window, key: str = "ct") -> Scene:
    return Scene(observe(clear, modality="ct", window=window), (0, key, "test"), clear)


def corr(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# projection and reconstruction


def test_projection_of_a_disc_is_its_chord() -> None:
    sinogram = tomography.project(disc(129, 40), 30)
    s = np.arange(sinogram.shape[1]) - (sinogram.shape[1] - 1) / 2
    chord = 2 * np.sqrt(np.maximum(40**2 - s**2, 0))
    assert np.abs(sinogram - chord)[:, np.abs(s) < 36].max() < 3
    assert sinogram.sum(axis=1) == pytest.approx(np.pi * 40**2, rel=0.01)


def test_back_projection_returns_the_object() -> None:
    image = ndimage.gaussian_filter(disc(128, 40) + disc(128, 10, (15, -8)), 1.5).astype(np.float32)
    again = tomography.back_project(tomography.project(image, 240), 128)
    inside = disc(128, 60) > 0
    assert np.abs(again - image)[inside].mean() < 0.01
    assert again[60:68, 30:34].mean() == pytest.approx(image[60:68, 30:34].mean(), abs=0.01)


# rings


def single_channel(offset: int, radii: int = 380) -> np.ndarray:
    log_gain = np.zeros(2 * radii + 1)
    log_gain[radii + offset] = -0.02
    return ct.ring_profile(log_gain, 0.25).astype(np.float64)


def test_ring_equals_the_reconstructed_sinogram() -> None:
    size = 192
    radii = (tomography.detectors(size) - 1) // 2
    errors = np.zeros(2 * radii + 1)
    errors[radii + np.array([-60, -33, 12, 47, 80])] = [0.02, -0.015, 0.03, 0.02, -0.02]
    views = 720  # half a turn; the other half sees the mirrored detector
    half = [tomography.back_project(np.tile(e.astype(np.float32), (views, 1)), size) for e in (-errors, -errors[::-1])]
    reference = (half[0] + half[1]) / 2
    profile = ct.ring_profile(errors)
    rings = np.empty((size, size), np.float32)
    middle = np.float32((size - 1) / 2)
    ct._spread(profile, np.float32(ct.RADIAL_STEP), middle, middle, rings)
    y, x = np.indices((size, size)) - (size - 1) / 2
    field = (np.hypot(x, y) < size / 2 - 2) & (np.hypot(x, y) > 3)
    assert corr(rings[field], reference[field]) > 0.99
    assert rings[field].std() == pytest.approx(reference[field].std(), rel=0.05)


def test_ring_amplitude_falls_as_the_root_of_the_radius_with_a_dark_lobe() -> None:
    scaled = []
    for offset in (20, 40, 80, 160, 320):
        profile = single_channel(offset)
        peak = int(np.abs(profile).argmax())
        assert abs(peak / 4 - offset) <= 1
        scaled.append(abs(profile[peak]) * np.sqrt(offset))
        # One dark lobe, on the inner side: -.57 to -.62 of the peak, -.70 of the value on its own pixel.
        assert -0.625 <= (profile / profile[peak]).min() <= -0.565
        assert 0 < peak - int((profile / profile[peak]).argmin()) < 6
        assert (profile[::4] / profile[4 * offset]).min() == pytest.approx(-0.71, abs=0.03)
    assert np.ptp(scaled) / np.mean(scaled) < 0.03


def test_ring_is_radial_about_its_centre_and_the_same_for_every_object() -> None:
    empty = np.full((256, 256), 0.5, np.float32)
    body = 0.4 + 0.2 * disc(256, 90)
    values = {"channels": 10, "gain": 0.02, "drift": 0.001, "x": 0.5, "y": 0.5}
    first, second = (apply("ct_ring", image, key="ring", **values) - image for image in (empty, body))
    assert np.abs(first - second).max() < 1e-5
    angle, radius = np.meshgrid(np.linspace(0, 2 * np.pi, 360, endpoint=False), np.arange(4, 120, 0.5))
    polar = ndimage.map_coordinates(first, [127.5 + radius * np.sin(angle), 127.5 + radius * np.cos(angle)], order=3)
    assert polar.var(axis=1).mean() / polar.var() < 0.1


def test_ring_scales_with_the_window() -> None:
    image = np.full((128, 128), 0.5, np.float32)
    narrow = apply("ct_ring", image, key="w", gain=0.01, window=Window(40, 400)) - image
    wide = apply("ct_ring", image, key="w", gain=0.01, window=Window(40, 1600)) - image
    assert np.allclose(narrow, 4 * wide, atol=1e-4)


# beam hardening


def water(size: int = 256, radius: float = 100) -> np.ndarray:
    """A water disc in air on the wide window: 0 HU is grey 1/2, black is air."""
    return 0.5 * disc(size, radius)


def test_monochromatic_beam_is_the_identity() -> None:
    paths = np.linspace(0, 8, 40, dtype=np.float32)
    water_path, bone_path = np.meshgrid(paths, paths)
    for share in (0.0, 1.0):
        error = tomography.compute_hardening_error(
            np.ascontiguousarray(water_path), np.ascontiguousarray(bone_path), share, tomography.polychromatic(True)
        )
        assert np.abs(error).max() < 1e-4


def test_corrected_water_is_exact() -> None:
    clear = water()
    out = apply("beam_hardening", clear, modality="ct", window=WIDE, object_size=300, uncorrected=0)
    assert np.abs(out - clear).max() * 255 < 0.5


def test_water_disc_cups_monotonically() -> None:
    clear = water()
    out = apply("beam_hardening", clear, modality="ct", window=WIDE, object_size=360, uncorrected=1)
    change = (out - clear) * WIDE.width
    y, x = np.indices(clear.shape) - 127.5
    radius = np.hypot(x, y)
    rings = [change[(radius >= r) & (radius < r + 10)].mean() for r in range(0, 85, 10)]
    assert np.all(np.diff(rings) > 0) and rings[-1] - rings[0] > 15


def test_stronger_hardening_cups_more() -> None:
    clear = water()
    depths = []
    for size, share in ((200, 0.3), (280, 0.6), (360, 1.0)):
        out = apply("beam_hardening", clear, modality="ct", window=WIDE, object_size=size, uncorrected=share)
        change = out - clear
        depths.append(change[128, 128] - change[128, 50])
    assert depths[0] > depths[1] > depths[2]


def test_dark_band_between_two_dense_parts_only() -> None:
    clear = water()
    clear[disc(256, 12, (-45, 0)) > 0] = 0.8
    clear[disc(256, 12, (45, 0)) > 0] = 0.8
    error, px_mm = ct.compute_hardening(scene(clear, WIDE), clear.shape, 300, 0.0, 192, 144)
    hounsfield = error * 1000 / (ct.WATER_PER_MM * px_mm)
    between, above = hounsfield[94:98, 88:104].mean(), hounsfield[50:54, 88:104].mean()
    assert between < -5 and between < 3 * min(above, 0) - 5


def test_error_image_on_a_small_grid_agrees_with_a_large_one(picture) -> None:  # type: ignore[no-untyped-def]
    clear = picture("ct", size=384)
    where = scene(clear, Window(40, 400))
    small, small_mm = ct.compute_hardening(where, clear.shape, 320, 0.8, ct.GRID, ct.VIEWS)
    large, large_mm = ct.compute_hardening(where, clear.shape, 320, 0.8, 384, 540)
    assert corr(np.asarray(_resize(small, 384)), large) > 0.99
    assert small_mm / large_mm == pytest.approx(384 / ct.GRID)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    import cv2

    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)


def test_clipped_bone_stays_white(picture) -> None:  # type: ignore[no-untyped-def]
    clear = picture("ct")
    out = apply("beam_hardening", clear, modality="ct", window=Window(40, 400), object_size=330, uncorrected=0.8)
    white = ndimage.binary_erosion(clear == 255, iterations=2)
    assert white.any() and out[white].min() == 255


# photon starvation


def deviates(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal(shape).astype(np.float32), random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("photons", "electronic", "integral"), [(1e5, 5, 3.0), (3e4, 8, 4.5), (1e4, 10, 3.5)])
def test_starved_integrals_have_the_predicted_spread_and_mean(
    photons: float, electronic: float, integral: float
) -> None:
    assert np.exp(-integral) * photons > 10 * max(1, electronic)
    p = np.full(400_000, integral, np.float32)
    measured = tomography.starve(p, deviates(0, p.shape), photons, electronic).astype(np.float64)
    wanted = np.sqrt(np.exp(integral) / photons + (electronic * np.exp(integral) / photons) ** 2)
    assert measured.std() == pytest.approx(wanted, rel=0.05)
    assert measured.mean() == pytest.approx(integral, abs=wanted**2)


@pytest.mark.parametrize("integral", [5.0, 7.0, 8.5])
def test_starved_integrals_agree_with_true_poisson_draws(integral: float) -> None:
    photons, electronic = 1e4, 8.0
    p = np.full(200_000, integral, np.float32)
    ours = tomography.starve(p, deviates(1, p.shape), photons, electronic).astype(np.float64)
    random = np.random.default_rng(2)
    counts = random.poisson(photons * np.exp(-integral), p.size) + electronic * random.standard_normal(p.size)
    model = -np.log(np.maximum(counts, 1) / photons)
    assert ours.mean() == pytest.approx(model.mean(), abs=0.02)
    assert ours.std() == pytest.approx(model.std(), rel=0.05)
    grid, bias = ct.mean_bias(photons, electronic)
    assert np.interp(integral, grid, bias) == pytest.approx(model.mean() - integral, abs=0.06)


def test_starvation_streaks_run_along_the_long_axis() -> None:
    y, x = np.indices((256, 256)) - 127.5
    clear = np.where((x / 115) ** 2 + (y / 60) ** 2 < 1, np.float32(0.5), np.float32(0))
    out = apply("photon_starvation", clear, key="st", window=WIDE, photons=2e4, electronic=8, object_size=380)
    noise = ((out - clear) * WIDE.width)[96:160, 96:160].astype(np.float64)
    power = np.abs(np.fft.fftshift(np.fft.fft2(noise - noise.mean()))) ** 2
    fy, fx = np.indices((64, 64)) - 32
    ring = (np.hypot(fy, fx) > 4) & (np.hypot(fy, fx) < 24)
    horizontal = power[ring & (np.abs(fx) < 0.4 * np.abs(fy))].mean()  # varies from row to row: streaks along x
    vertical = power[ring & (np.abs(fy) < 0.4 * np.abs(fx))].mean()
    assert horizontal / vertical > 2


def test_fewer_photons_are_noisier_where_paths_are_long() -> None:
    clear = water()
    spread = []
    for photons in (1e5, 3e4, 1e4):
        change = apply("photon_starvation", clear, key="n", window=WIDE, photons=photons, electronic=5, object_size=300)
        change = (change - clear) * WIDE.width
        spread.append(change[108:148, 108:148].std())
    assert spread[0] < spread[1] < spread[2]


# clipped by the window


CT_OPERATIONS = ("ct_ring", "beam_hardening", "photon_starvation")


def slice_in_hounsfield() -> np.ndarray:
    """A body in air, with lungs and bone: HU, int16, (256, 256)."""
    hounsfield = np.full((256, 256), -1000.0)
    y, x = np.indices((256, 256)) - 127.5
    hounsfield[(x / 115) ** 2 + (y / 85) ** 2 < 1] = 40
    inner = (x / 100) ** 2 + (y / 70) ** 2 < 1
    hounsfield[inner] += 25 * np.sin(x[inner] / 9)
    for centre in (-55, 55):
        hounsfield[((x - centre) / 26) ** 2 + (y / 40) ** 2 < 1] = -1000
        hounsfield[np.hypot(x - centre, y - 55) < 9] = 900
    return ndimage.gaussian_filter(hounsfield, 0.7).astype(np.int16)


@pytest.mark.parametrize("severity", ["light", "heavy"])
@pytest.mark.parametrize("name", CT_OPERATIONS)
@pytest.mark.parametrize("window", [Window(40, 400), Window(0, 600)])
def test_hounsfield_and_windowed_greys_agree_and_air_stays_black(name: str, severity: str, window: Window) -> None:
    deep = slice_in_hounsfield()
    eight = imaging.apply_window(deep, window)
    options = {"key": "agree", "severity": severity, "modality": "ct", "window": window}
    shown = imaging.apply_window(apply(name, deep, **options), window)
    out = apply(name, eight, **options)
    free = (eight > 0) & (eight < 255)
    assert (out != eight)[free].mean() > 0.1
    assert np.abs(shown.astype(int) - out)[free].max() <= 1
    air, bone = deep < -950, deep > 850
    assert (out[air] > 0).mean() == (shown[air] > 0).mean() < 0.01
    assert (out[bone] < 255).mean() == (shown[bone] < 255).mean() < 0.01


@pytest.mark.parametrize("name", CT_OPERATIONS)
def test_air_that_noise_has_lit_gets_no_artefact(name: str) -> None:
    window = Window(40, 400)
    clear = imaging.apply_window(slice_in_hounsfield(), window)
    noisy = apply("gaussian_noise", clear, key="n", sigma=0.06)
    facts = observe(clear, modality="ct", window=window)
    drawn = tables.draw(name, OPS[name].parameters, key="k", seed=0, modality="ct")["heavy"]
    values = {parameter: float(value) for parameter, value in drawn.items()}
    out = OPS[name](noisy, Scene(facts, (0, "k", name), clear), values)
    air = ndimage.binary_erosion(clear == 0, iterations=4)
    assert np.array_equal(out[air], noisy[air])


@pytest.mark.parametrize("level", ["lq1", "lq3", "lq3plus"])
@pytest.mark.parametrize(
    "ops", [("gaussian_noise", "salt_pepper"), ("motion_blur", "brightness_contrast"), ("glare", "gaussian_blur")]
)
def test_deep_slices_look_in_the_window_as_eight_bit_ones(level: str, ops: tuple[str, ...]) -> None:
    deep, window = slice_in_hounsfield(), Window(40, 400)
    eight = imaging.apply_window(deep, window)
    options = {"modality": "ct", "window": window, "ops": ops, "domain": ["ct_ring"], "key": "look"}
    shown = imaging.apply_window(degrade(deep, level, **options), window).astype(int)
    out = degrade(eight, level, **options)
    assert np.abs(shown - out).mean() < 0.8 and (np.abs(shown - out) > 3).mean() < 0.002
