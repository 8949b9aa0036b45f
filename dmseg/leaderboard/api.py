"""What can be done with the record: check, pack, add, build, show, compare."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.files import write_text
from dmseg.leaderboard.checks import Verdict, check_run
from dmseg.leaderboard.entries import (
    CHECKED_FILE,
    RUN_FILES,
    Entry,
    default_root,
    entry_folder,
    newest_per_contest,
    read_entries,
)
from dmseg.leaderboard.package import UnsafePackageError, open_submission, pack_files
from dmseg.leaderboard.ranking import mask_scores
from dmseg.leaderboard.record import build_record
from dmseg.manifests import Manifest
from dmseg.results import open_run, run_digest
from dmseg.results.cases import CaseTable
from dmseg.statistics import Estimate
from dmseg.types import LEVEL_LABELS


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


def check(run: Path, *, benchmark: Path | Benchmark | None = None, root: Path | None = None) -> Verdict:
    """Check a run folder or zip as a submission: all findings at once. Nothing is changed.

    Args:
        benchmark: a benchmark to check against beside the published editions.
        root: a record whose entries the run must not repeat; default: the default record.
    """
    try:
        with open_submission(run) as folder:
            return check_run(folder, manifest=_manifest(benchmark), others=read_entries(root or default_root()))
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
) -> Added:
    """Check a run folder or zip, copy it into the record, and build the record.

    Args:
        root: folder of the record; default: the package's in an editable checkout, else the user's.
        benchmark: the benchmark of the run, for a local edition or where the published manifest has no masks.
        date: day of the entry; default today.

    Raises:
        RefusedError: the run has errors; nothing is changed.
    """
    root = root or default_root()
    entries = read_entries(root)
    with open_submission(run) as folder:
        verdict = check_run(folder, manifest=_manifest(benchmark), others=entries)
        if not verdict.accepted:
            raise RefusedError(run, verdict)
        digest, model = run_digest(folder), open_run(folder).info["model"]["name"]
        same = [entry for entry in entries if entry.digest == digest and entry.model == model]
        if same:
            return Added(same[0].folder, False, verdict, tuple(build_record(root)))
        day = (date or datetime.date.today()).isoformat()
        target = entry_folder(root, model, day, digest)
        tier = "rescored" if verdict.rescored else "self-reported"
        _copy_whole(folder, target, {"date": day, "tier": tier, "run_digest": digest})
    return Added(target, True, verdict, tuple(build_record(root)))


def build(root: Path | None = None, *, check: bool = False) -> list[str]:
    """Compute the record from its entries; return the names of the files that differed (``check``: write nothing)."""
    return build_record(root or default_root(), check=check)


@dataclass(frozen=True, slots=True)
class DiceDifference:
    """Paired difference of final Dice, first minus second, over one part of the benchmark."""

    split: str
    part: str
    level: str
    estimate: Estimate


def compare(first: str, second: str, root: Path | None = None) -> list[DiceDifference]:
    """Compare two runs on the same masks: paired differences with 95 % intervals, overall, by dataset and by level.

    Args:
        first, second: model names of the record (their newest entries), or run folders.

    Raises:
        UsageError: an unknown model, or no split that both ran on the same masks.
    """
    root = root or default_root()
    left, right = _tables_of(first, root), _tables_of(second, root)
    rows: list[DiceDifference] = []
    for key in sorted(left.keys() & right.keys()):
        one, two = left[key], right[key]
        if one.mask_ids == two.mask_ids and one.levels == two.levels:
            rows += _differences(one, two)
    if not rows:
        raise UsageError(f"{first} and {second} share no preset, benchmark and split with the same masks and levels")
    return rows


def _differences(one: CaseTable, two: CaseTable) -> list[DiceDifference]:
    gap = one.values["dice"][:, :, -1] - two.values["dice"][:, :, -1]
    columns = np.column_stack([mask_scores(one) - mask_scores(two), gap])
    labels = ["all levels", *(LEVEL_LABELS[level] for level in one.levels)]
    rows = [
        DiceDifference(one.split, "all datasets", label, estimate)
        for label, estimate in zip(labels, one.bootstrap.estimates(columns), strict=True)
    ]
    owner = np.array(one.datasets)
    names = sorted(set(one.datasets))
    by_dataset = np.column_stack([np.where((owner == name)[:, None], columns, np.nan) for name in names])
    estimates = iter(one.bootstrap.estimates(by_dataset))
    return rows + [DiceDifference(one.split, name, label, next(estimates)) for name in names for label in labels]


def _tables_of(name: str, root: Path) -> dict[tuple[str, str, str], CaseTable]:
    """Return (benchmark digest, preset, split) -> rows of a model of the record or of a run folder."""
    if Path(name).is_dir():
        entry = Entry(Path(name), "", "self-reported", "")
        pairs = [(entry, split) for split in entry.tables]
    else:
        newest = newest_per_contest(read_entries(root))
        pairs = [(entry, split) for entry, split in newest if entry.model == name]
        if not pairs:
            raise unknown_name("model of the record", name, sorted({entry.model for entry, _ in newest}))
    return {
        (entry.info["benchmark"]["manifest_digest"], entry.info["protocol"]["preset"], split): entry.tables[split]
        for entry, split in pairs
    }


def _manifest(benchmark: Path | Benchmark | None) -> Manifest | None:
    if benchmark is None:
        return None
    return (open_benchmark(benchmark) if isinstance(benchmark, Path) else benchmark).manifest


def _copy_whole(folder: Path, target: Path, checked: dict[str, str]) -> None:
    """Copy a run's files and what was established about it; the entry appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".dmseg-tmp-", dir=target.parent) as temporary:
        made = Path(temporary) / "entry"
        made.mkdir()
        for name in RUN_FILES:
            shutil.copyfile(folder / name, made / name)
        write_text(made / CHECKED_FILE, json.dumps(checked, indent=1) + "\n")
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
