"""A benchmark of a few small drawn images, written with the manifest's own writer: fast, known to the last pixel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dmseg import imaging, manifests, simulators
from dmseg.build import open_benchmark
from dmseg.build.folder import BenchmarkFolder
from dmseg.types import LEVELS

HEIGHT, WIDTH = 48, 64

# dataset, image, split, case, spacing, objects as discs (x, y, radius)
PICTURES: tuple[tuple[str, str, str, str, tuple[float, float] | None, tuple[tuple[int, int, int], ...]], ...] = (
    ("alpha", "a1", "seen", "p1", None, ((20, 20, 9), (48, 30, 6))),
    ("alpha", "a2", "seen", "p1", None, ((30, 24, 12),)),
    ("alpha", "a3", "seen", "p2", None, ((12, 30, 8),)),
    ("beta", "b1", "unseen", "q1", (0.5, 0.5), ((40, 18, 10),)),
    ("beta", "b2", "unseen", "q2", (0.5, 0.8), ((22, 26, 11), (50, 12, 5), (0, 0, 7))),
    ("beta", "b3", "train", "q3", None, ((30, 20, 8),)),
)


def disc(x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def picture(objects: tuple[tuple[int, int, int], ...], level: str) -> NDArray[np.uint8]:
    """Bright discs on a wavy ground, darker and flatter with every level."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    values = 70 + 15 * np.sin(columns / 5) * np.cos(rows / 7)
    for index, shape in enumerate(objects):
        values = np.where(disc(*shape), 170 + 10 * index + 8 * np.sin(rows / 3), values)
    return np.asarray(values * (1 - 0.12 * LEVELS.index(level)), dtype=np.uint8)


def write_tiny_benchmark(
    folder: Path,
    *,
    levels: tuple[str, ...] = LEVELS,
    reverse: bool = False,
    pictures: Any = PICTURES,
    sentences: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write the benchmark; ``reverse`` stores the rows of all tables the other way round.

    ``sentences``: mask_id -> the expressions that name it.
    """
    images, masks, degradations = [], [], []
    for dataset, stem, split, case, spacing, objects in pictures:
        image_id = f"{dataset}__{stem}"
        images.append(_image_row(image_id, dataset, split, case, spacing))
        masks += [_mask_row(image_id, k, disc(*shape)) for k, shape in enumerate(objects)]
        for level in levels:
            pixels = picture(objects, level)
            imaging.write_png(BenchmarkFolder(folder).locate(dataset, level, image_id), pixels)
            degradations.append(_degradation_row(image_id, level, pixels))
    for row in masks:
        if row["mask_id"] in (sentences or {}):
            row |= manifests.pack_expressions((sentences or {})[row["mask_id"]])
    rows = {"images": images, "masks": masks, "degradations": degradations}
    tables = {
        name: pa.Table.from_pylist(content[::-1] if reverse else content, schema=manifests.arrow_schema(name))
        for name, content in rows.items()
    }
    header: dict[str, Any] = {
        "seed": 0,
        "levels": list(levels),
        "recipes": {"alpha": "0" * 64, "beta": "1" * 64},
        "degradation_tables": {"version": "test", "digest": "2" * 64},
    }
    info = {
        "schema_version": manifests.SCHEMA_VERSION,
        "edition": "local",
        "version": "0+test",
        "storage": "png",
        "counts": {"images": len(images), "masks": len(masks)},
        "manifest_digest": manifests.manifest_digest(header, tables),
        "plan_digest": manifests.plan_digest(header, tables),
        "created_with": {},
        **header,
    }
    manifests.write_manifest(folder, manifests.Manifest(info, **tables))
    open_benchmark(folder)
    return folder


def _image_row(
    image_id: str, dataset: str, split: str, case: str, spacing: tuple[float, float] | None
) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "dataset": dataset,
        "modality": "ultrasound",
        "split": split,
        "case_id": f"{dataset}__{case}",
        "height": HEIGHT,
        "width": WIDTH,
        "spacing_y": spacing[0] if spacing else None,
        "spacing_x": spacing[1] if spacing else None,
        "source": f"{image_id}.png",
        "source_sha256": "3" * 64,
        "window": None,
        "observed": "{}",
    }


def _mask_row(image_id: str, k: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.nonzero(mask)
    return {
        "mask_id": f"{image_id}__disc__{k}",
        "image_id": image_id,
        "structure": "disc",
        "rle": json.dumps(imaging.encode_rle(mask)),
        "mask_sha256": manifests.mask_sha256(mask),
        "area": int(mask.sum()),
        "x0": int(columns.min()),
        "y0": int(rows.min()),
        "x1": int(columns.max()),
        "y1": int(rows.max()),
        "evaluate": True,
    }


def _degradation_row(image_id: str, level: str, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    plan = simulators.plan(image_id, modality="ultrasound")
    return {
        "image_id": image_id,
        "level": level,
        "plan": plan.to_json(level),
        "plan_digest": plan.digest(level),
        "thumbprint": manifests.thumbprint(pixels).tobytes(),
        "pixel_sha256": manifests.pixel_sha256(pixels),
    }
