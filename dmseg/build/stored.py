"""From a sample as read to what the benchmark stores of it: the grid, the objects, the levels, the rows."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dmseg import imaging
from dmseg.build.parts import LEFT_OUT, SMALL_OBJECT, ReportRow, Row
from dmseg.build.tracks import plan_image, prepare_clear
from dmseg.canonical import canonical_json, significant
from dmseg.datasets import Recipe
from dmseg.manifests import case_id, image_id, mask_id, mask_sha256, pack_expressions, pixel_sha256, thumbprint
from dmseg.tables import read_packaged_table
from dmseg.types import Image, Mask, Sample, Window

GRID = read_packaged_table("dmseg.build", "build.toml")["grid"]


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One image as the benchmark stores it: rows of the tables, and the pixels of each level."""

    image: Row
    masks: list[Row]
    degradations: list[Row]
    images: Mapping[str, Image]
    report: list[ReportRow]


def store(
    sample: Sample, recipe: Recipe, *, source_sha256: str, levels: Sequence[str], seed: int, track: str
) -> StoredSample | ReportRow:
    """Return what is stored of a sample, or why it is left out (no object of the least size on the stored grid)."""
    height, width = imaging.compute_stored_size(sample.image.shape[0], sample.image.shape[1], GRID["longest_side"])
    clear = prepare_clear(imaging.resize_image(sample.image, (height, width)), track)
    identifier = image_id(recipe.id, sample.source_id)
    masks, n_small = _objects(sample, identifier, (height, width))
    report = []
    if n_small:
        reason = f"objects below {GRID['min_object_pixels']} px on the stored grid"
        report.append(ReportRow(recipe.id, sample.source, SMALL_OBJECT, n_small, reason))
    if not masks:
        reason = f"no object of at least {GRID['min_object_pixels']} px on the stored grid ({n_small} smaller)"
        return ReportRow(recipe.id, sample.source, LEFT_OUT, 1, reason)
    plan, observed = plan_image(sample, recipe, identifier, clear, seed, track)
    images = plan.apply_levels(clear, tuple(levels))
    spacing = _spacing(sample, (height, width))
    image = {
        "image_id": identifier,
        "dataset": recipe.id,
        "modality": sample.modality,
        "case_id": case_id(recipe.id, sample.case_id),
        "height": height,
        "width": width,
        "spacing_y": spacing[0],
        "spacing_x": spacing[1],
        "source": sample.source,
        "source_sha256": source_sha256,
        "window": _window(sample.window),
        "observed": canonical_json(observed),
    }
    degradations = [
        {
            "image_id": identifier,
            "level": level,
            "plan": plan.to_json(level),
            "plan_digest": plan.digest(level),
            "thumbprint": base64.b64encode(thumbprint(pixels).tobytes()).decode(),
            "pixel_sha256": pixel_sha256(pixels),
        }
        for level, pixels in images.items()
    ]
    return StoredSample(image, masks, degradations, {"clear": clear, **images}, report)


def _objects(sample: Sample, identifier: str, size: tuple[int, int]) -> tuple[list[Row], int]:
    """Return the rows of the objects on the stored grid, in mask order, and how many were too small."""
    by_structure: dict[str, list[tuple[Mask, tuple[str, ...]]]] = {}
    n_small = 0
    for structure in sample.structures:
        mask = imaging.resize_mask(structure.mask, size)
        if np.count_nonzero(mask) < GRID["min_object_pixels"]:
            n_small += 1
        else:
            by_structure.setdefault(structure.name, []).append((mask, structure.expressions))
    return [row for name, found in by_structure.items() for row in _mask_rows(identifier, name, found)], n_small


def _mask_rows(identifier: str, structure: str, found: list[tuple[Mask, tuple[str, ...]]]) -> Iterator[Row]:
    # k counts by first raster index; objects that begin at the same pixel are told apart by their digest.
    numbered = sorted((int(np.argmax(mask)), mask_sha256(mask), index) for index, (mask, _) in enumerate(found))
    for k, (_, sha256, index) in enumerate(numbered):
        mask, expressions = found[index]
        yield {
            "mask_id": mask_id(identifier, structure, k),
            "image_id": identifier,
            "structure": structure,
            "rle": canonical_json(imaging.encode_rle(mask)),
            "mask_sha256": sha256,
            **measures(mask),
            **(pack_expressions(expressions) if expressions else {}),
        }


def measures(mask: Mask) -> dict[str, int]:
    """Return area and box (inclusive pixels) of a mask; the box of an empty mask is -1."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    ends = (columns[0], rows[0], columns[-1], rows[-1]) if rows.size else (-1, -1, -1, -1)
    box = {name: int(end) for name, end in zip(("x0", "y0", "x1", "y1"), ends, strict=True)}
    return {"area": int(np.count_nonzero(mask)), **box}


def _spacing(sample: Sample, size: tuple[int, int]) -> tuple[float | None, float | None]:
    if sample.spacing is None:
        return None, None
    native = sample.image.shape
    return sample.spacing[0] * native[0] / size[0], sample.spacing[1] * native[1] / size[1]


def _window(window: Window | None) -> str | None:
    if window is None:
        return None
    # Percentile windows are measured: 6 digits keep the text equal on every machine.
    return canonical_json({"center": float(significant(window.center)), "width": float(significant(window.width))})
