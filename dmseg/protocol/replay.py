"""Recorded prompts read back: a pure function from rows of ``prompts.parquet`` to what the model was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dmseg.errors import DataError
from dmseg.types import STROKES, Prompts, Stroke

KINDS = frozenset({"point", "box", *STROKES})
"""Kinds of rows."""


def prompts_from_rows(rows: Iterable[Mapping[str, Any]], step: int | None = None) -> Prompts:
    """Return the prompts of one object at one level after ``step`` (default: the last step in the rows).

    Args:
        rows: with the columns ``step``, ``index``, ``kind``, ``x``, ``y``, ``label``, ``x0``, ``y0``, ``x1``, ``y1`` of
            ``prompts.parquet``, in any order but that of a stroke's pieces: a ``scribble`` or ``lasso`` is one row per
            piece, from x0, y0 to x1, y1, all with the index of the stroke and its label.
        step: later rows are left out. A step without a row gave no new prompt.

    Raises:
        DataError: no row of step 1, two boxes, or an unknown kind.

    >>> prompts_from_rows([{"step": 1, "index": 0, "kind": "point", "x": 4, "y": 7, "label": 1}]).points.tolist()
    [[4.0, 7.0]]
    """
    known = sorted(rows, key=lambda row: (row["step"], row["index"]))
    wanted = [row for row in known if step is None or row["step"] <= step]
    kinds = [row["kind"] for row in wanted]
    if not wanted or wanted[0]["step"] != 1 or kinds.count("box") > 1 or not set(kinds) <= KINDS:
        found = ", ".join(f"step {row['step']} {row['kind']}" for row in wanted[:5]) or "no row"
        raise DataError(
            f"recorded prompts begin with {found}; expected points, strokes, one box at most, from step 1 on"
        )
    points = [row for row in wanted if row["kind"] == "point"]
    boxes = [[row[name] for name in ("x0", "y0", "x1", "y1")] for row in wanted if row["kind"] == "box"]
    return Prompts(
        points=np.array([(row["x"], row["y"]) for row in points], dtype=np.float32).reshape(-1, 2),
        labels=np.array([row["label"] for row in points], dtype=np.int8),
        box=np.array(boxes[0], dtype=np.float32) if boxes else None,
        step=wanted[-1]["step"] if step is None else step,
        strokes=strokes_from_rows(wanted),
    )


def strokes_from_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Stroke, ...]:
    """Return the scribbles and lassos among rows, each of its pieces in the order of the rows.

    Raises:
        DataError: a piece that does not begin where the piece before ends, or pieces of two labels.
    """
    pieces: dict[tuple[int, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["kind"] in STROKES:
            pieces.setdefault((row["step"], row["kind"], row["index"]), []).append(row)
    return tuple(_join_pieces(kind, parts) for (_, kind, _), parts in pieces.items())


def _join_pieces(kind: str, parts: Sequence[Mapping[str, Any]]) -> Stroke:
    path = [(parts[0]["x0"], parts[0]["y0"])]
    for part in parts:
        if (part["x0"], part["y0"]) != path[-1] or part["label"] != parts[0]["label"]:
            raise DataError(
                f"recorded {kind} {parts[0]['index']} of step {part['step']} has a piece from {part['x0']}, "
                f"{part['y0']} with label {part['label']}; it should go on at {path[-1]} with {parts[0]['label']}"
            )
        path.append((part["x1"], part["y1"]))
    if len(path) == 2 and path[0] == path[1]:
        del path[1]  # a dot
    return Stroke(kind, np.array(path, dtype=np.float32), int(parts[0]["label"]))
