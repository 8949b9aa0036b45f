"""Images that look different at every visit: a window of them, other tones, and drawn objects as targets.

A network that starts from nothing sees few kinds of images; what it learns should be to follow prompts to a boundary,
not how the organs of a dozen data sets look. Everything is a function of a key. Turns are in :mod:`.samples`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.rng import Stream
from dmseg.tables import check_number
from dmseg.types import Mask, as_rgb

Pixels = NDArray[np.uint8]
_CORNERS, _WAVES = 96, 6  # of a drawn outline
_ATTEMPTS = 20  # to find room for a drawn object


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much images change.

    Attributes:
        window: smallest side of the part that is seen, as a share of the image's; objects are never cut.
        gamma: tones are raised to a power between 1 / gamma and gamma.
        black, white: largest rise of black and largest fall of white, as shares of the range.
        inverted: share of visits with inverted tones.
        tinted, tint: share of visits whose channels get gammas of their own, and how large these are.
        drawn: share of visits with drawn objects as targets, in place of the image's own.
        radius: smallest and largest radius that a drawn object starts from, as shares of the shorter side.
        flat: smallest factor by which it is shortened across.
        waves: amplitude of an outline's lowest wave, relative to the radius; higher ones fall off.
        difference: smallest and largest difference of grey to what a drawn object covers.
        texture: largest factor of the texture, which is taken from elsewhere in the image.
        blur: largest standard deviation of a drawn boundary, in pixels.
    """

    window: float
    gamma: float
    black: float
    white: float
    inverted: float
    tinted: float
    tint: float
    drawn: float
    radius: tuple[float, float]
    flat: float
    waves: float
    difference: tuple[float, float]
    texture: float
    blur: float

    def __post_init__(self) -> None:
        for name in ("inverted", "tinted", "drawn"):
            check_number(f"appearance.{name}", getattr(self, name), 0, 1)
        check_number("appearance.flat", self.flat, above=0, most=1)
        for name in ("gamma", "tint"):
            check_number(f"appearance.{name}", getattr(self, name), 1)
        for name in ("black", "white", "waves", "texture", "blur"):
            check_number(f"appearance.{name}", getattr(self, name), 0)
        check_number("appearance.black + appearance.white", self.black + self.white, below=1)
        check_number("appearance.window", self.window, above=0, most=1)
        check_number("appearance.radius", self.radius[0], above=0)
        check_number("appearance.radius", self.radius[1], self.radius[0], 0.5)
        check_number("appearance.difference", self.difference[0], 0)
        check_number("appearance.difference", self.difference[1], self.difference[0], 127)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn object: its mask (H, W) bool, the soft mask (H, W) float32 that it is blended with, where its texture
    comes from (rows, columns), the texture's factor, and its difference of grey."""

    mask: Mask
    soft: NDArray[np.float32]
    shift: tuple[int, int]
    texture: float
    difference: float

    def onto(self, image: Pixels) -> None:
        """Blend the object into an image, uint8 (H, W, 3), in place."""
        place = tuple(_extent(self.soft > 0, axis) for axis in (0, 1))
        mask, part = self.mask[place], image[place].astype(np.float32)
        rows, columns = (
            (np.arange(along.start, along.stop) + shift) % size
            for along, shift, size in zip(place, self.shift, image.shape, strict=False)
        )
        source = image[np.ix_(rows, columns)].astype(np.float32)
        below = part[mask].mean(0)
        outside = np.abs(below + self.difference - 127.5) > 127.5
        content = below + np.where(outside, -self.difference, self.difference)
        content = content + self.texture * (source - source[mask].mean(0))
        blended = part + self.soft[place][..., None] * (content - part)
        image[place] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class View:
    """How one visit sees an image.

    Attributes:
        window: rows and columns that are seen.
        tones: (256, 3) uint8, what each grey of each channel becomes.
        drawn: objects put into the image.
        masks: the objects as they lie in the window, (h, w) bool.
    """

    window: tuple[slice, slice]
    tones: Pixels
    drawn: tuple[Drawn, ...]
    masks: tuple[Mask, ...]

    def apply(self, image: Pixels) -> Pixels:
        """Return an image, grey (H, W) or colour (H, W, 3) uint8, as this visit sees it; colour where it is tinted."""
        grey = image.ndim == 2 and bool((self.tones == self.tones[:, :1]).all())
        image = as_rgb(image).copy()
        for one in self.drawn:
            one.onto(image)
        seen = np.asarray(cv2.LUT(image, self.tones[None]), np.uint8)[self.window]
        return np.ascontiguousarray(seen[..., 0] if grey else seen)


