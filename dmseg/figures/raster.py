"""Raster pictures: one image with contours, clicks and box; contact sheets. RGB uint8 in and out.

Everything is drawn at the size of the output, so that lines and text are equally clear on a 60-pixel and on a
1000-pixel image. Contours follow the outer edge of the mask's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from dmseg.figures.colours import rgb
from dmseg.figures.svg import nice_ticks
from dmseg.types import Image, Mask, Prompts, as_rgb

Colour = tuple[int, int, int]
Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, the last two exclusive."""

REFERENCE: Colour = rgb("sky")
PREDICTION: Colour = rgb("orange")
POSITIVE: Colour = rgb("green")
NEGATIVE: Colour = rgb("vermillion")
BOX: Colour = rgb("yellow")
_WHITE: Colour = (255, 255, 255)
_HALO: Colour = (0, 0, 0)
_INK: Colour = (28, 28, 32)
_SUBDUED: Colour = (92, 92, 100)
_EMPTY_CELL: Colour = (236, 236, 240)
_WARNING: Colour = (138, 75, 0)

_SHIFT = 4  # fractional bits of cv2's drawing coordinates
_GAP = 4
_PAD = 10
_INSET = 0.42  # side of an enlarged window, as a share of its cell
_LONGEST_LABEL = 32


def panel(
    image: Image, reference: Mask | None, prediction: Mask | None, prompts: Prompts | None, *, size: int = 384
) -> NDArray[np.uint8]:
    """Draw an image with the reference and predicted contour, the clicks and the box.

    Args:
        image: uint8 (H, W) or (H, W, 3) RGB.
        reference: (H, W) bool, a sky-blue contour, wide where a prediction is drawn over it, or None.
        prediction: (H, W) bool, a narrow orange contour drawn over it, or None.
        prompts: clicks (green disc with plus: foreground; red disc with minus: background) and box (yellow), in pixels
            of ``image``, or None.
        size: longest side of the result, pixels; the image is scaled to it.

    Returns:
        uint8 (H', W', 3) RGB with ``max(H', W') == size``.
    """
    canvas, scale = _fit(image, size)
    narrow = max(2, round(size / 256))
    wide = narrow if prediction is None else 2 * narrow + 2
    for mask, colour, width in ((reference, REFERENCE, wide), (prediction, PREDICTION, narrow)):
        if mask is not None:
            _draw_contour(canvas, _check_mask(mask, image), colour, width)
    if prompts is not None:
        _draw_prompts(canvas, prompts, scale, size)
    return canvas


