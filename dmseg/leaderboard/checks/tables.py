"""E10x: the tables of a run folder have their columns, types, ranges and keys. Files are read within fixed budgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dmseg.errors import DataError
from dmseg.leaderboard.checks.declaration import text_problem
from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.run_shape import MAX_STEPS
from dmseg.manifests import Column
from dmseg.reading import require_regular
from dmseg.results.columns import STATUSES, list_columns, run_schema
from dmseg.results.parquet import open_parquet
from dmseg.types import ALL_LEVELS, ALL_MODALITIES, SPLITS

MAX_ROWS = {"steps": 6_000_000, "prompts": 8_000_000, "inputs": 2_000_000}
MAX_BYTES = 1 << 30
"""Largest Parquet file, packed and by its own word unpacked."""
MAX_DICTIONARY = 1 << 28
"""Most bytes of different texts in one column."""
_LONGEST_ID, _LONGEST_ERROR = 300, 20_000
_ALLOWED: dict[str, tuple[object, ...]] = {
    "level": ALL_LEVELS,
    "split": SPLITS,
    "modality": ALL_MODALITIES,
    "prompt_kind": ("points", "box"),
    "status": STATUSES,
    "kind": ("point", "box"),
    "new_label": (0, 1),
    "label": (0, 1),
}
_ID = r"^[A-Za-z0-9._-]+$"
_PATTERNS = {
    "image_id": (_ID, "letters, digits and . _ -"),
    "mask_id": (_ID, "letters, digits and . _ -"),
    "case_id": (_ID, "letters, digits and . _ -"),
    "pred_digest": ("^[0-9a-f]{64}$", "64 lower-case hex digits"),
    "plan_digest": ("^[0-9a-f]{64}$", "64 lower-case hex digits"),
}
_SHOWN_TEXTS = ("dataset", "structure")
_SHARES = ("iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5")
_SIDE, _AREA = 1e5, 1e9
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **dict.fromkeys(("new_x", "new_y", "x", "y", "x0", "y0", "x1", "y1"), (0.0, _SIDE)),
    **dict.fromkeys(("points_pos", "points_neg", "index"), (0.0, 10_000.0)),
    "pred_area": (0.0, _AREA),
    "gt_area": (1.0, _AREA),
    "intersection": (0.0, _AREA),
    "union": (1.0, _AREA),
    "hd95": (0.0, math.sqrt(2) * _SIDE),
    "hd95_mm": (0.0, 1e9),
    "step": (1.0, MAX_STEPS),
}
_KEYS: dict[str, list[str]] = {
    "steps": ["mask_id", "level", "step"],
    "prompts": ["mask_id", "level", "step", "kind", "index"],
    "inputs": ["image_id", "level"],
}
"""What no two rows share; a run has one seed, so the same place under another seed is the same place."""


def load_table(folder: Path, name: str, findings: Findings, text: bool = False) -> pd.DataFrame | None:
    """Read and check one table; None where its columns cannot be used.

    ``text``: of a run whose preset gives sentences; it has further columns, and no row of prompts.
    """
    path = folder / f"{name}.parquet"
    try:
        table = _read_within_budget(path, name, text, findings)
    except (OSError, pa.ArrowException, ValueError, DataError) as error:
        reason = ascii(str(error))[1:-1][:120]
        findings.add("E101", path.name, f"not readable Parquet ({reason})", "send the file as it was written")
        return None
    if table is None:
        return None
    columns = list_columns(name, text=text)
    frame = _frame(table, columns)
    before = len(findings.items)
    _check_missing(frame, name, columns, findings)
    if len(findings.items) == before:
        _check_values(frame, name, findings)
        _check_keys(frame, name, findings)
    return frame


def _read_within_budget(path: Path, name: str, text: bool, findings: Findings) -> pa.Table | None:
    """Read a table whose sizes and columns were looked at first; texts stay dictionaries, so repeats cost nothing."""
    size = require_regular(path, links=False).st_size
    if size > MAX_BYTES:
        raise DataError(f"{size} bytes; at most {MAX_BYTES}")
    columns = list_columns(name, text=text)
    texts = [column.name for column in columns if pa.types.is_string(column.type) or column.name == "thumbprint"]
    with open_parquet(path, texts, links=False) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        rows, size = sum(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
        if rows != file.metadata.num_rows or rows > MAX_ROWS[name] or size > MAX_BYTES or len(groups) > 10_000:
            fix = f"at most {MAX_ROWS[name]} rows and {MAX_BYTES} bytes"
            findings.add("E101", path.name, f"{rows} rows, {size} bytes unpacked", fix)
            return None
        if not _check_columns(file.schema_arrow, name, columns, findings):
            return None
        names = [column.name for column in columns]
        read = []
        for number in range(len(groups)):
            part = file.read_row_group(number, columns=names, use_threads=False)
            _require_short_texts(part)
            read.append(part)
    if not rows and text and name == "prompts":
        return run_schema(name).empty_table()
    if not rows:
        findings.add("E101", path.name, "no rows", "send the file as it was written")
        return None
    return pa.concat_tables(read).unify_dictionaries()


def _require_short_texts(part: pa.Table) -> None:
    for column in part.column_names:
        if not pa.types.is_dictionary(part[column].type):
            continue
        for chunk in part[column].chunks:
            chunk.dictionary.validate(full=True)  # text that is no UTF-8
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            most = _LONGEST_ERROR if column in ("error", "expression") else _LONGEST_ID
            if longest > most or chunk.dictionary.nbytes > MAX_DICTIONARY:
                raise DataError(f"{column} holds a text of {longest} bytes; at most {most}")


def _frame(table: pa.Table, wanted: Sequence[Column]) -> pd.DataFrame:
    """Return the table as a data frame; equal texts are one object."""
    columns: dict[str, Any] = {}
    for column in wanted:
        values = table[column.name]
        if pa.types.is_dictionary(values.type):
            whole = values.combine_chunks()
            whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
            texts = np.array([*whole.dictionary.to_pylist(), None], dtype=object)
            codes = whole.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
            columns[column.name] = texts[codes]
        else:
            columns[column.name] = values.to_pandas()
    return pd.DataFrame(columns)


def _check_columns(schema: pa.Schema, name: str, columns: Sequence[Column], findings: Findings) -> bool:
    wanted = {column.name: column for column in columns}
    file, found = f"{name}.parquet", schema.names
    problems = {
        "missing": [column for column in wanted if column not in found],
        "unknown": sorted({ascii(column)[1:60].rstrip("'") for column in found if column not in wanted}),
        "doubled": sorted({column for column in wanted if found.count(column) > 1}),
    }
    for kind, names in problems.items():
        if names:
            findings.add(
                "E102", file, f"{kind} column {first_few(names)}", "send the columns that dmseg evaluate writes"
            )
    if any(problems.values()):
        return False
    wrong = [
        f"{column.name} is {str(schema.field(column.name).type)[:60]}, not {column.type}"
        for column in wanted.values()
        if not _compatible(schema.field(column.name).type, column.type)
    ]
    for text in wrong:
        findings.add("E103", file, f"column {text}", "send the types that dmseg evaluate writes")
    return not wrong


def _compatible(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether a type holds the same kind of values; widths may differ."""
    if pa.types.is_null(found):
        return True
    same = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if pa.types.is_dictionary(found):
        found = found.value_type
    text = (pa.types.is_string, pa.types.is_large_string)
    binary = (pa.types.is_binary, pa.types.is_fixed_size_binary, pa.types.is_large_binary)
    if pa.types.is_fixed_size_binary(found) and pa.types.is_fixed_size_binary(wanted):
        return bool(found.byte_width == wanted.byte_width)
    groups = (*((kind,) for kind in same), text, binary)
    return any(any(k(found) for k in group) and any(k(wanted) for k in group) for group in groups)