def view(appearance: Augmentation, masks: Sequence[Mask], draw: Stream) -> View:
    """Draw a view of an image with these objects, (H, W) bool each, none empty."""
    tones = _tones(appearance, draw)
    drawn = _objects(appearance, masks[0].shape, len(masks), draw) if draw.uniform() < appearance.drawn else ()
    masks = [one.mask for one in drawn] or masks
    window = _window(appearance.window, np.any(masks, axis=0), draw)
    return View(window, tones, drawn, tuple(np.ascontiguousarray(mask[window]) for mask in masks))


def _tones(appearance: Augmentation, draw: Stream) -> Pixels:
    """Return what each grey becomes, channel by channel, uint8 (256, 3)."""
    power = _log_uniform(draw, appearance.gamma)
    low, high = draw.uniform(0, appearance.black), 1 - draw.uniform(0, appearance.white)
    inverted, tinted = draw.uniform() < appearance.inverted, draw.uniform() < appearance.tinted
    channels = [power * (_log_uniform(draw, appearance.tint) if tinted else 1.0) for _ in range(3)]
    grey = np.linspace(0, 1, 256)
    curves = np.stack([low + (high - low) * grey**channel for channel in channels], 1)
    return np.rint(255 * (1 - curves if inverted else curves)).astype(np.uint8)


def _log_uniform(draw: Stream, factor: float) -> float:
    return math.exp(draw.uniform(-1, 1) * math.log(factor))


def _objects(appearance: Augmentation, shape: tuple[int, ...], n: int, draw: Stream) -> tuple[Drawn, ...]:
    """Draw ``n`` objects that do not overlap; none where there is no room for them."""
    found: list[Drawn] = []
    for _ in range(_ATTEMPTS * n):
        if len(found) == n:
            break
        new = _object(appearance, (shape[0], shape[1]), draw)
        if not any((one.mask & new.mask).any() for one in found):
            found.append(new)
    return tuple(found) if len(found) == n else ()


def _object(appearance: Augmentation, shape: tuple[int, int], draw: Stream) -> Drawn:
    height, width = shape
    low, high = appearance.radius
    radius = min(shape) * low * (high / low) ** draw.uniform()
    mask = np.zeros(shape, np.uint8)
    centre = np.array([draw.uniform(0, width - 1), draw.uniform(0, height - 1)])
    outline = centre + _outline(radius, appearance, draw)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], (1,))
    sigma = draw.uniform(0, appearance.blur)
    soft = mask.astype(np.float32)
    if sigma > 0.3:  # below, a Gaussian on the pixel grid is no blur
        soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), sigma), np.float32)
    shift = (draw.integer(0, height - 1), draw.integer(0, width - 1))
    sign = 1 if draw.uniform() < 0.5 else -1
    grey = sign * draw.uniform(*appearance.difference)
    return Drawn(mask.astype(np.bool_), soft, shift, draw.uniform(0, appearance.texture), grey)


def _outline(radius: float, appearance: Augmentation, draw: Stream) -> NDArray[np.float64]:
    """Return corners of a wavy, flattened, turned circle around the origin, (96, 2) x, y."""
    angle = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    wave = sum(
        draw.uniform(0, appearance.waves) / order * np.cos(order * angle + draw.uniform(0, 2 * math.pi))
        for order in range(1, _WAVES + 1)
    )
    flat, turn = draw.uniform(appearance.flat, 1.0), draw.uniform(0, math.pi)
    distance = radius * np.exp(wave)
    x, y = distance * np.cos(angle), flat * distance * np.sin(angle)
    return np.stack([x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)], 1)


def _extent(inside: Mask, axis: int) -> slice:
    """Return the rows (axis 0) or columns (axis 1) from the first to the last that are inside."""
    found = np.flatnonzero(inside.any(1 - axis))
    return slice(int(found[0]), int(found[-1]) + 1)


def _window(smallest: float, objects: Mask, draw: Stream) -> tuple[slice, slice]:
    """Return rows and columns of a window of the image's proportions, or longer, that holds all objects."""
    share = draw.uniform(smallest, 1.0)

    def along(axis: int) -> slice:
        size, held = objects.shape[axis], _extent(objects, axis)
        length = max(held.stop - held.start, round(share * size))
        start = draw.integer(max(0, held.stop - length), min(held.start, size - length))
        return slice(start, start + length)

    return along(0), along(1)
