"""What can be done with the record: check, pack, add, challenge, audit, confirm, build, show, compare."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import DataError, UsageError, unknown_name
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
from dmseg.leaderboard.checks import Verdict, check_run
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.reference import reference_of
from dmseg.leaderboard.entries import (
    ANSWER_FILE,
    CHALLENGE_FILE,
    CHECKED_FILE,
    RERUN_FILE,
    RUN_FILES,
    Entry,
    default_root,
    entry_folder,
    newest_per_contest,
    read_entries,
    read_entry,
)
from dmseg.leaderboard.package import MAX_BYTES, UnsafePackageError, open_submission, pack_files
from dmseg.leaderboard.record import make_record, write_record
from dmseg.leaderboard.repeating import repeat_masks
from dmseg.leaderboard.rerun import Agreement, compare_runs
from dmseg.manifests import Manifest
from dmseg.naming import name_key
from dmseg.reading import read_regular
from dmseg.results import Run, open_run, run_digest


class RefusedError(DataError):
    """A submission with errors; ``verdict`` has all of them. Nothing was changed."""

    def __init__(self, path: Path, verdict: Verdict) -> None:
        errors = [str(finding) for finding in verdict.findings if finding.is_error]
        super().__init__(f"{path}: refused, {len(errors)} error(s):\n" + "\n".join(errors))
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Added:
    """What :func:`add` did.

    Attributes:
        folder: where the run now lies.
        new: False where the same run was already there.
        verdict: its findings (warnings only).
        changed: files of the record that changed.
    """

    folder: Path
    new: bool
    verdict: Verdict
    changed: tuple[str, ...]


def check(
    run: Path,
    *,
    benchmark: Path | Benchmark | None = None,
    root: Path | None = None,
    owner: str | None = None,
) -> Verdict:
    """Check a run folder or zip as a submission: all findings at once. Nothing is changed.

    Args:
        benchmark: a benchmark to check against beside the published editions.
        root: a record whose entries the run must not repeat; default: the default record.
        owner: whom the run is by; default: the submitter that run.json names.
    """
    others = read_entries(root or default_root(), [])
    try:
        with open_submission(run) as folder:
            return check_run(folder, manifest=_manifest(benchmark), others=others, owner=owner)
    except UnsafePackageError as error:
        return Verdict((error.finding,), rescored=False)


def pack(run: Path, out: Path, *, benchmark: Path | Benchmark | None = None, root: Path | None = None) -> Verdict:
    """Check a run and write its zip, the same bytes for the same run.

    Raises:
        RefusedError: the run has errors; no zip is written.
    """
    verdict = check(run, benchmark=benchmark, root=root)
    if not verdict.accepted:
        raise RefusedError(run, verdict)
    with open_submission(run) as folder:
        pack_files(folder, out)
    return verdict


def add(
    run: Path,
    root: Path | None = None,
    *,
    benchmark: Path | Benchmark | None = None,
    date: datetime.date | None = None,
    owner: str | None = None,
) -> Added:
    """Check a run folder or zip, copy it into the record as self-reported, and build the record.

    The copy is checked, not the original, and the record is computed with it before the entry appears.

    Args:
        root: folder of the record; default: the package's in an editable checkout, else the user's.
        benchmark: the benchmark of the run, for a local edition or where the published manifest has no masks.
        date: day (or time, UTC) of the entry; default now. Of one day, the later one counts.
        owner: whom the entry is by, as the maintainers know (the account that sent it); default: the submitter that
            run.json names.

    Raises:
        RefusedError: the run has errors; nothing is changed.
    """
    root = root or default_root()
    entries = read_entries(root, [])
    with open_submission(run) as source, tempfile.TemporaryDirectory(prefix="dmseg-entry-") as temporary:
        staged = Path(temporary) / "entry"
        _copy_regular(source, staged, run)
        verdict = check_run(staged, manifest=_manifest(benchmark), others=entries, owner=owner)
        if not verdict.accepted:
            raise RefusedError(run, verdict)
        info, digest = open_run(staged).info, run_digest(staged)
        model = info["model"]["name"]
        same = [entry for entry in entries if entry.digest == digest and name_key(entry.model) == name_key(model)]
        if same:
            return Added(same[0].folder, False, verdict, tuple(_write(root)))
        now = date or datetime.datetime.now(datetime.UTC)
        checked = {"date": now.strftime("%Y-%m-%d"), "tier": "self-reported", "run_digest": digest}
        if isinstance(now, datetime.datetime):
            checked["added"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if owner or info.get("submitter"):
            checked["owner"] = owner or info["submitter"]
        write_text(staged / CHECKED_FILE, json.dumps(checked, indent=1) + "\n")
        entry = read_entry(staged)
        record = make_record(root, [entry])
        problems = [problem for problem in record.problems if problem.startswith(f"{staged.parent.name}/{staged.name}")]
        if problems:
            raise DataError(f"{run}: its numbers cannot be computed, nothing was changed: {problems[0]}")
        target = entry_folder(root, model, checked["date"], digest)
        if target.exists():
            raise DataError(f"{target}: another entry is there already; remove it, or add the run on another day")
        _move_whole(staged, target)
    return Added(target, True, verdict, tuple(_write(root)))


def _write(root: Path, *, check: bool = False, problems: list[str] | None = None) -> list[str]:
    record = make_record(root)
    if problems is not None:
        problems += record.problems
    return write_record(root, record, check=check)


def build(root: Path | None = None, *, check: bool = False, problems: list[str] | None = None) -> list[str]:
    """Compute the record from its entries; return the names of the files that differed (``check``: write nothing).

    Args:
        problems: takes one line for each entry that had to be left out.
    """
    return _write(root or default_root(), check=check, problems=problems)


def find_entry(name: str | Path, root: Path | None = None) -> Entry:
    """Return an entry by its folder, by ``<model>/<date>-<digest8>``, or by its model (the newest).

    Raises:
        UsageError: there is none; the message lists what there is.
    """
    root = root or default_root()
    entries = read_entries(root, [])
    wanted = Path(name)
    for entry in entries:
        if wanted in (entry.folder, Path(entry.folder.parent.name, entry.folder.name)) or (
            wanted.is_dir() and wanted.resolve() == entry.folder.resolve()
        ):
            return entry
    mine = [entry for entry in entries if name_key(entry.model) == name_key(str(name))]
    if not mine:
        known = [f"{entry.folder.parent.name}/{entry.folder.name}" for entry in entries]
        raise unknown_name("entry", str(name), [*sorted({entry.model for entry in entries}), *known])
    return max(mine, key=lambda entry: entry.order)


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
    _write(root)
    return outcome


def _outcome(found: Entry, answer: Path, benchmark: Path | Benchmark | None) -> AuditOutcome:
    findings = Findings()
    reference = reference_of(found.info, _manifest(benchmark), findings)
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
        _write(root)
    return agreement


def _note(entry: Entry, **changes: Any) -> None:
    path = entry.folder / CHECKED_FILE
    checked: Mapping[str, Any] = json.loads(read_regular(path))
    write_text(path, json.dumps({**checked, **changes}, indent=1) + "\n")


def find_pairs(first: str, second: str, root: Path | None = None) -> list[tuple[Run, Run, tuple[str, ...]]]:
    """Return the runs of two models that can be compared, with the splits that both have.

    Args:
        first, second: model names of the record (their newest entries), or run folders.

    Raises:
        UsageError: an unknown model, or no preset, benchmark and split that both have.
    """
    root = root or default_root()
    left, right = _runs_of(first, root), _runs_of(second, root)
    splits: dict[tuple[Path, Path], list[str]] = {}
    for key in sorted(left.keys() & right.keys()):
        splits.setdefault((left[key], right[key]), []).append(key[-1])
    if not splits:
        raise UsageError(f"{first} and {second} share no preset, benchmark and split")
    return [(open_run(one), open_run(two), tuple(names)) for (one, two), names in splits.items()]


def _runs_of(name: str, root: Path) -> dict[tuple[str, str, str], Path]:
    """Return (benchmark digest, preset, split) -> run folder of a model of the record, or of the folder named."""
    if Path(name).is_dir():
        entry = Entry(Path(name), "", "self-reported", "")
        pairs = [(entry, split) for split in entry.tables]
    else:
        newest = newest_per_contest(read_entries(root, []))
        pairs = [(entry, split) for entry, split in newest if entry.model == name and split in entry.tables]
        if not pairs:
            raise unknown_name("model of the record", name, sorted({entry.model for entry, _ in newest}))
    return {
        (entry.info["benchmark"]["manifest_digest"], entry.info["protocol"]["preset"], split): entry.folder
        for entry, split in pairs
    }


def _manifest(benchmark: Path | Benchmark | None) -> Manifest | None:
    if benchmark is None:
        return None
    return (open_benchmark(benchmark) if isinstance(benchmark, Path) else benchmark).manifest


def _copy_regular(source: Path, target: Path, run: Path) -> None:
    """Copy the files of a submission that are there and regular; what is wrong with the others is found later."""
    target.mkdir()
    left = MAX_BYTES
    for name in RUN_FILES:
        if (source / name).is_file() and not (source / name).is_symlink():
            content = read_regular(source / name, limit=left, links=False)
            left -= len(content)
            (target / name).write_bytes(content)
        elif (source / name).is_symlink() or (source / name).exists():
            raise DataError(f"{run}: {name} is no regular file; send files, not links to them")


def _move_whole(staged: Path, target: Path) -> None:
    """Put a finished entry in its place; it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".dmseg-tmp-", dir=target.parent) as temporary:
        made = Path(temporary) / "entry"
        made.mkdir()
        for path in staged.iterdir():
            write_bytes(made / path.name, path.read_bytes())
        made.rename(target)


def request_text(run: Path) -> str:
    """Return the text of the pull request or issue that goes with a submission."""
    with open_submission(run) as folder:
        info, digest = open_run(folder).info, run_digest(folder)
    model, benchmark, protocol = info["model"], info["benchmark"], info["protocol"]
    lines = [
        f"Leaderboard entry: {model['name']}",
        "",
        f"- benchmark: {benchmark['edition']} {benchmark['version']}, splits {', '.join(benchmark['split'])}",
        f"- preset: {protocol['preset']}, seed {protocol['seed']}",
        f"- run digest: {digest}",
        f"- weights sha256: {model.get('weights_sha256') or 'none'}",
        f"- licence: {model['license']}",
        f"- code: {model.get('code_url') or 'not given'}; paper: {model.get('paper_url') or 'not given'}",
        f"- trained on: {', '.join(model.get('trained_on') or ()) or 'none of the datasets'}",
        f"- submitter: {info.get('submitter') or 'not given'}",
    ]
    return "\n".join(lines)
