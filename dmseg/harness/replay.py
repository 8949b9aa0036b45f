"""Prompts from a file in place of the simulated user: a ``prompts.parquet`` of another run, or one made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmseg.baselines.interface import STROKE_CAPABILITIES
from dmseg.errors import DataError
from dmseg.protocol import Click, prompts_from_rows, strokes_from_rows
from dmseg.results.columns import run_schema
from dmseg.results.parquet import read_columns
from dmseg.types import STROKES, Prompts, Stroke

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
        return prompts_from_rows(rows, 1)

    def next(self, mask_id: str, level: str, step: int) -> Click | Stroke | None:
        """Return the click or stroke recorded for a later step, None where none was needed or recorded."""
        rows = self.rows.get((mask_id, level, step))
        if not rows:
            return None
        if rows[0]["kind"] in STROKES:
            return strokes_from_rows(rows)[0]
        return Click(round(rows[0]["x"]), round(rows[0]["y"]), int(rows[0]["label"]))

    def find_capabilities(self) -> frozenset[str]:
        """Return what a model must declare to be given all of these rows, beside what a preset asks for."""
        kinds = {row["kind"] for rows in self.rows.values() for row in rows}
        return frozenset(STROKE_CAPABILITIES[kind] for kind in STROKES if kind in kinds)


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
