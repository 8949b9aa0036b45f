"""E301, E305, E307: what must hold between the columns of honest rows, whatever the model; it costs no pixels.

Overlap scores come from whole numbers of pixels: with areas G and P and the size of the image, IoU gives the true
positives, and from these follow Dice and pixel accuracy. HD95 is a distance between two corners of pixels, so its
square is a sum of two squares. If HD95 is at most t, 95 % of both contours lie within t, so NSD at t is at least 0.95;
if NSD at t is 1, HD95 is at most t. All of it is exact up to the last bits, on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.reference import Reference
from dmseg.manifests import mask_sha256

FILE = "steps.parquet"
DICE_TOLERANCE = 1e-5
"""Dice from IoU where the areas cannot be trusted to be those of the scored grid."""
_EXACT = 1e-9
_WHOLE = 1e-4
_QUANTILE = 0.95
_TAUS = (1, 2, 3, 5)
_SCORES = ("iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95", "hd95_defined", "pred_area")
_UNCHANGED = "send the rows as dmseg evaluate wrote them"

Bad = NDArray[np.bool_]


def check_arithmetic(
    info: Mapping[str, Any], steps: pd.DataFrame, reference: Reference | None, findings: Findings
) -> None:
    """Check every row; what needs the size of the image only where the benchmark is known."""
    steps = steps.reset_index(drop=True)
    values = {name: steps[name].to_numpy(dtype=np.float64) for name in ("iou", "dice", "pixel_accuracy", "hd95")}
    iou, dice = values["iou"], values["dice"]
    bad = np.abs(dice - 2 * iou / (1 + iou)) > DICE_TOLERANCE
    _note(bad, steps, "E301", "dice does not follow from iou", ("dice", "iou"), findings)
    if "union" in steps:
        _check_pixels(steps, info["metrics"]["grid"] == "native", findings)
    if info["metrics"]["grid"] != "native":
        return  # areas are those of the stored grid, scores those of another
    sizes = None if reference is None else _sizes(steps, reference)
    if not bad.any():
        _check_counts(steps, sizes, findings)
    if info["metrics"]["boundary"] == "vertex" and info["metrics"]["hd95"] == "directed":
        _check_surfaces(steps, sizes, reference, findings)
    _check_digests(steps, sizes, reference, findings)


def _sizes(steps: pd.DataFrame, reference: Reference) -> NDArray[np.float64]:
    """Return height and width of each row's image, (N, 2); NaN where the mask is not the benchmark's."""
    known = {name: (row["height"], row["width"]) for name, row in reference.masks.items()}
    codes, names = pd.factorize(steps["mask_id"])
    table = np.array([known.get(name, (math.nan, math.nan)) for name in names], dtype=np.float64)
    return np.asarray(table[codes])


def _note(
    bad: Bad, steps: pd.DataFrame, code: str, what: str, columns: tuple[str, ...], findings: Findings, fix: str = ""
) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        shown = ", ".join(f"{name} {steps[name].iloc[row]}" for name in columns)
        rows = "" if bad.sum() == 1 else f" ({int(bad.sum())} rows)"
        findings.add(code, f"{FILE} row {row + 1}", f"{what}: {shown}{rows}", fix or _UNCHANGED)


def _check_counts(steps: pd.DataFrame, sizes: NDArray[np.float64] | None, findings: Findings) -> None:
    """E301: true positives are a whole number that fits both areas, and pixel accuracy follows from them."""
    ok = (steps["status"] == "ok").to_numpy(dtype=bool)
    iou, dice = (steps[name].to_numpy(dtype=np.float64) for name in ("iou", "dice"))
    area, found = (steps[name].to_numpy(dtype=np.float64) for name in ("gt_area", "pred_area"))
    both = area + np.nan_to_num(found)
    hits = np.rint(iou * both / (1 + iou))
    with np.errstate(invalid="ignore", divide="ignore"):
        exact = (np.abs(hits / (both - hits) - iou) <= _EXACT) & (np.abs(2 * hits / both - dice) <= _EXACT)
    bad = ok & ~(exact & (hits <= np.minimum(area, np.nan_to_num(found))))
    _note(bad, steps, "E301", "no whole number of pixels gives", ("iou", "dice", "gt_area", "pred_area"), findings)
    if sizes is None or bad.any():
        return
    pixels = sizes[:, 0] * sizes[:, 1]
    accuracy = steps["pixel_accuracy"].to_numpy(dtype=np.float64)
    bad = ok & (np.abs(1 - (both - 2 * hits) / pixels - accuracy) > _EXACT)
    _note(bad, steps, "E301", "pixel_accuracy does not follow", ("pixel_accuracy", "iou", "pred_area"), findings)
    bad = ok & (found > pixels)
    _note(bad, steps, "E301", "more pixels than the image has", ("pred_area",), findings)


def _check_pixels(steps: pd.DataFrame, native: bool, findings: Findings) -> None:
    """E301: what rows about sentences count gives their IoU, and on the stored grid goes with both areas."""
    both, either, iou = (steps[name].to_numpy(dtype=np.float64) for name in ("intersection", "union", "iou"))
    bad = np.abs(both / either - iou) > _EXACT
    if native:
        areas = steps["gt_area"].to_numpy(dtype=np.float64) + steps["pred_area"].fillna(0).to_numpy(dtype=np.float64)
        bad |= both + either != areas
    _note(bad, steps, "E301", "intersection and union do not go with", ("iou", "intersection", "union"), findings)


def _check_surfaces(
    steps: pd.DataFrame, sizes: NDArray[np.float64] | None, reference: Reference | None, findings: Findings
) -> None:
    """E305: NSD and HD95 agree with each other, with the overlap and with what is empty."""
    ok = (steps["status"] == "ok").to_numpy(dtype=bool)
    nsd = steps[[f"nsd_{tau}" for tau in _TAUS]].to_numpy(dtype=np.float64)
    hd95, iou = (steps[name].to_numpy(dtype=np.float64) for name in ("hd95", "iou"))
    defined = steps["hd95_defined"].to_numpy(dtype=bool)
    empty = ok & (steps["pred_area"].fillna(1).to_numpy(dtype=np.float64) == 0)
    names = tuple(f"nsd_{tau}" for tau in _TAUS)
    falls = np.asarray((np.diff(nsd, axis=1) < -_EXACT).any(axis=1))
    _note(falls, steps, "E305", "NSD falls with its tolerance", names, findings)
    _note(ok & (defined == empty), steps, "E305", "HD95 is undefined where a prediction is empty, and nowhere else",
          ("hd95_defined", "pred_area"), findings)  # fmt: skip
    _note(empty & (nsd != 0).any(axis=1), steps, "E305", "NSD of an empty prediction is 0", names, findings)
    usable = ok & defined
    perfect = usable & (iou == 1)
    bad = perfect & ((nsd != 1).any(axis=1) | (hd95 != 0))
    bad |= usable & ~perfect & (hd95 == 0) & (nsd[:, 0] < _QUANTILE)
    _note(bad, steps, "E305", "surface scores do not go with the overlap", ("iou", "nsd_1", "hd95"), findings)
    square = np.where(usable, hd95**2, 0)
    bad = usable & ((np.abs(square - np.rint(square)) > _WHOLE) | ~_is_sum_of_squares(np.rint(square)))
    _note(bad, steps, "E305", "no two corners of pixels are so far apart", ("hd95",), findings)
    for place, tau in enumerate(_TAUS):
        bad = usable & (hd95 <= tau) & (nsd[:, place] < _QUANTILE - _EXACT)
        bad |= usable & (nsd[:, place] >= 1) & (hd95 > tau + _EXACT)
        _note(bad, steps, "E305", f"HD95 does not fit NSD at {tau} px", ("hd95", f"nsd_{tau}"), findings)
    if sizes is None or reference is None:
        return
    diagonal = np.hypot(sizes[:, 0], sizes[:, 1])
    bad = (~defined & (np.abs(hd95 - diagonal) > 1e-6)) | (usable & (hd95 > diagonal + _EXACT))
    _note(bad, steps, "E305", "HD95 is at most the diagonal of the image, and the diagonal where undefined",
          ("hd95", "hd95_defined"), findings)  # fmt: skip
    _check_millimetres(steps, reference, findings)


def _is_sum_of_squares(values: NDArray[np.float64]) -> Bad:
    """Tell which whole numbers are a sum of two squares."""
    unique, codes = np.unique(values, return_inverse=True)
    if len(unique) == 0 or unique[-1] > 1e10:
        return np.ones(values.shape, dtype=bool) if len(unique) == 0 else np.asarray(values <= 1e10)
    known = np.zeros(len(unique), dtype=bool)
    for place, value in enumerate(unique):
        sides = np.arange(math.isqrt(int(value) // 2) + 1, dtype=np.float64)
        rest = np.sqrt(value - sides * sides)
        known[place] = bool((rest == np.rint(rest)).any())
    return np.asarray(known[codes])


def _check_millimetres(steps: pd.DataFrame, reference: Reference, findings: Findings) -> None:
    """E305: HD95 in mm is there where the image has a spacing, and is HD95 times it where pixels are square."""
    names = [name for name in steps["mask_id"].unique() if name in reference.masks]
    spacing = {name: (reference.masks[name]["spacing_y"], reference.masks[name]["spacing_x"]) for name in names}
    codes, unique = pd.factorize(steps["mask_id"])
    pairs = [spacing.get(name, (None, None)) for name in unique]
    table = np.array([[math.nan if side is None else side for side in pair] for pair in pairs], dtype=np.float64)
    y, x = table[codes].T
    known = np.isin(steps["mask_id"].to_numpy(dtype=object), np.array(names, dtype=object))
    millimetres = steps["hd95_mm"].to_numpy(dtype=np.float64)
    bad = known & (np.isnan(y) | np.isnan(x)) != (known & np.isnan(millimetres))
    wrong = np.abs(millimetres - steps["hd95"].to_numpy(dtype=np.float64) * y) > 1e-6 * np.maximum(1, millimetres)
    bad |= known & (y == x) & wrong & ~np.isnan(millimetres)
    _note(np.asarray(bad), steps, "E305", "HD95 in mm does not follow from the spacing", ("hd95", "hd95_mm"), findings)


def _check_digests(
    steps: pd.DataFrame, sizes: NDArray[np.float64] | None, reference: Reference | None, findings: Findings
) -> None:
    """E307: one digest of one object has one set of scores; empty and perfect predictions have known digests."""
    ok = steps[steps["status"] == "ok"]
    keys = ["mask_id", "pred_digest"]
    different = ok[[*keys, *_SCORES]].drop_duplicates()
    again = different.duplicated(keys, keep="first")
    if again.any():
        row = int(again[again].index[0])
        what = f"the prediction {ok['pred_digest'][row][:12]} has other scores than elsewhere ({int(again.sum())} rows)"
        findings.add("E307", f"{FILE} row {row + 1}", what, _UNCHANGED)
    if reference is None or sizes is None:
        return
    digest = ok["pred_digest"].to_numpy(dtype=object)
    shapes = {size: mask_sha256(np.zeros(size, dtype=bool)) for size in _find_sizes(sizes)}
    blank = np.array([shapes.get((h, w)) for h, w in sizes[ok.index]], dtype=object)
    perfect = np.array([reference.masks.get(name, {}).get("mask_sha256") for name in ok["mask_id"]], dtype=object)
    for expected, holds, what in (
        (blank, (ok["pred_area"] == 0).to_numpy(dtype=bool), "an empty prediction"),
        (perfect, (ok["iou"] == 1).to_numpy(dtype=bool), "a perfect prediction"),
    ):
        bad = ((digest == expected) != holds) & (expected != None)  # noqa: E711  # elementwise
        if bad.any():
            row = int(ok.index[np.flatnonzero(bad)[0]])
            text = f"{what} and the digest of such a mask do not go together ({int(bad.sum())} rows)"
            findings.add("E307", f"{FILE} row {row + 1}", text, _UNCHANGED)


def _find_sizes(sizes: NDArray[np.float64]) -> list[tuple[int, int]]:
    whole = sizes[~np.isnan(sizes).any(axis=1)]
    return [(int(h), int(w)) for h, w in np.unique(whole, axis=0)]
