"""JPEG without a file: quantised cosine coefficients at a real-valued quality, as DiffJPEG computes them.

Differs from libjpeg in the quality's rounding, in box averages and repeats for the halved colour, in zeros as padding
to 16, and in a luminance table that is read transposed, as in the published code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
).T
_CHROMA = np.full((8, 8), 99, np.float32)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)


def compress(image: NDArray[np.float32], quality: float) -> NDArray[np.float32]:
    """Return RGB in [0, 1], float32 (H, W, 3), after JPEG at a real-valued quality (0, 100)."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)))
    factor = np.float32((5000 / quality if quality < 50 else 200 - 2 * quality) / 100)
    planes = (padded * 255) @ _TO_YCC.T + np.array([0, 128, 128], np.float32)
    luma = _quantise(planes[..., 0], _LUMA * factor)
    colour = [np.repeat(np.repeat(_quantise(_halve(planes[..., i]), _CHROMA * factor), 2, 0), 2, 1) for i in (1, 2)]
    rgb = (np.stack([luma, *colour], -1) - np.array([0, 128, 128], np.float32)) @ _TO_RGB.T
    return np.asarray(np.clip(rgb[:height, :width], 0, 255) / 255, dtype=np.float32)


def _halve(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean((1, 3)))


def _quantise(plane: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    blocks = plane.reshape(plane.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3) - np.float32(128)
    coefficients = np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / table) * table
    restored = idctn(coefficients, axes=(2, 3), norm="ortho") + np.float32(128)
    return np.asarray(restored.transpose(0, 2, 1, 3).reshape(plane.shape), dtype=np.float32)
