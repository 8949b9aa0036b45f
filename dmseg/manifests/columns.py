"""The columns of a manifest's tables: one definition each, with what it means and whether it is part of the identity.

``docs/build.md`` prints these tables. Columns outside the identity are measured on one machine (``observed``,
``thumbprint``, ``pixel_sha256``), can be made again from the others (``plan``: its digest is in the identity), or may
not be shared (``rle``, ``expressions``: ``mask_sha256`` and ``expressions_sha256`` are in the identity).
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
"""Version of the manifest's and benchmark folder's schema; readers refuse every other one by name."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        optional: whether a value may be missing.
        identity: whether it is part of what the digest names.
        sparse: whether the column is absent from files, and from the digest, where no row has a value.
    """

    name: str
    type: pa.DataType
    meaning: str
    optional: bool = False
    identity: bool = True
    sparse: bool = False


IMAGES: tuple[Column, ...] = (
    Column("image_id", pa.string(), "<dataset>__<source id>; the key of all randomness of this image"),
    Column("dataset", pa.string(), "name of the recipe"),
    Column("modality", pa.string(), "modality of this image (CHAOS has ct and mri)"),
    Column("split", pa.string(), "train, seen or unseen"),
    Column("case_id", pa.string(), "<dataset>__<patient>; cases are never divided between splits"),
    Column("height", pa.int32(), "rows of the stored grid"),
    Column("width", pa.int32(), "columns of the stored grid"),
    Column("spacing_y", pa.float64(), "mm per row of the stored grid", optional=True),
    Column("spacing_x", pa.float64(), "mm per column of the stored grid", optional=True),
    Column("source", pa.string(), "file below the dataset's folder, with #z012 for a slice"),
    Column("source_sha256", pa.string(), "identity of the files that the image and its masks were read from"),
    Column("window", pa.string(), 'JSON {"center", "width"} of the grey window used', optional=True),
    Column("observed", pa.string(), "JSON: what observe() measured on the Clear image", identity=False),
)

MASKS: tuple[Column, ...] = (
    Column("mask_id", pa.string(), "<image_id>__<structure>__<k>, k by first raster index"),
    Column("image_id", pa.string(), "image that the object is in"),
    Column("structure", pa.string(), "name of the object, as the recipe gives it"),
    Column("rle", pa.string(), 'JSON {"size", "counts"}, COCO run lengths', optional=True, identity=False),
    Column("mask_sha256", pa.string(), "sha256 of the mask's height, width and pixels"),
    Column("area", pa.int64(), "pixels"),
    Column("x0", pa.int32(), "first column of the object"),
    Column("y0", pa.int32(), "first row of the object"),
    Column("x1", pa.int32(), "last column of the object (inclusive)"),
    Column("y1", pa.int32(), "last row of the object (inclusive)"),
    Column("evaluate", pa.bool_(), "in the evaluation subset"),
    Column(
        "expressions",
        pa.string(),
        "JSON list of the sentences that name the object; absent where no object has any",
        optional=True,
        identity=False,
        sparse=True,
    ),
    Column(
        "expressions_sha256",
        pa.string(),
        "sha256 of that text; absent where no object has any",
        optional=True,
        sparse=True,
    ),
)

DEGRADATIONS: tuple[Column, ...] = (
    Column("image_id", pa.string(), "image that was degraded"),
    Column("level", pa.string(), "clear, lq1, lq2, lq3 or lq3plus"),
    Column("plan", pa.string(), "JSON: operations with observed and sampled values", identity=False),
    Column("plan_digest", pa.string(), "sha256 of key, table version, operation versions and sampled values"),
    Column("thumbprint", pa.binary(256), "16 x 16 block means, uint8, row by row", identity=False),
    Column("pixel_sha256", pa.string(), "sha256 of the stored pixels on this machine", optional=True, identity=False),
)

TABLES: dict[str, tuple[Column, ...]] = {"images": IMAGES, "masks": MASKS, "degradations": DEGRADATIONS}
"""Table name -> columns, in file order; the file is ``<name>.parquet``."""


def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table, with the schema version in its metadata."""
    fields = [pa.field(column.name, column.type, nullable=column.optional) for column in TABLES[table]]
    return pa.schema(fields, metadata={"dmseg_schema_version": str(SCHEMA_VERSION)})


def list_sparse(table: str) -> tuple[str, ...]:
    """Return the names of a table's columns that may be absent."""
    return tuple(column.name for column in TABLES[table] if column.sparse)


def drop_empty(name: str, table: pa.Table) -> pa.Table:
    """Return a table without its sparse columns of which no row has a value: as it is stored, and named."""
    empty = [one for one in list_sparse(name) if one in table.column_names and table[one].null_count == len(table)]
    return table.drop_columns(empty) if empty else table


def fill_absent(name: str, table: pa.Table) -> pa.Table:
    """Return a table with all its columns, in order; absent sparse ones hold no value."""
    schema = arrow_schema(name)
    for one in list_sparse(name):
        if one not in table.column_names:
            table = table.append_column(schema.field(one), pa.nulls(len(table), schema.field(one).type))
    return table.select([one for one in schema.names if one in table.column_names])
