"""A run comes into the record: check, pack, add, build."""

from __future__ import annotations

import datetime
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dmseg.build import Benchmark
from dmseg.errors import DataError
from dmseg.files import write_bytes, write_text
from dmseg.leaderboard.checks import Verdict, check_run
from dmseg.leaderboard.entries import CHECKED_FILE, RUN_FILES, default_root, entry_folder, read_entries, read_entry
from dmseg.leaderboard.lookup import find_manifest
from dmseg.leaderboard.package import MAX_BYTES, UnsafePackageError, open_submission, pack_files
from dmseg.leaderboard.record import make_record
from dmseg.leaderboard.writing import write_record
from dmseg.naming import name_key
from dmseg.reading import read_regular
from dmseg.results import open_run, run_digest


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
            return check_run(folder, manifest=find_manifest(benchmark), others=others, owner=owner)
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
        verdict = check_run(staged, manifest=find_manifest(benchmark), others=entries, owner=owner)
        if not verdict.accepted:
            raise RefusedError(run, verdict)
        info, digest = open_run(staged).info, run_digest(staged)
        model = info["model"]["name"]
        mine = [entry for entry in entries if entry.digest == digest and name_key(entry.model) == name_key(model)]
        same = [entry for entry in mine if entry.info["protocol"] == info["protocol"]]
        if same:
            return Added(same[0].folder, False, verdict, tuple(build(root)))
        now = date or datetime.datetime.now(datetime.UTC)
        checked = {"date": now.strftime("%Y-%m-%d"), "tier": "self-reported", "run_digest": digest}
        if isinstance(now, datetime.datetime):
            checked["added"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if owner or info.get("submitter"):
            checked["owner"] = owner or info["submitter"]
        write_text(staged / CHECKED_FILE, json.dumps(checked, indent=1) + "\n")
        entry, target = read_entry(staged), entry_folder(root, model, checked["date"], digest)
        if mine:  # two presets can give the same rows
            target = target.with_name(f"{target.name}-{info['protocol']['preset']}")
        places = {entry.folder: target}  # in the order in which the record will be read
        all_entries = sorted([*entries, entry], key=lambda e: places.get(e.folder, e.folder).parts[-2:])
        record = make_record(root, all_entries)
        problems = [problem for problem in record.problems if problem.startswith(f"{staged.parent.name}/{staged.name}")]
        if problems:
            raise DataError(f"{run}: its numbers cannot be computed, nothing was changed: {problems[0]}")
        if target.exists():
            raise DataError(f"{target}: another entry is there already; remove it, or add the run on another day")
        _move_whole(staged, target)
    now_there = read_entries(root, [])
    if [one.identity for one in now_there] != [one.identity for one in all_entries]:  # somebody else changed it
        return Added(target, True, verdict, tuple(build(root)))
    return Added(target, True, verdict, tuple(write_record(root, record)))


def build(root: Path | None = None, *, check: bool = False, problems: list[str] | None = None) -> list[str]:
    """Compute the record from its entries; return the names of the files that differed (``check``: write nothing).

    Args:
        problems: takes one line for each entry that had to be left out.
    """
    root = root or default_root()
    record = make_record(root)
    if problems is not None:
        problems += record.problems
    return write_record(root, record, check=check)


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
