"""Which files of a folder are masks or label maps: the one rule that init-recipe and degrade share.

A file is a mask by its name (an ending such as ``_mask``, a folder such as ``labelsTr``); where names say nothing, by
its content: few values in large flat areas. Folders that all files share say nothing, whatever they are called.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.imaging import stem
from dmseg.tables import read_packaged_table

MASK_WORD = re.compile(
    r"(?:^|(?<=[ _-]))(?:mask|dseg|seg|segmentation|label|gt|ground[ _-]?truth|annotation|manual)s?", re.IGNORECASE
)
IMAGE_WORD = re.compile(r"^(?:jpeg|png)?(?:image|img|frame|scan|photo|input|original|raw)s?(?:tr|ts)?$", re.IGNORECASE)
_BEGINNING = re.compile(r"^(?:mask|seg|segmentation|label|gt)s?(?=$|[ _\d-])", re.IGNORECASE)
_AFTER = r"(?=(?:[ _-]?\d+|[ _-][a-h])?$)"  # a number, or the letter of a reader
_SAMPLE = 100_000
_RULES = read_packaged_table("dmseg.datasets", "datasets.toml")["labels"]


def mask_ending(name: str) -> str:
    """Return the ending of a mask's stem that says so, with its separator, without what numbers it; or ``""``."""
    found = re.search(r"([ _-])(" + MASK_WORD.pattern + r")" + _AFTER, name, re.IGNORECASE)
    return f"{found.group(1)}{found.group(2)}" if found else ""


def is_mask_name(parent: Path, name: str) -> bool:
    """Return whether a stem, or the last folder on the way to it that says anything, says that the file is a mask."""
    if mask_ending(name) or _BEGINNING.search(name):
        return True
    telling = (part for part in reversed(parent.parts) if IMAGE_WORD.search(part) or MASK_WORD.search(part))
    return not IMAGE_WORD.search(next(telling, "image"))


def find_mask_names(files: Iterable[Path]) -> set[Path]:
    """Return those files that are masks by their name; folders that all of them share say nothing."""
    listed = list(files)
    if not listed:
        return set()
    shared = Path(os.path.commonpath([file.parent for file in listed]))
    return {file for file in listed if is_mask_name(file.parent.relative_to(shared), stem(file))}


def looks_like_labels(values: NDArray[Any]) -> bool:
    """Return whether pixel values are those of a label map or a mask: few whole numbers in large flat areas.

    Args:
        values: (H, W) or (H, W, 3), or a stack of them, of any real type.
    """
    if values.size < 2:
        return False
    colour = values.ndim > 2 and values.shape[-1] == 3
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    if not colour and np.unique(sample).size > _RULES["most_values"]:
        return False  # most images: told from a part of their pixels
    if values.dtype.kind == "f" and not (values == np.round(values)).all():
        return False
    if colour:  # a drawing has few colours too
        values = values.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= 2 or distinct.size > _RULES["most_values"]:
        return bool(distinct.size == 2)
    left, right = values[..., :-1], values[..., 1:]
    background = distinct[np.argmax(counts)]  # a dark image is flat where it is black, and there alone
    drawn = (left != background) | (right != background)
    return bool(drawn.any() and (left == right)[drawn].mean() >= _RULES["least_flat"])
