"""Damage rises with the level and the object stays, over 200 phantom images of all data sets and over real samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from dmseg import imaging
from dmseg.datasets import RECIPES, reader, recipe
from dmseg.simulators import GENERAL, plan
from dmseg.types import Sample

pytestmark = pytest.mark.slow

LEVELS = ("lq1", "lq2", "lq3")
SHARE = dict.fromkeys(GENERAL, 1.0) | {"brightness_contrast": 0.97, "jpeg": 0.90}
SIDE = 224


@dataclass(frozen=True)
class Case:
    key: str
    modality: str
    domain: tuple[str, ...]
    image: np.ndarray
    masks: tuple[np.ndarray, ...]


def cases(raw: Path, per_dataset: int) -> Iterator[Case]:
    for name in RECIPES:
        source_reader = reader(name)
        root = source_reader.find(raw)
        if root is None:
            continue
        taken = 0
        for source in source_reader.sources(root):
            for sample in source_reader.read(root, source):
                if isinstance(sample, Sample) and taken < per_dataset:
                    taken += 1
                    yield small(name, sample)
            if taken >= per_dataset:
                break


def small(name: str, sample: Sample) -> Case:
    size = imaging.compute_stored_size(*sample.image.shape[:2], longest=SIDE)
    image = imaging.resize_image(sample.image, size)
    masks = tuple(imaging.resize_mask(part.mask, size) for part in sample.structures)
    return Case(f"{name}__{sample.source_id}", sample.modality, recipe(name).domain_ops(sample.modality), image, masks)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    from dmseg.phantoms import write_phantoms

    raw = tmp_path_factory.mktemp("raw")
    write_phantoms(raw, per_dataset=12)
    found = list(cases(raw, 12))
    assert len(found) >= 200
    return found


def damage(clear: np.ndarray, degraded: np.ndarray) -> tuple[float, float]:
    error = np.abs(clear.astype(float) - degraded).mean()
    axis = 2 if clear.ndim == 3 else None
    return float(error), 1 - float(structural_similarity(clear, degraded, channel_axis=axis, data_range=255))


def measure_rise(case: Case, ops: tuple[str, ...] | None) -> tuple[bool, np.ndarray]:
    drawn = plan(case.key, modality=case.modality, domain=case.domain, ops=ops, image=case.image)
    made = drawn.apply_levels(case.image, LEVELS)
    table = np.array([damage(case.image, made[level]) for level in LEVELS])
    return bool(np.all(np.diff(table, axis=0) > 0)), table


@pytest.mark.parametrize("name", GENERAL)
def test_damage_of_one_operation_rises(name: str, phantoms: list[Case]) -> None:
    share = np.mean([measure_rise(case, (name,))[0] for case in phantoms])
    assert share >= SHARE[name], f"{name}: {share:.3f}"


def check_chains(found: list[Case]) -> None:
    results = [measure_rise(case, None) for case in found]
    means = np.mean([table for _, table in results], axis=0)
    assert np.all(np.diff(means, axis=0) > 0)
    share = np.mean([good for good, _ in results])
    assert share >= 0.95, f"{share:.3f}"


def test_damage_of_chains_rises(phantoms: list[Case]) -> None:
    check_chains(phantoms)


def contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Largest difference over the channels of the mean inside and just outside an object, greys."""
    width = max(3, round(0.3 * np.sqrt(mask.sum())))
    ring = ndimage.binary_dilation(mask, iterations=width) & ~ndimage.binary_dilation(mask, iterations=2)
    if not ring.any():
        return 0.0
    return float(np.abs(image[mask].astype(float).mean(axis=0) - image[ring].astype(float).mean(axis=0)).max())


def keeps_contrast(case: Case) -> bool:
    """Whether the best visible object keeps at least a tenth of its contrast at LQ-3."""
    drawn = plan(case.key, modality=case.modality, domain=case.domain, image=case.image)
    degraded = drawn.apply(case.image, "lq3")
    pairs = [(contrast(case.image, mask), contrast(degraded, mask)) for mask in case.masks]
    pairs = [pair for pair in pairs if pair[0] >= 4]
    return not pairs or max(after / before for before, after in pairs) >= 0.1


def test_objects_keep_their_contrast_at_lq3(phantoms: list[Case]) -> None:
    lost = [case.key for case in phantoms if not keeps_contrast(case)]
    assert len(lost) <= 0.01 * len(phantoms), lost


def test_no_picture_turns_white_or_black(phantoms: list[Case]) -> None:
    for case in phantoms:
        free = (case.image > 0) & (case.image < 255)
        drawn = plan(case.key, modality=case.modality, domain=case.domain, image=case.image)
        degraded = drawn.apply(case.image, "lq3")
        ends = np.mean((degraded[free] == 0) | (degraded[free] == 255))
        impulses = 0.1 if any(step.operation == "salt_pepper" for step in drawn.general) else 0.0
        assert ends < 0.6 + impulses, (case.key, ends)


@pytest.fixture(scope="module")
def samples(real_data: Path) -> list[Case]:
    found = list(cases(real_data, 12))
    assert len(found) > 40
    return found


@pytest.mark.real
@pytest.mark.parametrize("name", GENERAL)
def test_damage_of_one_operation_rises_on_phantoms_and_real_samples(
    name: str, phantoms: list[Case], samples: list[Case]
) -> None:
    together = phantoms + samples
    failed = [case.key for case in together if not measure_rise(case, (name,))[0]]
    assert 1 - len(failed) / len(together) >= SHARE[name], f"{name}: {failed}"


@pytest.mark.real
def test_damage_of_chains_rises_on_real_samples(samples: list[Case]) -> None:
    check_chains(samples)


@pytest.mark.real
def test_objects_of_real_samples_keep_their_contrast(samples: list[Case]) -> None:
    assert np.mean([keeps_contrast(case) for case in samples]) >= 0.97
