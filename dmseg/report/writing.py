"""A run folder in, ``report.html`` out: loads the run, averages it, draws it, fills the template."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmseg.build import Benchmark
from dmseg.errors import UsageError
from dmseg.figures import page
from dmseg.files import write_text
from dmseg.imaging import write_png
from dmseg.report.comparison import render_comparison
from dmseg.report.places import find_benchmark, open_own_benchmark
from dmseg.report.sections import PANELS_CLASS, render_report
from dmseg.report.showing import open_shown_run
from dmseg.results import open_run
from dmseg.results.model_table import name_runs

REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.html"


def write_report(
    run: Path, benchmark: Path | Benchmark | None = None, out: Path | None = None, warnings: Sequence[str] = ()
) -> Path:
    """Write one self-contained HTML page about a run; it opens offline, in light and dark.

    Args:
        run: the run folder.
        benchmark: the benchmark folder (or the open benchmark) that the run was made on, for the panels; default: where
            it was when the run was made, or the user's cache (:func:`find_benchmark`); without it the page says so.
        out: file to write; default ``report.html`` in the run folder.
        warnings: of the checks of submissions, which stand on top.

    Returns:
        The file written.

    Raises:
        DataError: not a run folder, rows are missing, or the benchmark is another one than the run's.
        UsageError: a page with pictures is there, and this one would have none.
    """
    opened = open_run(run)
    found = benchmark if benchmark is not None else find_benchmark(run)
    pixels = None if found is None else open_own_benchmark(opened, found)
    path = out or run / REPORT_FILE
    if pixels is None and _has_pictures(path):
        raise UsageError(
            f"{path} has pictures, and without the benchmark this page would have none: give it with --data, "
            "or another file with --out"
        )
    title = f"{opened.info['model']['name']} on {opened.info['benchmark']['edition']}"
    write_text(path, page(f"{title} – dmseg report", render_report(opened, pixels, warnings)))
    return path


def write_comparison(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write one self-contained HTML page about several runs that pair: tables, curves, what hurts which model.

    Args:
        runs: run folders of one protocol on one benchmark.
        out: file to write; default ``comparison.html`` in the folder that all runs lie in.

    Returns:
        The file written.

    Raises:
        DataError: not a run folder, or rows are missing.
        UsageError: runs that do not pair, or a split that only some have.
    """
    opened = [open_run(run) for run in runs]
    path = out or Path(os.path.commonpath([run.absolute().parent for run in runs])) / COMPARISON_FILE
    body = render_comparison(opened)
    write_text(path, page(f"{', '.join(name_runs(opened))} – dmseg report", body))
    return path


def _has_pictures(path: Path) -> bool:
    return path.is_file() and f'class="{PANELS_CLASS}' in path.read_text(encoding="utf-8", errors="replace")


def write_worst_cases(run: Path, benchmark: Path | Benchmark, out: Path) -> Path:
    """Write the worst masks of every split over the levels as one PNG (see :func:`~dmseg.report.pictures.worst_sheet`).

    Arguments, result and errors are those of :func:`write_report`.
    """
    picture = open_shown_run(run).show_worst(benchmark=benchmark)
    write_png(out, np.asarray(picture, dtype=np.uint8))
    return out
