"""Decoded samples of a raster file, and how to look at them: as seen, in full depth, as stored grey, as luminance."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        palette: (N, 3) uint8 colours that ``values`` index, over black, or None.
        palette_alpha: (N,) uint8 alpha of these colours; None where all are opaque.
        alpha: ``straight``, ``associated`` (colours are multiplied by it already) or ``ignored`` (a further channel
            that no viewer shows).
        inks: the four channels are cyan, magenta, yellow and black.
        orientation: 1..8, as the file has it (EXIF); undone already in ``values``.
        bits: significant bits of a sample where they are fewer than the type has; None: all.
        white_is_zero: the file's zero is white; undone already in ``values``.
        notes: what the user should know, such as which page was taken.
    """

    values: Pixels
    palette: NDArray[np.uint8] | None = None
    alpha: str = "straight"
    inks: bool = False
    orientation: int = 1
    bits: int | None = None
    white_is_zero: bool = False
    notes: tuple[str, ...] = ()
    palette_alpha: NDArray[np.uint8] | None = None


def orient(values: Pixels, orientation: int) -> Pixels:
    """Return an upright view of (H, W, ...) samples stored with an EXIF/TIFF orientation of 1..8."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def turn_back(values: Pixels, orientation: int) -> Pixels:
    """Return the stored view of upright samples: undo :func:`orient`."""
    return orient(values, {6: 8, 8: 6}.get(orientation, orientation))


def white_of(values: Pixels) -> float:
    """Return the value that stands for white or opaque: the largest integer of the type, 1 for fractions."""
    return float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else 1.0


def over_black(colours: Pixels, alpha: Pixels) -> Pixels:
    """Lay colours over black in their own type, rounding integers half up; ``alpha`` broadcasts."""
    if colours.dtype.kind == "f":
        return np.asarray(colours * alpha, dtype=colours.dtype)
    white = np.uint64(white_of(colours))
    if white == 255:
        return np.asarray((colours.astype(np.uint16) * alpha + 127) // 255, dtype=np.uint8)
    return np.asarray((colours.astype(np.uint64) * alpha + white // 2) // white, dtype=colours.dtype)


def expand_palette(samples: DecodedSamples, path: Path) -> NDArray[np.uint8]:
    """Return the colours of a palette image, (H, W) where they are grey, else (H, W, 3).

    Raises:
        ImageFileError: a pixel lies outside of the palette.
    """
    if samples.palette is None:
        raise ValueError("no palette")
    if samples.values.max(initial=0) >= len(samples.palette):
        raise ImageFileError(f"{path}: a pixel lies outside its palette of {len(samples.palette)} colours")
    return grey_if_colourless(samples.palette[samples.values])


def full_depth(samples: DecodedSamples, path: Path) -> Pixels:
    """Return what a viewer shows in the depth of the file: (H, W) or (H, W, 3) of its own type.

    Raises:
        ImageFileError: more channels than colours and alpha, or an alpha of signed numbers.
    """
    if samples.palette is not None:
        return expand_palette(samples, path)
    values = samples.values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.ndim == 2:
        return values
    channels = values.shape[2]
    if channels == 1:
        return values[..., 0]
    if channels > 4 or values.dtype.kind not in "uif":
        raise ImageFileError(f"{path}: {channels} channels of {values.dtype}; save it as grey or as 8-bit RGB")
    if samples.inks:
        return without_inks(values)
    if channels == 3:
        return values
    colours, alpha = values[..., :-1], values[..., -1:]
    if samples.alpha == "straight":
        if values.dtype.kind == "i" or (values.dtype.kind == "f" and (alpha.min() < 0 or alpha.max() > 1)):
            raise ImageFileError(f"{path}: alpha of {values.dtype} outside 0..1; save it as grey or as 8-bit RGB")
        colours = over_black(colours, alpha)
    return np.ascontiguousarray(colours[..., 0] if channels == 2 else colours)


def without_inks(values: Pixels) -> Pixels:
    """Return RGB of (H, W, 4) unsigned CMYK by the simple rule (1 - ink)(1 - black), as viewers without profiles do."""
    if values.dtype == np.uint8:
        return np.asarray(Image.fromarray(values, "CMYK").convert("RGB"))
    white = np.uint64(white_of(values))
    light = white - values.astype(np.uint64)
    return np.asarray((light[..., :3] * light[..., 3:] + white // 2) // white, dtype=values.dtype)


def recombine(samples: DecodedSamples, before: Pixels, after: Pixels) -> Pixels:
    """Return samples for the file whose :func:`full_depth` was ``before`` and becomes ``after``.

    Alpha and further channels are kept, and so is every sample of a pixel that did not change. Palette and 1-bit
    images become grey or RGB, with alpha where the palette has some.
    """
    old = samples.values
    if samples.palette_alpha is not None:
        alpha = samples.palette_alpha[old][..., None]
        plain = np.concatenate([_lift(before, alpha), alpha], axis=2)
        return recombine(DecodedSamples(plain), before, after)
    if samples.palette is not None or old.dtype == np.bool_ or old.ndim == 2:
        return after
    if old.shape[2] == 1:
        return after[..., None]
    same = before == after
    same = (same if same.ndim == 2 else same.all(axis=2))[..., None]
    colours = after[..., None] if after.ndim == 2 else after
    if samples.inks:
        white = np.asarray(white_of(old)).astype(old.dtype)
        return np.where(same, old, np.concatenate([white - colours, np.zeros_like(colours[..., :1])], axis=2))
    if old.shape[2] == 3:
        return after
    alpha = old[..., -1:]
    if samples.alpha == "straight":
        colours = _lift(colours, alpha)
    elif samples.alpha == "associated":
        colours = np.minimum(colours, alpha)
    kept = same | ((alpha == 0) & (samples.alpha != "ignored"))  # what is fully transparent is not seen
    return np.concatenate([np.where(kept, old[..., :-1], colours).astype(old.dtype), alpha], axis=2)


def _lift(colours: Pixels, alpha: Pixels) -> Pixels:
    """Return (H, W, C) straight colours of what lies over black; ``alpha`` (H, W, 1)."""
    colours = colours[..., None] if colours.ndim == 2 else colours
    with np.errstate(divide="ignore", invalid="ignore"):
        lifted = np.nan_to_num(colours.astype(np.float64) * white_of(alpha) / alpha)
    lifted = np.minimum(lifted, white_of(alpha))
    return np.asarray(lifted if alpha.dtype.kind == "f" else np.floor(lifted + 0.5)).astype(alpha.dtype)


def to_viewed(samples: DecodedSamples, path: Path) -> Pixels:
    """Return what a viewer shows: (H, W) uint8, uint16, int16 or float32, or (H, W, 3) uint8."""
    values = samples.values
    if values.ndim == 3 and samples.palette is None:
        if values.dtype.kind != "u" or values.shape[2] > 4:
            raise ImageFileError(
                f"{path}: {values.shape[2]} channels of {values.dtype}; save it as grey or as 8-bit RGB"
            )
        if values.shape[2] > 1:
            values = np.asarray(values >> (_depth(samples) - 8), dtype=np.uint8)
        return full_depth(replace(samples, values=values), path)
    return _to_known_type(full_depth(samples, path), path)


def _depth(samples: DecodedSamples) -> int:
    return samples.bits or 8 * samples.values.itemsize


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


def _to_known_type(values: Pixels, path: Path) -> Pixels:
    """Keep uint8, uint16 and int16; other numbers become float32 where that is exact enough to be honest."""
    if values.dtype in (np.uint8, np.uint16, np.int16):
        return values
    if values.dtype == np.int8:
        return values.astype(np.int16)
    if values.dtype.kind not in "iuf":
        raise ImageFileError(f"{path}: pixels of type {values.dtype} are not supported; save it as 16-bit grey")
    if values.dtype.kind in "iu" and np.abs(values.astype(np.float64)).max(initial=0) > _LARGEST_EXACT:
        raise ImageFileError(f"{path}: 32-bit integers above 2^24 cannot be held exactly; save it as 16-bit")
    return values.astype(np.float32)
