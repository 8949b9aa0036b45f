"""What is measured once, on Clear, so that every level sees the same facts: levels, window, geometry of the scan."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg import imaging
from dmseg.compiled import compile_function
from dmseg.errors import UsageError
from dmseg.simulators import pixels
from dmseg.simulators.geometry import check_geometry, estimate, reflectors
from dmseg.simulators.tables import default_window
from dmseg.types import Image, Window, check_modality

HISTOGRAM_BINS = 32


def round_measured(value: float) -> float:
    """Return a measured number with 6 significant digits."""
    return float(f"{value:.6g}")


def make_working(image: Any, window: Window | None) -> Image:
    """Return the image that operations work on: checked, int16 brought to [0, 1] by its window.

    Raises:
        UsageError: see :func:`dmseg.simulators.pixels.check_image`; int16 without a window.
    """
    values = pixels.check_image(image)
    if values.dtype != np.int16:
        return values
    if window is None:
        raise UsageError("an int16 image needs a window: give window=Window(center, width) in the units of the values")
    return imaging.normalise(values, window)


@compile_function
def _count_bytes(flat, counts):  # type: ignore[no-untyped-def]
    # Four tables in turn: equal neighbours would wait for each other's count.
    parts = np.zeros((4, 256), np.int64)
    even = flat.size // 4 * 4
    for start in range(0, even, 4):
        for lane in range(4):
            parts[lane, flat[start + lane]] += 1
    for at in range(even, flat.size):
        parts[0, flat[at]] += 1
    for grey in range(256):
        counts[grey] = parts[0, grey] + parts[1, grey] + parts[2, grey] + parts[3, grey]


def _grey_counts(image: Image) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how often each grey value occurs, and the values in [0, 1], ascending."""
    if image.dtype == np.uint8:
        counts = np.empty(256, np.int64)
        _count_bytes(image.reshape(-1), counts)
        return counts, np.arange(256) / 255.0
    values, counts = np.unique(image, return_counts=True)
    return counts, values / pixels.top(image)


