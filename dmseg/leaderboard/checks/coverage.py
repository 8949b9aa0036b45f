"""E20x and W404: the rows are those of the benchmark, each mask at each level and step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.checks.reference import Reference
from dmseg.types import MEDICAL, TRACK_LEVELS

FILE = "steps.parquet"
_IDENTITY = ("image_id", "dataset", "case_id", "split", "modality", "structure")


def check_coverage(
    info: Mapping[str, Any], steps: pd.DataFrame, reference: Reference | None, findings: Findings
) -> None:
    """Compare the rows with what run.json declares and what the benchmark holds."""
    present = set(steps["mask_id"].unique())
    partial = note_partial(info, findings)
    if reference is not None:
        missing = sorted(reference.list_evaluated(list(info["benchmark"]["split"])) - present)
        if missing and not partial:
            fix = "run dmseg evaluate without --limit; a failed mask stays in, with status error"
            findings.add("E201", FILE, f"{len(missing)} masks are missing: {first_few(missing)}", fix)
        _check_identity(steps, reference, findings)
    _check_grid(info, steps, findings)
    _check_counts(info, steps, findings)


def note_partial(info: Mapping[str, Any], findings: Findings) -> bool:
    """W404; return whether the run is partial by what it declares."""
    benchmark = info["benchmark"]
    levels = TRACK_LEVELS[benchmark.get("track") or MEDICAL]
    partial = benchmark.get("limit") is not None or list(benchmark["levels"]) != list(levels)
    if partial:
        what = f"limit {benchmark.get('limit')}, levels {', '.join(map(str, benchmark['levels']))}"
        findings.add("W404", "run.json", f"a partial run ({what})", "it will be listed unranked")
    return partial


def _check_identity(steps: pd.DataFrame, reference: Reference, findings: Findings) -> None:
    names = [*_IDENTITY, *(["expression"] if reference.text else [])]
    rows = steps[["mask_id", *names]].drop_duplicates()
    unknown, differing = [], []
    for row in rows.to_dict("records"):
        known = reference.masks.get(row["mask_id"])
        if known is None or not known["evaluate"]:
            unknown.append(row["mask_id"])
        else:
            differing += [
                f"{row['mask_id']} ({name} {row[name]}, not {known[name]})"
                for name in names
                if row[name] != known[name]
            ]
    fix = "evaluate on the benchmark that run.json names"
    if unknown:
        what = f"{len(unknown)} masks are not in the evaluation subset: {first_few(sorted(set(unknown)))}"
        findings.add("E202", FILE, what, fix)
    if differing:
        findings.add("E202", FILE, f"{len(differing)} masks are described differently: {first_few(differing)}", fix)


def _check_grid(info: Mapping[str, Any], steps: pd.DataFrame, findings: Findings) -> None:
    """Require steps 1..T at every mask and level, and every declared level at every mask."""
    last = info["protocol"]["steps"]
    groups = steps.groupby(["mask_id", "level"], sort=True)["step"].agg(["min", "max", "size"])
    gaps = groups[(groups["min"] != 1) | (groups["max"] != last) | (groups["size"] != last)]
    if len(gaps):
        places = [f"{mask_id} {level}" for mask_id, level in gaps.index]
        findings.add(
            "E203", FILE, f"{len(gaps)} sequences lack steps: {first_few(places)}", f"each has steps 1 to {last}"
        )
    wanted = set(info["benchmark"]["levels"])
    levels = steps.groupby("mask_id", sort=True)["level"].agg(set)
    lacking = [
        f"{mask_id} ({', '.join(sorted(wanted ^ found))})" for mask_id, found in levels.items() if found != wanted
    ]
    if lacking:
        fix = f"each mask has the declared levels: {', '.join(sorted(wanted))}"
        findings.add("E204", FILE, f"{len(lacking)} masks lack levels or have others: {first_few(lacking)}", fix)


def _check_counts(info: Mapping[str, Any], steps: pd.DataFrame, findings: Findings) -> None:
    counts = {
        "n_masks": steps["mask_id"].nunique(),
        "n_errors": int((steps["status"] != "ok").sum()),
    }
    for name, found in counts.items():
        if info[name] != found:
            findings.add("E205", "run.json", f"{name} is {info[name]}, the rows have {found}", "send the run unchanged")
