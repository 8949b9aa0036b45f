"""The eight general degradations keep to their equations, and never move the content."""

from __future__ import annotations

import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import ndimage, stats

from dmseg.simulators import apply, observe, plan
from dmseg.simulators.general import jpeg_bytes
from dmseg.simulators.powers import raise_to
from dmseg.simulators.visibility import estimate_clipped_share

SIDE = 512


def grey(value: int = 128, shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def impulse(size: int = SIDE) -> np.ndarray:
    image = np.zeros((size, size), np.float32)
    image[size // 2, size // 2] = 1
    return image


def moments(spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centroid (x, y) relative to the middle pixel, and the covariance."""
    y, x = np.indices(spread.shape) - np.array(spread.shape)[:, None, None] // 2
    weight = spread.astype(np.float64) / spread.sum()
    centre = np.array([(x * weight).sum(), (y * weight).sum()])
    dx, dy = x - centre[0], y - centre[1]
    return centre, np.array(
        [[(weight * dx * dx).sum(), (weight * dx * dy).sum()], [(weight * dx * dy).sum(), (weight * dy * dy).sum()]]
    )


def step_response(sigma: float) -> np.ndarray:
    edge = np.zeros((SIDE, SIDE), np.float32)
    edge[:, SIDE // 2 :] = 1
    return apply("gaussian_blur", edge, sigma=sigma)[SIDE // 2].astype(np.float64)


@pytest.mark.parametrize("sigma", [0.03, 0.1, 0.2])
def test_noise_is_the_censored_normal(sigma: float) -> None:
    noisy = apply("gaussian_noise", grey(), key="noise", sigma=sigma).astype(np.float64)
    values = np.arange(256)
    spread = sigma * 255
    edges = stats.norm.cdf((np.arange(-1, 256) + 0.5 - 128) / spread)
    edges[0], edges[-1] = 0, 1
    share = np.diff(edges)
    mean = (share * values).sum()
    assert noisy.std() == pytest.approx(np.sqrt((share * (values - mean) ** 2).sum()), rel=0.01)
    assert abs(noisy.mean() - mean) < 5 * spread / SIDE
    if sigma < 0.1:
        assert abs(noisy.mean() - 128) < 0.1


def test_noise_is_normal_and_white() -> None:
    residual = apply("gaussian_noise", grey(), key="white", sigma=0.05).astype(np.float64) - 128
    assert stats.kurtosis(residual.ravel(), fisher=False) == pytest.approx(3, abs=0.05)
    power = np.abs(np.fft.fft2(residual - residual.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    bands = [power[(frequency >= a) & (frequency < a + 0.1)].mean() for a in (0.001, 0.1, 0.2, 0.3, 0.4)]
    assert np.ptp(bands) / np.mean(bands) < 0.05


def test_noise_is_one_field_for_grey_pictures_and_one_per_channel_for_colour() -> None:
    stored_as_colour = apply("gaussian_noise", grey(shape=(64, 64, 3)), key="k", sigma=0.1)
    assert np.array_equal(stored_as_colour[..., 0], stored_as_colour[..., 2])
    assert np.array_equal(stored_as_colour[..., 0], apply("gaussian_noise", grey(shape=(64, 64)), key="k", sigma=0.1))
    colour = grey(shape=(256, 256, 3))
    colour[..., 1] = 100
    fields = apply("gaussian_noise", colour, key="k", sigma=0.05).astype(float) - colour
    assert abs(np.corrcoef(fields[..., 0].ravel(), fields[..., 1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("share", [0.004, 0.05])
def test_salt_and_pepper_counts_and_nothing_else(share: float) -> None:
    before = np.random.default_rng(0).integers(1, 255, (SIDE, SIDE)).astype(np.uint8)
    after = apply("salt_pepper", before, key="sp", salt=share, pepper=share / 2)
    for value, wanted in ((255, share), (0, share / 2)):
        low, high = stats.binom.interval(0.999, SIDE * SIDE, wanted)
        assert low <= (after == value).sum() <= high
    untouched = (after != 0) & (after != 255)
    assert np.array_equal(after[untouched], before[untouched])


def test_salt_and_pepper_nests_and_differs_between_images() -> None:
    before = grey()
    weak = apply("salt_pepper", before, key="a", salt=0.01, pepper=0.02)
    strong = apply("salt_pepper", before, key="a", salt=0.03, pepper=0.05)
    assert np.all((strong == 255)[weak == 255]) and np.all((strong == 0)[weak == 0])
    other = apply("salt_pepper", before, key="b", salt=0.01, pepper=0.02)
    assert ((other == 255) & (weak == 255)).sum() < 0.1 * (weak == 255).sum()


@pytest.mark.parametrize(("length", "angle"), list(itertools.product((9.0, 25.0), (0.0, 30.0, 45.0, 77.0, 150.0))))
def test_motion_spread_is_a_centred_line(length: float, angle: float) -> None:
    spread = apply("motion_blur", impulse(), length=length, angle=angle)
    centre, covariance = moments(spread)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.hypot(*centre) < 0.05
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    along, across = (
        direction @ covariance @ direction,
        direction[::-1] * [1, -1] @ covariance @ (direction[::-1] * [1, -1]),
    )
    # The segment, plus the bilinear interpolation: mean of f (1 - f) over the fractions, at most 1/6 per axis.
    assert length**2 / 12 - 0.1 <= along <= length**2 / 12 + 1 / 6 + 0.1
    assert across <= 0.2
    vectors = np.linalg.eigh(covariance)[1]
    found = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180
    assert min(abs(found - angle % 180), 180 - abs(found - angle % 180)) < 1
    y, x = np.indices(spread.shape) - SIDE // 2
    place = x * direction[0] + y * direction[1]
    transfer = [abs((spread * np.exp(-2j * np.pi * f * place)).sum()) for f in (1 / length, 0.5 / length)]
    assert transfer[0] < 0.03 and transfer[1] > 0.5


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_motion_leaves_the_object_on_its_mask(kind: type) -> None:
    y, x = np.indices((256, 256))
    disc = (np.hypot(x - 120, y - 131) < 30).astype(kind) * np.iinfo(kind).max
    for angle in (0, 35, 90, 140):
        moved = apply("motion_blur", disc, length=36, angle=angle).astype(float)
        before, after = (
            np.array([(x * i).sum() / i.sum(), (y * i).sum() / i.sum()]) for i in (disc.astype(float), moved)
        )
        assert np.hypot(*(after - before)) < 0.05


@pytest.mark.parametrize("sigma", [1.0, 2.5, 5.0])
def test_blur_has_the_edge_and_the_transfer_of_a_normal_spread(sigma: float) -> None:
    response = step_response(sigma)
    width = np.interp([0.1, 0.9], response, np.arange(SIDE))
    # Read between samples by linear interpolation, a box of 1 px: its variance 1/12 adds.
    assert width[1] - width[0] == pytest.approx(2.563 * np.sqrt(sigma**2 + 1 / 12), rel=0.01)
    transfer = np.abs(np.fft.fft2(apply("gaussian_blur", impulse(), sigma=sigma)))[0, : SIDE // 2]
    frequency = np.arange(SIDE // 2) / SIDE
    assert np.abs(transfer - np.exp(-2 * np.pi**2 * sigma**2 * frequency**2)).max() < 0.01


def test_blur_keeps_the_mean() -> None:
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    assert apply("gaussian_blur", image, sigma=3).mean() == pytest.approx(image.mean(), abs=0.1)


@pytest.mark.parametrize(("brightness", "contrast"), [(0.1, 1.4), (-0.2, 0.7), (0.3, 0.5), (-0.05, 1.9)])
def test_brightness_and_contrast_come_back_from_the_pixels(brightness: float, contrast: float) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    out = apply("brightness_contrast", ramp, brightness=brightness, contrast=contrast)
    free = (out > 0) & (out < 255) & (ramp > 40)  # below, black keeps the shift away
    slope, intercept = np.polyfit(ramp[free].astype(float), out[free].astype(float), 1)
    assert slope == pytest.approx(contrast, abs=0.01)
    mean = ramp.mean()
    assert slope * mean + intercept == pytest.approx(mean + 255 * brightness, abs=0.5)
    assert np.all(np.diff(out[0].astype(int)) >= 0)


@pytest.mark.parametrize(("brightness", "contrast"), [(0.3, 1.0), (-0.2, 1.8), (0.0, 0.6), (0.35, 1.9)])
def test_share_that_is_clipped_is_reported(brightness: float, contrast: float, picture) -> None:  # type: ignore[no-untyped-def]
    for image in (picture("ct"), picture("ultrasound"), picture("dermoscopy")):
        out = apply("brightness_contrast", image, brightness=brightness, contrast=contrast)
        free = (image > 0) & (image < 255)
        found = ((out[free] == 0) | (out[free] == 255)).mean()
        assert estimate_clipped_share(observe(image), brightness, contrast) == pytest.approx(found, abs=0.08)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("brightness", "contrast"), [(0.25, 1.0), (0.25, 0.5), (0.0, 0.5)])
def test_brightness_does_not_grey_out_air(brightness: float, contrast: float, kind: type, picture) -> None:  # type: ignore[no-untyped-def]
    eight = picture("mri")
    image = (eight * {np.uint8: 1.0, np.uint16: 257.0, np.float32: 1 / 255}[kind]).astype(kind)  # type: ignore[index]
    out = apply("brightness_contrast", image, brightness=brightness, contrast=contrast)
    air = ndimage.binary_erosion(eight == 0, np.ones((9, 9)))
    assert air.sum() > 1000 and not out[air].any()
    body = ndimage.binary_erosion((eight > 60) & (eight < 150), iterations=4)
    assert (out[body] > image[body]).mean() > 0.5 or contrast < 1


def test_a_dark_image_is_not_shifted_to_black_at_once() -> None:
    dark = np.tile(np.linspace(10, 40, 256).astype(np.uint8), (64, 1))
    out = apply("brightness_contrast", dark, brightness=-0.25, contrast=1.0)
    assert (out > 0).mean() > 0.5 and out.mean() < dark.mean()


@pytest.mark.parametrize("modality", ["mri", "ct", "ultrasound", "xray", "dental"])
def test_glare_of_a_scanner_is_confined_to_what_was_scanned_and_weak(modality: str, picture) -> None:  # type: ignore[no-untyped-def]
    image = picture(modality)
    for key in ("a", "b", "c"):
        out = apply("glare", image, key=key, modality=modality)
        assert not out[ndimage.binary_erosion(image == 0, iterations=12)].any()
        assert (out.astype(int) - image).max() <= 0.3 * 255 + 1
    assert (apply("glare", image, modality=modality, x=0.5, y=0.5, size=0.2, intensity=0.3) != image).mean() > 0.2


def test_plan_says_what_brightness_clips(picture) -> None:  # type: ignore[no-untyped-def]
    drawn = plan("words", ops=["brightness_contrast"], image=picture("mri"))
    assert "of Clear's greys" in drawn.describe("lq3")


@pytest.mark.parametrize("exponent", [0.45, 0.8, 1.3, 2.4])
def test_gamma_is_a_power_with_fixed_ends(exponent: float) -> None:
    ramp = np.tile(np.arange(0, 65536, 64, dtype=np.uint16), (16, 1))
    ramp[:, -1] = 65535
    out = apply("gamma", ramp, gamma=exponent)
    assert (out[0, 0], out[0, -1]) == (0, 65535)
    inside = (out[0] > 2000) & (out[0] < 65535)
    slope = np.polyfit(np.log(ramp[0][inside] / 65535), np.log(out[0][inside] / 65535), 1)[0]
    assert slope == pytest.approx(exponent, rel=1e-3)


@pytest.mark.parametrize("exponent", [0.05, 0.536, 0.87, 1.0, 1.5, 2.0, 3.0, 19.7])
@pytest.mark.parametrize("size", [1, 7, 512, 20_001])
def test_gamma_of_floats_is_the_power_in_double_precision_rounded_once(exponent: float, size: int) -> None:
    image = np.random.default_rng(size).random(size).astype(np.float32)
    image[::17], image[3::19], image[5::23] = 0, 1, 1e-42  # the ends, and the smallest numbers there are
    image[2::29] *= np.float32(1e-20)
    wanted = np.power(image.astype(np.float64), exponent).astype(np.float32)
    assert np.array_equal(raise_to(image, exponent), wanted)


LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).ravel()


def segments(data: bytes) -> dict[int, bytes]:
    """First segment of each JPEG marker before the scan."""
    found: dict[int, bytes] = {}
    at = 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        found.setdefault(data[at + 1], data[at + 4 : at + 2 + size])
        at += 2 + size
    return found


@pytest.mark.parametrize("quality", [8, 25, 50, 75])
def test_jpeg_uses_the_tables_of_libjpeg(quality: int, picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("endoscopy")
    found = segments(jpeg_bytes(image, quality).tobytes())
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    wanted = np.clip((LUMINANCE * scale + 50) // 100, 1, 255)
    order = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
    assert list(found[0xDB][1:65]) == wanted[order].tolist()
    assert found[0xC0][5] == 3 and found[0xC0][7] == 0x22  # three channels, luminance at 2 x 2: 4:2:0
    assert segments(jpeg_bytes(image[..., 0].copy(), quality).tobytes())[0xC0][5] == 1


def test_jpeg_is_what_another_reader_decodes(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct")
    decoded = np.asarray(Pillow.open(io.BytesIO(jpeg_bytes(image, 20).tobytes())))
    assert np.abs(apply("jpeg", image, quality=20).astype(int) - decoded).max() <= 1
    same = cv2.imdecode(jpeg_bytes(image, 20), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(apply("jpeg", image, quality=20), same)
    colour = picture("endoscopy")
    other = np.asarray(Pillow.open(io.BytesIO(jpeg_bytes(colour, 60).tobytes())))
    assert np.abs(apply("jpeg", colour, quality=60).astype(int) - other).mean() < 1


def test_jpeg_blocks_grow_as_quality_falls(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("mri")

    def blockiness(quality: int) -> float:
        steps = np.abs(np.diff(apply("jpeg", image, quality=quality).astype(float), axis=1)).mean(axis=0)
        return steps[7::8].mean() / np.delete(steps, np.arange(7, steps.size, 8)).mean()

    values = [blockiness(quality) for quality in (75, 40, 20, 8)]
    assert values == sorted(values) and values[-1] > 1.3


def test_glare_is_an_elliptic_lobe_that_ends_at_four_deviations() -> None:
    before = np.zeros((300, 400), np.float32)
    out = apply("glare", before, intensity=0.8, size=0.08, x=0.4, y=0.6, aspect=1.3)
    y, x = np.indices(out.shape)
    spread = 0.08 * 300
    distance = np.hypot((x - 0.4 * 399) / spread, (y - 0.6 * 299) / (spread * 1.3))
    assert np.hypot(*(np.unravel_index(out.argmax(), out.shape) - np.array([0.6 * 299, 0.4 * 399]))) < 1
    assert np.abs(out - 0.8 * np.exp(-(distance**2) / 2))[distance < 3.99].max() < 1e-5
    assert not out[distance > 4.01].any()


def test_glare_saturates_more_at_each_severity(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("endoscopy")
    areas = [(apply("glare", image, key="g", severity=name) > 250).sum() for name in ("light", "medium", "heavy")]
    assert areas[0] < areas[1] < areas[2]
