"""A run folder in, ``report.html`` out: loads the run, averages it, draws it, fills the template."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import DataError, UsageError
from dmseg.figures import page
from dmseg.files import cache_folder, write_text
from dmseg.imaging import write_png
from dmseg.manifests import HEADER_FILE, read_header
from dmseg.reading import read_json
from dmseg.report.comparison import render_comparison
from dmseg.report.pictures import worst_sheet
from dmseg.report.sections import PANELS_CLASS, collect_sources, render_report
from dmseg.results import Run, open_run
from dmseg.results.cases import case_tables
from dmseg.results.columns import ENVIRONMENT_FILE
from dmseg.results.model_table import name_runs

REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.html"
_MAX_ENVIRONMENT = 1 << 24


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
    pixels = None if found is None else _benchmark_of(opened, found)
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
    opened = open_run(run)
    pixels = _benchmark_of(opened, benchmark)
    sheets = [worst_sheet(*collect_sources(table, opened, pixels)) for table in case_tables(opened.steps).values()]
    width = max(sheet.shape[1] for sheet in sheets)
    padding = [((0, 0), (width - sheet.shape[1], 0), (0, 0)) for sheet in sheets]  # labels are at the left
    padded = [np.pad(sheet, edges, constant_values=255) for sheet, edges in zip(sheets, padding, strict=True)]
    write_png(out, np.concatenate(padded))
    return out


def _benchmark_of(run: Run, benchmark: Path | Benchmark) -> Benchmark:
    """Return the open benchmark if the run was made on it."""
    pixels = open_benchmark(benchmark) if isinstance(benchmark, Path) else benchmark
    wanted = run.info["benchmark"]["manifest_digest"]
    if pixels.digest != wanted:
        raise DataError(
            f"{pixels.path}: benchmark {pixels.digest[:8]}, but the run was made on {wanted[:8]}; "
            "give --data the benchmark of this run"
        )
    return pixels


def find_benchmark(run: Path) -> Path | None:
    """Return the benchmark of a run: where the run was made on it, or in the user's cache; None where it is neither."""
    wanted = open_run(run).info["benchmark"]["manifest_digest"]
    places = [*_list_noted(run), *(cache_folder() / "benchmarks").glob(f"*/{HEADER_FILE}")]
    for header in places:
        try:
            if read_header(header.parent)["manifest_digest"] == wanted:
                return header.parent
        except (DataError, OSError):  # moved, or another one now
            continue
    return None


def _list_noted(run: Path) -> list[Path]:
    """Return the headers of the benchmark folders that environment.json names, newest session first."""
    try:
        noted = read_json(run / ENVIRONMENT_FILE, limit=_MAX_ENVIRONMENT)
    except (DataError, OSError):
        return []
    sessions = noted.get("sessions") if isinstance(noted, dict) else None
    places = [session.get("benchmark") for session in sessions or () if isinstance(session, dict)]
    return [Path(place) / HEADER_FILE for place in reversed(places) if isinstance(place, str)]
