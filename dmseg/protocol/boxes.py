"""Boxes around an object: tight, jittered, and candidates as far off as boxes drawn by people. Inclusive pixels."""

from __future__ import annotations

import math

import numpy as np

from dmseg.protocol.presets import FIRST, SEARCH, stream
from dmseg.rng import Stream
from dmseg.types import Mask

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1; both corners belong to the box."""


def tight_box(mask: Mask) -> Box:
    """Return the smallest box that holds the object of a non-empty (H, W) mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def box_area(box: Box) -> int:
    """Return the number of pixels of a box, 0 if it is empty."""
    return max(0, box[2] - box[0] + 1) * max(0, box[3] - box[1] + 1)


def overlap(a: Box, b: Box) -> tuple[int, int]:
    """Return the pixels of intersection and union of two boxes."""
    inner = box_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return inner, box_area(a) + box_area(b) - inner


def clip(box: Box, shape: tuple[int, ...]) -> Box:
    """Return the box cut to a (H, W) canvas."""
    return max(box[0], 0), max(box[1], 0), min(box[2], shape[1] - 1), min(box[3], shape[0] - 1)


def jitter_box(mask: Mask, mask_id: str, seed: int) -> Box:
    """Return the tight box with each side moved by a whole number of pixels of its own.

    A side moves by U{-m..m}, outwards if positive, with m a tenth of the box's extent across that side, rounded half
    up and held in 1..20. The box is cut to the canvas, and drawn again if it is empty or its IoU with the tight box is
    below 0.5, at most ten times; then it is the tight box.
    """
    tight = tight_box(mask)
    extents = (tight[2] - tight[0] + 1, tight[3] - tight[1] + 1) * 2
    low, high = FIRST.box_jitter_pixels
    reach = [min(max(math.floor(FIRST.box_jitter * extent + 0.5), low), high) for extent in extents]
    draw = stream(seed, mask_id, "box", 1)
    for _ in range(1 + FIRST.box_redraws):
        x0, y0, x1, y1 = (draw.integer(-m, m) for m in reach)
        box = clip((tight[0] - x0, tight[1] - y0, tight[2] + x1, tight[3] + y1), mask.shape)
        inner, union = overlap(box, tight)
        if inner > 0 and inner >= FIRST.box_lowest_iou * union:
            return box
    return tight


def ciou_loss(box: Box, tight: Box) -> float:
    """Return the complete-IoU loss of a box (Zheng et al., 2020): 1 - IoU + centre distance + aspect term.

    >>> ciou_loss((0, 0, 9, 9), (0, 0, 9, 9))
    0.0
    """
    inner, union = overlap(box, tight)
    iou = inner / union
    hull = (max(box[2], tight[2]) - min(box[0], tight[0]) + 1, max(box[3], tight[3]) - min(box[1], tight[1]) + 1)
    offset = (box[0] + box[2] - tight[0] - tight[2], box[1] + box[3] - tight[1] - tight[3])
    distance = (offset[0] ** 2 + offset[1] ** 2) / (4 * (hull[0] ** 2 + hull[1] ** 2))
    angles = [math.atan2(b[2] - b[0] + 1, b[3] - b[1] + 1) for b in (box, tight)]
    aspect = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    weight = aspect / (1 - iou + aspect) if aspect else 0.0
    return 1 - iou + distance + weight * aspect


def candidate_boxes(mask: Mask, mask_id: str, seed: int) -> list[Box]:
    """Return the tight box and 50 boxes whose CIoU loss follows the spread of boxes that people draw.

    For each candidate a loss is drawn from Gamma(1.789, 0.121); then the four sides are moved along a random direction
    as far as gives that loss, rounded to pixels and cut to the canvas. On small objects or at the frame not every loss
    can be had; then the closest of 20 directions is taken.
    """
    tight = tight_box(mask)
    draw = stream(seed, mask_id, "candidates", 1)
    return [tight, *(_candidate(tight, mask.shape, draw) for _ in range(SEARCH.candidates))]


def _candidate(tight: Box, shape: tuple[int, ...], draw: Stream) -> Box:
    """Return one box whose loss is near a drawn one."""
    target = gamma(SEARCH.gamma_shape, draw) * SEARCH.gamma_scale
    best, miss = tight, math.inf
    for _ in range(SEARCH.directions):
        direction = [draw.normal() for _ in range(4)]
        box = _box_of_loss(target, tight, direction, shape)
        error = abs(ciou_loss(box, tight) - target)
        if error < miss:
            best, miss = box, error
        if miss <= SEARCH.loss_tolerance:
            break
    return best


def _box_of_loss(target: float, tight: Box, direction: list[float], shape: tuple[int, ...]) -> Box:
    """Return the box along a direction at which the loss reaches ``target``: bisection of the stretch."""
    width, height = tight[2] - tight[0] + 1, tight[3] - tight[1] + 1

    def stretch(by: float) -> Box:
        moves = [math.floor(by * part * side + 0.5) for part, side in zip(direction, (width, height) * 2, strict=True)]
        return clip((tight[0] + moves[0], tight[1] + moves[1], tight[2] + moves[2], tight[3] + moves[3]), shape)

    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        box = stretch(middle)
        if box_area(box) == 0 or ciou_loss(box, tight) > target:
            high = middle
        else:
            low = middle
    below, above = stretch(low), stretch(high)
    if box_area(above) == 0:
        return below
    return min(below, above, key=lambda box: abs(ciou_loss(box, tight) - target))


def gamma(shape: float, draw: Stream) -> float:
    """Return one Gamma(shape, 1) number by rejection (Marsaglia and Tsang, 2000); the shape is at least 1."""
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = draw.normal()
        v = (1 + c * x) ** 3
        if v > 0 and math.log(1 - draw.uniform()) < 0.5 * x * x + d - d * v + d * math.log(v):
            return d * v
