"""What a manifest may hold: the shape of benchmark.json, and the values of the tables that name files or sizes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dmseg.errors import DataError
from dmseg.manifests.columns import SCHEMA_VERSION
from dmseg.naming import require_id, require_inside
from dmseg.schemas import SHA256, Entries, Items, Loose, Number, Optional, Record, Text
from dmseg.types import ALL_LEVELS, ALL_MODALITIES, SPLITS, TRACKS

_DIGEST = Text(64, pattern=SHA256, means="64 lower-case hex digits")
_NAME = Text(80, shortest=1, pattern=r"[A-Za-z0-9][A-Za-z0-9.+_-]*", means="1 to 80 letters, digits and . + _ -")
HEADER = Record(
    {
        "schema_version": Number(SCHEMA_VERSION, SCHEMA_VERSION),
        "edition": _NAME,
        "version": _NAME,
        "seed": Number(-(2**63), 2**63 - 1),
        "levels": Items(Text(choices=ALL_LEVELS), len(ALL_LEVELS), 1, distinct=True),
        "storage": Optional(Text(20)),
        "track": Optional(Text(choices=TRACKS)),
        "recipes": Entries(_DIGEST, 10_000),
        "degradation_tables": Record({"version": Text(80), "digest": _DIGEST}, others=Loose()),
        "counts": Loose(200_000),
        "manifest_digest": _DIGEST,
        "plan_digest": _DIGEST,
        "created_with": Loose(),
    },
    others=Loose(200_000),
)
_ID = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$"
_IDS = ("image_id", "mask_id", "dataset", "case_id")
_OUTSIDE = r"^/|(^|/)\.\.(/|#|$)|[\x00-\x1f]"
_CHOICES = {"level": ALL_LEVELS, "split": SPLITS, "modality": ALL_MODALITIES}
_SIDE = 1_000_000
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("height", "width"), (1, _SIDE)),
    **dict.fromkeys(("x0", "y0", "x1", "y1"), (0, _SIDE)),
    **dict.fromkeys(("spacing_y", "spacing_x"), (1e-9, 1e6)),
    "area": (0, _SIDE**2),
}


def check_values(table: pa.Table, where: str) -> None:
    """Check the values that name files, are looked up, or size memory; whole columns at a time.

    Raises:
        DataError: the first value that is out of order; the message names file, row and column.
    """
    for name in table.column_names:
        column = table[name]
        if not table.schema.field(name).nullable and column.null_count:
            raise DataError(f"{where}: {name} is missing in {column.null_count} rows")
        if name in _IDS:
            bad = pc.invert(pc.match_substring_regex(column, _ID))
        elif name == "source":
            bad = pc.match_substring_regex(column, _OUTSIDE)
        elif name in _CHOICES:
            bad = pc.invert(pc.is_in(column, value_set=pa.array(_CHOICES[name])))
        elif name in _RANGES:
            low, high = _RANGES[name]
            bad = pc.invert(pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high)))
        else:
            continue
        if pc.any(bad).as_py():
            row = pc.index(bad, True).as_py()
            _refuse(column[row].as_py(), name, f"{where} row {row + 1}: {name}")


def _refuse(value: object, name: str, where: str) -> None:
    if name in _IDS:
        require_id(value, where)
    elif name == "source":
        require_inside(value, where)
    allowed = ", ".join(_CHOICES[name]) if name in _CHOICES else "{:g} to {:g}".format(*_RANGES.get(name, (0, 0)))
    raise DataError(f"{where} is {ascii(value)[:80]}; allowed: {allowed}")
