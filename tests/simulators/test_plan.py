"""Plans: coupled levels, exact replay, digests of what was sampled, the visibility cap, words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dmseg import canonical
from dmseg.errors import DataError, UsageError
from dmseg.simulators import GENERAL, OPS, TABLES_VERSION, Plan, degrade, plan, tables, tables_digest
from dmseg.types import LEVELS, MODALITIES, Window

# Strength of a parameter: larger is worse.
STRENGTH = {
    "sigma": abs,
    "salt": abs,
    "pepper": abs,
    "length": abs,
    "brightness": abs,
    "contrast": lambda v: abs(np.log(v)),
    "gamma": lambda v: abs(np.log(v)),
    "quality": lambda v: -v,
    "intensity": abs,
    "size": abs,
}


def test_pool_has_the_eight_general_operations() -> None:
    assert set(GENERAL) == {
        "gaussian_noise",
        "salt_pepper",
        "motion_blur",
        "gaussian_blur",
        "brightness_contrast",
        "gamma",
        "jpeg",
        "glare",
    }
    assert len(OPS) == 25


def test_levels_share_operations_order_and_fields_and_parameters_rise_strictly() -> None:
    counts, firsts = [], []
    for k in range(300):
        drawn = plan(f"image{k}", modality="ct")
        names = [step.operation for step in drawn.general]
        assert len(set(names)) == len(names) and set(names) <= set(GENERAL)
        counts.append(len(names))
        firsts.append(names[0])
        for step in drawn.general:
            weak, middle, strong = (step.values[severity] for severity in tables.SEVERITIES)
            for name in weak:
                values = [float(part[name]) for part in (weak, middle, strong)]
                if name in STRENGTH:
                    measure = [STRENGTH[name](value) for value in values]
                    assert measure[0] < measure[1] < measure[2], (step.operation, name, values)
                else:
                    assert values[0] == values[1] == values[2]
    assert {2, 3, 4} == set(counts) and min(counts.count(n) for n in (2, 3, 4)) > 70
    assert set(firsts) == set(GENERAL)


def test_sampled_values_are_decimal_strings_of_six_digits() -> None:
    for step in plan("x", modality="ultrasound").general + plan("x", modality="ultrasound").domain:
        for values in step.values.values():
            for text in values.values():
                assert isinstance(text, str) and canonical.significant(float(text)) == text


def test_plan_depends_on_key_and_seed_alone() -> None:
    assert plan("a", modality="mri") == plan("a", modality="mri")
    assert plan("a", modality="mri").digest("lq1") != plan("b", modality="mri").digest("lq1")
    assert plan("a", modality="mri").digest("lq1") != plan("a", modality="mri", seed=1).digest("lq1")
    assert [s.operation for s in plan("a", modality="mri").general] == [s.operation for s in plan("a").general]


@pytest.mark.parametrize("modality", MODALITIES)
def test_plan_replays_exactly_from_its_text(modality: str, picture) -> None:  # type: ignore[no-untyped-def]
    image = picture(modality, size=128)
    drawn = plan("replay", modality=modality, image=image)
    made = drawn.apply_levels(image)
    again = Plan.from_json(drawn.to_json())
    assert again == drawn
    for level in LEVELS:
        assert np.array_equal(again.apply(image, level), made[level])
        alone = Plan.from_json(drawn.to_json(level))
        assert np.array_equal(alone.apply(image, level), made[level])
        assert alone.digest(level) == drawn.digest(level)
    assert made["clear"] is image
    assert all(not np.array_equal(made[level], image) for level in LEVELS[1:])


def test_text_of_one_level_does_not_replay_another(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct", size=64)
    alone = Plan.from_json(plan("one", modality="ct", image=image).to_json("lq1"))
    with pytest.raises(UsageError, match="written for one level"):
        alone.apply(image, "lq3")


def test_lq3plus_is_lq3_then_the_domain_operations(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct", size=128)
    made = plan("p", modality="ct", domain=(), image=image).apply_levels(image)
    assert np.array_equal(made["lq3"], made["lq3plus"])
    both = plan("p", modality="ct", image=image).apply_levels(image)
    assert np.array_equal(both["lq3"], made["lq3"]) and not np.array_equal(both["lq3plus"], made["lq3"])
    assert [step.operation for step in plan("p", modality="ct").domain] == ["ct_ring", "beam_hardening"]


def test_order_and_batch_do_not_matter(picture) -> None:  # type: ignore[no-untyped-def]
    images = {f"i{k}": picture("endoscopy", seed=k, size=64) for k in range(4)}
    forward = {k: degrade(v, "lq3plus", modality="endoscopy", key=k) for k, v in images.items()}
    for key in reversed(list(images)):
        assert np.array_equal(degrade(images[key], "lq3plus", modality="endoscopy", key=key), forward[key])


def test_observed_facts_are_outside_the_digest_but_in_the_text(picture) -> None:  # type: ignore[no-untyped-def]
    blind, seeing = plan("o", modality="ct"), plan("o", modality="ct", image=picture("ct"))
    assert all(blind.digest(level) == seeing.digest(level) for level in LEVELS)
    record = json.loads(seeing.to_json("lq2"))
    assert record["observed"]["window"] == [40.0, 400.0] and len(record["observed"]["histogram"]) == 32
    assert sum(record["observed"]["histogram"]) == pytest.approx(1, abs=1e-4)


def test_plan_without_an_image_observes_the_one_it_is_given(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ultrasound")
    later = plan("u", modality="ultrasound").apply(image, "lq3plus")
    assert np.array_equal(later, plan("u", modality="ultrasound", image=image).apply(image, "lq3plus"))


def test_named_operations_act_in_order_at_each_level(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ultrasound")
    drawn = plan("n", modality="ultrasound", ops=("speckle", "jpeg"), image=image)
    assert [[step.operation for step, _ in drawn.steps(level)] for level in ("lq1", "lq3plus")] == [
        ["speckle", "jpeg"]
    ] * 2
    damage = [np.abs(drawn.apply(image, level).astype(int) - image).mean() for level in ("lq1", "lq2", "lq3")]
    assert damage[0] < damage[1] < damage[2]


def test_description_is_in_words(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct")
    text = plan("words", modality="ct", image=image).describe("lq3plus")
    assert "LQ-3+" in text and "ct_ring (heavy)" in text and "grey window 40/400" in text
    assert "nothing" in plan("words").describe("clear")


def test_cap_keeps_pictures_from_turning_white_or_black(picture) -> None:  # type: ignore[no-untyped-def]
    capped = 0
    for k in range(40):
        image = picture("ct", seed=k, size=128)
        free = (image > 0) & (image < 255)
        drawn = plan(f"cap{k}", ops=("brightness_contrast", "gamma", "glare"), image=image)
        assert drawn.visibility is not None and 0 < drawn.visibility <= 1
        capped += drawn.visibility < 1
        out = drawn.apply(image, "lq3")[free]
        assert np.mean((out == 0) | (out == 255)) <= 0.25
        assert out.std() > 0.25 * image[free].std()
        if drawn.visibility < 1:
            assert "strength reduced" in drawn.describe("lq3")
    assert capped > 3


def test_cap_keeps_the_levels_apart(picture) -> None:  # type: ignore[no-untyped-def]
    for k in range(30):
        image = picture("mri", seed=k, size=96)
        drawn = plan(f"order{k}", ops=("gamma",), image=image)
        damage = [np.abs(drawn.apply(image, level).astype(float) - image).mean() for level in ("lq1", "lq2", "lq3")]
        assert 0 < damage[0] < damage[1] < damage[2]


def test_constant_pictures_are_named_as_inert() -> None:
    image = np.full((64, 64), 0, np.uint8)
    drawn = plan("flat", modality="mri", ops=("gaussian_blur", "gamma", "bias_field"), image=image)
    assert set(drawn.inert()) == {"gaussian_blur", "gamma", "bias_field"}
    assert "changes nothing here: all pixels are equal" in drawn.describe("lq1")
    assert json.loads(drawn.to_json())["inert"]["bias_field"] == "the image is black"
    assert np.array_equal(drawn.apply(image, "lq3"), image)


def test_int16_keeps_values_outside_the_window() -> None:
    random = np.random.default_rng(0)
    hounsfield = random.integers(-1000, 1500, (96, 96)).astype(np.int16)
    window = Window(40, 400)
    out = degrade(hounsfield, "lq3plus", modality="ct", key="hu", window=window)
    assert out.dtype == np.int16
    made = plan("hu", ops=("gamma",), window=window, image=hounsfield).apply(hounsfield, "lq3")
    outside = (hounsfield <= -160) | (hounsfield >= 240)
    assert np.array_equal(made[outside], hounsfield[outside]) and not np.array_equal(made, hounsfield)
    with pytest.raises(UsageError, match="needs a window"):
        degrade(hounsfield, "lq1", modality="mri")


def test_plan_of_another_operation_version_is_refused(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct", size=64)
    record = json.loads(plan("v", ops=("jpeg",), image=image).to_json())
    record["sampled"]["general"][0]["version"] = 99
    with pytest.raises(UsageError, match="jpeg version 99, installed is version 1"):
        Plan.from_json(json.dumps(record)).apply(image, "lq1")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 7}', '{"format": 1}'])
def test_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        Plan.from_json(text)


def test_wrong_names_are_suggested(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct", size=64)
    with pytest.raises(UsageError, match='did you mean "lq3"'):
        degrade(image, "lq33", modality="ct")
    with pytest.raises(UsageError, match='did you mean "ultrasound"'):
        plan("x", modality="ultrasond")
    with pytest.raises(UsageError, match='did you mean "ct_ring"'):
        plan("x", ops=("ct_rings",))
    with pytest.raises(UsageError, match='did you mean "heavy"'):
        plan("x", domain_severity="heavyy")


def test_numbers_are_frozen_under_their_version() -> None:
    """Whoever changes a number must raise the version in levels.toml, then write both here."""
    now = (TABLES_VERSION, tables_digest())
    assert now == FROZEN, f"FROZEN = {now}"


FROZEN = ("2", "c01851e9044b2df67abc95b99d8ce55b1eda5246108b167e256ed68380701b1d")
