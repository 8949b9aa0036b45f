"""The next click: dmseg against the clicker of RITM as published, and against scipy's labels and distance transform.

    benchmarks/.venv/bin/python benchmarks/bench_clicks.py

The published rules are written here in our own words: RITM (Sofiiuk et al., 2022) takes OpenCV's precise distance
transform of both error masks of the whole image; the common scipy recipe labels the error, and transforms the crop of
the largest component.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage
from side_by_side import Mask, compare, star

from dmseg.protocol import next_click


def ritm(reference: Mask, prediction: Mask) -> tuple[bool, int, int]:
    """The clicker of RITM: both masks padded by one pixel, deepest pixel of either, ties to background and raster."""
    missed = np.pad(np.logical_and(reference, ~prediction), 1).astype(np.uint8)
    surplus = np.pad(np.logical_and(~reference, prediction), 1).astype(np.uint8)
    deep = [cv2.distanceTransform(mask, cv2.DIST_L2, 0)[1:-1, 1:-1] for mask in (missed, surplus)]
    fresh = np.ones(reference.shape, dtype=bool)
    deep = [depth * fresh for depth in deep]
    highest = [depth.max() for depth in deep]
    positive = bool(highest[0] > highest[1])
    chosen = deep[0] if positive else deep[1]
    ys, xs = np.where(chosen == highest[0 if positive else 1])
    return positive, int(ys[0]), int(xs[0])


def scipy_recipe(reference: Mask, prediction: Mask) -> tuple[bool, int, int]:
    """The largest error component by scipy, and the deepest pixel in its padded crop."""
    labels, _ = ndimage.label(reference != prediction, structure=np.ones((3, 3), dtype=int))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    place = ndimage.find_objects(labels)[sizes.argmax() - 1]
    depth = ndimage.distance_transform_edt(np.pad(labels[place] == sizes.argmax(), 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    row, column = int(y) + place[0].start, int(x) + place[1].start
    return bool(reference[row, column]), row, column


def dmseg_ritm_rule(reference: Mask, prediction: Mask) -> object:
    return next_click(reference, prediction, corrective="edt-max")


def main() -> None:
    cv2.setNumThreads(1)
    functions = {
        "dmseg": next_click,
        "dmseg, rule edt-max": dmseg_ritm_rule,
        "RITM as published": ritm,
        "scipy label + EDT of the crop": scipy_recipe,
    }
    for size in (256, 512, 1024):
        reference = star(size, area=0.06, phase=1.0)
        noise = np.random.default_rng(0).standard_normal((size, size))
        ragged = ndimage.gaussian_filter(reference + 0.9 * noise, 1.5) > 0.5
        situations = {
            "first click": np.zeros_like(reference),
            "shifted mask": np.roll(reference, (size // 40, size // 30), axis=(0, 1)),
            "ragged border and islands": ragged,
            "5 % of the pixels wrong": reference ^ (noise > 1.645),
        }
        for situation, prediction in situations.items():
            compare(f"{size} x {size}, {situation}", functions, [(reference, prediction)])


if __name__ == "__main__":
    main()
