"""Names as people type them: levels, modalities, operations and severities, wherever they are typed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.simulators import OPS, operation
from dmseg.simulators.tables import check_severity
from dmseg.types import LEVEL_LABELS, LEVELS, MODALITIES, check_level, check_modality


@pytest.mark.parametrize(
    ("typed", "level"),
    [
        ("LQ-3", "lq3"),
        ("lq3", "lq3"),
        ("LQ3+", "lq3plus"),
        ("LQ-3+", "lq3plus"),
        ("lq 3 plus", "lq3plus"),
        ("LQ\u20113\uff0b", "lq3plus"),  # a hyphen that does not break, a wide plus
        ("lq_1", "lq1"),
        ("Clear", "clear"),
    ],
)
def test_levels(typed: str, level: str) -> None:
    assert check_level(typed) == level


def test_every_label_means_its_level() -> None:
    assert [check_level(LEVEL_LABELS[level]) for level in LEVELS] == list(LEVELS)


@pytest.mark.parametrize(
    ("typed", "modality"),
    [
        ("MR", "mri"),
        ("MRI", "mri"),
        ("US", "ultrasound"),
        ("Ultra-Sound", "ultrasound"),
        ("x-ray", "xray"),
        ("X Ray", "xray"),
        ("xray", "xray"),
        ("CXR", "xray"),
        ("DX", "xray"),
        ("CT", "ct"),
        ("PX", "dental"),
        ("ES", "endoscopy"),
    ],
)
def test_modalities_and_values_of_the_dicom_tag(typed: str, modality: str) -> None:
    assert check_modality(typed) == modality


@pytest.mark.parametrize(
    ("typed", "name"),
    [("CT ring", "ct_ring"), ("gaussian-noise", "gaussian_noise"), ("Salt & Pepper", "salt_pepper"), ("JPEG", "jpeg")],
)
def test_operations(typed: str, name: str) -> None:
    assert operation(typed) is OPS[name]


@pytest.mark.parametrize("spell", [str.upper, str.title, lambda name: name.replace("_", "-"), lambda name: f" {name} "])
def test_every_id_in_other_spellings(spell: Callable[[str], str]) -> None:
    assert [check_level(spell(name)) for name in LEVELS] == list(LEVELS)
    assert [check_modality(spell(name)) for name in MODALITIES] == list(MODALITIES)
    assert [operation(spell(name)).name for name in OPS] == list(OPS)


def test_names_are_never_ambiguous() -> None:
    spelled = [name.replace("_", "").lower() for name in (*LEVELS, *MODALITIES, *OPS)]
    assert len(set(spelled)) == len(spelled)


def test_severities() -> None:
    assert [check_severity(given) for given in (1, "2", "Heavy", np.int64(3))] == ["light", "medium", "heavy", "heavy"]
    for wrong in (0, 4, True, 1.5, None):
        with pytest.raises(UsageError, match="light, medium, heavy"):
            check_severity(wrong)  # type: ignore[arg-type]


def test_unknown_names_are_refused_with_the_close_ones() -> None:
    with pytest.raises(UsageError, match=r'unknown level "lq4".*did you mean "lq3" or "lq2" or "lq1"'):
        check_level("lq4")
    with pytest.raises(UsageError, match='did you mean "gaussian_blur" or "gaussian_noise"'):
        operation("gausian")
    for unknown in ("PT", "OT", "", "xx"):
        with pytest.raises(UsageError, match="one of: ultrasound"):
            check_modality(unknown)
