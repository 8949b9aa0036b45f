"""Recorded prompts read back: a pure function from rows of ``prompts.parquet`` to what the model was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dmseg.errors import DataError
from dmseg.types import Prompts


def prompts_from_rows(rows: Iterable[Mapping[str, Any]], step: int | None = None) -> Prompts:
    """Return the prompts of one object at one level after ``step`` (default: the last step in the rows).

    Args:
        rows: in any order, with the columns ``step``, ``index``, ``kind`` ("point" or "box"), ``x``, ``y``, ``label``,
            ``x0``, ``y0``, ``x1``, ``y1`` of ``prompts.parquet``.
        step: later rows are left out. A step without a row gave no new prompt.

    Raises:
        DataError: no row of step 1, two boxes, or an unknown kind.

    >>> prompts_from_rows([{"step": 1, "index": 0, "kind": "point", "x": 4, "y": 7, "label": 1}]).points.tolist()
    [[4.0, 7.0]]
    """
    known = sorted(rows, key=lambda row: (row["step"], row["index"]))
    wanted = [row for row in known if step is None or row["step"] <= step]
    kinds = [row["kind"] for row in wanted]
    if not wanted or wanted[0]["step"] != 1 or kinds.count("box") > 1 or not set(kinds) <= {"point", "box"}:
        found = ", ".join(f"step {row['step']} {row['kind']}" for row in wanted[:5]) or "no row"
        raise DataError(f"recorded prompts begin with {found}; expected points and at most one box, from step 1 on")
    points = [row for row in wanted if row["kind"] == "point"]
    boxes = [[row[name] for name in ("x0", "y0", "x1", "y1")] for row in wanted if row["kind"] == "box"]
    return Prompts(
        points=np.array([(row["x"], row["y"]) for row in points], dtype=np.float32).reshape(-1, 2),
        labels=np.array([row["label"] for row in points], dtype=np.int8),
        box=np.array(boxes[0], dtype=np.float32) if boxes else None,
        step=wanted[-1]["step"] if step is None else step,
    )