def _place(frame: pd.DataFrame, name: str, bad: pd.Series | np.ndarray) -> str:
    row = int(np.flatnonzero(np.asarray(bad))[0])
    return f"{name}.parquet row {row + 1}"


def _count(bad: pd.Series | np.ndarray) -> str:
    n = int(np.asarray(bad).sum())
    return "" if n == 1 else f" ({n} rows)"


def _check_missing(frame: pd.DataFrame, name: str, columns: Sequence[Column], findings: Findings) -> None:
    for column in columns:
        values = frame[column.name]
        bad = values.isna() if not column.optional else pd.Series(False, index=frame.index)
        if pd.api.types.is_float_dtype(values):
            bad = bad | np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if bad.any():
            what = f"{column.name} is missing or not finite{_count(bad)}"
            findings.add("E104", _place(frame, name, bad), what, "a failed prediction has its worst value, never NaN")


def _check_values(frame: pd.DataFrame, name: str, findings: Findings) -> None:
    for column, allowed in _ALLOWED.items():
        if column in frame:
            if column == "prompt_kind" and "expression" in frame:
                allowed = ("text",)
            bad = frame[column].notna() & ~frame[column].isin(allowed)
            if bad.any():
                value = ascii(str(frame[column][bad].iloc[0])[:60])[1:-1]
                what = f'{column} "{value}"{_count(bad)}'
                findings.add("E105", _place(frame, name, bad), what, f"one of {', '.join(map(str, allowed))}")
    for column, (low, high) in _RANGES.items():
        if column in frame:
            values = pd.to_numeric(frame[column]).astype("float64")
            bad = (values < low) | (values > high)
            if bad.any():
                what = f"{column} {values[bad].iloc[0]:g}{_count(bad)}"
                findings.add("E106", _place(frame, name, bad), what, f"{low:g} to {high:g}")
    _check_texts(frame, name, findings)
    if name == "steps":
        _check_failed_rows(frame, findings)