def contact_sheet(
    rows: Sequence[Sequence[Image | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    contours: Sequence[Sequence[Mask]] | None = None,
    zooms: Sequence[Window | None] | None = None,
    banner: str = "",
    cell: int = 192,
) -> NDArray[np.uint8]:
    """Lay images out in a labelled grid on white.

    Args:
        rows: one sequence of images per row, uint8 (H, W) or (H, W, 3); None leaves a cell empty. Images keep their
            aspect ratio and are scaled to fit the cell.
        row_labels: one text per row, drawn at the left; ``\\n`` breaks the line, the second and later lines are grey.
            Lines are shortened in the middle to 32 characters; signs that the font lacks are written in Latin letters.
        column_labels: one text per column, drawn above.
        contours: for each row the masks, on the grid of that row's images, to outline in every cell of it.
        zooms: for each row a window (x0, y0, x1, y1), pixels of its images, shown enlarged in the corner of its cells.
        banner: what must be known of all images, such as "Synthetic images"; a strip on top.
        cell: side of a cell, pixels.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ValueError: labels, contours or zooms do not match the rows and columns.
    """
    n_columns = len(column_labels)
    if len(row_labels) != len(rows) or any(len(row) > n_columns for row in rows):
        raise ValueError(
            f"{len(rows)} rows of up to {max(map(len, rows), default=0)} images need as many labels; "
            f"got {len(row_labels)} row labels and {n_columns} column labels"
        )
    if contours is not None and len(contours) != len(rows):
        raise ValueError(f"contours for {len(contours)} rows, but there are {len(rows)} rows")
    if zooms is not None and len(zooms) != len(rows):
        raise ValueError(f"zooms for {len(zooms)} rows, but there are {len(rows)} rows")
    text_size = max(11, min(18, cell // 12))
    row_labels, column_labels = ([write_label(text) for text in texts] for texts in (row_labels, column_labels))
    left = _label_width(row_labels, text_size)
    strip = round(text_size * 1.9) if banner else 0
    top = text_size * 2 + _PAD + strip
    height = top + len(rows) * (cell + _GAP) + _PAD
    width = left + n_columns * (cell + _GAP) + _PAD
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    for r, row in enumerate(rows):
        masks = contours[r] if contours is not None else ()
        zoom = zooms[r] if zooms is not None else None
        for c, image in enumerate(row):
            y, x = top + r * (cell + _GAP), left + c * (cell + _GAP)
            sheet[y : y + cell, x : x + cell] = _cell(image, masks, cell, zoom)
    if banner:
        sheet = _draw_banner(sheet, _latinise(banner), strip, text_size)
    return _draw_labels(sheet, row_labels, column_labels, text_size, left, top, cell)


def _as_rgb(image: Image) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3), contiguous and safe to draw on."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"expected uint8 (H, W) or (H, W, 3), got {image.dtype} {image.shape}")
    return as_rgb(image).copy()


def _check_mask(mask: Mask, image: Image) -> NDArray[np.uint8]:
    if mask.shape != image.shape[:2]:
        raise ValueError(f"a mask of shape {mask.shape} does not lie on an image of shape {image.shape[:2]}")
    return np.ascontiguousarray(mask, dtype=np.uint8)


def _fit(image: Image, size: int) -> tuple[NDArray[np.uint8], float]:
    """Return the RGB image scaled so that its longest side is ``size``, and the scale."""
    canvas = _as_rgb(image)
    scale = size / max(canvas.shape[:2])
    if scale != 1:
        target = (max(1, round(canvas.shape[1] * scale)), max(1, round(canvas.shape[0] * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 3 else cv2.INTER_CUBIC
        canvas = np.asarray(cv2.resize(canvas, target, interpolation=method), dtype=np.uint8)
    return canvas, scale


def _draw_contour(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], colour: Colour, width: int) -> None:
    """Outline ``mask``, scaled to the canvas, with a dark halo so that it shows on any ground."""
    height, length = canvas.shape[:2]
    scaled = cv2.resize(mask * 255, (length, height), interpolation=cv2.INTER_LINEAR)
    inside = (np.asarray(scaled) >= 128).astype(np.uint8)
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    lines, _ = cv2.findContours(padded, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(-1, -1))
    for thickness, line_colour in ((width + (1 if width < 4 else 2), _HALO), (width, colour)):
        cv2.polylines(canvas, list(lines), True, line_colour, thickness, cv2.LINE_AA)


def _draw_prompts(canvas: NDArray[np.uint8], prompts: Prompts, scale: float, size: int) -> None:
    stroke = max(1, round(size / 220))
    if prompts.box is not None:
        x0, y0, x1, y1 = (float(value) for value in prompts.box)
        corners = [round(x0 * scale), round(y0 * scale), round((x1 + 1) * scale) - 1, round((y1 + 1) * scale) - 1]
        for width, colour in ((stroke + 2, _HALO), (stroke, BOX)):
            cv2.rectangle(canvas, tuple(corners[:2]), tuple(corners[2:]), colour, width, cv2.LINE_AA)
    radius = max(4.0, size / 56)
    for (x, y), label in zip(prompts.points, prompts.labels, strict=True):
        _draw_click(canvas, (float(x) + 0.5) * scale - 0.5, (float(y) + 0.5) * scale - 0.5, bool(label), radius)


def _draw_click(canvas: NDArray[np.uint8], x: float, y: float, positive: bool, radius: float) -> None:
    """Draw a disc with a white and a dark ring and its sign, centred on a sub-pixel position."""

    def to_fixed_point(value: float) -> int:
        return round(value * (1 << _SHIFT))

    centre = (to_fixed_point(x), to_fixed_point(y))
    for extra, colour in ((2.2, _HALO), (1.2, _WHITE), (0.0, POSITIVE if positive else NEGATIVE)):
        cv2.circle(canvas, centre, to_fixed_point(radius + extra), colour, -1, cv2.LINE_AA, _SHIFT)
    arm, half = radius * 0.55, max(0.6, radius * 0.14)
    for dx, dy in ((arm, half), (half, arm)) if positive else ((arm, half),):
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        corners = np.array(
            [(to_fixed_point(x + sx * dx), to_fixed_point(y + sy * dy)) for sx, sy in signs], dtype=np.int32
        )
        cv2.fillConvexPoly(canvas, corners, _WHITE, cv2.LINE_AA, _SHIFT)


def _cell(image: Image | None, masks: Sequence[Mask], cell: int, zoom: Window | None = None) -> NDArray[np.uint8]:
    """Return a (cell, cell, 3) square with the image centred in it."""
    square = np.full((cell, cell, 3), _EMPTY_CELL, dtype=np.uint8)
    if image is None:
        return square
    canvas, scale = _fit(image, cell)
    for mask in masks:
        _draw_contour(canvas, _check_mask(mask, image), REFERENCE, max(2, cell // 110))
    height, width = canvas.shape[:2]
    y, x = (cell - height) // 2, (cell - width) // 2
    square[y : y + height, x : x + width] = canvas
    if zoom is not None:
        _draw_zoom(square, image, zoom, (x, y), scale)
    return square


def _draw_zoom(square: NDArray[np.uint8], image: Image, zoom: Window, corner: tuple[int, int], scale: float) -> None:
    """Frame a window of the image in its cell, and show it enlarged in the corner that is farthest from it."""
    cell, (x0, y0, x1, y1) = len(square), zoom
    inset, _ = _fit(image[y0:y1, x0:x1], round(cell * _INSET))
    height, width = inset.shape[:2]
    at = [(start * scale + place, end * scale + place) for start, end, place in
          ((x0, x1, corner[0]), (y0, y1, corner[1]))]  # fmt: skip
    to_left, to_top = (low + high > cell for low, high in at)
    x, y = (2 if to_left else cell - width - 2), (2 if to_top else cell - height - 2)
    (left, right), (top, bottom) = ((round(low), round(high) - 1) for low, high in at)
    for thickness, colour in ((3, _HALO), (1, _WHITE)):
        cv2.rectangle(square, (left, top), (right, bottom), colour, thickness)
    square[y : y + height, x : x + width] = inset
    for thickness, colour in ((3, _HALO), (1, _WHITE)):
        cv2.rectangle(square, (x, y), (x + width - 1, y + height - 1), colour, thickness)


def _draw_banner(sheet: NDArray[np.uint8], text: str, height: int, text_size: int) -> NDArray[np.uint8]:
    picture = Pillow.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, sheet.shape[1], height - 4), fill=_WARNING)
    draw.text((sheet.shape[1] / 2, height / 2 - 2), text, fill=_WHITE, font=_font(text_size), anchor="mm")
    return np.asarray(picture, dtype=np.uint8).copy()


def write_label(text: str) -> str:
    """Return a label as a sheet can show it: each line short, and of signs that the font has.

    >>> write_label("乳腺 12")
    'RuXian 12'
    >>> write_label("a-very-long-name-of-an-image-file-from-a-hospital")
    'a-very-long-name…from-a-hospital'
    """
    return "\n".join(_shorten(_latinise(line)) for line in text.split("\n"))


def _shorten(line: str) -> str:
    half = _LONGEST_LABEL // 2
    return line if len(line) <= _LONGEST_LABEL else f"{line[:half]}…{line[-(_LONGEST_LABEL - half - 1) :]}"


def _latinise(line: str) -> str:
    if line.isascii():
        return line
    from anyascii import anyascii

    known = _find_known_signs()
    return "".join(sign if ord(sign) in known else anyascii(sign) for sign in line)


@cache
def _find_known_signs() -> frozenset[int]:
    """Return the code points that the font of the pictures has."""
    from fontTools.ttLib import TTFont

    with TTFont(_font_path(), lazy=True) as font:
        return frozenset(font.getBestCmap())


def draw_histogram(
    counts: Sequence[int], title: str, x_label: str, ticks: Sequence[tuple[float, str]]
) -> NDArray[np.uint8]:
    """Draw counts of equal bins as bars, uint8 (288, 480, 3) RGB.

    Args:
        counts: per bin, from left to right.
        title, x_label: above and below.
        ticks: place along the axis in bins (0 is the left edge of the first), and what stands there.
    """
    height, width, left, right, top, bottom = 288, 480, 52, 466, 34, 238
    sheet = Pillow.new("RGB", (width, height), _WHITE)
    draw = ImageDraw.Draw(sheet)
    highest = nice_ticks(0, max(1, *counts))
    bin_width, scale = (right - left) / len(counts), (bottom - top) / highest[-1]
    for value in (value for value in highest if value == int(value)):
        y = bottom - value * scale
        draw.line((left, y, right, y), fill=_EMPTY_CELL)
        draw.text((left - 6, y), f"{value:g}", fill=_SUBDUED, font=_font(11), anchor="rm")
    for place, count in enumerate(counts):
        if count:
            x = left + place * bin_width
            draw.rectangle((x + 1, bottom - count * scale, x + bin_width - 1, bottom), fill=rgb("blue"))
    draw.line((left, bottom, right, bottom), fill=_INK)
    for at, label in ticks:
        x = left + at * bin_width
        draw.line((x, bottom, x, bottom + 4), fill=_INK)
        draw.text((x, bottom + 7), label, fill=_SUBDUED, font=_font(11), anchor="ma")
    draw.text((left, top - 12), title, fill=_INK, font=_font(13), anchor="ls")
    draw.text(((left + right) / 2, height - 8), x_label, fill=_SUBDUED, font=_font(11), anchor="ms")
    return np.asarray(sheet, dtype=np.uint8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans; matplotlib brings it (and is not imported)."""
    return ImageFont.truetype(_font_path(), size)


def _font_path() -> str:
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib, a dependency of dmseg that brings the font of the pictures, is missing")
    return str(Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")


def _label_width(labels: Sequence[str], text_size: int) -> int:
    font = _font(text_size)
    lines = [line for label in labels for line in label.split("\n")]
    return round(max((font.getlength(line) for line in lines), default=0)) + 2 * _PAD


def _draw_labels(
    sheet: NDArray[np.uint8],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    text_size: int,
    left: int,
    top: int,
    cell: int,
) -> NDArray[np.uint8]:
    picture = Pillow.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    font = _font(text_size)
    for c, label in enumerate(column_labels):
        draw.text((left + c * (cell + _GAP) + cell / 2, top - _PAD), label, fill=_INK, font=font, anchor="ms")
    for r, label in enumerate(row_labels):
        lines = label.split("\n")
        line_height = round(text_size * 1.35)
        y = top + r * (cell + _GAP) + cell / 2 - line_height * (len(lines) - 1) / 2
        for i, line in enumerate(lines):
            colour = _INK if i == 0 else _SUBDUED
            draw.text((left - _PAD, y + i * line_height), line, fill=colour, font=font, anchor="rm")
    return np.asarray(picture, dtype=np.uint8)
