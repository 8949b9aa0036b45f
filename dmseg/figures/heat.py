"""Colours of a map of numbers: from low to high, or from negative over zero to positive."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.figures.colours import rgb


def heat(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return (H, W) numbers as uint8 (H, W, 3) RGB, dark blue at ``low`` to yellow at ``high`` (viridis)."""
    share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
    coloured = cv2.applyColorMap(np.round(share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(coloured[..., ::-1], dtype=np.uint8)


def draw_signed_heat(values: NDArray[Any], limit: float = 1.0) -> NDArray[np.uint8]:
    """Return (H, W) numbers as uint8 (H, W, 3) RGB: red at ``-limit``, white at 0, green at ``limit``.

    The colours are those of negative and positive clicks in :func:`~dmseg.figures.panel`.
    """
    share = np.clip(values / limit, -1, 1)[..., None]
    white = np.full(3, 255.0)
    towards = np.where(share < 0, np.array(rgb("vermillion"), float), np.array(rgb("green"), float))
    coloured = np.round(white + np.abs(share) * (towards - white))
    return np.asarray(coloured, dtype=np.uint8)
