"""Arrays of any layout and value range, as the simulators take them, and back.

A layout names the axes with letters: B (images of a batch), D (slices of a volume), H, W, C (channels). What black and
white are is known for uint8 and uint16; for anything else it is stated by the user, or the array is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg import imaging
from dmseg.errors import UsageError
from dmseg.simulators import default_window
from dmseg.simulators.pixels import is_grey
from dmseg.transforms.degradation import Degradation
from dmseg.transforms.settings import Settings
from dmseg.types import Window

ORDER = "BDHWC"
_TAILS = (0.5, 99.5)
_SLACK = 0.1


def check_layout(layout: str) -> str:
    """Return a layout such as ``HWC`` or ``BCHW``, or raise :class:`UsageError`."""
    if len(set(layout)) != len(layout) or not {"H", "W"} <= set(layout) <= set(ORDER):
        raise UsageError(
            f"layout={layout!r}; name each axis once, of B, D, H, W, C, with H and W: HWC, CHW, CDHW, BCHW"
        )
    return layout


def fit_layout(layout: str, shape: tuple[int, ...]) -> str:
    """Return the layout for an array of this shape: without the channels (or batch) that it has not."""
    if len(layout) == len(shape):
        return layout
    for fewer in (layout, layout.replace("C", ""), layout.replace("B", ""), layout.replace("B", "").replace("C", "")):
        if len(fewer) == len(shape):
            return fewer
    raise UsageError(
        f"array of shape {tuple(shape)} does not fit the layout {layout}; give layout=, such as HWC or CDHW"
    )


def degrade_array(
    array: NDArray[Any],
    layout: str,
    drawn: Sequence[Degradation] | Degradation,
    settings: Settings,
    *,
    convention: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """Return a degraded copy of an array.

    Args:
        array: any layout and numeric type; never changed.
        layout: one letter an axis.
        drawn: one degradation for all images of the batch, or one for each.
        settings: what the values mean, and how channels and slices are treated.
        convention: black and white of float arrays by the host library's own definition; None: it has none.

    Raises:
        UsageError: values whose black and white are not known, NaN, an unusable size.
    """
    letters = [letter for letter in ORDER if letter in layout]
    order = [layout.index(letter) for letter in letters]
    source = array.transpose(order)
    has_channels, has_slices = "C" in letters, "D" in letters
    if "B" not in letters:
        (only,) = [drawn] if isinstance(drawn, Degradation) else drawn
        made = _degrade_one(source, has_channels, has_slices, only, settings, convention)
        made = made.copy() if np.may_share_memory(made, array) else made
        made = made.transpose([order.index(axis) for axis in range(array.ndim)])
        if made.flags.c_contiguous:
            return made
        out = np.empty_like(array)
        out[...] = made
        return out
    each = [drawn] * len(source) if isinstance(drawn, Degradation) else list(drawn)
    out = np.empty_like(array)
    for image, target, degradation in zip(source, out.transpose(order), each, strict=True):
        target[...] = _degrade_one(image, has_channels, has_slices, degradation, settings, convention)
    return out


def _degrade_one(
    image: NDArray[Any],
    channels: bool,
    slices: bool,
    drawn: Degradation,
    settings: Settings,
    convention: tuple[float, float] | None,
) -> NDArray[Any]:
    """Return one image or volume, channels last where it has any, degraded; the given array where nothing acts."""
    if channels and image.shape[-1] == 1:
        made = _degrade_one(image[..., 0], False, slices, drawn, settings, convention)
        return made[..., None]
    image = np.ascontiguousarray(image)
    scale = find_scale(image, settings, convention)
    if not channels or (image.shape[-1] == 3 and _is_colour(image, settings)):
        return _apply(image, slices, drawn, settings, scale, 0)
    parts = [_apply(image[..., one], slices, drawn, settings, scale, one) for one in range(image.shape[-1])]
    return np.stack(parts, axis=-1)


def _is_colour(image: NDArray[Any], settings: Settings) -> bool:
    if settings.colour is not None:
        return settings.colour
    flat = image.reshape(-1, *image.shape[-2:])
    return settings.modality != "mri" or is_grey(flat)


def _apply(
    image: NDArray[Any], slices: bool, drawn: Degradation, settings: Settings, scale: Window | None, channel: int
) -> NDArray[Any]:
    given = np.ascontiguousarray(image)
    working = given if scale is None else _normalise(given, scale)
    if not slices:
        made = drawn.apply(working, channel=channel)
    elif settings.per_slice:
        made = np.stack(
            [settings.draw(f"{drawn.plan.key}/{z}").apply(one, channel=channel) for z, one in enumerate(working)]
        )
    else:
        made = drawn.apply_to_volume(working, channel=channel)
    return made if scale is None else _add_change(given, working, made, scale)


def _normalise(values: NDArray[Any], scale: Window) -> NDArray[np.float32]:
    """Return the image of 0..1 that a window shows; in single precision for single-precision values."""
    if values.dtype != np.float32:
        return imaging.normalise(values, scale)
    image = (values - np.float32(scale.center - scale.width / 2)) * np.float32(1 / scale.width)
    return np.clip(image, 0, 1, out=image)


def _add_change(values: NDArray[Any], before: NDArray[np.float32], after: NDArray[Any], scale: Window) -> NDArray[Any]:
    """Return the values with the change of the shown image; see :func:`dmseg.imaging.add_change`."""
    black, white = scale.center - scale.width / 2, scale.center + scale.width / 2
    if values.dtype != np.float32 or values.min() < black or values.max() > white:
        return imaging.add_change(values, before, after, scale)
    made = (after - before) * np.float32(scale.width)
    made += values
    return np.clip(made, black, white, out=made)


def find_scale(image: NDArray[Any], settings: Settings, convention: tuple[float, float] | None) -> Window | None:
    """Return the window that takes the values to [0, 1]; None where the simulators know it from the type.

    Raises:
        UsageError: values whose black and white nothing states; NaN or infinity.
    """
    kind, given = image.dtype, settings.value_range
    if given is None and kind in (np.uint8, np.uint16):
        return None
    if kind.kind not in "iuf":
        raise UsageError(f"cannot degrade values of type {kind.name}; give integers or floats")
    ends = (float(image.min()), float(image.max())) if kind.kind == "f" else (0.0, 0.0)
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1])):
        raise UsageError("the image contains NaN or infinity; replace them before degrading")
    if isinstance(given, str):
        return _measure(image, given)
    if given is not None:
        return _find_span(kind, ends, *given)
    stated = settings.window if kind.kind == "f" else settings.window or default_window(settings.modality)
    if isinstance(stated, Window) and kind.kind != "u":
        return None if kind == np.int16 else stated
    if convention is None or kind.kind != "f":
        raise UsageError(_ask(image))
    black, white = convention
    low, high = ends
    slack = _SLACK * (white - black)
    if low < black - slack or high > white + slack:
        raise UsageError(f"values {low:g}..{high:g}, where {black:g}..{white:g} are defined; {_ask(image)}")
    return _find_span(kind, ends, black, white)


def _ask(image: NDArray[Any]) -> str:
    return (
        f"{image.dtype.name} values {float(image.min()):g}..{float(image.max()):g}: what are black and white? Give "
        "value_range=(black, white), such as (0, 1), (0, 4095) or (-3, 3); value_range='minmax' or 'percentiles' to "
        "measure them on each image; or window=(center, width) for values in HU"
    )


def _measure(image: NDArray[Any], how: str) -> Window:
    ends = np.percentile(image, _TAILS) if how == "percentiles" else (image.min(), image.max())
    low, high = float(ends[0]), float(ends[1])
    if how == "percentiles" and low == high:
        low, high = float(image.min()), float(image.max())
    return _make_window(low, high if high > low else low + 1)


def _find_span(kind: np.dtype[Any], ends: tuple[float, float], black: float, white: float) -> Window | None:
    """Return the window from black to white; None where the simulators take the values as they are."""
    plain = (black, white) == (0, 1) and kind == np.float32 and ends[0] >= 0 and ends[1] <= 1
    return None if plain else _make_window(black, white)


def _make_window(black: float, white: float) -> Window:
    return Window((black + white) / 2, white - black)
