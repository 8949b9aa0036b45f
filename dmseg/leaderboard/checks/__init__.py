"""Everything that is checked about a submission: all findings at once, the same here, on the command line and in CI.

The order is fixed: run.json (E50x, E108), tables (E10x), and, where the tables can be read, coverage (E20x),
identities (E30x), plausibility (W40x). ``docs/leaderboard.md`` prints :data:`CODES`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dmseg.leaderboard.checks.audit import check_audit
from dmseg.leaderboard.checks.coverage import check_coverage
from dmseg.leaderboard.checks.declaration import check_declaration
from dmseg.leaderboard.checks.findings import CODES, Finding, Findings
from dmseg.leaderboard.checks.identity import check_dice, check_first_prompts, check_inputs, check_settings
from dmseg.leaderboard.checks.plausibility import check_plausibility
from dmseg.leaderboard.checks.reference import reference_of
from dmseg.leaderboard.checks.tables import load_table
from dmseg.leaderboard.entries import RUN_FILES, Entry
from dmseg.manifests import Manifest
from dmseg.results.cases import case_tables

__all__ = ["CODES", "Finding", "Verdict", "check_run"]

MAX_JSON_BYTES = 1 << 20
_CHECKED_TABLES = ("steps", "prompts", "inputs")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of all checks.

    Attributes:
        findings: everything that was found, in the order of the checks.
        rescored: whether all audited predictions were scored again and agree.
    """

    findings: tuple[Finding, ...]
    rescored: bool

    @property
    def accepted(self) -> bool:
        """Whether there is no error; warnings are shown and do not keep a run out."""
        return not any(finding.is_error for finding in self.findings)


def check_run(folder: Path, *, manifest: Manifest | None = None, others: Sequence[Entry] = ()) -> Verdict:
    """Check a run folder.

    Args:
        manifest: of a benchmark that the caller has; where it is the run's, it is checked against (a local edition
            can only be checked so). Published editions are known without it.
        others: entries that the run must not repeat.
    """
    findings = Findings()
    missing = [name for name in RUN_FILES if not (folder / name).is_file()]
    if missing:
        fix = "send the whole folder that dmseg evaluate wrote"
        findings.add("E101", str(folder.name or folder), f"missing: {', '.join(missing)}", fix)
    info = _read_info(folder / "run.json", findings) if "run.json" not in missing else None
    declared = info is not None and check_declaration(info, findings)
    before = len(findings.items)
    tables = {name: load_table(folder, name, findings) for name in _CHECKED_TABLES if f"{name}.parquet" not in missing}
    frames = {name: frame for name, frame in tables.items() if frame is not None}
    rescored = False
    if declared and info is not None and len(frames) == len(_CHECKED_TABLES) and len(findings.items) == before:
        rescored = _check_content(folder, info, frames, manifest, others, findings)
    return Verdict(tuple(findings.items), rescored)


def _read_info(path: Path, findings: Findings) -> Mapping[str, Any] | None:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes, at most {MAX_JSON_BYTES}")
        info = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(info, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        findings.add("E501", path.name, f"not readable JSON ({error})", "send the file as it was written")
        return None
    return info


def _check_content(
    folder: Path,
    info: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    manifest: Manifest | None,
    others: Sequence[Entry],
    findings: Findings,
) -> bool:
    """Run the checks that need whole tables; return whether the audited predictions were scored again."""
    steps = tables["steps"]
    reference = reference_of(info, manifest, findings)
    check_coverage(info, steps, reference, findings)
    check_dice(steps, findings)
    check_settings(info, steps, findings)
    rescored = False
    if reference is not None:
        check_inputs(steps, tables["inputs"], reference, findings)
        check_first_prompts(info, steps, tables["prompts"], reference, findings)
        rescored = check_audit(folder, info, steps, reference, findings).complete
    if not findings.has_errors:
        check_plausibility(info, case_tables(steps), others, findings)
    return rescored
