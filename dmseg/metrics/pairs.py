"""One call scores a pair of masks, one scores a batch: arguments are checked here, empties are decided here.

Sources and reasons for the definition: ``docs/metrics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError, unknown_name
from dmseg.metrics import fast
from dmseg.metrics.reference import TIE, boundary_scores
from dmseg.types import pack_mask_uint64, zero_or_one

TOLERANCES: tuple[float, ...] = (1, 2, 3, 5)
BOUNDARIES: tuple[str, ...] = ("vertex", "pixel")
HD95_RULES: tuple[str, ...] = ("directed", "pooled")


@dataclass(frozen=True, slots=True)
class Score:
    """Agreement of one predicted mask with its reference.

    Attributes:
        iou, dice, pixel_accuracy: fractions in [0, 1] from integer pixel counts.
        nsd: normalised surface Dice in [0, 1] per tolerance, keyed by the tolerance as it was given.
        hd95, hd: Hausdorff distances in pixels, or in the unit of the spacing; ``inf`` if exactly one mask is empty.
    """

    iou: float
    dice: float
    pixel_accuracy: float
    nsd: Mapping[float, float]
    hd95: float
    hd: float

    @property
    def defined(self) -> bool:
        """Whether HD95 is a distance, i.e. not exactly one of the masks was empty."""
        return math.isfinite(self.hd95)


def image_diagonal(shape: tuple[int, ...], spacing: Sequence[float] | None = None) -> float:
    """Return the diagonal of a grid, (H, W) or (Z, Y, X): the value with which an undefined HD95 enters every mean."""
    return math.hypot(*(side * step for side, step in zip(shape, spacing or (1.0,) * len(shape), strict=True)))


def on_grid(mask: NDArray[np.bool_], longest: int | None) -> NDArray[np.bool_]:
    """Return a (H, W) mask on a grid whose longer side is ``longest`` pixels, each taking the nearest old pixel.

    Tolerances and HD95 in pixels depend on the grid; scoring both masks on one of 1024 is how figures published for
    1024-pixel inputs are compared. The default everywhere is the grid of the reference; None leaves the mask on it.

    Raises:
        UsageError: ``longest`` is below 1.
    """
    if longest is None or longest == max(mask.shape):
        return mask
    if longest < 1:
        raise UsageError(f"grid {longest}: expected the length of the longer side in pixels, at least 1")
    side = max(mask.shape)
    rows, columns = ((2 * np.arange(max(1, (2 * n * longest + side) // (2 * side))) + 1) * n for n in mask.shape)
    new_height, new_width = len(rows), len(columns)
    return mask[np.ix_(rows // (2 * new_height), columns // (2 * new_width))]


def score(
    reference: Any,
    prediction: Any,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    tolerances: Sequence[float] = TOLERANCES,
    boundary: str = "vertex",
    hd95: str = "directed",
) -> Score:
    """Score one predicted mask against its reference.

    Args:
        reference: (H, W) bool, or numbers that are all 0 or 1.
        prediction: the same shape.
        spacing: size of a pixel (y, x), usually mm; distances and tolerances are in this unit. ``(1, 1)`` is pixels.
        tolerances: NSD tolerances; a boundary point at most this far from the other boundary counts as right.
        boundary: ``"vertex"`` (default), or ``"pixel"`` for comparison with MONAI and MedPy.
        hd95: ``"directed"`` (default): the larger of the two directed quantiles; ``"pooled"``: one quantile of both.

    Returns:
        A :class:`Score`. Both masks empty: 1, 1, 1 and distance 0. Exactly one empty: IoU, Dice and NSD 0, distances
        ``inf`` (``image_diagonal`` is what enters a mean).

    Raises:
        UsageError: not 2-D, different shapes, values other than 0 and 1, or an option that does not exist.

    >>> import numpy as np
    >>> a = np.zeros((64, 64), bool); a[10:30, 10:30] = True
    >>> result = score(a, np.roll(a, 2, axis=1))
    >>> round(result.dice, 3), result.hd95, round(result.nsd[2], 3)
    (0.9, 2.0, 1.0)
    """
    spacing, tolerances = _check_options(spacing, tolerances, boundary, hd95)
    return _score(reference, prediction, spacing, tolerances, boundary, hd95, "")


def score_batch(
    references: Sequence[Any] | NDArray[Any],
    predictions: Sequence[Any] | NDArray[Any],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    tolerances: Sequence[float] = TOLERANCES,
    boundary: str = "vertex",
    hd95: str = "directed",
) -> list[Score]:
    """Score predictions against references pair by pair: N masks each, or one (N, H, W) array each.

    Equal to :func:`score` on every pair. Pairs may differ in size. Arguments and errors as :func:`score`; the message
    of an error names the pair.
    """
    spacing, tolerances = _check_options(spacing, tolerances, boundary, hd95)
    if len(references) != len(predictions):
        raise UsageError(f"{len(references)} references but {len(predictions)} predictions; give one for each")
    return [
        _score(reference, prediction, spacing, tolerances, boundary, hd95, f"pair {index}: ")
        for index, (reference, prediction) in enumerate(zip(references, predictions, strict=True))
    ]


def _score(
    reference: Any,
    prediction: Any,
    spacing: tuple[float, float],
    tolerances: Sequence[float],
    boundary: str,
    hd95: str,
    where: str,
) -> Score:
    a, b = _as_mask(reference, f"{where}reference"), _as_mask(prediction, f"{where}prediction")
    if a.shape != b.shape:
        raise UsageError(f"{where}reference is {_size(a)} but prediction is {_size(b)}; bring both to one grid first")
    words_a, words_b = pack_mask_uint64(a), pack_mask_uint64(b)
    counts, boxes = np.empty(3, dtype=np.int64), np.empty((2, 4), dtype=np.int64)
    if fast.count_pixels(words_a, words_b, counts, boxes):
        a, b = _clean_mask(reference, f"{where}reference"), _clean_mask(prediction, f"{where}prediction")
        return _score(a, b, spacing, tolerances, boundary, hd95, where)
    both, in_a, in_b = counts.tolist()
    union = in_a + in_b - both
    accuracy = (a.size - in_a - in_b + 2 * both) / a.size
    if union == 0:
        return Score(1.0, 1.0, accuracy, dict.fromkeys(tolerances, 1.0), 0.0, 0.0)
    if in_a == 0 or in_b == 0:
        return Score(0.0, 0.0, accuracy, dict.fromkeys(tolerances, 0.0), math.inf, math.inf)
    default = boundary == "vertex" and hd95 == "directed" and spacing[0] == spacing[1]
    if default and max(a.shape) <= fast.LARGEST_SIDE:
        nsd, quantile, largest = _fast_boundary_scores(words_a, words_b, boxes, spacing[0], tolerances)
    else:
        nsd, quantile, largest = boundary_scores(a, b, spacing, tolerances, boundary, hd95)
    return Score(
        iou=both / union,
        dice=2 * both / (in_a + in_b),
        pixel_accuracy=accuracy,
        nsd=dict(zip(tolerances, nsd, strict=True)),
        hd95=quantile,
        hd=largest,
    )


def _fast_boundary_scores(
    a: NDArray[np.uint64], b: NDArray[np.uint64], boxes: NDArray[np.int64], unit: float, tolerances: Sequence[float]
) -> tuple[list[float], float, float]:
    """Return NSD per tolerance, HD95 and HD of two non-empty masks with square pixels of side ``unit``."""
    limits = [math.floor(min(tolerance / unit * (1 + TIE), fast.UNREACHED) ** 2) for tolerance in tolerances]
    nsd = np.empty(len(limits))
    quantile, largest = fast.boundary_scores(a, b, boxes, np.array(limits, dtype=np.int64), nsd)
    return nsd.tolist(), math.sqrt(quantile) * unit, math.sqrt(largest) * unit


def _check_options(
    spacing: tuple[float, float], tolerances: Sequence[float], boundary: str, hd95: str
) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Return spacing and tolerances as tuples after checking all four."""
    if boundary not in BOUNDARIES:
        raise unknown_name("boundary", str(boundary), BOUNDARIES)
    if hd95 not in HD95_RULES:
        raise unknown_name("hd95 rule", str(hd95), HD95_RULES)
    steps = tuple(float(value) for value in spacing)
    if len(steps) != 2 or not all(math.isfinite(value) and value > 0 for value in steps):
        raise UsageError(f"spacing {spacing!r}: expected two positive numbers, the pixel size (y, x)")
    if not all(math.isfinite(value) and value >= 0 for value in tolerances):
        raise UsageError(f"tolerances {tuple(tolerances)!r}: expected numbers of 0 or more, in the unit of the spacing")
    return (steps[0], steps[1]), tuple(tolerances)


