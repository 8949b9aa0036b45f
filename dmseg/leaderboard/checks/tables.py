"""E10x: the tables of a run folder have their columns, types, ranges and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.results.columns import STATUSES, TABLES
from dmseg.types import LEVELS, MODALITIES, SPLITS

MAX_ROWS = 20_000_000
MAX_BYTES = 4 * 2**30
_ALLOWED: dict[str, tuple[object, ...]] = {
    "level": LEVELS,
    "split": SPLITS,
    "modality": MODALITIES,
    "prompt_kind": ("points", "box"),
    "status": STATUSES,
    "kind": ("point", "box"),
    "new_label": (0, 1),
    "label": (0, 1),
}
_SHARES = ("iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5")
_NOT_NEGATIVE = ("points_pos", "points_neg", "new_x", "new_y", "pred_area", "hd95", "hd95_mm", "index")
_FROM_ONE = ("step", "gt_area")
_KEYS: dict[str, list[str]] = {
    "steps": ["mask_id", "level", "seed", "step"],
    "prompts": ["mask_id", "level", "seed", "step", "kind", "index"],
    "inputs": ["image_id", "level"],
}


def load_table(folder: Path, name: str, findings: Findings) -> pd.DataFrame | None:
    """Read and check one table; None where its columns cannot be used."""
    path = folder / f"{name}.parquet"
    try:
        metadata = pq.read_metadata(path)
        size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        if metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
            fix = f"at most {MAX_ROWS} rows and {MAX_BYTES} bytes"
            findings.add("E101", path.name, f"{metadata.num_rows} rows, {size} bytes unpacked", fix)
            return None
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        findings.add("E101", path.name, f"not readable Parquet ({str(error)[:120]})", "send the file as it was written")
        return None
    if not _check_columns(table, name, findings):
        return None
    frame: pd.DataFrame = table.to_pandas()
    before = len(findings.items)
    _check_missing(frame, name, findings)
    if len(findings.items) == before:
        _check_values(frame, name, findings)
        _check_keys(frame, name, findings)
    return frame


def _check_columns(table: pa.Table, name: str, findings: Findings) -> bool:
    wanted = {column.name: column for column in TABLES[name]}
    file, found = f"{name}.parquet", table.column_names
    problems = {
        "missing": [column for column in wanted if column not in found],
        "unknown": sorted({column for column in found if column not in wanted}),
        "doubled": sorted({column for column in found if found.count(column) > 1}),
    }
    for kind, names in problems.items():
        if names:
            findings.add(
                "E102", file, f"{kind} column {first_few(names)}", "send the columns that dmseg evaluate writes"
            )
    if problems["missing"] or problems["doubled"]:
        return False
    wrong = [
        f"{column.name} is {table.schema.field(column.name).type}, not {column.type}"
        for column in wanted.values()
        if not _compatible(table.schema.field(column.name).type, column.type)
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
    groups = (*((kind,) for kind in same), text, binary)
    return any(any(k(found) for k in group) and any(k(wanted) for k in group) for group in groups)


def _place(frame: pd.DataFrame, name: str, bad: pd.Series | np.ndarray) -> str:
    row = int(np.flatnonzero(np.asarray(bad))[0])
    return f"{name}.parquet row {row + 1}"


def _count(bad: pd.Series | np.ndarray) -> str:
    n = int(np.asarray(bad).sum())
    return "" if n == 1 else f" ({n} rows)"


def _check_missing(frame: pd.DataFrame, name: str, findings: Findings) -> None:
    for column in TABLES[name]:
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
            bad = frame[column].notna() & ~frame[column].isin(allowed)
            if bad.any():
                value = frame[column][bad].iloc[0]
                what = f'{column} "{value}"{_count(bad)}'
                findings.add("E105", _place(frame, name, bad), what, f"one of {', '.join(map(str, allowed))}")
    ranges = [*((c, 0.0, 1.0) for c in _SHARES), *((c, 0.0, np.inf) for c in _NOT_NEGATIVE)]
    ranges += [(c, 1.0, np.inf) for c in _FROM_ONE]
    for column, low, high in ranges:
        if column in frame:
            values = pd.to_numeric(frame[column]).astype("float64")
            bad = (values < low) | (values > high)
            if bad.any():
                allowed_text = f"{low:g} to {high:g}" if np.isfinite(high) else f"at least {low:g}"
                what = f"{column} {values[bad].iloc[0]:g}{_count(bad)}"
                findings.add("E106", _place(frame, name, bad), what, allowed_text)
    if name == "steps":
        _check_failed_rows(frame, findings)


def _check_failed_rows(frame: pd.DataFrame, findings: Findings) -> None:
    failed = frame["status"] != "ok"
    bad = failed & ((frame[list(_SHARES)] != 0).any(axis=1) | frame["hd95_defined"])
    if bad.any():
        what = f"status {frame['status'][bad].iloc[0]} with scores above the worst{_count(bad)}"
        findings.add("E106", _place(frame, "steps", bad), what, "IoU, Dice, PA and NSD 0, HD95 undefined")


def _check_keys(frame: pd.DataFrame, name: str, findings: Findings) -> None:
    keys = _KEYS.get(name)
    if keys is None:
        return
    bad = frame.duplicated(keys)
    if bad.any():
        key = ", ".join(f"{k} {frame[k][bad].iloc[0]}" for k in keys)
        findings.add("E107", _place(frame, name, bad), f"{key} occurs again{_count(bad)}", "each key once")
