"""Corrective clicks: where a simulated user clicks next, given the reference and the current prediction."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from dmseg.errors import UsageError, unknown_name
from dmseg.protocol.presets import CORRECTIVE_RULES, stream
from dmseg.protocol.regions import MISSED, SURPLUS, Pixel, Region, error_region
from dmseg.types import Mask, Prompts, Stroke


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
    forms = [(mask.dtype, mask.shape) for mask in (reference, prediction)]
    if forms[0] != forms[1] or forms[0][0] != np.bool_ or reference.ndim != 2:
        given = " and ".join(f"{dtype} {shape}" for dtype, shape in forms)
        raise UsageError(f"reference and prediction are {given}; expected two bool masks of one (height, width)")
    if corrective not in CORRECTIVE_RULES:
        raise unknown_name("corrective rule", corrective, CORRECTIVE_RULES)
    error = error_region(reference, prediction)
    if not error:
        return None
    if corrective == "center":
        pixel = error.largest().inmost_pixel()
    elif corrective == "edt-max":
        pixel = _deepest(error, prompts)
    else:
        if prompts is None or not mask_id:
            raise UsageError(f'corrective="{corrective}" draws random numbers: give prompts and mask_id as its key')
        pixel = _draw_corrective(error, corrective, seed, mask_id, prompts.step + 1)
    return Click(pixel[1], pixel[0], int(reference[pixel]))


def with_click(prompts: Prompts, click: Click) -> Prompts:
    """Return the prompts of the next step: everything so far and one more click."""
    return dataclasses.replace(
        prompts,
        points=np.concatenate([prompts.points, np.array([[click.x, click.y]], dtype=np.float32)]),
        labels=np.concatenate([prompts.labels, np.array([click.label], dtype=np.int8)]),
        step=prompts.step + 1,
    )


def with_stroke(prompts: Prompts, stroke: Stroke) -> Prompts:
    """Return the prompts of the next step: everything so far and one more scribble or lasso."""
    return dataclasses.replace(prompts, strokes=(*prompts.strokes, stroke), step=prompts.step + 1)


def _deepest(error: Region, prompts: Prompts | None) -> Pixel:
    """Return the deepest error pixel that was not clicked; equal depth: surplus first, then raster order."""
    clicked = [(int(y), int(x)) for x, y in prompts.points] if prompts is not None else []
    signs = [region for region in (error.of_sign(SURPLUS), error.of_sign(MISSED)) if region]
    depth, pixel = max((region.deepest_pixel(clicked) for region in signs), key=lambda found: found[0])
    if depth < 0:  # every wrong pixel has been clicked: click one again
        _, pixel = max((region.deepest_pixel() for region in signs), key=lambda found: found[0])
    return pixel


def _draw_corrective(error: Region, corrective: str, seed: int, mask_id: str, step: int) -> Pixel:
    """Return a click of the ``random`` or the ``mixed`` rule."""
    draw = stream(seed, mask_id, "corrective", step)
    rule = "random" if corrective == "random" else draw.choice(("random", "middle", "center"))
    if rule == "random":
        return error.random_pixel(draw)
    part = error.largest()
    return part.inmost_pixel() if rule == "center" else part.middle_pixel()
