"""A run folder in, ``report.html`` out: loads the run, averages it, draws it, fills the template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import DataError
from dmseg.figures import Series, curve_svg, heat_table, histogram_svg, page
from dmseg.files import cache_folder, write_text
from dmseg.imaging import write_png
from dmseg.manifests import HEADER_FILE, read_header
from dmseg.report.pictures import Predictions, gallery, worst_sheet
from dmseg.results import Run, open_run, run_digest
from dmseg.results.audit import AUDIT_FILE, read_audit
from dmseg.results.cases import CaseTable, case_tables
from dmseg.results.summary import TABLE_METRICS, SplitNumbers, split_numbers
from dmseg.statistics import Estimate
from dmseg.types import LEVEL_LABELS
from dmseg.version import __version__

REPORT_FILE = "report.html"
_SPLIT_TITLES = {"seen": "Seen datasets", "unseen": "Unseen datasets", "train": "Training split"}
_FAILURES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ReportChart:
    """One inline picture with its caption."""

    caption: str
    svg: Markup


def write_report(run: Path, benchmark: Path | Benchmark | None = None, out: Path | None = None) -> Path:
    """Write one self-contained HTML page about a run; it opens offline, in light and dark.

    Args:
        run: the run folder.
        benchmark: the benchmark folder (or the open benchmark) that the run was made on, for the panels; without it
            the page says that it has none.
        out: file to write; default ``report.html`` in the run folder.

    Returns:
        The file written.

    Raises:
        DataError: not a run folder, rows are missing, or the benchmark is another one than the run's.
    """
    opened = open_run(run)
    pixels = None if benchmark is None else _benchmark_of(opened, benchmark)
    path = out or run / REPORT_FILE
    title = f"{opened.info['model']['name']} on {opened.info['benchmark']['edition']}"
    write_text(path, page(f"{title} – dmseg report", _body(opened, run, pixels)))
    return path


def write_worst_cases(run: Path, benchmark: Path | Benchmark, out: Path) -> Path:
    """Write the worst masks of every split over the levels as one PNG (see :func:`~dmseg.report.pictures.worst_sheet`).

    Arguments, result and errors are those of :func:`write_report`.
    """
    opened = open_run(run)
    pixels = _benchmark_of(opened, benchmark)
    sheets = [worst_sheet(*_collect_sources(table, opened, pixels)) for table in case_tables(opened.steps).values()]
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
    """Return the benchmark of a run if it is in the user's cache (the phantom edition), else None."""
    wanted = open_run(run).info["benchmark"]["manifest_digest"]
    for header in sorted((cache_folder() / "benchmarks").glob(f"*/{HEADER_FILE}")):
        if read_header(header.parent)["manifest_digest"] == wanted:
            return header.parent
    return None


def _body(run: Run, path: Path, pixels: Benchmark | None) -> str:
    info, steps = run.info, run.steps
    tables = case_tables(steps)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmseg.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        model=info["model"],
        benchmark=info["benchmark"],
        protocol=info["protocol"],
        n_masks=steps["mask_id"].nunique(),
        n_images=steps["image_id"].nunique(),
        n_cases=steps["case_id"].nunique(),
        n_datasets=steps["dataset"].nunique(),
        n_rows=len(steps),
        n_failed=int((steps["status"] != "ok").sum()),
        failures=_failures(steps),
        facts=_facts(info),
        local=info["benchmark"]["edition"] == "local",
        splits=[_split(table, run, pixels) for table in tables.values()],
        no_pictures=f"Pictures need the benchmark: dmseg report {shlex.quote(str(path))} --data BENCH",
        command=_command(info),
        exact=not info["model"].get("weights_sha256"),
        digests=_digests(info, path),
        footer=f"Written by dmseg {__version__}. One file, no network.",
    )


def _split(table: CaseTable, run: Run, pixels: Benchmark | None) -> dict[str, Any]:
    numbers = split_numbers(table)
    sizes = pd.Series(table.datasets).groupby(list(table.datasets)).size()
    single = [name for name in sizes.index if len({c for c, d in _owners(table) if d == name}) == 1]
    labels = [LEVEL_LABELS[level] for level in table.levels]
    heat = heat_table(
        [f"{name} ({sizes[name]})" for name in numbers.dataset_dice],
        labels,
        list(numbers.dataset_dice.values()),
        caption="Final Dice, %, mean over the masks of each dataset (number of masks)",
        corner="dataset",
        value_range=(0.0, 100.0),
        digits=1,
    )
    return {
        "name": table.split,
        "title": _SPLIT_TITLES[table.split],
        "counts": f"{len(table.mask_ids)} masks, {len(set(table.cases))} cases, {len(sizes)} datasets",
        "single_cases": ", ".join(single),
        "numbers": numbers,
        "show_noc": table.steps > 1,
        "charts": _charts(numbers),
        "heat": Markup(heat),
        "gallery": gallery(*_collect_sources(table, run, pixels)) if pixels is not None else None,
    }


def _owners(table: CaseTable) -> set[tuple[str, str]]:
    return set(zip(table.cases, table.datasets, strict=True))


