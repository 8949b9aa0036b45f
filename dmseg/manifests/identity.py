"""What names a benchmark: digests of pixels, masks, plans and whole manifests, and the thumbprint.

``manifest_digest`` and ``plan_digest`` are the same on every machine, for any number of workers and any order of work:
rows are sorted by their ids, real numbers enter with 6 significant digits, and what one machine measured (``observed``,
``thumbprint``, ``pixel_sha256``) stays outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dmseg.canonical import digest_rows, significant
from dmseg.manifests.columns import TABLES, Column, drop_empty, list_sparse
from dmseg.types import ALL_LEVELS, Image, Mask

THUMBPRINT_SIDE = 16
_SORT_KEYS = {"images": ("image_id",), "masks": ("mask_id",), "degradations": ("image_id", "level")}
_BATCH_ROWS = 10_000


def pixel_sha256(image: Image) -> str:
    """Return the sha256 (64 hex digits) of a uint8 image's shape and pixels."""
    header = "x".join(str(side) for side in image.shape)
    return hashlib.sha256(f"{header}\n".encode() + np.ascontiguousarray(image, np.uint8).tobytes()).hexdigest()


def mask_sha256(mask: Mask) -> str:
    """Return the sha256 (64 hex digits) of a (H, W) bool mask's shape and pixels (one bit each, row by row)."""
    height, width = mask.shape
    return hashlib.sha256(f"{height}x{width}\n".encode() + np.packbits(mask).tobytes()).hexdigest()


def thumbprint(image: Image) -> NDArray[np.uint8]:
    """Return 16 x 16 block means, uint8 (16, 16), of an uint8 (H, W) or (H, W, 3) image (mean over channels).

    Block i covers rows ``i*H//16`` up to ``(i+1)*H//16``, at least one row. Sums are exact integers and the mean is
    rounded half up, so thumbprints of two images agree within 1 wherever their pixels do.
    """
    height, width = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    top, left = (np.arange(THUMBPRINT_SIDE) * length // THUMBPRINT_SIDE for length in (height, width))
    high, wide = _lengths(top, height), _lengths(left, width)
    bands = [image[first : first + n].sum(axis=0, dtype=np.uint32) for first, n in zip(top, high, strict=True)]
    columns = np.stack(bands).reshape(THUMBPRINT_SIDE, width, channels).sum(axis=2, dtype=np.int64)
    # Where two blocks begin at the same column, reduceat gives that one column.
    block = np.add.reduceat(columns, left, axis=1)
    area = np.outer(high, wide) * channels
    mean: NDArray[np.uint8] = ((2 * block + area) // (2 * area)).astype(np.uint8)
    return mean


def _lengths(start: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    return np.maximum(np.diff(start, append=total), 1)


def sort_table(name: str, table: pa.Table) -> pa.Table:
    """Return a manifest table in manifest order: by id, and within an image by level as in ``ALL_LEVELS``."""
    if name != "degradations":
        return table.sort_by([(key, "ascending") for key in _SORT_KEYS[name]])
    rank = pa.array([ALL_LEVELS.index(level) for level in table["level"].to_pylist()], pa.int8())
    ranked = table.append_column("rank", rank).sort_by([("image_id", "ascending"), ("rank", "ascending")])
    return ranked.drop_columns(["rank"])


def manifest_digest(header: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> str:
    """Return the digest (64 hex digits) that names exactly this benchmark.

    Args:
        header: ``seed``, ``levels``, ``recipes`` and ``degradation_tables`` of benchmark.json (other keys are ignored).
        tables: the three manifest tables; their order of rows does not matter.
    """
    return digest_rows(_rows(header, tables, {name: _identity(columns) for name, columns in TABLES.items()}))


def plan_digest(header: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> str:
    """Return the digest (64 hex digits) of sources, recipes, table version and every sampled plan, without masks.

    Arguments as for :func:`manifest_digest`.
    """
    chosen = {"images": ("image_id", "source_sha256"), "degradations": ("image_id", "level", "plan_digest")}
    return digest_rows(_rows(header, tables, chosen))


def _identity(columns: tuple[Column, ...]) -> tuple[str, ...]:
    return tuple(column.name for column in columns if column.identity)


def _rows(
    header: Mapping[str, Any], tables: Mapping[str, pa.Table], chosen: Mapping[str, tuple[str, ...]]
) -> Iterator[Any]:
    yield {key: header[key] for key in ("seed", "levels", "recipes", "degradation_tables")}
    for name, wanted in chosen.items():
        stored = drop_empty(name, tables[name])
        columns = [column for column in wanted if column in stored.column_names or column not in list_sparse(name)]
        yield [name, *columns]
        for batch in sort_table(name, stored.select(columns)).to_batches(max_chunksize=_BATCH_ROWS):
            for row in zip(*(batch.column(column).to_pylist() for column in columns), strict=True):
                yield [significant(value) if isinstance(value, float) else value for value in row]
