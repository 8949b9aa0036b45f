"""One operation at a severity, and the order of LQ-3+."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import dmseg
from dmseg.errors import DataError, UsageError
from dmseg.simulators import GENERAL, OPS, Plan, modality_operations, plan, plan_operations, plan_volume, tables
from dmseg.types import MODALITIES, Window

Picture = Callable[..., np.ndarray]
PAIRS = [
    *((name, modality) for name in GENERAL for modality in ("ct", "endoscopy")),
    *((name, modality) for modality in MODALITIES for name in modality_operations(modality)),
]
WEAKEST, STRONGEST = 0.5, 1.8
"""Root mean square change in greys (of 255) that severities 1 and 3 have at least, mean of six draws."""


def test_every_operation_is_looked_at() -> None:
    assert {name for name, _ in PAIRS} == set(OPS)


@pytest.mark.parametrize(("name", "modality"), PAIRS)
def test_severities_rise_and_show(name: str, modality: str, picture: Picture) -> None:
    clear = picture(modality, size=96)
    change = np.empty((6, 3))
    for number, severity in np.ndindex(change.shape):
        made = dmseg.corrupt(clear, name, severity + 1, modality=modality, key=f"{number}")
        change[number, severity] = np.sqrt(np.mean((made.astype(float) - clear) ** 2))
    assert np.all(np.diff(change, axis=1) >= 0), change  # a glare in the air changes nothing
    weak, middle, strong = change.mean(axis=0)
    assert weak > WEAKEST and strong > STRONGEST and middle > 1.15 * weak and strong > 1.15 * middle, change


def test_ranges_are_those_of_the_table(picture: Picture) -> None:
    clear = picture("ct", size=64)
    step = plan_operations("k", "ct_ring").general[0]
    table = tables.operation_tables()["ct_ring"].parameters
    for severity, typed in (("light", 1), ("medium", "2"), ("heavy", "heavy")):
        values = step.numbers(severity)
        low, high = table["gain"].branches(severity)[0]
        assert low <= values["gain"] <= high
        given = dmseg.corrupt(clear, "ct_ring", 1, key="k", **values)  # the same numbers, whatever the severity
        assert np.array_equal(given, dmseg.corrupt(clear, "CT ring", typed, key="k"))


def test_keyed_by_key_and_seed_and_in_the_type_of_the_image(picture: Picture) -> None:
    clear = picture("mri", size=64)
    one = dmseg.corrupt(clear, "mr_ghosting", 2, key="k")
    assert one.dtype == clear.dtype and one.shape == clear.shape
    assert np.array_equal(one, dmseg.corrupt(clear, "mr_ghosting", 2, key="k"))
    for other in ({"key": "l"}, {"key": "k", "seed": 1}):
        assert not np.array_equal(one, dmseg.corrupt(clear, "mr_ghosting", 2, **other))
    deep = dmseg.corrupt(clear.astype(np.uint16) * 16, "gaussian_noise", 1, key="k", bits=12)
    assert deep.dtype == np.uint16 and deep.max() <= 4095
    hu = clear.astype(np.int16) - 100
    assert dmseg.corrupt(hu, "ct_ring", 3, window=Window(40, 400)).dtype == np.int16


def test_any_operation_on_any_modality_works_or_says_why(picture: Picture) -> None:
    for modality in MODALITIES:
        clear = picture(modality, size=32)
        for name in OPS:
            try:
                assert dmseg.corrupt(clear, name, 3, modality=modality).shape == clear.shape
            except UsageError as error:
                assert name in str(error) and modality in str(error)


def test_physics_in_hu_is_refused_where_a_window_is_not_in_hu(picture: Picture) -> None:
    grey = picture("mri", size=32).astype(np.int16) * 3
    for name in ("ct_ring", "photon_starvation", "beam_hardening"):
        with pytest.raises(UsageError, match=f"{name} is an operation of ct.*not of mri"):
            dmseg.corrupt(grey, name, 2, modality="MR", window=Window(380, 760))


@pytest.mark.parametrize(
    ("op", "options", "message"),
    [
        ("ct_rings", {}, 'did you mean "ct_ring"'),
        ("jpeg", {"severity": 4}, "severity 4; give 1, 2 or 3"),
        ("jpeg", {"severity": "hevy"}, 'unknown severity "hevy".*did you mean "heavy"'),
        ("jpeg", {"severity": 2.5}, "give 1, 2 or 3"),
        ("jpeg", {"qualty": 10}, 'did you mean "quality"'),
        ("jpeg", {"quality": 0}, "1..100"),
        ("jpeg", {"modality": "PET"}, 'unknown modality "PET"'),
    ],
)
def test_wrong_use_is_named(op: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dmseg.corrupt(np.zeros((32, 32), np.uint8), op, **options)  # type: ignore[arg-type]


def test_order_of_acquisition_has_the_domain_first_at_lq3plus_alone(picture: Picture) -> None:
    clear = picture("mri", size=64)
    paper, first = (plan("k", modality="MR", image=clear, order=order) for order in ("paper", "acquisition"))
    names = [step.operation for step, _ in first.steps("LQ-3+")]
    assert (
        names
        == [step.operation for step in (*first.domain, *first.general)]
        != [step.operation for step, _ in paper.steps("lq3plus")]
    )
    made = first.apply_levels(clear)
    for level in ("lq1", "lq2", "lq3"):
        assert np.array_equal(made[level], paper.apply(clear, level)) and first.digest(level) == paper.digest(level)
    assert not np.array_equal(made["lq3plus"], paper.apply(clear, "lq3plus"))
    step, severity = first.steps("lq3plus")[0]
    once = plan("k", modality="mri", image=clear, domain=(step.operation,), order="acquisition")
    alone = plan_operations("k", {step.operation: dict(step.numbers(severity))}, modality="mri", image=clear)
    begun = Plan(**{**vars(once), "general": ()}).apply(clear, "lq3plus")
    assert np.array_equal(begun, alone.apply(clear, "lq3"))


def test_order_is_kept_in_text_and_digest_and_the_papers_leaves_no_trace() -> None:
    paper, first = (plan("k", modality="ct", order=order) for order in ("paper", "acquisition"))
    assert Plan.from_json(first.to_json()) == first and "order" not in paper.to_json()
    assert first.digest("lq3plus") != paper.digest("lq3plus") == plan("k", modality="ct").digest("lq3plus")
    assert "order of acquisition" in first.describe("lq3plus") and "order" not in paper.describe("lq3plus")
    with pytest.raises(UsageError, match='did you mean "acquisition"'):
        plan("k", order="aquisition")
    with pytest.raises((DataError, UsageError)):
        Plan.from_json(first.to_json().replace('"acquisition"', '"backwards"'))
    volume = np.full((2, 32, 32), 90, np.uint8)
    volume[:, 8:24, 8:24] = 150
    assert plan_volume("k", volume, modality="ct", order="acquisition").plan.order == "acquisition"
