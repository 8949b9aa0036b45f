"""COCO annotation files of any size: where each annotation lies in the file, without holding the file in memory.

The annotation file of a large dataset has gigabytes. One pass finds the elements of its arrays ``images``,
``annotations`` and ``categories``; only one element at a time is parsed, and of annotations only their places stay.
"""

from __future__ import annotations

import functools
import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dmseg.datasets import shapes
from dmseg.errors import ImageFileError
from dmseg.imaging import decode_rle
from dmseg.types import Mask

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_ARRAYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoIndex:
    """What an annotation file lists.

    Attributes:
        images: file name -> (image id, height, width).
        categories: category id -> name.
        annotations: image id -> places (start, end) of its annotations in the file, in file order.
        named: image id -> the categories of its annotations, by id.

    An image without ``file_name`` (LVIS v1) has the last two parts of its ``coco_url``: folder and file.
    """

    images: dict[str, tuple[int, int, int]]
    categories: dict[int, str]
    annotations: dict[int, list[tuple[int, int]]]
    named: dict[int, set[int]] = field(default_factory=dict)


def read_index(path: Path) -> CocoIndex:
    """Return the index of an annotation file; read once per state of the file.

    Raises:
        ImageFileError: missing, truncated, not JSON, or without the three arrays of COCO.
    """
    try:
        status = path.stat()
        return _load_index(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be opened ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ImageFileError(f"{path}: not a COCO annotation file ({error!r}); damaged? download it again") from None


@functools.lru_cache(maxsize=4)
def _load_index(path: Path, size: int, changed_ns: int) -> CocoIndex:
    index = CocoIndex({}, {}, {})
    seen = set()
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for array, start, end in _elements(content):
            seen.add(array)
            element = json.loads(content[start:end])
            if array == "images":
                index.images[_name_image(element)] = (int(element["id"]), int(element["height"]), int(element["width"]))
            elif array == "categories":
                index.categories[int(element["id"])] = str(element["name"])
            else:
                index.annotations.setdefault(int(element["image_id"]), []).append((start, end))
                if isinstance(element.get("category_id"), int):
                    index.named.setdefault(int(element["image_id"]), set()).add(element["category_id"])
    if missing := set(_ARRAYS) - seen:
        raise ValueError(f"no entries in: {', '.join(sorted(missing))}")
    return index


def _name_image(element: dict[str, Any]) -> str:
    """Return an image's ``file_name``, or ``folder/file`` of its ``coco_url``."""
    return str(element["file_name"]) if "file_name" in element else "/".join(element["coco_url"].split("/")[-2:])


def _elements(content: mmap.mmap) -> Iterator[tuple[str, int, int]]:
    """Yield (array name, start, end) of every object that is an element of one of the top-level arrays."""
    depth, start, key = 0, 0, ""
    for token in _TOKEN.finditer(content):
        text = token.group()
        if text[0] == 0x22:
            if depth == 1:
                key = text[1:-1].decode("utf-8", "replace")
        elif text in (b"{", b"["):
            depth += 1
            if depth == 3:
                start = token.start()
        else:
            if depth == 3 and text == b"}" and key in _ARRAYS:
                yield key, start, token.end()
            depth -= 1
    if depth != 0:
        raise ValueError("the file ends too early")


def read_annotations(path: Path, places: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return the annotations at the given places of a file.

    Raises:
        ImageFileError: the file changed since the index was made.
    """
    found = []
    try:
        with path.open("rb") as handle:
            for start, end in places:
                handle.seek(start)
                found.append(json.loads(handle.read(end - start)))
    except (OSError, ValueError) as error:
        raise ImageFileError(f"{path}: an annotation cannot be read ({error}); has the file changed?") from None
    return found


def object_mask(annotation: Mapping[str, Any], size: tuple[int, int]) -> Mask:
    """Return the mask of an annotation exactly as pycocotools makes it; polygons without an area are empty.

    Raises:
        DataError: damaged runs.
        ValueError: neither runs nor polygons, or runs of another size.
    """
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, list):
        return segmentation_mask(segmentation, size)
    mask = np.zeros(size, dtype=np.bool_)
    for polygon in segmentation:
        mask |= shapes.coco_polygon_mask(polygon, size)
    return mask


def segmentation_mask(segmentation: Any, size: tuple[int, int]) -> Mask:
    """Return the mask of a COCO segmentation: runs (text or list), or polygons [x, y, x, y, ...].

    Raises:
        DataError: damaged runs.
        ValueError: neither of the two, another size, or no polygon.
    """
    if isinstance(segmentation, dict):
        mask = decode_rle(segmentation)
        if mask.shape != size:
            raise ValueError(f"runs of {mask.shape[1]}x{mask.shape[0]} for an image of {size[1]}x{size[0]}")
        return mask
    if not isinstance(segmentation, list):
        raise ValueError("neither runs nor polygons")
    mask = np.zeros(size, dtype=np.bool_)
    for polygon in segmentation:
        mask |= shapes.polygon_mask(list(zip(polygon[0::2], polygon[1::2], strict=True)), size)
    return mask
