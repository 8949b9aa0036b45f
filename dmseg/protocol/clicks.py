"""Corrective clicks: where a simulated user clicks next, given the reference and the current prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmseg.errors import UsageError, unknown_name
from dmseg.protocol.presets import CORRECTIVE_RULES, stream
from dmseg.protocol.regions import Pixel, components, inmost_pixel, nearest_to_centroid, squared_depth
from dmseg.types import Mask, Prompts


@dataclass(frozen=True, slots=True)
class Click:
    """One point: column x, row y (integer = pixel centre), label 1 foreground or 0 background."""

    x: int
    y: int
    label: int


def next_click(
    reference: Mask,
    prediction: Mask,
    *,
    corrective: str = "center",
    prompts: Prompts | None = None,
    mask_id: str = "",
    seed: int = 0,
) -> Click | None:
    """Return the next corrective click, or None if the prediction equals the reference.

    Args:
        reference, prediction: (H, W) bool.
        corrective: ``"center"``: inmost pixel of the largest error component. ``"edt-max"``: deepest error pixel, as
            RITM. ``"random"``: uniform over the error. ``"mixed"``: per click one of random, center, and the pixel of
            the largest error component nearest to its centroid.
        prompts: what was given so far; ``edt-max`` does not click a pixel twice while another is in error, and
            the step is part of the key of ``random`` and ``mixed``.
        mask_id, seed: the rest of that key; not used by the other two rules.

    Raises:
        UsageError: shapes differ, the rule is unknown, or a random rule is not given ``prompts`` and ``mask_id``.

    >>> import numpy as np
    >>> reference = np.zeros((9, 9), bool); reference[2:7, 2:7] = True
    >>> next_click(reference, np.zeros((9, 9), bool))
    Click(x=4, y=4, label=1)
    """
    if reference.shape != prediction.shape or reference.ndim != 2:
        raise UsageError(f"reference {reference.shape} and prediction {prediction.shape}: expected one (height, width)")
    if corrective not in CORRECTIVE_RULES:
        raise unknown_name("corrective rule", corrective, CORRECTIVE_RULES)
    missed, surplus = reference & ~prediction, prediction & ~reference
    if not missed.any() and not surplus.any():
        return None
    if corrective == "edt-max":
        pixel = _deepest(missed, surplus, prompts)
    elif corrective == "center":
        pixel = inmost_pixel(_largest(missed, surplus))
    else:
        if prompts is None or not mask_id:
            raise UsageError(f'corrective="{corrective}" draws random numbers: give prompts and mask_id as its key')
        pixel = _drawn(missed, surplus, corrective, seed, mask_id, prompts.step + 1)
    return Click(pixel[1], pixel[0], int(reference[pixel]))


def with_click(prompts: Prompts, click: Click) -> Prompts:
    """Return the prompts of the next step: everything so far and one more click."""
    return Prompts(
        points=np.concatenate([prompts.points, np.array([[click.x, click.y]], dtype=np.float32)]),
        labels=np.concatenate([prompts.labels, np.array([click.label], dtype=np.int8)]),
        box=prompts.box,
        step=prompts.step + 1,
    )


def _largest(missed: Mask, surplus: Mask) -> Mask:
    """Return the largest 8-connected component of either sign; ties: missed first, then the earlier first pixel."""
    heads = [parts[0] for parts in (components(missed), components(surplus)) if parts]
    return max(heads, key=lambda part: int(np.count_nonzero(part)))


def _deepest(missed: Mask, surplus: Mask, prompts: Prompts | None) -> Pixel:
    """Return the deepest error pixel that was not clicked; equal depth: surplus first, then raster order."""
    depths = squared_depth(surplus), squared_depth(missed)
    fresh = [depth.copy() for depth in depths]
    for x, y in prompts.points.astype(int) if prompts is not None else ():
        for depth in fresh:
            depth[y, x] = 0
    if not any(depth.any() for depth in fresh):
        fresh = list(depths)  # every wrong pixel has been clicked: click one again
    best = max(fresh, key=lambda depth: int(depth.max()))
    row, column = np.unravel_index(int(np.argmax(best)), best.shape)
    return int(row), int(column)


def _drawn(missed: Mask, surplus: Mask, corrective: str, seed: int, mask_id: str, step: int) -> Pixel:
    """Return a click of the ``random`` or the ``mixed`` rule."""
    draw = stream(seed, mask_id, "corrective", step)
    rule = "random" if corrective == "random" else draw.choice(("random", "centroid", "center"))
    if rule == "random":
        wrong = np.flatnonzero(missed | surplus)
        row, column = divmod(int(wrong[draw.integer(0, len(wrong) - 1)]), missed.shape[1])
        return row, column
    part = _largest(missed, surplus)
    return inmost_pixel(part) if rule == "center" else nearest_to_centroid(part)
