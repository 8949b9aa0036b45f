"""``dmseg degrade``: degrade one image file, or a folder of them, same format out."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import ANY_PATH, CommaList, jobs_option, seed_option, window_option
from dmseg.errors import DataError, DmsegError, ImageFileError, UsageError
from dmseg.types import LEVEL_LABELS, MODALITIES, Window, check_level, check_modality

if TYPE_CHECKING:
    from dmseg.simulators.files import Request

_SHOWN = 20


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file: a description in words, or what went wrong."""

    source: Path
    words: str = ""
    error: str = ""


@click.command("degrade")
@click.argument("source", metavar="IN", type=ANY_PATH)
@click.argument("out", metavar="OUT", type=ANY_PATH)
@click.option("--level", required=True, help="clear, lq1, lq2, lq3 or lq3plus.")
@click.option("--modality", default=None, help=f"{', '.join(MODALITIES)}.")
@click.option("--dataset", default=None, help="Use this dataset's own degradations at lq3plus, and its window.")
@window_option
@click.option("--ops", type=CommaList(), default=None, help="Exactly these operations, in this order.")
@click.option("--key", default=None, help="Name that the draw depends on; default: the file's name.")
@seed_option
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave files out, such as '*_mask*'; may be repeated."
)
@click.option("--keep-patient", is_flag=True, help="Keep the patient module of DICOM files.")
@jobs_option
def command(
    source: Path,
    out: Path,
    level: str,
    modality: str | None,
    dataset: str | None,
    window: Window | None,
    ops: tuple[str, ...] | None,
    key: str | None,
    seed: int,
    exclude: tuple[str, ...],
    keep_patient: bool,
    jobs: int,
) -> int:
    """Degrade an image file, or every image below a folder (the tree is mirrored), same format out.

    PNG, JPEG, TIFF, DICOM, NIfTI (each axial slice of a volume is degraded on its own). No geometry changes, so masks
    stay valid. DICOM: new SOP and series identifiers, private tags and the patient module removed; other header fields
    stay, so this is no anonymisation.

    \b
    Examples:
      dmseg degrade chest.dcm chest_lq3plus.dcm --level lq3plus --modality ct --window -600/1500
      dmseg degrade scans/ degraded/ --level lq2 --modality ultrasound --exclude '*_mask*'
    """
    request = _request(level, modality, dataset, window, ops, seed, keep_patient)
    if source.is_dir():
        return _folder(source, out, request, key, exclude, jobs)
    from dmseg.imaging import stem

    target = out / source.name if out.is_dir() else out
    outcome = _outcome(source, target, request, stem(source) if key is None else key)
    if outcome.error:
        raise DataError(outcome.error)
    click.echo(outcome.words)
    click.echo(f"wrote {target}")
    return 0


def _request(
    level: str,
    modality: str | None,
    dataset: str | None,
    window: Window | None,
    ops: tuple[str, ...] | None,
    seed: int,
    keep_patient: bool,
) -> Request:
    """Check names; resolve the dataset into its modality, operations and window."""
    from dmseg import simulators
    from dmseg.simulators.files import Request

    check_level(level)
    for name in ops or ():
        simulators.operation(name)
    domain = None
    if dataset is not None:
        from dmseg import datasets

        recipe = datasets.recipe(dataset)
        modality = recipe.modality(modality)
        domain = recipe.domain_ops(modality)
        window = window or recipe.windows.get(modality)
    elif modality is not None:
        check_modality(modality)
    elif level == "lq3plus" and ops is None:
        raise UsageError(
            f"{LEVEL_LABELS[level]} adds degradations of the modality: give --modality ({', '.join(MODALITIES)}) "
            "or --dataset"
        )
    return Request(level, modality, domain, ops, window, seed, keep_patient)


def _folder(source: Path, out: Path, request: Request, key: str | None, exclude: tuple[str, ...], jobs: int) -> int:
    """Degrade every image below a folder into a mirror of its tree."""
    from dmseg.progress import progress

    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: a file; {source} is a folder, so give a folder to write to")
    if out.resolve() == source.resolve():
        raise UsageError(f"{out}: this is the source folder; give another one to write to")
    files, others = _images_below(source, out, exclude)
    if not files:
        raise DataError(f"{source}: no PNG, JPEG, TIFF, DICOM or NIfTI files there")
    outcomes = list(progress(_outcomes(source, out, files, request, key, jobs), len(files), "degrade", "files"))
    for outcome in outcomes:
        if outcome.words:
            click.echo(outcome.words)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed[:_SHOWN]:
        click.echo(f"failed: {outcome.error}", err=True)
    if len(failed) > _SHOWN:
        click.echo(f"... and {len(failed) - _SHOWN} more", err=True)
    if len(failed) == len(files):
        raise DataError(f"{source}: none of the {len(files)} files could be degraded; nothing was written")
    click.echo(f"wrote {len(files) - len(failed)} of {len(files)} files to {out} at {LEVEL_LABELS[request.level]}")
    if others:
        click.echo(f"left alone: {others} files that are excluded or no images")
    return 1 if failed else 0


def _images_below(source: Path, out: Path, exclude: tuple[str, ...]) -> tuple[list[Path], int]:
    """Return the image files below a folder, relative and sorted, and how many others there are."""
    from dmseg.imaging import kind_of

    files: list[Path] = []
    others = 0
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        hidden = any(part.startswith(".") for part in relative.parts)
        if not path.is_file() or hidden or path.resolve().is_relative_to(out.resolve()):
            continue
        if any(fnmatch.fnmatch(relative.as_posix(), pattern) for pattern in exclude) or path.name == "DICOMDIR":
            others += 1
            continue
        try:
            kind_of(path)
        except ImageFileError:
            from dmseg.imaging import EXTENSIONS, extension

            if extension(path) not in EXTENSIONS:
                others += 1
                continue
        files.append(relative)
    return files, others


def _outcomes(
    source: Path, out: Path, files: list[Path], request: Request, key: str | None, jobs: int
) -> Iterator[FileOutcome]:
    """Degrade the files in order, in this process or in several; results do not depend on how many."""
    from dmseg.imaging import stem

    tasks = []
    for relative in files:
        name = (relative.parent / stem(relative)).as_posix()
        tasks.append((source / relative, out / relative, request, name if key is None else f"{key}/{name}"))
    if jobs == 1:
        yield from (_outcome(*task) for task in tasks)
        return
    import joblib

    yield from joblib.Parallel(n_jobs=jobs, return_as="generator")(joblib.delayed(_outcome)(*task) for task in tasks)


def _outcome(source: Path, target: Path, request: Request, key: str) -> FileOutcome:
    import cv2

    from dmseg.simulators.files import degrade_file

    cv2.setNumThreads(1)
    try:
        return FileOutcome(source, words=degrade_file(source, target, request, key))
    except OSError as error:
        return FileOutcome(source, error=f"{target}: cannot be written ({error.strerror or error})")
    except DmsegError as error:
        text = str(error)
        return FileOutcome(source, error=text if str(source) in text else f"{source}: {text}")