def _as_mask(array: Any, name: str) -> NDArray[np.uint8]:
    """Return a (H, W) mask as bytes, or say what is wrong with it.

    The bytes of uint8 and bool arrays are not looked at here: the pixel count finds any that is neither 0 nor 1.
    """
    values = np.asarray(array)
    if values.ndim != 2 or values.size == 0:
        raise UsageError(f"{name} has shape {values.shape}; a mask is (height, width), one object, at least one pixel")
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.view(np.uint8)
    return _clean_mask(values, name)


def _clean_mask(array: Any, name: str) -> NDArray[np.uint8]:
    """Return a mask as bytes of 0 and 1 after looking at every value."""
    values = np.asarray(array)
    if values.dtype == np.bool_:  # True may be stored as any byte, as in (0, 255) viewed as bool
        return zero_or_one(values).view(np.uint8)
    if values.dtype.kind not in "iuf":
        raise UsageError(f"{name} has dtype {values.dtype}; a mask is bool or only 0 and 1")
    flags = np.not_equal(values, 0)
    if not np.array_equal(values, flags):
        raise UsageError(
            f"{name} has {values.dtype} values from {values.min()} to {values.max()}; a mask is bool or only 0 and 1, "
            "so threshold it first (mask > 127 for 8-bit masks, logits > 0 for a model's output)"
        )
    return np.asarray(flags).view(np.uint8)


def _size(mask: NDArray[np.uint8]) -> str:
    return f"{mask.shape[0]} x {mask.shape[1]}"