class Facts(Mapping[str, Any]):
    """What :func:`observe` measures of Clear, each part on first use: most operations need few of them.

    ``image`` is the working image that it is measured on.
    """

    def __init__(
        self, image: Image, *, modality: str | None, geometry: Mapping[str, Any] | None, window: Window | None
    ) -> None:
        height, width = image.shape[:2]
        self.image, self.given_geometry = image, geometry
        self._known: dict[str, Any] = {
            "modality": modality,
            "height": height,
            "width": width,
            "window": None if window is None else [window.center, window.width],
        }
        self._parts = _list_parts(modality)

    @functools.cached_property
    def grey_counts(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How often each grey value occurs, and the values in [0, 1], ascending."""
        return _grey_counts(self.image)

    def __getitem__(self, name: str) -> Any:
        if name not in self._known and name in self._parts:
            self._known |= self._parts[name](self)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*(name for name in self._known if name not in self._parts), *self._parts))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __bool__(self) -> bool:
        return True


GREYS = ("minimum", "maximum", "mean", "deviation", "midtones", "white", "histogram")
"""Facts about the grey values alone, which pool over the slices of a volume."""


def _average(counts: NDArray[np.int64], greys: NDArray[np.float64]) -> float:
    return float((counts * greys).sum() / counts.sum())


def _measure_greys(facts: Facts) -> dict[str, Any]:
    counts, greys = facts.grey_counts
    total = counts.sum()
    present = greys[counts > 0]
    mean = _average(counts, greys)
    bins = np.minimum((greys * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    return {
        "minimum": round_measured(float(present[0])),
        "maximum": round_measured(float(present[-1])),
        "mean": round_measured(mean),
        "deviation": round_measured(float(np.sqrt((counts * (greys - mean) ** 2).sum() / total))),
        "midtones": round_measured(float(counts[(greys > 0) & (greys < 1)].sum() / total)),
        "white": round_measured(float(counts[greys == 1].sum() / total)),
        "histogram": [round_measured(float(count)) for count in np.bincount(bins, counts, HISTOGRAM_BINS) / total],
    }


def _measure_scan(facts: Facts) -> dict[str, Any]:
    given, image = facts.given_geometry, facts.image
    found = check_geometry(given) if given is not None else estimate(image)
    return {"geometry": found, **reflectors(image, found)}


@functools.cache
def _list_parts(modality: str | None) -> dict[str, Callable[[Facts], dict[str, Any]]]:
    """Return what measures each fact of an image of a modality."""
    parts: dict[str, Callable[[Facts], dict[str, Any]]] = dict.fromkeys(GREYS, _measure_greys)
    parts["mean"] = lambda facts: {"mean": round_measured(_average(*facts.grey_counts))}  # which most plans ask for
    if modality == "ultrasound":
        parts |= dict.fromkeys(("geometry", "reflectors", "interface"), _measure_scan)
    if modality in OPTICAL:
        parts |= dict.fromkeys(("field_of_view", "bright", "sites"), lambda facts: optical_facts(facts.image))
    if modality == "ct":
        parts["body_width"] = lambda facts: {"body_width": body_width(facts.image)}
    return parts


def look(
    clear: Any,
    *,
    modality: str | None = None,
    geometry: Mapping[str, Any] | None = None,
    window: Window | None = None,
) -> Facts:
    """Return the facts of an undegraded image, to be measured when they are asked for; see :func:`observe`."""
    modality = check_modality(modality) if modality is not None else None
    window = window or default_window(modality)
    return Facts(make_working(clear, window), modality=modality, geometry=geometry, window=window)


def observe(
    clear: Any,
    *,
    modality: str | None = None,
    geometry: Mapping[str, Any] | None = None,
    window: Window | None = None,
) -> dict[str, Any]:
    """Measure an undegraded image.

    Args:
        clear: uint8, uint16, float32 in [0, 1] or int16 with a window; (H, W) or (H, W, 3).
        modality: one of :data:`dmseg.types.MODALITIES`, or None where only general operations are wanted.
        geometry: scan geometry to use instead of the estimate (ultrasound).
        window: grey window in the units of the scanner; default: the modality's.

    Returns:
        A JSON-able dictionary: shape, grey levels, histogram (share of pixels in 32 bins), window, geometry.

    Raises:
        UsageError: unknown modality, or an image that cannot be used.
    """
    return dict(look(clear, modality=modality, geometry=geometry, window=window))


OPTICAL = ("endoscopy", "dermoscopy", "microscopy", "dental")
_SITE_GRID = 16
_SITES = 48


BLACK = 2.5 / 255
"""Grey up to which a pixel of a CT slice counts as clipped to black: coding moves it by a grey or two."""


def body_width(image: Image) -> int:
    """Return the longer side in px of the box around what is not black: the object in the scanner."""
    grey = image if image.ndim == 2 else image.max(axis=2)
    rows, columns = (np.flatnonzero((grey > BLACK * pixels.top(image)).mean(axis=axis) > 0.02) for axis in (1, 0))
    if rows.size == 0 or columns.size == 0:
        return int(max(image.shape[:2]))
    return 1 + max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0]))


def optical_facts(image: Image) -> dict[str, Any]:
    """Return the field of view, the bright level and the sites where a lamp would be reflected.

    Returns:
        ``field_of_view``: [x0, y0, x1, y1] of what is not black, px; ``bright``: 95th percentile in [0, 1]; ``sites``:
        up to 48 [x, y] as shares of width and height, cells of a 16 x 16 grid by falling brightness + gradient.
    """
    height, width = image.shape[:2]
    side = _SITE_GRID * 4
    small = cv2.resize(pixels.unit(image), (side, side), interpolation=cv2.INTER_AREA)
    grey = np.asarray(small if small.ndim == 2 else small.max(axis=2), np.float32)
    lit = grey > 0.06
    rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.1), np.flatnonzero(lit.mean(axis=0) > 0.1)
    box = [0, 0, side, side]
    if rows.size and columns.size:
        box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    # Not at the rim of the field of view, whose step is no surface.
    lit = cv2.erode(lit.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=0) > 0
    weight = np.where(lit, grey + slope, 0).reshape(_SITE_GRID, 4, _SITE_GRID, 4).mean(axis=(1, 3)).round(4)
    order = np.argsort(-weight, axis=None, kind="stable")[:_SITES]
    order = order[weight.ravel()[order] > 0]
    places = np.stack([order % _SITE_GRID, order // _SITE_GRID], axis=1)
    return {
        "field_of_view": [round(value / side * size) for value, size in zip(box, (width, height) * 2, strict=True)],
        "bright": round_measured(float(np.quantile(grey, 0.95))),
        "sites": [[round((x + 0.5) / _SITE_GRID, 4), round((y + 0.5) / _SITE_GRID, 4)] for x, y in places.tolist()],
    }
