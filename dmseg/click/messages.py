"""What the page and its other side say to each other: JSON in, checked; JSON out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmseg.click.answers import ClickAnswer, Prompt
from dmseg.click.views import GalleryEntry, ImageGallery, ShownView, list_operations
from dmseg.errors import UsageError
from dmseg.metrics import score
from dmseg.types import LEVEL_LABELS, LEVELS, Mask

MOST_OPERATIONS = 8


def parse_view(given: Any) -> ShownView:
    """Return the view that a message asks for.

    Raises:
        UsageError: not a view.
    """
    row = _require_object(given, "view")
    operations = row.get("operations", [])
    if not isinstance(operations, list) or len(operations) > MOST_OPERATIONS:
        raise UsageError(f"view.operations: give a list of at most {MOST_OPERATIONS} names")
    return ShownView(
        _require_text(row, "image_id"),
        _require_text(row, "level", "clear"),
        tuple(str(name) for name in operations),
        _require_text(row, "severity", "heavy"),
    )


def parse_prompts(given: Any) -> list[Prompt]:
    """Return the prompts of a message: ``{"kind": "point", "values": [x, y, 1 or 0]}`` or ``"box"`` with four numbers.

    Raises:
        UsageError: not prompts.
    """
    if not isinstance(given, list):
        raise UsageError("prompts: give a list")
    prompts = []
    for place, one in enumerate(given):
        row = _require_object(one, f"prompts[{place}]")
        kind, values = row.get("kind"), row.get("values")
        count = {"point": 3, "box": 4}.get(str(kind))
        if count is None or not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
            raise UsageError(f"prompts[{place}]: give a point with x, y, label, or a box with x0, y0, x1, y1")
        prompts.append(Prompt(str(kind), tuple(float(value) for value in values)))
    return prompts


def parse_seconds(given: Any, count: int) -> tuple[float, ...]:
    """Return the times of prompts: as many numbers as there are prompts.

    Raises:
        UsageError: something else.
    """
    if not isinstance(given, list) or len(given) != count or not all(map(_is_number, given)):
        raise UsageError(f"seconds: give {count} numbers, one per prompt")
    return tuple(float(value) for value in given)


def describe_gallery(gallery: ImageGallery, models: Mapping[str, Any], default: Sequence[str]) -> dict[str, Any]:
    """Return what the page begins with: images, objects, levels, operations, models."""
    return {
        "title": gallery.title,
        "synthetic": gallery.synthetic,
        "models": [{"name": name, "takes": sorted(model.capabilities)} for name, model in models.items()],
        "shown": list(default),
        "levels": [{"id": level, "label": label} for level, label in LEVEL_LABELS.items() if level in LEVELS],
        "images": [_describe_entry(entry) for entry in gallery.entries],
    }


def _describe_entry(entry: GalleryEntry) -> dict[str, Any]:
    return {
        "image_id": entry.image_id,
        "dataset": entry.dataset,
        "modality": entry.modality,
        "height": entry.height,
        "width": entry.width,
        "masks": [{"mask_id": mask_id, "structure": structure} for mask_id, (structure, _) in entry.masks.items()],
        "operations": list_operations(entry.modality),
    }


def describe_answer(answer: ClickAnswer, reference: Mask | None, entry: GalleryEntry) -> dict[str, Any]:
    """Return an answer for the page: the mask as run lengths, and its scores where there is a reference."""
    found: dict[str, Any] = {
        "runs": run_lengths(answer.mask),
        "area": int(answer.mask.sum()),
        "encode_ms": round(answer.encode_ms, 1),
        "predict_ms": round(answer.predict_ms, 1),
    }
    if reference is not None:
        scores = score(reference, answer.mask)  # in pixels, as the tables have it
        found |= {"dice": round(float(scores.dice), 4), "nsd_2": round(float(scores.nsd[2]), 4)}
    return found


def run_lengths(mask: Mask) -> list[int]:
    """Return the lengths of runs in raster order: background first, then foreground, in turns.

    >>> run_lengths(np.array([[0, 1, 1], [1, 0, 0]], bool))
    [1, 3, 2]
    """
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def _require_object(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{where}: give an object")
    return given


def _require_text(row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str) or len(value) > 500:
        raise UsageError(f"{key}: give a text")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
