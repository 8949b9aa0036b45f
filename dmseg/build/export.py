"""Exports of a built benchmark: its manifest without pixels, and COCO JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dmseg import datasets
from dmseg.build.benchmark import Benchmark
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.raw import list_names
from dmseg.build.unit import list_stored_levels
from dmseg.errors import DataError, UsageError
from dmseg.files import is_temporary, remove_temporaries, write_text
from dmseg.jobs import INLINE, guard_disk, run
from dmseg.manifests import HEADER_FILE, TABLES, Manifest, arrow_schema, write_manifest
from dmseg.types import ALL_LEVELS, check_level


def export_manifest(
    manifest: Manifest, out: Path, *, edition: str | None = None, version: str | None = None
) -> Manifest:
    """Write the shareable manifest of a benchmark to a folder or ``.zip`` and return it.

    Masks of datasets whose licence does not allow sharing them are left out (their hashes stay), and so are the pixel
    hashes, which belong to one machine. The digest is unchanged.

    Args:
        manifest: of the built benchmark.
        out: folder or ``.zip``.
        edition, version: the name to publish it under; None keeps the benchmark's.
    """
    info = dict(manifest.info)
    info |= {key: value for key, value in (("edition", edition), ("version", version)) if value is not None}
    _check_place(out)
    with guard_disk(out), run(functools.partial(_share, manifest), list(TABLES), INLINE) as tables:
        exported = Manifest(info, **dict(zip(TABLES, tables, strict=True)))
        remove_temporaries(out if out.is_dir() else out.parent, below=False)
        write_manifest(out, exported)
    return exported


def _check_place(out: Path) -> None:
    """Refuse a folder that holds anything but a manifest, such as the benchmark itself, whose masks would be lost."""
    own = {HEADER_FILE, *(f"{name}.parquet" for name in TABLES)}
    if out.is_dir() and (others := sorted({path.name for path in out.iterdir() if not is_temporary(path)} - own)):
        raise DataError(f"{out}: holds {others[0]}, which is no part of a manifest; give -o another folder or a .zip")


def _share(manifest: Manifest, name: str) -> pa.Table:
    """Return one table of a manifest as it may be shared."""
    table = manifest.tables[name]
    if name == "degradations":
        return _replace_column(table, name, "pixel_sha256", pa.nulls(table.num_rows, pa.string()))
    if name == "images":
        return table
    synthetic = manifest.info.get("synthetic", ())
    kept = [
        dataset
        for dataset in manifest.info["recipes"]
        if dataset in synthetic or (dataset in list_names() and datasets.recipe(dataset).share_masks)
    ]
    images = manifest.images.filter(pc.is_in(manifest.images["dataset"], pa.array(kept, pa.string())))
    shared = pc.is_in(table["image_id"], images["image_id"].combine_chunks())
    for column in ("rle", "expressions"):
        table = _replace_column(table, name, column, pc.if_else(shared, table[column], None))
    return table


def _replace_column(table: pa.Table, name: str, column: str, values: Any) -> pa.Table:
    position = table.column_names.index(column)
    return table.set_column(position, arrow_schema(name).field(column), values)


def export_coco(bench: Benchmark, out: Path, *, level: str = "clear", splits: Sequence[str] | None = None) -> int:
    """Write one COCO JSON (images, annotations with RLE, categories) of a level and return the number of annotations.

    File names are relative to the benchmark folder. ``area`` and ``bbox`` are in pixels; each image also carries its
    dataset, modality and split, each annotation its ``mask_id``.

    Args:
        bench: the opened benchmark.
        out: the JSON file.
        level: level id whose images are named; it must be stored as files.
        splits: only images of these splits; None takes all.
    """
    level = check_level(level, allowed=ALL_LEVELS)
    stored = list_stored_levels(bench.levels, bench.info.get("storage", "png"))
    if level not in stored:
        raise UsageError(f"{bench.path}: level {level} is not stored as files there; stored: {', '.join(stored)}")
    rows = [row for row in bench.manifest.images.to_pylist() if splits is None or row["split"] in splits]
    number = {row["image_id"]: index for index, row in enumerate(rows, 1)}
    masks = [row for row in bench.manifest.masks.to_pylist() if row["image_id"] in number]
    category = {name: index for index, name in enumerate(sorted({row["structure"] for row in masks}), 1)}
    folder = BenchmarkFolder(bench.path)
    document = {
        "info": {
            "description": f"{bench.info['edition']} {bench.info['version']}, level {level}",
            "manifest_digest": bench.digest,
        },
        "images": [
            {
                "id": number[row["image_id"]],
                "file_name": folder.locate(row["dataset"], level, row["image_id"]).relative_to(bench.path).as_posix(),
                **{key: row[key] for key in ("height", "width", "dataset", "modality", "split", "case_id")},
            }
            for row in rows
        ],
        "annotations": [
            {
                "id": index,
                "image_id": number[row["image_id"]],
                "category_id": category[row["structure"]],
                "segmentation": None if row["rle"] is None else json.loads(row["rle"]),
                "area": row["area"],
                "bbox": [row["x0"], row["y0"], row["x1"] - row["x0"] + 1, row["y1"] - row["y0"] + 1],
                "iscrowd": 0,
                "mask_id": row["mask_id"],
            }
            for index, row in enumerate(masks, 1)
        ],
        "categories": [{"id": index, "name": name} for name, index in category.items()],
    }
    write_text(out, json.dumps(document) + "\n")
    return len(masks)
