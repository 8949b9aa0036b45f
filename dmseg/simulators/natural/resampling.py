"""Resizing as ``torch.nn.functional.interpolate`` does it: area, bilinear and bicubic, without anti-aliasing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dmseg.errors import unknown_name

MODES = ("area", "bilinear", "bicubic")
_BEND = -0.75  # of torch's bicubic kernel


def resize(
    image: NDArray[np.float32], size: tuple[int, int], mode: str, scale: float | None = None
) -> NDArray[np.float32]:
    """Return an image, float32 (H, W, C), at another size.

    Args:
        size: (height, width), both at least 1.
        mode: one of :data:`MODES`; ``area`` averages the pixels under each new one, whole ones only.
        scale: the factor that ``size`` was rounded down from: bilinear and bicubic then sample by it, as torch does.
    """
    if mode not in MODES:
        raise unknown_name("mode of resizing", mode, MODES)
    down = make_weights(image.shape[0], size[0], mode, scale)
    across = make_weights(image.shape[1], size[1], mode, scale)
    rows = down @ image.reshape(image.shape[0], -1)
    turned = rows.reshape(size[0], image.shape[1], -1).transpose(1, 0, 2)
    columns = across @ turned.reshape(image.shape[1], -1)
    return np.ascontiguousarray(columns.reshape(size[1], size[0], -1).transpose(1, 0, 2), dtype=np.float32)


def make_weights(old: int, new: int, mode: str, scale: float | None) -> sparse.csr_matrix:
    """Return the weights (new, old) of one axis."""
    places = np.arange(new)
    if mode == "area":
        first, last = places * old // new, -(-(places + 1) * old // new)
        counts = last - first
        columns = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        return sparse.csr_matrix(
            (np.repeat(1 / counts, counts).astype(np.float32), (np.repeat(places, counts), columns)), (new, old)
        )
    centre = (places + 0.5) * (1 / scale if scale else old / new) - 0.5
    if mode == "bilinear":
        centre = np.maximum(centre, 0)
    base = np.floor(centre).astype(np.int64)
    part = centre - base
    taps = (0, 1) if mode == "bilinear" else (-1, 0, 1, 2)
    weights = [1 - part, part] if mode == "bilinear" else [_cubic(abs(part - tap)) for tap in taps]
    columns = np.clip(np.stack([base + tap for tap in taps], 1), 0, old - 1)
    values = np.stack(weights, 1).astype(np.float32)
    return sparse.csr_matrix((values.ravel(), (np.repeat(places, len(taps)), columns.ravel())), (new, old))


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((_BEND + 2) * distance - (_BEND + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _BEND - 4 * _BEND
    return np.where(distance <= 1, near, far)