def _collect_sources(
    table: CaseTable, run: Run, pixels: Benchmark
) -> tuple[CaseTable, pd.DataFrame, dict[str, str], Predictions, Benchmark]:
    """Return what the pictures of a split are drawn from: numbers, prompts, image ids, kept predictions, pixels."""
    own = set(table.mask_ids)
    predictions = {
        (record.mask_id, record.level, record.step): record
        for record in read_audit(run.path / AUDIT_FILE)
        if record.mask_id in own
    }
    images = dict(zip(run.steps["mask_id"], run.steps["image_id"], strict=True))
    return table, run.prompts, images, predictions, pixels


def _charts(numbers: SplitNumbers) -> list[ReportChart]:
    table = numbers.table
    level_ticks = [(float(i), LEVEL_LABELS[level]) for i, level in enumerate(table.levels)]
    step_ticks = [(float(step), str(step)) for step in range(1, table.steps + 1)]
    shares = [
        _series(TABLE_METRICS[metric], range(len(table.levels)), numbers.by_level[metric])
        for metric in ("dice", "iou", "nsd_2")
    ]
    charts = [("Overlap and boundary agreement by level", "level", "%", shares, level_ticks)]
    if table.steps > 1:
        by_step = [
            _series(LEVEL_LABELS[level], range(1, table.steps + 1), numbers.by_step[level]) for level in table.levels
        ]
        charts.append(("Dice by interaction step", "step", "Dice, %", by_step, step_ticks))
    distance = [_series("HD95", range(len(table.levels)), numbers.by_level["hd95"])]
    charts.append(("Boundary distance by level (lower is better)", "level", "HD95, px", distance, level_ticks))
    drawn = [
        ReportChart(caption, Markup(curve_svg(lines, title=caption, x_label=x, y_label=y, x_ticks=ticks, digits=1)))
        for caption, x, y, lines, ticks in charts
    ]
    hardest = LEVEL_LABELS[table.levels[-1]]
    spread = histogram_svg(
        [100 * float(value) for value in table.values["dice"][:, -1, -1]],
        title=f"Final Dice of single masks at {hardest}",
        x_label=f"final Dice at {hardest}, %",
        value_range=(0.0, 100.0),
        height=280,
    )
    return [*drawn, ReportChart(f"Final Dice of single masks at {hardest}", Markup(spread))]


def _series(name: str, x: range, estimates: list[Estimate]) -> Series:
    return Series(name, x, [e.value for e in estimates], [e.low for e in estimates], [e.high for e in estimates])


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rows that failed alike."""

    status: str
    error: str
    rows: int
    masks: int


def _failures(steps: pd.DataFrame) -> list[FailureGroup]:
    """Return what failed, most rows first; beyond the first few messages one line counts the rest."""
    failed = steps[steps["status"] != "ok"].fillna({"error": ""})
    kinds = [
        FailureGroup(str(status), str(error), len(group), group["mask_id"].nunique())
        for (status, error), group in failed.groupby(["status", "error"], sort=True)
    ]
    kinds.sort(key=lambda kind: -kind.rows)
    rest = kinds[_FAILURES_SHOWN:]
    if rest:
        others = FailureGroup(f"{len(rest)} other messages", "", sum(k.rows for k in rest), sum(k.masks for k in rest))
        return [*kinds[:_FAILURES_SHOWN], others]
    return kinds


def _facts(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, metrics = info["model"], info["metrics"]
    params = model.get("params")
    facts = [
        (
            "Parameters",
            "not declared" if params is None else f"{params / 1e6:.1f} M" if params else "none (no weights)",
        ),
        ("Licence", model.get("license") or "not declared"),
        ("Trained on", ", ".join(model.get("trained_on") or ()) or "none of the datasets"),
        ("Splits", ", ".join(info["benchmark"]["split"])),
        ("Seed", info["protocol"]["seed"]),
        ("Corrective click", info["protocol"]["corrective"] or "none"),
        ("Precision", info["precision"]),
        ("Metric grid, boundary, HD95", f"{metrics['grid']}, {metrics['boundary']}, {metrics['hd95']}"),
    ]
    return [(name, str(value)) for name, value in facts]


def _command(info: Mapping[str, Any]) -> str:
    model, protocol, bench = info["model"], info["protocol"], info["benchmark"]
    parts = ["dmseg", "evaluate", "--model", model["name"], "--data", "BENCH", "--out", "RUN"]
    parts += ["--preset", protocol["preset"], "--split", ",".join(bench["split"]), "--seed", str(protocol["seed"])]
    if len(bench["levels"]) < len(LEVEL_LABELS):
        parts += ["--levels", ",".join(bench["levels"])]
    if model.get("weights_sha256"):
        parts += ["--weights", "FILE"]
    return shlex.join(parts)


def _digests(info: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    rows = [
        ("benchmark", info["benchmark"]["manifest_digest"]),
        ("run (dmseg digest)", run_digest(path)),
        ("run key", info["run_key"]),
        ("weights", info["model"].get("weights_sha256") or "none"),
        ("protocol", info["protocol"]["id"]),
    ]
    return [(name, str(value)) for name, value in rows]
