"""A run in Python and in a notebook: its numbers as a table, its worst cases as a picture."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as Pillow

from dmseg.build import Benchmark
from dmseg.errors import UsageError
from dmseg.report.pictures import worst_sheet
from dmseg.report.places import find_benchmark, open_own_benchmark
from dmseg.report.sections import collect_sources
from dmseg.results import Run, open_run
from dmseg.results.notices import list_notices
from dmseg.results.shown import WORST_CASES


class ShownRun(Run):
    """A finished run that can be looked at; everything of :class:`dmseg.results.Run`, and pictures."""

    @property
    def dice(self) -> pd.DataFrame:
        """Final Dice, 0..1: a row per split, a column per level, mean over datasets of the mean over objects."""
        rows = {
            split: dict(zip(table.levels, table.bootstrap.means(table.values["dice"][:, :, -1]), strict=True))
            for split, table in self.tables.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def show_worst(self, count: int = WORST_CASES, *, benchmark: Benchmark | Path | str | None = None) -> Pillow.Image:
        """Return the objects of the lowest final Dice at the hardest level as a picture, a column per level.

        Args:
            count: of each split.
            benchmark: what the run was made on; default: where it was then, or the user's cache.

        Raises:
            UsageError: the benchmark is not found.
            DataError: it is another one than the run's.
        """
        given = Path(benchmark) if isinstance(benchmark, str) else benchmark
        found = given if given is not None else find_benchmark(self.path)
        if found is None:
            raise UsageError(f"{self.path}: its pictures are not found; give benchmark=, as of dmseg.open(BENCH)")
        pixels = open_own_benchmark(self, found)
        sheets = [worst_sheet(*collect_sources(table, self, pixels), count=count) for table in self.tables.values()]
        width = max(sheet.shape[1] for sheet in sheets)
        edges = [((0, 0), (width - sheet.shape[1], 0), (0, 0)) for sheet in sheets]  # labels are at the left
        padded = [np.pad(sheet, edge, constant_values=255) for sheet, edge in zip(sheets, edges, strict=True)]
        return Pillow.fromarray(np.concatenate(padded))

    def _repr_html_(self) -> str:
        notices = list_notices(self.info, {name for table in self.tables.values() for name in table.datasets})
        told = "".join(f"<p><b>{escape(notice.title)}.</b> {escape(notice.text)}</p>" for notice in notices)
        table = (100 * self.dice).round(1).to_html(border=0)
        return f"<p><b>{escape(repr(self))}</b></p>{told}<p>Final Dice, %, mean over datasets:</p>{table}"


def open_shown_run(path: Path | str) -> ShownRun:
    """Open a finished run folder; errors as :func:`dmseg.results.open_run`."""
    run = open_run(path)
    return ShownRun(run.path, run.info)
