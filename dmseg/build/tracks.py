"""What differs between the tracks: which plan degrades an image, and which tables it was drawn from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dmseg import simulators
from dmseg.datasets import Recipe
from dmseg.errors import DataError
from dmseg.simulators import natural
from dmseg.types import MEDICAL, ROBUST, Image, Sample, as_rgb

AnyPlan = simulators.Plan | natural.LqSegPlan | natural.RobustSegPlan
"""A plan of any track: both have ``apply``, ``apply_levels``, ``to_json`` and ``digest``."""


def track_of(info: Mapping[str, Any]) -> str:
    """Return the track of a benchmark, or of a run's ``benchmark``; where it says nothing, it is medical."""
    return str(info.get("track") or MEDICAL)


def name_track(track: str) -> dict[str, str]:
    """Return what a record says of a track: nothing of the medical one, so that its digests stay what they are."""
    return {} if track == MEDICAL else {"track": track}


def prepare_clear(image: Image, track: str) -> Image:
    """Return Clear as it is stored: photographs are RGB, also where they have no colour, for LQ-Seg adds colour."""
    return image if track == MEDICAL else as_rgb(image)


def plan_image(
    sample: Sample, recipe: Recipe, identifier: str, clear: Image, seed: int, track: str
) -> tuple[AnyPlan, Any]:
    """Return how an image is degraded, and what was measured on it: only the medical track measures."""
    if track == ROBUST:
        return natural.RobustSegPlan(identifier, seed), {}
    if track != MEDICAL:
        return natural.LqSegPlan(identifier, seed), {}
    plan = simulators.plan(
        identifier,
        modality=sample.modality,
        domain=recipe.domain_ops(sample.modality),
        image=clear,
        seed=seed,
        window=sample.window,
    )
    return plan, plan.observed


def read_plan(text: str) -> AnyPlan:
    """Return a plan from the JSON that a manifest has of it.

    Raises:
        DataError: not a plan, or one that other tables made.
    """
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataError(f"not a degradation plan ({error})") from None
    if not isinstance(record, dict) or "degradation" not in record:
        return simulators.Plan.from_json(text)
    if record["degradation"] == record.get("level"):
        return natural.RobustSegPlan.from_json(text)
    return natural.LqSegPlan.from_json(text)


def list_acting(plan: AnyPlan, level: str) -> list[str]:
    """Return the names of what acts on an image at a level."""
    if isinstance(plan, simulators.Plan):
        return [step.operation for step, _ in plan.steps(level)]
    if level == "clear":
        return []
    return [plan.name if isinstance(plan, natural.LqSegPlan) else level]


def describe_tables(track: str) -> dict[str, str]:
    """Return version and digest of the tables that a track's degradations are drawn from."""
    if track == MEDICAL:
        return {"version": simulators.TABLES_VERSION, "digest": simulators.tables_digest()}
    if track == ROBUST:
        return {"version": natural.ROBUST_SEG_VERSION, "digest": natural.robust_seg_digest()}
    return {"version": natural.LQ_SEG_VERSION, "digest": natural.lq_seg_digest()}
