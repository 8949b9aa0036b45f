"""Plans of named operations: at a severity, or with numbers and ranges of the caller's own."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.simulators import Plan, apply, observe, plan, plan_operations
from dmseg.simulators.observe import look


def test_numbers_hold_and_ranges_are_drawn_from() -> None:
    ops = {"ct_ring": {"gain": (0.005, 0.02), "channels": 5}, "jpeg": {"quality": (10, 12)}}
    drawn = [plan_operations(f"case {k}", ops) for k in range(40)]
    assert {one.modality for one in drawn} == {"ct"}
    gains = [one.general[0].numbers("light")["gain"] for one in drawn]
    assert 0.005 <= min(gains) < 0.009 and 0.016 < max(gains) <= 0.02
    assert {one.general[0].numbers("heavy")["channels"] for one in drawn} == {5}
    assert {one.general[1].numbers("heavy")["quality"] for one in drawn} == {10, 11, 12}
    assert drawn[0].general[0].numbers("light")["gain"] == drawn[0].general[0].numbers("heavy")["gain"]
    assert Plan.from_json(drawn[0].to_json()) == drawn[0]


def test_severities_are_the_levels(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct", size=64)
    drawn = plan_operations("k", "ct_ring", image=image)
    for level, severity in (("lq1", "light"), ("lq3", "heavy")):
        assert np.array_equal(drawn.apply(image, level), apply("ct_ring", image, key="k", severity=severity))


def test_what_is_asked_for_is_not_capped() -> None:
    bright = np.full((64, 64), 200, np.uint8)
    bright[::2] = 150
    asked = {"brightness_contrast": {"brightness": 0.25, "contrast": 1.0}}
    assert plan_operations("k", asked, image=bright).visibility == 1
    capped = [plan_operations(f"{k}", "brightness_contrast", image=bright).visibility or 0 for k in range(8)]
    assert min(capped) < 1


def test_wrong_requests_are_named() -> None:
    with pytest.raises(UsageError, match='did you mean "gain"'):
        plan_operations("k", {"ct_ring": {"gian": 0.1}})
    with pytest.raises(UsageError, match="is not in"):
        plan_operations("k", {"gaussian_noise": {"sigma": (0.1, 9)}})
    with pytest.raises(UsageError, match="ends below its start"):
        plan_operations("k", {"gaussian_noise": {"sigma": (0.2, 0.1)}})
    with pytest.raises(UsageError, match="neither a number nor"):
        plan_operations("k", {"gaussian_noise": {"sigma": (0.1, 0.2, 0.3)}})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="has no beta for ct"):
        plan_operations("k", {"beam_hardening": {"beta": 0.02}}, modality="ct")
    with pytest.raises(UsageError, match="at least one"):
        plan_operations("k", [])


@pytest.mark.parametrize("modality", [None, "ultrasound", "endoscopy", "ct"])
def test_facts_measured_late_are_those_measured_at_once(modality: str | None, picture) -> None:  # type: ignore[no-untyped-def]
    image = picture(modality or "mri", size=64)
    late, at_once = look(image, modality=modality), observe(image, modality=modality)
    assert late["mean"] == at_once["mean"] and set(late) == set(at_once) and len(late) == len(at_once)
    assert dict(late) == at_once and late.get("nothing") is None
    drawn = plan("k", modality=modality)
    level = "lq3plus" if modality else "lq3"
    assert np.array_equal(drawn.apply(image, level), drawn.observe(image).apply(image, level))
