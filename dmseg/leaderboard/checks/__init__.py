"""Everything that is checked about a submission: all findings at once, the same here, on the command line and in CI.

The order is fixed: run.json (E50x, E108), tables (E10x), and, where the tables can be read, coverage (E20x),
identities (E30x), plausibility (W40x). ``docs/leaderboard.md`` prints :data:`CODES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dmseg.errors import DataError
from dmseg.leaderboard.checks.arithmetic import check_arithmetic
from dmseg.leaderboard.checks.audit import check_audit, check_failures
from dmseg.leaderboard.checks.clicks import check_clicks, check_prompts
from dmseg.leaderboard.checks.coverage import check_coverage, note_partial
from dmseg.leaderboard.checks.declaration import check_declaration
from dmseg.leaderboard.checks.findings import CODES, Finding, Findings
from dmseg.leaderboard.checks.identity import check_inputs, check_settings
from dmseg.leaderboard.checks.plausibility import (
    check_believable,
    check_owner,
    check_plausibility,
    check_training,
)
from dmseg.leaderboard.checks.reference import note_local, reference_of
from dmseg.leaderboard.checks.tables import load_table
from dmseg.leaderboard.entries import MAX_JSON_BYTES, RUN_FILES, Entry, strange_files
from dmseg.manifests import LOCAL_EDITION, Manifest
from dmseg.reading import read_json
from dmseg.results.audit import is_audited
from dmseg.results.cases import CaseTable, case_tables
from dmseg.results.columns import gives_text

__all__ = ["CODES", "Finding", "Verdict", "check_run", "find_warnings"]

_CHECKED_TABLES = ("steps", "prompts", "inputs")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of all checks.

    Attributes:
        findings: everything that was found, in the order of the checks.
        rescored: whether all predictions that the run kept were scored again and agree.
    """

    findings: tuple[Finding, ...]
    rescored: bool

    @property
    def accepted(self) -> bool:
        """Whether there is no error; warnings are shown and do not keep a run out."""
        return not any(finding.is_error for finding in self.findings)


def check_run(
    folder: Path,
    *,
    manifest: Manifest | None = None,
    others: Sequence[Entry] = (),
    owner: str | None = None,
) -> Verdict:
    """Check a run folder.

    Args:
        manifest: of a benchmark that the caller has; where it is the run's, it is checked against (a local edition
            can only be checked so). Published editions are known without it.
        others: entries that the run must not repeat.
        owner: whom the run is by; None takes the submitter that run.json names.
    """
    findings = Findings()
    strange = strange_files(folder)
    if strange:
        findings.add("E101", folder.name, f"no regular file: {', '.join(strange)}", "send files, not links to them")
    missing = [name for name in RUN_FILES if name not in strange and not (folder / name).is_file()]
    if missing:
        fix = "send the whole folder that dmseg evaluate wrote"
        findings.add("E101", str(folder.name or folder), f"missing: {', '.join(missing)}", fix)
    absent = {*strange, *missing}
    info = _read_info(folder / "run.json", findings) if "run.json" not in absent else None
    declared = info is not None and check_declaration(info, findings)
    if declared and info is not None:
        check_owner(info, others, owner, findings)
    before = len(findings.items)
    text = declared and info is not None and gives_text(info["protocol"]["preset"])
    present = [name for name in _CHECKED_TABLES if f"{name}.parquet" not in absent]
    tables = {name: load_table(folder, name, findings, text) for name in present}
    frames = {name: frame for name, frame in tables.items() if frame is not None}
    rescored = False
    if declared and info is not None and len(frames) == len(_CHECKED_TABLES) and len(findings.items) == before:
        rescored = _check_content(folder, info, frames, manifest, others, findings)
    return Verdict(tuple(findings.items), rescored)


def find_warnings(info: Mapping[str, Any], tables: Mapping[str, CaseTable]) -> list[Finding]:
    """Return the warnings (W401 to W405) of a run that is already averaged: what its readers must know, in a second.

    Args:
        info: content of run.json.
        tables: its rows by split.
    """
    findings = Findings()
    if info["benchmark"]["edition"] == LOCAL_EDITION:
        note_local(findings)
    note_partial(info, findings)
    digest = info["benchmark"]["manifest_digest"]
    failed, inside = [], []
    for split, table in tables.items():
        where = f"steps.parquet, {split}"
        check_believable(table, where, findings)
        check_training(info, table, where, findings)
        audited = np.array([is_audited(digest, mask_id) for mask_id in table.mask_ids], dtype=bool)
        failed.append(table.failed.ravel())
        inside.append(np.repeat(audited, table.failed[0].size))
    check_failures(np.concatenate(failed), np.concatenate(inside), findings)
    return findings.items


def _read_info(path: Path, findings: Findings) -> Mapping[str, Any] | None:
    try:
        info = read_json(path, limit=MAX_JSON_BYTES, links=False)
        if not isinstance(info, dict):
            raise DataError("not an object")
    except (OSError, DataError) as error:
        text = ascii(str(error).removeprefix(f"{path}: ").removeprefix("not readable JSON: "))[1:-1][:200]
        findings.add("E501", path.name, f"not readable JSON ({text})", "send the file as it was written")
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
    """Run the checks that need whole tables; return whether the kept predictions were scored again."""
    steps, prompts = tables["steps"], tables["prompts"]
    reference = reference_of(info, manifest, findings)
    check_coverage(info, steps, reference, findings)
    check_arithmetic(info, steps, reference, findings)
    check_settings(info, steps, findings)
    check_clicks(info, steps, prompts, findings)
    rescored = False
    if reference is not None:
        check_inputs(steps, tables["inputs"], reference, findings)
        check_prompts(info, steps, prompts, reference, findings)
        rescored = check_audit(folder, info, steps, prompts, reference, findings).complete
    if not findings.has_errors:
        check_plausibility(info, case_tables(steps), others, findings)
    return rescored
