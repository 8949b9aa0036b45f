"""Which files are masks: by ending, by folder, by content; never by a folder that all files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmseg.datasets.mask_rules import find_mask_names, looks_like_labels


@pytest.mark.parametrize(
    ("files", "masks"),
    [
        (["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"], ["labelsTr/a.nii.gz"]),
        (["a.png", "a_mask.png", "a_mask_1.png"], ["a_mask.png", "a_mask_1.png"]),
        (["x/images/a.png", "x/GroundTruth/a.png"], ["x/GroundTruth/a.png"]),
        (["Segmentation set/images/a.png", "Segmentation set/masks/a.png"], ["Segmentation set/masks/a.png"]),
        (["labels/a.png", "labels/b.png"], []),
        (["masked-ball/a.png", "other/b.png"], ["masked-ball/a.png"]),
        ([], []),
    ],
)
def test_names_and_folders_say_what_is_a_mask(files: list[str], masks: list[str]) -> None:
    root = Path("/data/labels of others")
    assert find_mask_names([root / file for file in files]) == {root / file for file in masks}


def test_few_values_in_flat_areas_are_labels_and_pictures_are_not() -> None:
    y, x = np.mgrid[:80, :80]
    disc = np.hypot(x - 40, y - 40) < 20
    noise = np.random.default_rng(1).normal(100, 20, (80, 80)).clip(0, 255).astype(np.uint8)
    labels = disc.astype(np.int16) + (x > 40)
    assert looks_like_labels(disc)
    assert looks_like_labels(disc.astype(np.uint8) * np.uint8(255))
    assert looks_like_labels(labels)
    assert looks_like_labels(labels.astype(np.float32))
    assert looks_like_labels(np.stack([labels] * 5))
    assert looks_like_labels(np.dstack([disc * 255, disc * 0, (x > 40) * 128]).astype(np.uint8))
    dark = np.where(disc, noise // 2, 0)
    assert np.unique(dark).size < 128
    for picture in (
        dark,
        noise,
        noise // 64,
        np.dstack([noise] * 3),
        noise / np.float32(255),
        np.zeros((9, 9), np.uint8),
    ):
        assert not looks_like_labels(picture)
