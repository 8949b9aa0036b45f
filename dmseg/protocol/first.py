"""The prompts of step 1, made from the reference mask."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dmseg.errors import UsageError
from dmseg.protocol.boxes import Box, candidate_boxes, jitter_box, tight_box
from dmseg.protocol.clicks import Click, next_click
from dmseg.protocol.presets import FIRST, Preset, stream
from dmseg.protocol.regions import Pixel, Region, region_of
from dmseg.rng import Stream
from dmseg.types import Mask, Prompts

_STRATEGIES = ("random", "centroid", "error-centre")
_MIXTURES: dict[str, tuple[frozenset[str], ...]] = {
    "mixed": (frozenset({"clicks"}), frozenset({"box"})),
    "mixed-combo": (frozenset({"clicks"}), frozenset({"box"}), frozenset({"clicks", "box"})),
}


def first_prompts(preset: Preset, mask: Mask, mask_id: str, seed: int = 0, text: str | None = None) -> Prompts:
    """Return the prompts of step 1 for one object.

    Args:
        preset: see :func:`~dmseg.protocol.preset`.
        mask: (H, W) bool, the reference; not empty.
        mask_id: the mask's id, without degradation level, so all levels get the same prompts.
        seed: the run's seed.
        text: the sentence that names the object, for a preset that gives one; others have no use for it.

    Raises:
        UsageError: the mask is empty or not 2-D, or there is no sentence where the preset gives one.
    """
    _check(mask, mask_id)
    if preset.gives_text:
        if not text:
            raise UsageError(f'mask {mask_id} has no sentence, which is all that preset "{preset.id}" gives')
        return dataclasses.replace(_prompts([], None), text=text)
    if preset.first in _MIXTURES:
        kinds = stream(seed, mask_id, "kind", 1).choice(_MIXTURES[preset.first])
        clicks = _draw_mixed_clicks(mask, mask_id, seed) if "clicks" in kinds else []
        return _prompts(clicks, jitter_box(mask, mask_id, seed) if "box" in kinds else None)
    if preset.first == "box":
        return _prompts([], jitter_box(mask, mask_id, seed))
    if preset.first == "tight-box":
        return _prompts([], tight_box(mask))
    if preset.first == "3pos":
        return _prompts(_uniform_clicks(mask, mask_id, seed), None)
    click = next_click(mask, np.zeros_like(mask), corrective=preset.first)
    return _prompts([click] if click else [], None)


def candidate_prompts(
    preset: Preset, mask: Mask, mask_id: str, seed: int = 0, text: str | None = None
) -> list[Prompts]:
    """Return all step-1 prompts that a preset wants tried: one, or the tight box and 50 others for a search preset.

    A search preset reports the candidate with the lowest ("min") or highest ("max") IoU, the first among equals.
    Arguments and errors as :func:`first_prompts`.
    """
    if preset.search is None:
        return [first_prompts(preset, mask, mask_id, seed, text)]
    _check(mask, mask_id)
    return [_prompts([], box) for box in candidate_boxes(mask, mask_id, seed)]


def _check(mask: Mask, mask_id: str) -> None:
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise UsageError(f"mask {mask_id}: {mask.dtype} of shape {mask.shape}; expected (height, width) bool")
    if not mask.any():
        raise UsageError(f"mask {mask_id} is empty: there is nothing to prompt for; leave it out of the benchmark")


def _draw_mixed_clicks(mask: Mask, mask_id: str, seed: int) -> list[Click]:
    """Return 1..3 foreground and 0..3 background points, all different."""
    draw = stream(seed, mask_id, "clicks", 1)
    area = int(np.count_nonzero(mask))
    n_positive = min(draw.integer(*FIRST.positive_points), area)
    n_negative = min(draw.integer(*FIRST.negative_points), mask.size - area)
    strategies = [draw.choice(_STRATEGIES) for _ in range(n_positive)]
    inside, outside = region_of(mask), region_of(~mask)
    parts = inside.components() if "error-centre" in strategies else []
    taken: list[Pixel] = []
    for strategy in strategies:
        pixel: Pixel | None = None
        if strategy == "centroid":
            pixel = inside.middle_pixel()
        elif strategy == "error-centre" and parts:
            pixel = parts.pop(0).inmost_pixel()
        if pixel is None or pixel in taken:
            pixel = _free_pixel(inside, draw, taken)
        taken.append(pixel)
    for _ in range(n_negative):
        taken.append(_free_pixel(outside, draw, taken))
    return [Click(x, y, int(mask[y, x])) for y, x in taken]


def _uniform_clicks(mask: Mask, mask_id: str, seed: int) -> list[Click]:
    """Return three different uniform pixels of the object, with repetition if it has fewer than three."""
    draw = stream(seed, mask_id, "uniform", 1)
    region = region_of(mask)
    repeat = int(np.count_nonzero(mask)) < FIRST.uniform_points
    taken: list[Pixel] = []
    for _ in range(FIRST.uniform_points):
        taken.append(_free_pixel(region, draw, [] if repeat else taken))
    return [Click(x, y, 1) for y, x in taken]


def _free_pixel(region: Region, draw: Stream, taken: Sequence[Pixel]) -> Pixel:
    """Return a uniform pixel of a region that is not taken yet; the caller knows that there is one."""
    while True:
        pixel = region.random_pixel(draw)
        if pixel not in taken:
            return pixel


def _prompts(clicks: Sequence[Click], box: Box | None) -> Prompts:
    return Prompts(
        points=np.array([(click.x, click.y) for click in clicks], dtype=np.float32).reshape(-1, 2),
        labels=np.array([click.label for click in clicks], dtype=np.int8),
        box=None if box is None else np.array(box, dtype=np.float32),
        step=1,
    )
