"""A benchmark as a folder to publish: the shareable manifest, one row an image and level in Parquet, card, metadata."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dmseg import datasets, imaging
from dmseg.build import Benchmark, cite, export_manifest
from dmseg.build.published import DATA_FOLDER, ROW_GROUP, STORAGE
from dmseg.errors import DataError, UsageError
from dmseg.files import atomic_path, temporary_sibling, write_text
from dmseg.jobs import guard_disk
from dmseg.manifests import write_header
from dmseg.publish.card import benchmark_card, zenodo_record
from dmseg.publish.croissant import describe_tables
from dmseg.types import SPLITS

ROWS_PER_FILE = 4096
_OBJECT = pa.struct(
    [
        ("mask_id", pa.string()),
        ("structure", pa.string()),
        ("area", pa.int64()),
        ("evaluate", pa.bool_()),
        ("rle", pa.string()),
    ]
)
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("level", pa.string()),
        ("dataset", pa.string()),
        ("modality", pa.string()),
        ("case_id", pa.string()),
        ("spacing_y", pa.float64()),
        ("spacing_x", pa.float64()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("objects", pa.list_(_OBJECT)),
        ("plan", pa.string()),
    ]
)
_FEATURES = {
    **{name: {"dtype": "string", "_type": "Value"} for name in ("image_id", "level", "dataset", "modality", "case_id")},
    **{name: {"dtype": "float64", "_type": "Value"} for name in ("spacing_y", "spacing_x")},
    "image": {"_type": "Image"},
    "objects": {
        "feature": {
            "mask_id": {"dtype": "string", "_type": "Value"},
            "structure": {"dtype": "string", "_type": "Value"},
            "area": {"dtype": "int64", "_type": "Value"},
            "evaluate": {"dtype": "bool", "_type": "Value"},
            "rle": {"dtype": "string", "_type": "Value"},
        },
        "_type": "List",
    },
    "plan": {"dtype": "string", "_type": "Value"},
}
"""What the library ``datasets`` calls the columns; it reads them from the file's metadata."""


_Objects = dict[str, list[dict[str, Any]]]
_Plans = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Published:
    """What was written.

    Attributes:
        path: the folder.
        rows: images times levels whose pixels are in it.
        shared: datasets whose pixels are in it.
        withheld: datasets of which only the manifest is in it.
    """

    path: Path
    rows: int
    shared: tuple[str, ...]
    withheld: tuple[str, ...]


def publish_benchmark(
    bench: Benchmark, out: Path, *, date: datetime.date, creator: str = "The dmseg users"
) -> Published:
    """Write a benchmark to a new folder that ``dmseg.open``, Hugging Face ``datasets`` and ``mlcroissant`` read.

    Args:
        bench: the opened benchmark; every level is written, also those that it makes on reading.
        out: a folder that does not exist yet, or is empty.
        date: of publication, for the metadata.
        creator: person or group that publishes.

    Raises:
        UsageError: the folder holds something, or the benchmark is a published one.
        DataError: pixels or masks of the benchmark cannot be read.
    """
    if bench.info.get("storage") == STORAGE:
        raise UsageError(f"{bench.path}: is published already; copy the folder, or publish the benchmark it came from")
    shared = [name for name in sorted(bench.info["recipes"]) if may_share_pixels(bench, name)]
    withheld = [name for name in sorted(bench.info["recipes"]) if name not in shared]
    with write_folder(out) as folder:
        manifest = export_manifest(bench.manifest, folder)
        rows = 0
        files: list[Path] = []
        for split in SPLITS:
            images = [
                row for row in bench.table("images").to_pylist() if row["split"] == split and row["dataset"] in shared
            ]
            for path, n in _write_split(bench, folder, split, images):
                rows, files = rows + n, [*files, path]
        write_text(folder / "CITATION.bib", cite(manifest))
        write_text(folder / "README.md", benchmark_card(manifest, shared, withheld, [path.name for path in files]))
        title = f"{manifest.info['edition']} {manifest.info['version']}"
        record = zenodo_record(title, f"Benchmark of interactive segmentation, {title}.", creator, date)
        write_text(folder / ".zenodo.json", json.dumps(record, indent=2) + "\n")
        croissant = describe_tables(
            folder,
            title,
            creator,
            date,
            [*files, *(folder / f"{name}.parquet" for name in ("images", "masks", "degradations"))],
        )
        write_text(folder / "croissant.json", json.dumps(croissant, indent=2) + "\n")
        write_header(folder, {**manifest.info, "storage": STORAGE, "shared": shared})
    return Published(out, rows, tuple(shared), tuple(withheld))


@contextlib.contextmanager
def write_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` that takes its place when all went well, and is removed when not.

    Raises:
        UsageError: something lies at ``out`` already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is no empty folder; give -o a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(out)
    temporary.mkdir()
    try:
        with guard_disk(out):
            yield temporary
            temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def may_share_pixels(bench: Benchmark, name: str) -> bool:
    """Whether the images of a dataset may go out: drawn ones, and those whose licence allows it."""
    if name in bench.info.get("synthetic", ()):
        return True
    return name in datasets.ALL_RECIPES and datasets.recipe(name).share_pixels


def _write_split(
    bench: Benchmark, out: Path, split: str, images: Sequence[dict[str, Any]]
) -> Iterator[tuple[Path, int]]:
    """Write the files of a split, in order of image and level, and yield each with its number of rows."""
    keys = [(image, level) for image in images for level in bench.levels]
    parts = [keys[start : start + ROWS_PER_FILE] for start in range(0, len(keys), ROWS_PER_FILE)]
    wanted = {image["image_id"] for image in images}
    objects: _Objects = {}
    for row in bench.table("masks").to_pylist() if parts else ():
        if row["image_id"] in wanted:
            if row["rle"] is None:
                raise DataError(f"{bench.path}: the mask {row['mask_id']} is missing; publish a built benchmark")
            objects.setdefault(row["image_id"], []).append({name: row[name] for name in _OBJECT.names})
    table = bench.table("degradations", ("image_id", "level", "plan")) if parts else None
    plans = {(row["image_id"], row["level"]): row["plan"] for row in table.to_pylist()} if table else {}
    metadata = {"huggingface": json.dumps({"info": {"features": _FEATURES}})}
    for number, part in enumerate(parts):
        path = out / DATA_FOLDER / f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, _SCHEMA.with_metadata(metadata)) as writer:
            for start in range(0, len(part), ROW_GROUP):
                rows = [_row(bench, image, level, objects, plans) for image, level in part[start : start + ROW_GROUP]]
                writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(metadata)))
        yield path, len(part)


def _row(bench: Benchmark, image: dict[str, Any], level: str, objects: _Objects, plans: _Plans) -> dict[str, Any]:
    name = image["image_id"]
    pixels = imaging.png_bytes(bench.image(name, level))
    return {
        **{key: image[key] for key in _SCHEMA.names if key in image},
        "level": level,
        "image": {"bytes": pixels, "path": f"{name}.{level}.png"},
        "objects": objects.get(name, []),
        "plan": plans[name, level],
    }
