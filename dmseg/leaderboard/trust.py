"""What stands behind an entry: challenge, answer, audit, recheck, confirm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmseg.build import Benchmark
from dmseg.errors import DataError, UsageError
from dmseg.files import write_bytes, write_text
from dmseg.leaderboard.challenge import (
    MASKS,
    AuditOutcome,
    Challenge,
    check_answer,
    make_challenge,
    read_challenge,
    write_answer,
)
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.reference import reference_of
from dmseg.leaderboard.entries import ANSWER_FILE, CHALLENGE_FILE, CHECKED_FILE, RERUN_FILE, Entry, default_root
from dmseg.leaderboard.lookup import find_entry, find_manifest
from dmseg.leaderboard.package import MAX_BYTES
from dmseg.leaderboard.repeating import repeat_masks
from dmseg.leaderboard.rerun import Agreement, compare_runs
from dmseg.leaderboard.submitting import build
from dmseg.reading import read_regular
from dmseg.results import open_run, run_digest


def challenge(
    entry: str | Path,
    root: Path | None = None,
    *,
    beacon: str | None = None,
    source: str = "",
    masks: int = MASKS,
) -> Challenge:
    """Draw masks of an entry whose predictions its submitter has to show, and keep the challenge beside it.

    Arguments as :func:`dmseg.leaderboard.challenge.make_challenge`.

    Raises:
        UsageError: no such entry, or one that is challenged already: a draw is made once.
    """
    found = find_entry(entry, root)
    path = found.folder / CHALLENGE_FILE
    if path.exists():
        raise UsageError(f"{path}: this entry is challenged already; send that file, or remove it to draw anew")
    made = make_challenge(open_run(found.folder), beacon, source, masks)
    write_text(path, json.dumps(made.to_json(), indent=1, ensure_ascii=False) + "\n")
    return made


def answer(
    challenge: Path,
    run: Path,
    out: Path,
    *,
    model: str | None = None,
    benchmark: Path | None = None,
    weights: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> int:
    """Write the predictions that a challenge asks for; return how many.

    Args:
        challenge: the ``challenge.json`` that the maintainers sent.
        run: the run folder that was packed.
        model: make the predictions again with this model, on ``benchmark``; None takes those that the run kept.
        weights, arguments, device: as for :func:`dmseg.harness.prepare`.

    Raises:
        UsageError: another run than the challenged one, or predictions that were neither kept nor can be made again.
        DataError: a prediction is missing, or is not the one that its row commits to; nothing is written.
    """
    asked = read_challenge(challenge)
    if model is None:
        return write_answer(asked, run, out)
    if benchmark is None:
        raise UsageError("making predictions again needs the benchmark of the run: give --data BENCH")
    again = repeat_masks(
        open_run(run), asked.masks, benchmark, model, weights=weights, arguments=arguments, device=device
    )
    return write_answer(asked, run, out, again)


def audit(
    entry: str | Path, answer: Path, root: Path | None = None, *, benchmark: Path | Benchmark | None = None
) -> AuditOutcome:
    """Compare an answer with the entry it is for; keep it and what it came to, and build the record.

    An entry that passes is *audited*. One that fails stays self-reported, and its row says how many masks were shown.

    Raises:
        UsageError: no such entry, or one that was not challenged.
        DataError: a damaged answer, or a benchmark that is not known here (give it).
    """
    root = root or default_root()
    found = find_entry(entry, root)
    path = found.folder / CHALLENGE_FILE
    if not path.is_file():
        raise UsageError(f"{found.folder}: not challenged yet; first: dmseg leaderboard challenge {entry}")
    outcome = _outcome(found, answer, benchmark)
    write_bytes(found.folder / ANSWER_FILE, read_regular(answer, limit=MAX_BYTES))
    counts = {"masks": outcome.masks, "shown": outcome.shown, "failed": outcome.failed}
    tier = found.tier if found.tier == "re-run" else "audited" if outcome.passed else "self-reported"
    _note(found, tier=tier, audit=counts)
    build(root)
    return outcome


def _outcome(found: Entry, answer: Path, benchmark: Path | Benchmark | None) -> AuditOutcome:
    findings = Findings()
    reference = reference_of(found.info, find_manifest(benchmark), findings)
    if reference is None:
        raise DataError(f"{found.folder}: its benchmark is not known here; give it with --data")
    made = read_challenge(found.folder / CHALLENGE_FILE)
    return check_answer(made, open_run(found.folder), answer, reference.manifest)


def recheck(entry: Entry, *, benchmark: Path | Benchmark | None = None) -> list[str]:
    """Return what is wrong with the tier of an entry: whether what lies beside the run still supports it."""
    if run_digest(entry.folder) != entry.digest:
        return [f"{entry.folder}: run_digest of {CHECKED_FILE} is not that of the rows"]
    if entry.tier == "re-run" and not (entry.folder / RERUN_FILE).is_file():
        return [f"{entry.folder}: tier re-run without {RERUN_FILE}"]
    if entry.tier == "audited":
        if not ((entry.folder / CHALLENGE_FILE).is_file() and (entry.folder / ANSWER_FILE).is_file()):
            return [f"{entry.folder}: tier audited without {CHALLENGE_FILE} and {ANSWER_FILE}"]
        outcome = _outcome(entry, entry.folder / ANSWER_FILE, benchmark)
        if not outcome.passed or (outcome.masks, outcome.shown) != (entry.masks, entry.shown):
            return [f"{entry.folder}: its answer shows {outcome.shown} of {outcome.masks} masks", *outcome.problems]
    return []


def confirm(entry: str | Path, run: Path, root: Path | None = None) -> Agreement:
    """Compare an entry with the maintainers' own run of the same model; where they agree, the entry is *re-run*.

    Args:
        run: run folder that the maintainers made, with the submitted weights and code, in isolation.

    Raises:
        UsageError: no such entry, or a run of something else.
    """
    root = root or default_root()
    found = find_entry(entry, root)
    agreement = compare_runs(open_run(found.folder), open_run(run))
    if agreement.agrees:
        write_text(found.folder / RERUN_FILE, json.dumps(agreement.to_json(), indent=1) + "\n")
        _note(found, tier="re-run")
        build(root)
    return agreement


def _note(entry: Entry, **changes: Any) -> None:
    path = entry.folder / CHECKED_FILE
    checked: Mapping[str, Any] = json.loads(read_regular(path))
    write_text(path, json.dumps({**checked, **changes}, indent=1) + "\n")
