"""LQ-Seg and RobustSeg: the published arithmetic where it is fixed, keyed draws where it is not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.rng import Stream
from dmseg.simulators.natural import (
    MOVING,
    OPERATIONS,
    LqSegPlan,
    degrade_online,
    degrade_robust_seg,
    draw_lq_seg,
    jpeg,
    kernels,
    noise,
    resampling,
)
from dmseg.simulators.natural.lq_seg import sharpen, store_jpeg

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "natural_degradations.json").read_text())
ANGLES = {"1.047198": math.pi / 3, "0.628319": math.pi / 5}


def scene(height: int = 96, width: int = 128) -> Any:
    """A smooth background with a few hard-edged shapes and a little noise."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(float)
    image = np.stack([110 + 30 * np.sin(x / width * 4 + c) + 20 * np.cos(y / height * 5 + c) for c in range(3)], -1)
    for _ in range(6):
        centre, radius = random.uniform(0, (height, width)), random.uniform(6, 20)
        image[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = random.uniform(60, 210, 3)
    return np.clip(image + random.normal(0, 1.2, image.shape), 0, 255).astype(np.uint8)


def psnr(clean: Any, other: Any) -> float:
    error = float(((clean.astype(float) - other) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


@pytest.mark.parametrize("name", GOLDEN["kernels"])
def test_kernels_are_the_published_ones(name: str) -> None:
    kind, *texts = name.split()
    side, expected = int(texts[0]), GOLDEN["kernels"][name]
    if kind == "sinc":
        kernel = kernels.make_sinc(side, ANGLES.get(texts[1], float(texts[1])))
    else:
        beta = float(texts[5]) if len(texts) > 5 else 1.0
        maker = kernels.make_plateau if kind == "plateau" else kernels.make_generalised
        kernel = maker(side, *map(float, texts[1:4]), beta)
    axis = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(axis, axis)
    assert np.allclose(kernel[side // 2], expected["row"], atol=2e-8)
    moments = [(kernel * part).sum() for part in (x * x, y * y, x * y)]
    assert np.allclose(moments, [expected["cxx"], expected["cyy"], expected["cxy"]], atol=1e-6)


@pytest.mark.parametrize("mode", resampling.MODES)
@pytest.mark.parametrize("scale", [0.15, 0.5, 0.73, 1.37])
def test_resizing_is_torchs(mode: str, scale: float) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).random((41, 63, 3), dtype=np.float32)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    by_factor = torch.nn.functional.interpolate(batch, scale_factor=scale, mode=mode)[0].permute(1, 2, 0).numpy()
    assert np.allclose(resampling.resize(image, by_factor.shape[:2], mode, scale), by_factor, atol=2e-5)
    by_size = torch.nn.functional.interpolate(batch, size=(30, 80), mode=mode)[0].permute(1, 2, 0).numpy()
    assert np.allclose(resampling.resize(image, (30, 80), mode), by_size, atol=2e-5)


def test_jpeg_is_lossless_where_it_must_be_and_worse_at_low_quality() -> None:
    flat = np.full((32, 48, 3), 0.5, np.float32)
    assert np.abs(jpeg.compress(flat, 95) - 0.5).max() < 0.005
    clean = scene().astype(np.float32) / 255
    errors = [float(np.abs(jpeg.compress(clean, quality) - clean).mean()) for quality in (95, 70, 50, 30, 10)]
    assert errors == sorted(errors) and errors[0] < 0.01


def test_sharpening_acts_on_edges_only() -> None:
    flat = np.full((60, 60, 3), 0.4, np.float32)
    assert np.allclose(sharpen(flat), flat, atol=1e-6)
    edge = flat.copy()
    edge[:, 30:] = 0.6
    assert sharpen(edge)[30, 29].max() < 0.4 and sharpen(edge)[30, 30].min() > 0.6


def test_poisson_fields_have_their_rates_as_mean_and_variance() -> None:
    rates = np.repeat(np.array([0.0, 0.5, 4.0, 200.0], np.float32), 20000).reshape(4, -1)
    counts = noise.draw_poisson(("test",), rates)
    assert np.array_equal(counts, noise.draw_poisson(("test",), rates)) and counts[0].max() == 0
    assert np.allclose(counts.mean(1)[1:], rates[1:, 0], rtol=0.03)
    assert np.allclose(counts.var(1)[1:], rates[1:, 0], rtol=0.05)


def test_lq_seg_is_keyed_and_keeps_size_and_clear() -> None:
    image, plan = scene(), LqSegPlan("one")
    made = plan.apply_levels(image)
    assert made["clear"] is image
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in made.values())
    again = LqSegPlan("one").apply(image, "lq2")
    assert np.array_equal(again, made["lq2"])
    assert not np.array_equal(LqSegPlan("two").apply(image, "lq2"), again)
    assert not np.array_equal(LqSegPlan("one", seed=1).apply(image, "lq2"), again)


def test_published_levels_are_drawn_apart_and_coupled_ones_together() -> None:
    apart, coupled = LqSegPlan("one"), LqSegPlan("one", coupled=True)
    assert apart.values("lq1") != apart.values("lq3")
    assert coupled.values("lq1") == coupled.values("lq3")
    assert (apart.name, coupled.name) == ("lq-seg", "lq-seg-coupled")
    assert apart.digest("lq1") != coupled.digest("lq1")
    record = json.loads(coupled.to_json("lq3"))
    assert record["scale"] == 4 and record["degradation"] == "lq-seg-coupled"


def test_coupled_levels_grow_worse() -> None:
    image = scene()
    worse = [
        [psnr(image, LqSegPlan(f"k{i}", coupled=True, stored=False).apply(image, level)) for level in ("lq1", "lq3")]
        for i in range(10)
    ]
    assert np.mean([one - three for one, three in worse]) > 0.5


def test_the_stored_image_passed_through_a_jpeg_file() -> None:
    image = scene()
    loose, stored = (LqSegPlan("one", stored=flag).apply(image, "lq1") for flag in (False, True))
    assert np.array_equal(store_jpeg(loose, 95), stored)


def test_shares_of_the_draws_are_the_tables() -> None:
    drawn = [draw_lq_seg(Stream("share", i)) for i in range(2000)]
    assert np.mean([one.second_blur is not None for one in drawn]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([one.sinc is not None for one in drawn]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([one.blur[0] == "sinc" for one in drawn]) == pytest.approx(0.1, abs=0.03)
    assert np.mean([one.first.factor < 1 for one in drawn]) == pytest.approx(0.7, abs=0.04)
    assert np.mean([one.first.factor == 1 for one in drawn]) == pytest.approx(0.1, abs=0.03)
    assert np.mean([one.first.gaussian for one in drawn]) == pytest.approx(0.5, abs=0.04)
    assert all(30 <= one.second.quality <= 95 for one in drawn)
    online = [draw_lq_seg(Stream("share", i), "online") for i in range(200)]
    assert all(one.second_blur in (None, one.blur) for one in online)


@pytest.mark.parametrize("shape", [(8, 8), (5, 200), (21, 11)])
def test_small_images_are_degraded_too(shape: tuple[int, int]) -> None:
    image = scene(*shape)
    assert all(LqSegPlan("small").apply(image, level).shape == image.shape for level in ("lq1", "lq3"))
    assert degrade_online(image, "small").shape == image.shape


def test_wrong_kinds_are_refused() -> None:
    with pytest.raises(UsageError, match="lq3"):
        LqSegPlan("one").apply(scene(), "lq3plus")
    with pytest.raises(UsageError, match="uint8 RGB"):
        LqSegPlan("one").apply(scene()[..., 0], "lq1")
    with pytest.raises(UsageError, match="snow"):
        degrade_robust_seg(scene(), "snows", "k")
    with pytest.raises(UsageError, match="moves nothing"):
        degrade_robust_seg(scene(), "snow", "k", centred=True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_robust_seg_is_keyed_and_keeps_the_size(name: str) -> None:
    image = scene(300, 400) if name == "fog" else scene()  # on small images no disc of fog is drawn, as published
    made = degrade_robust_seg(image, name, "k")
    assert made.shape == image.shape and made.dtype == np.uint8
    assert np.array_equal(made, degrade_robust_seg(image, name, "k"))
    others = [degrade_robust_seg(image, name, f"k{i}") for i in range(6)]
    assert (name == "resampling_blur") != any(not np.array_equal(one, others[0]) for one in others[1:])


def test_noise_has_the_published_strength() -> None:
    image = np.full((120, 160, 3), 128, np.uint8)
    noisy = degrade_robust_seg(image, "gauss_noise", "k").astype(float)
    assert noisy.std() == pytest.approx(15.97, abs=0.15)
    assert noisy.mean() == pytest.approx(127.5, abs=0.2)  # truncated, not rounded


def test_impulse_noise_is_one_factor() -> None:
    image = scene()
    made = degrade_robust_seg(image, "impulse_noise", "k").astype(float)
    free = (made < 250) & (image > 60)
    ratios = made[free] / image[free]
    assert ratios.min() > 1.38 and ratios.max() <= 1.5 and ratios.std() < 0.01


def disc() -> tuple[Any, Any]:
    y, x = np.mgrid[:240, :320]
    mask = (y - 120) ** 2 + (x - 160) ** 2 <= 40**2
    return np.where(mask[..., None], np.uint8(220), np.uint8(40)).repeat(3, 2), mask


def shifts(name: str, count: int, **options: Any) -> list[float]:
    """How far the disc's centroid lies from its mask's, in pixels, over several keys."""
    image, mask = disc()
    y, x = np.mgrid[:240, :320]
    found = []
    for i in range(count):
        weight = np.maximum(degrade_robust_seg(image, name, f"k{i}", **options).mean(2) - 40, 0)
        centre = [(weight * part).sum() / weight.sum() for part in (y, x)]
        found.append(math.dist(centre, (y[mask].mean(), x[mask].mean())))
    return found


def test_two_operations_move_the_object_and_their_centred_versions_do_not() -> None:
    published = GOLDEN["disk_r40_against_its_mask"]
    for name in MOVING:
        moved, kept = np.mean(shifts(name, 12)), np.mean(shifts(name, 12, centred=True))
        assert moved == pytest.approx(published[name]["centroid_shift_mean_px"], rel=0.5), name
        assert kept < moved / 2, name
    assert np.mean(shifts("frosted_glass_blur", 3)) < 0.3
