"""Prompts from a file in place of the simulated user: a ``prompts.parquet`` of another run, or one made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmseg.errors import DataError
from dmseg.protocol import Click
from dmseg.results.columns import run_schema
from dmseg.results.parquet import read_columns
from dmseg.types import Prompts

Rows = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Replay:
    """Recorded prompts: (mask_id, level, step) -> rows in the order given."""

    path: Path
    rows: Mapping[tuple[str, str, int], Rows]

    def first(self, mask_id: str, level: str) -> Prompts:
        """Return the prompts of step 1.

        Raises:
            DataError: the file has none for this object and level.
        """
        rows = self.rows.get((mask_id, level, 1))
        if not rows:
            raise DataError(f"{self.path} has no prompts of step 1 for mask {mask_id} at level {level}")
        points = [row for row in rows if row["kind"] == "point"]
        boxes = [row for row in rows if row["kind"] == "box"]
        corners = [boxes[0][name] for name in ("x0", "y0", "x1", "y1")] if boxes else None
        return Prompts(
            points=np.array([(row["x"], row["y"]) for row in points], dtype=np.float32).reshape(-1, 2),
            labels=np.array([row["label"] for row in points], dtype=np.int8),
            box=None if corners is None else np.array(corners, dtype=np.float32),
            step=1,
        )

    def next(self, mask_id: str, level: str, step: int) -> Click | None:
        """Return the click recorded for a later step, None where none was needed or recorded."""
        rows = self.rows.get((mask_id, level, step))
        return Click(round(rows[0]["x"]), round(rows[0]["y"]), int(rows[0]["label"])) if rows else None


def read_replay(path: Path) -> Replay:
    """Read a file of prompts with the columns of ``prompts.parquet``.

    Raises:
        DataError: not such a file; the message says what is missing.
    """
    table = read_columns(path, run_schema("prompts"), "give the prompts.parquet of a run")
    rows: dict[tuple[str, str, int], Rows] = {}
    for row in sorted(table.to_pylist(), key=lambda row: (row["step"], row["index"])):
        rows.setdefault((row["mask_id"], row["level"], row["step"]), []).append(row)
    return Replay(path, rows)
