"""The readers on real samples: exactly as many images as there are, and plausible contents."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from dmseg import datasets
from dmseg.datasets import LeftOut
from dmseg.types import Sample

# Images that the reader of each dataset must yield, as the samples' own list says.
COUNTS = {
    "BBBC038": 24, "BUSI": 20, "BraTS": 6, "CHAOS": 10, "CVC-ClinicDB": 24, "DDTI": 30, "ISIC": 3, "Kvasir-SEG": 30,
    "LGG": 15, "LungRads": 2, "MMOTU": 27, "MuscleUS": 24, "PAXRay": 5, "ToothSeg": 5,
}  # fmt: skip

pytestmark = pytest.mark.real


@functools.cache
def _read(name: str, raw: Path) -> tuple[list[Sample], list[LeftOut]]:
    reader = datasets.reader(name)
    root = reader.find(raw)
    assert root is not None
    items = [item for source in reader.sources(root) for item in reader.read(root, source)]
    return [item for item in items if isinstance(item, Sample)], reader.problems(root)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_samples_are_complete_and_consistent(name: str, real_data: Path) -> None:
    samples, left_out = _read(name, real_data)
    assert len(samples) == COUNTS[name]
    assert len(left_out) == (3 if name == "BUSI" else 0)
    assert len({sample.source_id for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.image.dtype == np.uint8 and sample.image.std() > 1
        assert sample.source_id == datasets.clean_id(sample.source_id)
        assert all(s.mask.shape == sample.image.shape[:2] and s.mask.any() for s in sample.structures)
        names = datasets.recipe(name).structures
        assert not names or {s.name for s in sample.structures} <= set(names)


def test_every_slice_with_an_organ_of_two_orientations(real_data: Path) -> None:
    samples, _ = _read("FLARE", real_data)
    assert {sample.case_id for sample in samples} == {"FLARE22_Tr_0001", "FLARE22_Tr_0002"}
    assert len(samples) == 85
    for sample in samples:
        # Patient's right is at the left of the image: the liver lies left of the spleen.
        middle = {s.name: np.nonzero(s.mask)[1].mean() for s in sample.structures}
        if {"liver", "spleen"} <= set(middle):
            assert middle["liver"] < middle["spleen"]
        if {"right_kidney", "left_kidney"} <= set(middle):
            assert middle["right_kidney"] < middle["left_kidney"]


def test_organs_of_ct_lie_in_the_window_and_on_tissue(real_data: Path) -> None:
    samples, _ = _read("CHAOS", real_data)
    ct = [sample for sample in samples if sample.modality == "ct"]
    assert len(ct) == 5
    for sample in ct:
        liver = sample.image[sample.structures[0].mask]
        assert 100 < liver.mean() < 220  # 60/400: contrast-enhanced liver is a little above the middle
        assert np.median(sample.image[:20, :20]) == 0  # air, with the file's intercept of -1000
    assert {s.name for sample in samples for s in sample.structures} == set(datasets.recipe("CHAOS").structures)


def test_brain_is_up_and_tumour_is_bright_in_flair(real_data: Path) -> None:
    samples, _ = _read("BraTS", real_data)
    for sample in samples:
        whole = sample.structures[0].mask
        assert sample.image[whole].mean() > sample.image[sample.image > 0].mean()


def test_nuclei_of_an_image_do_not_overlap(real_data: Path) -> None:
    samples, _ = _read("BBBC038", real_data)
    assert sum(len(sample.structures) for sample in samples) == 1394
    for sample in samples:
        assert np.sum([s.mask for s in sample.structures], axis=0, dtype=np.int32).max() == 1
