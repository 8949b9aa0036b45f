"""The end of a build: parts become the three tables, the report and ``benchmark.json``; strays are removed.

Splits and the evaluation subset are decided here, because they depend on all images of a dataset. The result depends on
the parts alone, not on the order in which they were made.
"""

from __future__ import annotations

import base64
import csv
import functools
import io
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from dmseg import datasets
from dmseg.build.folder import BenchmarkFolder, BuildOptions
from dmseg.build.parts import ERROR, LEFT_OUT, BuildPart, ReportRow, Row, part_name, read_part
from dmseg.build.tracks import describe_tables, name_track
from dmseg.build.unit import list_stored_levels
from dmseg.datasets import Recipe
from dmseg.errors import DataError
from dmseg.files import remove_temporaries, write_text
from dmseg.manifests import (
    SCHEMA_VERSION,
    TABLES,
    Manifest,
    arrow_schema,
    edition_of,
    manifest_digest,
    plan_digest,
    read_header,
    sort_table,
    write_header,
    write_tables,
)
from dmseg.rng import key_words

_CHUNK_ROWS = 20_000
_LIBRARIES = ("numpy", "scipy", "opencv-python-headless", "numba", "pillow", "pydicom", "nibabel", "pyarrow")


class Collected:
    """The parts of a build, read once, as Arrow tables in no particular order, and the rows of the report."""

    def __init__(self, parts: Iterable[BuildPart]) -> None:
        self.report: list[ReportRow] = []
        self._chunks: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
        waiting: dict[str, list[Row]] = {name: [] for name in TABLES}
        for part in parts:
            self.report += part.report
            for name, rows in (("images", part.images), ("masks", part.masks), ("degradations", part.degradations)):
                waiting[name] += rows
                if len(waiting[name]) >= _CHUNK_ROWS:
                    self._chunks[name].append(_arrow(name, waiting[name]))
                    waiting[name] = []
        for name, rows in waiting.items():
            self._chunks[name].append(_arrow(name, rows))

    def table(self, name: str) -> pa.Table:
        """Return one table; ``split`` and ``evaluate`` are not filled yet."""
        return pa.concat_tables(self._chunks[name])


def write_index(
    folder: BenchmarkFolder,
    options: BuildOptions,
    recipes: Sequence[Recipe],
    collected: Collected,
    synthetic: Sequence[str] = (),
    frozen: Manifest | None = None,
) -> Mapping[str, Any]:
    """Write tables, report and benchmark.json of a finished build and return the content of benchmark.json.

    Args:
        folder, options, recipes: of the build.
        collected: the parts of all its sources.
        synthetic: names of datasets that are phantoms.
        frozen: manifest whose splits and evaluation subset are taken instead of new ones.

    Raises:
        DataError: two images have the same id, no image at all could be built, or the folder cannot be written.
    """
    tables = {name: collected.table(name) for name in TABLES}
    _check_ids(tables)
    splits = _take_frozen(frozen, tables, "split") if frozen else _splits(tables["images"], recipes)
    tables["images"] = _fill_column(tables["images"], "split", splits)
    evaluated = _take_frozen(frozen, tables, "evaluate") if frozen else _choose_evaluated(tables, recipes, options.seed)
    tables["masks"] = _fill_column(tables["masks"], "evaluate", evaluated)
    tables = {name: sort_table(name, table) for name, table in tables.items()}
    if not tables["images"].num_rows:
        write_report(folder.report, collected.report)
        raise DataError(f"{folder.path}: no image could be built; {folder.report.name} there says why")
    info = header(options, recipes, tables, collected.report, synthetic)
    if not _is_written(folder, info):
        folder.header.unlink(missing_ok=True)
        write_tables(folder.path, tables)
        write_report(folder.report, collected.report)
        write_header(folder.path, info)
    _remove_strays(folder, tables["images"], list_stored_levels(options.levels, options.storage))
    return info


def _is_written(folder: BenchmarkFolder, info: Mapping[str, Any]) -> bool:
    """Tell whether this very index is there already, by another session of the same build."""
    try:
        written: bool = read_header(folder.path) == info
    except DataError:
        return False
    return written


def header(
    options: BuildOptions,
    recipes: Sequence[Recipe],
    tables: Mapping[str, pa.Table],
    report: Sequence[ReportRow],
    synthetic: Sequence[str],
) -> dict[str, Any]:
    """Return the content of benchmark.json for finished tables."""
    used = set(tables["images"]["dataset"].to_pylist())
    info: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "edition": "",
        "version": "",
        "seed": options.seed,
        "levels": list(options.levels),
        "storage": options.storage,
        "synthetic": sorted(synthetic),
        "recipes": {recipe.id: recipe.digest for recipe in recipes if recipe.id in used},
        "degradation_tables": describe_tables(options.track),
        **name_track(options.track),
        "counts": _counts(tables, report),
    }
    info["manifest_digest"] = manifest_digest(info, tables)
    info["plan_digest"] = plan_digest(info, tables)
    info["edition"], info["version"] = edition_of(info["manifest_digest"])
    info["created_with"] = {"dmseg": metadata.version("dmseg-bench"), "python": platform.python_version()}
    info["created_with"] |= _library_versions()
    return info


@functools.cache
def _library_versions() -> Mapping[str, str]:
    return {name: metadata.version(name) for name in _LIBRARIES}


