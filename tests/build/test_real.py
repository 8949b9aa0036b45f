"""The real samples, in their original layouts, become a benchmark that is in order."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.build import build, open_benchmark, verify

pytestmark = pytest.mark.real

COUNTS = {
    "BBBC038": 24,
    "BUSI": 20,
    "CHAOS": 10,
    "CVC-ClinicDB": 24,
    "DDTI": 30,
    "ISIC": 3,
    "Kvasir-SEG": 30,
    "LGG": 15,
    "LungRads": 2,
    "MMOTU": 27,
    "MuscleUS": 24,
    "PAXRay": 5,
    "ToothSeg": 5,
}
SLICES = {"BraTS": (1, 6), "FLARE": (80, 90)}
"""Least and most images of the volumes whose slices depend on their labels."""


@pytest.fixture(scope="module")
def bench(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "bench"
    summary = build(real_data, folder, levels=["clear", "lq3plus"])
    assert summary.errors == ()
    return open_benchmark(folder)


@pytest.mark.parametrize("name", [*COUNTS, *SLICES])
def test_each_dataset_yields_the_images_it_should(bench, name):
    n = int((bench.images.dataset == name).sum())
    low, high = SLICES.get(name, (COUNTS.get(name), COUNTS.get(name)))
    assert low <= n <= high


def test_the_benchmark_is_in_order(bench):
    assert verify(bench, sample=0.2) == []


def test_what_is_left_out_has_its_reason(bench):
    report = (bench.path / "build_report.csv").read_text()
    assert report.count("BUSI,normal/") == 3
    assert ",error," not in report


def test_the_liver_is_on_the_left_of_the_picture_and_brighter_than_air(bench):
    images = bench.images.set_index("image_id")
    for dataset in ("CHAOS", "FLARE"):
        rows = bench.masks[(bench.masks.structure == "liver") & bench.masks.image_id.str.startswith(dataset)]
        assert len(rows)
        for row in rows[rows.area > rows.area.median()].itertuples():
            mask = bench.mask(row.mask_id)
            width = images.loc[row.image_id].width
            assert np.argwhere(mask)[:, 1].mean() < width / 2, row.mask_id
            if images.loc[row.image_id].modality == "ct":
                grey = np.median(bench.image(row.image_id, "clear")[mask])
                assert 100 < grey < 230, f"{row.mask_id}: the window shows the liver as {grey}"


def test_objects_stay_visible_at_the_strongest_level(bench):
    """Inside and outside of an object differ at LQ-3+ wherever they clearly differ on Clear, for nearly all images."""
    lost, clear_ones = [], 0
    for image, rows in bench.masks.groupby("image_id"):
        mask = bench.mask(rows.sort_values("area").mask_id.iloc[-1])
        clear, worst = (bench.image(image, level).astype(float) for level in ("clear", "lq3plus"))
        if clear.ndim == 3:
            clear, worst = clear.mean(axis=2), worst.mean(axis=2)
        if abs(clear[mask].mean() - clear[~mask].mean()) > 40:
            clear_ones += 1
            if abs(worst[mask].mean() - worst[~mask].mean()) < 3:
                lost.append(image)
    assert clear_ones > 50
    assert len(lost) <= 0.03 * clear_ones, lost