def _check_texts(frame: pd.DataFrame, name: str, findings: Findings) -> None:
    for column, (pattern, rule) in _PATTERNS.items():
        if column in frame:
            bad = frame[column].notna() & ~frame[column].astype("str").str.match(pattern)
            bad |= frame[column].notna() & frame[column].astype("str").str.endswith("\n")
            if bad.any():
                value = ascii(str(frame[column][bad].iloc[0])[:60])
                findings.add("E105", _place(frame, name, bad), f"{column} {value}{_count(bad)}", rule)
    for column in _SHOWN_TEXTS:
        for text in sorted(set(frame[column].unique()) if column in frame else ()):
            problem = text_problem(text)
            if problem is not None:
                place = _place(frame, name, frame[column] == text)
                findings.add("E108", place, f"{column} {problem[0]}", problem[1])
                break


def _check_failed_rows(frame: pd.DataFrame, findings: Findings) -> None:
    failed = frame["status"] != "ok"
    bad = failed & ((frame[list(_SHARES)] != 0).any(axis=1) | frame["hd95_defined"].astype(bool))
    if bad.any():
        what = f"status {frame['status'][bad].iloc[0]} with scores above the worst{_count(bad)}"
        findings.add("E106", _place(frame, "steps", bad), what, "IoU, Dice, PA and NSD 0, HD95 undefined")
    absent = ["pred_area", "pred_digest"]
    bad = (failed & frame[absent].notna().any(axis=1)) | (~failed & frame[absent].isna().any(axis=1))
    bad |= ~failed & frame["error"].notna()
    if bad.any():
        what = f"status {frame['status'][bad].iloc[0]} does not go with pred_area, pred_digest and error{_count(bad)}"
        fix = "a prediction has an area and a digest, and no error; a failed row has neither"
        findings.add("E104", _place(frame, "steps", bad), what, fix)
    click = frame[["new_x", "new_y", "new_label"]].notna()
    bad = click.any(axis=1) != click.all(axis=1)
    if bad.any():
        findings.add("E104", _place(frame, "steps", bad), f"half a click{_count(bad)}", "new_x, new_y and new_label")


def _check_keys(frame: pd.DataFrame, name: str, findings: Findings) -> None:
    keys = _KEYS.get(name)
    if keys is None:
        return
    bad = frame.duplicated(keys)
    if bad.any():
        key = ", ".join(f"{k} {frame[k][bad].iloc[0]}" for k in keys)
        findings.add("E107", _place(frame, name, bad), f"{key} occurs again{_count(bad)}", "each key once")
