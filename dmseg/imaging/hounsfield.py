"""CT values that are not Hounsfield units (HU): recognise them, convert them by name, refuse what a window hides.

Names of conversions:

* ``hu``: the values are HU, whatever they look like.
* ``hu+N``, ``hu-N``: the values are HU plus (minus) N, such as ``hu+1024`` or ``hu+32768``.
* ``hu-unsigned``: negative HU were read as unsigned 16 bit (-1000 as 64536).
* ``A..B``: values from A to B span the grey window (``0..1``, ``0..255``: saved through a window).
* ``A..B=C..D``: values from A to B are HU from C to D, such as ``0..1=-1000..1000``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import DataError, UsageError
from dmseg.imaging.grey import apply_window
from dmseg.imaging.volumes import rescale
from dmseg.tables import read_packaged_table
from dmseg.types import Window

_TABLE = read_packaged_table("dmseg.imaging", "scales.toml")
_RULES, _OFFSETS, _VISIBLE = _TABLE["hounsfield"], _TABLE["offsets"], _TABLE["visible"]
_SAMPLE = 4_000_000
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SPAN = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:=({_NUMBER})\.\.({_NUMBER}))?")
_OFFSET = re.compile(r"hu([-+]\d+(?:\.\d+)?)")
_WRAP = 65536
FORMS = "hu, hu+N, hu-N, hu-unsigned, A..B (spans the window) or A..B=C..D (C..D in HU)"


@dataclass(frozen=True, slots=True)
class Rescale:
    """A conversion to HU by name: ``hu = slope * value + intercept``, after 16-bit values were unwrapped."""

    name: str
    slope: float = 1.0
    intercept: float = 0.0
    unsigned: bool = False

    def to_hu(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return HU of any shape, int16 or uint16 where one holds them exactly, else float32."""
        if self.unsigned:
            values = values.astype(np.int64)
            values = np.where(values >= _WRAP // 2, values - _WRAP, values)
        return rescale(values, self.slope, self.intercept)

    def from_hu(self, values: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
        """Return stored values of the type ``kind``, rounded half up and limited to what it holds."""
        stored = (values.astype(np.float64) - self.intercept) / self.slope
        if kind.kind == "f":
            return stored.astype(kind)
        limits = np.iinfo(np.int16) if self.unsigned else np.iinfo(kind)
        whole = np.clip(np.floor(stored + 0.5), limits.min, limits.max).astype(np.int64)
        return whole.astype(np.int16).view(np.uint16).astype(kind) if self.unsigned else whole.astype(kind)


def parse_rescale(text: str, window: Window | None = None) -> Rescale:
    """Return a conversion by its name (module docstring).

    Args:
        text: the name.
        window: what ``A..B`` spans, in HU.

    Raises:
        UsageError: no such form, an empty span, or ``A..B`` without a window.

    >>> parse_rescale("hu+1024").to_hu(np.array([24, 1064], np.uint16)).tolist()
    [-1000, 40]
    >>> parse_rescale("0..1", Window(40, 400)).to_hu(np.array([0, 0.5, 1])).tolist()
    [-160.0, 40.0, 240.0]
    """
    name = text.strip().lower()
    if name in ("hu", "hu-unsigned"):
        return Rescale(name, unsigned=name != "hu")
    if found := _OFFSET.fullmatch(name):
        return Rescale(name, intercept=-float(found[1]))
    if not (found := _SPAN.fullmatch(name)):
        raise UsageError(f'--rescale "{text}": give {FORMS}')
    low, high = float(found[1]), float(found[2])
    if found[3] is not None:
        black, white = float(found[3]), float(found[4])
    elif window is not None:
        black, white = window.center - window.width / 2, window.center + window.width / 2
    else:
        raise UsageError(f'--rescale "{text}": say which window that is, --window C/W, or {found[0]}=C..D in HU')
    if not (low < high and black < white):
        raise UsageError(f'--rescale "{text}": the second number of a span must be above the first')
    slope = (white - black) / (high - low)
    return Rescale(name, slope, black - slope * low)


@dataclass(frozen=True, slots=True)
class Scale:
    """What CT values look like: the names of the conversions that fit, likeliest first, and what was seen, in words.

    ``("hu",)`` means Hounsfield units; no name, that none of the known scales fits.
    """

    names: tuple[str, ...]
    seen: str


def recognise_scale(values: NDArray[Any]) -> Scale:
    """Tell in which scale the values of a CT image or volume are.

    Args:
        values: any shape and real type. NaN and infinities are left out; of large volumes a regular sample is taken.
    """
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        return Scale((), "no finite value")
    soft = _share(flat, *_RULES["soft"])
    seen = (
        f"values {flat.min():g}..{flat.max():g}, {100 * soft:.3g} % of them between "
        f"{_RULES['soft'][0]:g} and {_RULES['soft'][1]:g}"
    )
    return Scale(_names(flat), seen)


def _share(flat: NDArray[np.float64], low: float, high: float) -> float:
    return float(((flat >= low) & (flat <= high)).mean()) if flat.size else 0.0


def _names(flat: NDArray[np.float64]) -> tuple[str, ...]:
    low, high = float(flat.min()), float(flat.max())
    if low == high:
        return ()
    if high - low <= _RULES["narrow"]:
        return ("0..1",) if low >= 0 and high <= 1 else ("-1..1",) if low >= -1 and high <= 1 else ()
    if low >= 0:
        return ("0..255",) if high <= 255 else _name_unsigned(flat)
    # Padding far below air is one value: without it, what is below air speaks of another offset.
    below = flat[flat < _RULES["air"][0]]
    padding = np.float64(low) if not below.size else _most_frequent(below)
    image = flat[flat != padding] if below.size else flat
    too_low = _share(image, -np.inf, np.nextafter(_RULES["air"][0], -np.inf))
    if too_low >= _OFFSETS["least_body"] > _share(image, *_RULES["soft"]):
        return _around(image, ("hu-1024",))
    if _share(image, *_RULES["air"]) >= _RULES["least_air"]:
        return ("hu",)
    return ("0..255",) if image.size and image.max() <= 255 else _name_unsigned(image)


def _name_unsigned(flat: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the conversions for values without air below 0."""
    low, high = _OFFSETS["whole"]
    drawn = flat[flat != 0]  # 0 pads
    offset = _OFFSETS["names"]["hu+32768"]
    if _share(drawn, offset + low, offset + high) >= _OFFSETS["most"]:
        return ("hu+32768",)
    wrapped = _share(flat, _WRAP + low, _WRAP - 1)
    if wrapped >= _RULES["least_air"] and wrapped + _share(flat, 0, high) >= _OFFSETS["most"]:
        return ("hu-unsigned",)
    if flat.max(initial=0) > offset:
        return ()
    return _around(flat, ("hu+1024", "hu+1000"))


def _around(flat: NDArray[np.float64], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names around whose offset a body lies."""
    low, high = _OFFSETS["body"]
    offsets = {name: _OFFSETS["names"][name] for name in names}
    return tuple(n for n in names if _share(flat, offsets[n] + low, offsets[n] + high) >= _OFFSETS["least_body"])


def _most_frequent(values: NDArray[np.float64]) -> float:
    found, counts = np.unique(values, return_counts=True)
    return float(found[np.argmax(counts)])


def check_hounsfield(values: NDArray[Any], where: str, *, advice: str = "--rescale {}") -> None:
    """Refuse CT values that are not HU.

    Args:
        values: a whole image or volume (a single slice of air looks like nothing).
        where: the file, for the message.
        advice: how the user names a conversion, with ``{}`` for the name.

    Raises:
        DataError: what was seen, and the conversions that fit.
    """
    scale = recognise_scale(values)
    if scale.names == ("hu",):
        return
    fits = " or ".join(advice.format(name) for name in scale.names)
    what = f"it looks like {' or '.join(scale.names)}: give {fits}" if fits else f"give {advice.format(FORMS)}"
    raise DataError(
        f"{where}: a CT image that is not in Hounsfield units ({scale.seen}); {what}, "
        f"or {advice.format('hu')} where these are Hounsfield units"
    )


def shows_nothing(values: NDArray[Any], window: Window) -> bool:
    """Return whether next to all pixels of a whole image or volume have one grey in the window."""
    flat = values.reshape(-1)
    grey = apply_window(flat[:: max(1, flat.size // _SAMPLE)], window)
    counts = np.bincount(grey, minlength=256)
    bands = np.convolve(counts, np.ones(_VISIBLE["band"], dtype=np.int64), mode="valid")
    return bool(bands.max() >= _VISIBLE["share"] * grey.size)


def check_visible(values: NDArray[Any], window: Window, where: str, *, advice: str = "--window C/W") -> None:
    """Refuse a window in which an image or volume is one flat grey.

    Raises:
        DataError: the window, and where the values lie.
    """
    if shows_nothing(values, window):
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        span = "no finite value" if finite.size == 0 else f"values {finite.min():g}..{finite.max():g}"
        low, high = window.center - window.width / 2, window.center + window.width / 2
        raise DataError(
            f"{where}: the window {window.center:g}/{window.width:g} ({low:g}..{high:g}) shows nothing of it, "
            f"{span}; give another one by {advice}"
        )
