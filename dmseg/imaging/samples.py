"""Decoded samples of a raster file, and the three ways to look at them: as seen, as stored grey, as luminance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmseg.errors import ImageFileError

Pixels = NDArray[Any]
_LARGEST_EXACT = 1 << 24  # integers up to here are exact in float32


@dataclass(frozen=True, slots=True)
class DecodedSamples:
    """What a decoder gives, orientation applied.

    Attributes:
        values: (H, W), or (H, W, C) with C = 2 grey and alpha, 3 RGB, 4 RGB and alpha; bool for 1-bit files.
        palette: (N, 3) uint8 colours that ``values`` index, or None.
    """

    values: Pixels
    palette: NDArray[np.uint8] | None = None


def orient(values: Pixels, orientation: int) -> Pixels:
    """Return an upright view of (H, W, ...) samples stored with an EXIF/TIFF orientation of 1..8."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def over_black(colours: Pixels, alpha: Pixels) -> NDArray[np.uint8]:
    """Lay 8-bit colours over black in integers, rounding half up; ``alpha`` broadcasts."""
    return np.asarray((colours.astype(np.uint16) * alpha + 127) // 255, dtype=np.uint8)


def to_viewed(samples: DecodedSamples, path: Path) -> Pixels:
    """Return what a viewer shows: (H, W) uint8, uint16, int16 or float32, or (H, W, 3) uint8."""
    values = samples.values
    if samples.palette is not None:
        if values.max(initial=0) >= len(samples.palette):
            raise ImageFileError(f"{path}: a pixel lies outside its palette of {len(samples.palette)} colours")
        return grey_if_colourless(samples.palette[values])
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.ndim == 3:
        values = _eight_bit(values, path)
        if values.shape[2] in (2, 4):
            values = over_black(values[..., :-1], values[..., -1:])
        return values[..., 0] if values.shape[2] == 1 else values
    return _to_known_type(values, path)


def mask_values(samples: DecodedSamples, path: Path) -> Pixels:
    """Return the values of a mask, (H, W): palette indices, labels, fractions as they are stored; bool gives 0 and 255.

    Transparency counts: over one colour the alpha is what is drawn; over several, a transparent pixel is 0.
    """
    values = samples.values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.ndim == 2:
        return values
    colours, alpha = (values[..., :-1], values[..., -1]) if values.shape[2] in (2, 4) else (values, None)
    if (colours != colours[..., :1]).any():
        raise ImageFileError(f"{path}: a colour image, expected grey values or labels in one channel")
    grey = colours[..., 0]
    if alpha is None or (alpha == alpha.max()).all():
        return grey
    if (grey == grey.flat[0]).all():
        return alpha
    if alpha.dtype == np.uint8 and ((alpha > 0) & (alpha < 255)).any():
        return over_black(grey, alpha)
    return np.where(alpha > 0, grey, np.zeros_like(grey))


def raw_grey(samples: DecodedSamples, path: Path) -> Pixels:
    """Return stored integers (H, W) as :func:`mask_values` does; fractions are refused."""
    values = mask_values(samples, path)
    if values.dtype.kind in "iu":
        return values
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and np.abs(values).max() < 2**31):
        raise ImageFileError(f"{path}: holds fractions, expected grey values or labels as whole numbers")
    return values.astype(np.int32)


def luminance(samples: DecodedSamples, path: Path) -> Pixels:
    """Return grey as it is seen, (H, W): for masks drawn in any mode."""
    values = to_viewed(samples, path)
    return np.asarray(Image.fromarray(values).convert("L")) if values.ndim == 3 else values


def grey_if_colourless(image: Pixels) -> Pixels:
    """Return (H, W) where the three channels of an (H, W, 3) image are equal, else the image itself."""
    if image.ndim == 3 and (image == image[..., :1]).all():
        return np.ascontiguousarray(image[..., 0])
    return image


def _eight_bit(values: Pixels, path: Path) -> NDArray[np.uint8]:
    if values.dtype.kind != "u" or values.shape[2] > 4:
        raise ImageFileError(f"{path}: {values.shape[2]} channels of {values.dtype}; save it as grey or as 8-bit RGB")
    return np.asarray(values >> (8 * (values.itemsize - 1)), dtype=np.uint8)


def _to_known_type(values: Pixels, path: Path) -> Pixels:
    """Keep uint8, uint16 and int16; other numbers become float32 where that is exact enough to be honest."""
    if values.dtype in (np.uint8, np.uint16, np.int16):
        return values
    if values.dtype.kind not in "iuf":
        raise ImageFileError(f"{path}: pixels of type {values.dtype} are not supported; save it as 16-bit grey")
    if values.dtype.kind in "iu" and np.abs(values.astype(np.float64)).max(initial=0) > _LARGEST_EXACT:
        raise ImageFileError(f"{path}: 32-bit integers above 2^24 cannot be held exactly; save it as 16-bit")
    return values.astype(np.float32)