def write_report(path: Path, rows: Sequence[ReportRow]) -> None:
    """Write build_report.csv: one row per image left out, per image with small objects, per source that failed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["dataset", "source", "kind", "n", "reason"])
    for row in sorted(rows, key=lambda row: (row.dataset, row.source, row.kind, row.reason)):
        writer.writerow([row.dataset, row.source, row.kind, row.n, row.reason])
    write_text(path, buffer.getvalue())


def _arrow(name: str, rows: list[Row]) -> pa.Table:
    schema = arrow_schema(name)
    late = {"images": "split", "masks": "evaluate"}.get(name)
    if late is not None:
        schema = schema.remove(schema.get_field_index(late))
    if name == "degradations":
        rows = [{**row, "thumbprint": base64.b64decode(row["thumbprint"])} for row in rows]
    return pa.Table.from_pylist(rows, schema=schema)


def _fill_column(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    name = "images" if column == "split" else "masks"
    schema = arrow_schema(name)
    position = schema.get_field_index(column)
    return table.add_column(position, schema.field(position), [pa.array(values, schema.field(position).type)])


def _check_ids(tables: Mapping[str, pa.Table]) -> None:
    images = tables["images"]
    first: dict[str, str] = {}
    for identifier, source in zip(images["image_id"].to_pylist(), images["source"].to_pylist(), strict=True):
        if identifier in first:
            raise DataError(
                f'two images have the id "{identifier}": {first[identifier]} and {source}; '
                "ids keep only letters, digits, dot, underscore and hyphen, so rename one of the files"
            )
        first[identifier] = source
    repeated = [identifier for identifier, n in Counter(tables["masks"]["mask_id"].to_pylist()).items() if n > 1]
    if repeated:
        raise DataError(f'two masks have the id "{repeated[0]}"; two structures of the recipe differ only in signs')


def _take_frozen(manifest: Manifest, tables: Mapping[str, pa.Table], column: str) -> list[Any]:
    """Return the values of ``split`` or ``evaluate`` of a manifest; new rows are train, and not evaluated."""
    name, key, default = ("images", "image_id", "train") if column == "split" else ("masks", "mask_id", False)
    known = dict(zip(manifest.tables[name][key].to_pylist(), manifest.tables[name][column].to_pylist(), strict=True))
    return [known.get(identifier, default) for identifier in tables[name][key].to_pylist()]


def _splits(images: pa.Table, recipes: Sequence[Recipe]) -> list[str]:
    """Return the split of each image row, by cases."""
    rows = list(zip(images["dataset"].to_pylist(), images["case_id"].to_pylist(), strict=True))
    chosen: dict[str, str] = {}
    for recipe in recipes:
        chosen |= datasets.splits.assign(recipe, Counter(case for dataset, case in rows if dataset == recipe.id))
    return [chosen[case] for _, case in rows]


def _choose_evaluated(tables: Mapping[str, pa.Table], recipes: Sequence[Recipe], seed: int) -> list[bool]:
    """Return whether each mask row is evaluated: at most ``evaluate_at_most`` of an image, in keyed-hash order."""
    most = {recipe.id: recipe.evaluate_at_most for recipe in recipes}
    dataset_of = _dataset_of(tables["images"])
    by_image: dict[str, list[str]] = {}
    identifiers = tables["masks"]["mask_id"].to_pylist()
    for image, mask in zip(tables["masks"]["image_id"].to_pylist(), identifiers, strict=True):
        by_image.setdefault(image, []).append(mask)
    chosen: set[str] = set()
    for image, names in by_image.items():
        limit = most[dataset_of[image]]
        ranked = sorted(names, key=lambda name: (key_words("evaluate", seed, name), name)) if limit else names
        chosen.update(ranked[:limit])
    return [name in chosen for name in identifiers]


def _dataset_of(images: pa.Table) -> dict[str, str]:
    return dict(zip(images["image_id"].to_pylist(), images["dataset"].to_pylist(), strict=True))


def _counts(tables: Mapping[str, pa.Table], report: Sequence[ReportRow]) -> dict[str, Any]:
    images, masks = tables["images"], tables["masks"]
    dataset_of = _dataset_of(images)
    n_images = Counter(dataset_of.values())
    n_masks = Counter(dataset_of[image] for image in masks["image_id"].to_pylist())
    left_out = Counter[str]()
    for row in report:
        if row.kind == LEFT_OUT:
            left_out[row.dataset] += row.n
    return {
        "images": images.num_rows,
        "masks": masks.num_rows,
        "cases": len(set(images["case_id"].to_pylist())),
        "splits": dict(sorted(Counter(images["split"].to_pylist()).items())),
        "datasets": {
            name: {"images": n_images[name], "masks": n_masks[name], "left_out": left_out[name]}
            for name in sorted(n_images)
        },
        "errors": sum(row.kind == ERROR for row in report),
    }


def _remove_strays(folder: BenchmarkFolder, images: pa.Table, levels: Sequence[str]) -> None:
    """Remove images that no row speaks of (of sources that changed, failed or went away) and temporary files."""
    wanted = {
        folder.locate(dataset, level, identifier)
        for identifier, dataset in _dataset_of(images).items()
        for level in levels
    }
    remove_temporaries(folder.path, everyone=True)  # it is held alone
    for image in (folder.path / "images").glob("*/*/*.png"):
        if image not in wanted:
            image.unlink()


def read_parts(folder: BenchmarkFolder, wanted: Iterable[tuple[str, str]]) -> Iterator[BuildPart]:
    """Yield the parts of (dataset, source id) pairs and remove parts of sources that are no longer there.

    Raises:
        DataError: a part is missing, so the build (or one of its shards) has not finished.
    """
    expected = []
    for dataset, source_id in wanted:
        expected.append(part_name(dataset, source_id))
        part = read_part(folder, expected[-1])
        if part is None:
            raise DataError(f"{folder.path}: source {source_id} of {dataset} is not done yet; finish the build first")
        yield part
    folder.ledger.keep_only(expected, "parts")
