"""``diff``: in which rows two manifests differ, identity columns only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dmseg.manifests.columns import TABLES
from dmseg.manifests.files import Manifest

_KEYS = {"images": ("image_id",), "masks": ("mask_id",), "degradations": ("image_id", "level")}


@dataclass(frozen=True, slots=True)
class ManifestDifference:
    """One difference: the file, the row's id (empty for a key of benchmark.json), and what differs."""

    file: str
    row: str
    what: str


def diff(first: Manifest, second: Manifest) -> list[ManifestDifference]:
    """Return how the identity of ``second`` differs from that of ``first``; empty where the digests are equal.

    Rows are compared by their ids, in sorted order; what one machine measured is not compared.
    """
    found = []
    for key in ("seed", "levels", "degradation_tables"):
        if first.info[key] != second.info[key]:
            found.append(ManifestDifference("benchmark.json", "", f"{key}: {first.info[key]} -> {second.info[key]}"))
    for name in sorted({*first.info["recipes"], *second.info["recipes"]}):
        one, other = (manifest.info["recipes"].get(name) for manifest in (first, second))
        if one != other:
            found.append(ManifestDifference("benchmark.json", "", f"recipe {name}: {one} -> {other}"))
    for name in TABLES:
        found += _rows(name, first.tables[name], second.tables[name])
    return found


def _rows(name: str, first: pa.Table, second: pa.Table) -> Iterator[ManifestDifference]:
    file = f"{name}.parquet"
    one, other = _by_id(name, first), _by_id(name, second)
    for identifier in sorted({*one, *other}):
        if identifier not in other:
            yield ManifestDifference(file, identifier, "only in the first")
        elif identifier not in one:
            yield ManifestDifference(file, identifier, "only in the second")
        elif one[identifier] != other[identifier]:
            changed = (
                f"{column}: {one[identifier][column]} -> {value}"
                for column, value in other[identifier].items()
                if one[identifier][column] != value
            )
            yield ManifestDifference(file, identifier, "; ".join(changed))


def _by_id(name: str, table: pa.Table) -> Mapping[str, dict[str, Any]]:
    columns = [column.name for column in TABLES[name] if column.identity]
    rows = table.select(columns).to_pylist()
    return {" ".join(row[key] for key in _KEYS[name]): row for row in rows}
