"""A folder for ``dmseg degrade``: which files are images, which are masks, which are slices of one series."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from dmseg import imaging
from dmseg.datasets.mask_rules import find_mask_names, looks_like_labels
from dmseg.errors import DataError, DmsegError, ImageFileError, UsageError
from dmseg.jobs import Backend, run
from dmseg.reading import show_name
from dmseg.simulators.files import LabelsFound, Report, Request, degrade_file, degrade_series

_SHOWN = 20
_NOTHING = Report("", "")


@dataclass(frozen=True)
class Unit:
    """What is degraded at once: a file, or the files of a DICOM series; where to; its key in all draws.

    ``certain``: labels are degraded too, with a note.
    """

    sources: tuple[Path, ...]
    targets: tuple[Path, ...]
    key: str
    certain: bool = True


@dataclass(frozen=True)
class FileOutcome:
    """What became of a unit: a report; or what went wrong; or why it was left alone."""

    unit: Unit
    report: Report = _NOTHING
    error: str = ""
    left: str = ""


def degrade_unit(unit: Unit, request: Request) -> FileOutcome:
    """Degrade one unit; what goes wrong is recorded."""
    import cv2

    cv2.setNumThreads(1)
    source = unit.sources[0]
    try:
        if len(unit.sources) > 1:
            _, report = degrade_series(unit.sources, unit.targets[0].parent, request, unit.key)
        else:
            report = degrade_file(source, unit.targets[0], request, unit.key, looks_like_labels, unit.certain)
        return FileOutcome(unit, report)
    except LabelsFound as error:
        return FileOutcome(unit, left=str(error))
    except OSError as error:
        return FileOutcome(unit, error=f"{unit.targets[0]}: cannot be written ({error.strerror or error})")
    except MemoryError:
        return FileOutcome(unit, error=f"{source}: more pixels than this machine has memory for; cut it first")
    except DmsegError as error:
        text = str(error)
        return FileOutcome(unit, error=text if str(source.parent) in text else f"{source}: {text}")


@dataclass(frozen=True)
class Folder:
    """A folder to degrade into a mirror of its tree, and the options that say how."""

    source: Path
    out: Path
    request: Request
    key: str | None
    exclude: Sequence[str]
    include: Sequence[str]
    overwrite: bool
    verbose: bool
    masks: list[str] = field(default_factory=list)

    def degrade(self, jobs: int) -> int:
        """Degrade every image and return the exit code."""
        from dmseg.progress import progress

        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"{self.out}: a file; {self.source} is a folder, so give a folder to write to")
        if self.out.resolve() == self.source.resolve():
            raise UsageError(f"{self.out}: this is the source folder; give another one to write to")
        units, others = self._units()
        if not units:
            what = f"only masks ({self.masks[0]} ...)" if self.masks else f"no {imaging.FORMATS} files there"
            raise DataError(f"{self.source}: {what}")
        there = [target for unit in units for target in unit.targets if target.exists()]
        if there and not self.overwrite:
            raise UsageError(f"{there[0]}: exists, and {len(there) - 1} more; give another folder, or --overwrite")
        count = sum(len(unit.sources) for unit in units)
        return self._tell(list(progress(self._outcomes(units, jobs), len(units), "degrade", "files")), count, others)

    def _tell(self, outcomes: Sequence[FileOutcome], count: int, others: int) -> int:
        """Print what became of every unit, and the sums."""
        for outcome in outcomes:
            if outcome.report.line:
                click.echo(outcome.report.words if self.verbose else outcome.report.line)
        left = [*self.masks, *(outcome.left for outcome in outcomes if outcome.left)]
        count -= sum(len(outcome.unit.sources) for outcome in outcomes if outcome.left)
        failed = [outcome for outcome in outcomes if outcome.error]
        for outcome in failed[:_SHOWN]:
            click.echo(f"failed: {outcome.error}", err=True)
        if len(failed) > _SHOWN:
            click.echo(f"... and {len(failed) - _SHOWN} more", err=True)
        n_failed = sum(len(outcome.unit.sources) for outcome in failed)
        if n_failed == count and count:
            raise DataError(f"{self.source}: none of the {count} files could be degraded; nothing was written")
        click.echo(f"wrote {count - n_failed} of {count} files to {self.out} at {self.request.title}")
        turned = sum(outcome.report.turned for outcome in outcomes)
        if turned:
            click.echo(f"{turned} files have an EXIF orientation: their pixels stay on the stored grid, with the tag")
        for text in left[:_SHOWN]:
            click.echo(f"left alone: {text}")
        if left:
            more = f", {len(left) - _SHOWN} not listed" if len(left) > _SHOWN else ""
            click.echo(f"left alone: {len(left)} masks and label files{more}; --include PATTERN degrades them too")
        if others:
            click.echo(f"left alone: {others} files that are excluded or no images")
        return 1 if failed else 0

    def _units(self) -> tuple[list[Unit], int]:
        """Return what is to be degraded and how many files are left alone; masks are noted."""
        files, others = self._images()
        named = find_mask_names(files)
        chosen = []
        for file in files:
            if file in named and not self._matches(file, self.include):
                self.masks.append(f"{file}: a mask by its name")
            else:
                chosen.append(file)
        series, no_images = self._series(chosen)
        grouped = {file for group in series.values() for file in group}
        units = [
            self._unit(group, f"{show_name(group[0].parent.relative_to(self.source))}/{uid}")
            for uid, group in series.items()
        ]
        taken: set[Path] = set()
        for file in chosen:
            if file in grouped or file in no_images:
                continue
            relative = file.relative_to(self.source)
            unit = self._unit([file], show_name((relative.parent / imaging.stem(relative)).as_posix()), taken)
            taken.update(unit.targets)
            units.append(unit)
        others += len(files) - len(self.masks) - sum(len(unit.sources) for unit in units)
        return sorted(units, key=lambda unit: unit.sources[0]), others

    def _unit(self, files: Sequence[Path], name: str, taken: set[Path] | None = None) -> Unit:
        targets = tuple(self._target(file, taken or set()) for file in files)
        certain = len(files) > 1 or self._matches(files[0], self.include)
        return Unit(tuple(files), targets, name if self.key is None else f"{self.key}/{name}", certain)

    def _target(self, file: Path, taken: set[Path]) -> Path:
        target = self.out / file.relative_to(self.source)
        try:
            gif = imaging.kind_of(file) == "GIF"
        except ImageFileError:
            return target
        if not gif:
            return target
        beside = file.with_suffix(".png").exists() or target.with_suffix(".png") in taken
        return target.with_name(f"{target.name}.png") if beside else target.with_suffix(".png")

    def _matches(self, file: Path, patterns: Sequence[str]) -> bool:
        name = file.relative_to(self.source).as_posix()
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    def _images(self) -> tuple[list[Path], int]:
        """Return the image files, sorted, and how many others there are."""
        files: list[Path] = []
        others = 0
        for path in sorted(self.source.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(self.source).parts)
            if not path.is_file() or hidden or path.resolve().is_relative_to(self.out.resolve()):
                continue
            if self._matches(path, self.exclude) or path.name == "DICOMDIR":
                others += 1
                continue
            try:
                imaging.kind_of(path)
            except ImageFileError:
                if imaging.extension(path) not in imaging.EXTENSIONS:
                    others += 1
                    continue
            files.append(path)
        return files, others

    def _series(self, files: Sequence[Path]) -> tuple[Mapping[str, list[Path]], set[Path]]:
        """Return the files of each DICOM series that is a volume, by its id, and DICOM files that are none or masks."""
        found: dict[tuple[Path, str], list[Path]] = {}
        no_images: set[Path] = set()
        for file in files:
            try:
                tags = imaging.dicom_tags(file) if imaging.kind_of(file) == "DICOM" else None
            except DmsegError:
                continue  # said when it is read
            if tags is None:
                continue
            if tags.segments is not None and not self._matches(file, self.include):
                self.masks.append(f"{file}: a DICOM segmentation")
                no_images.add(file)
            elif not tags.is_image and tags.segments is None:
                no_images.add(file)
            elif tags.series:
                found.setdefault((file.parent, tags.series), []).append(file)
        return {uid: group for (_, uid), group in found.items() if _is_volume(group)}, no_images

    def _outcomes(self, units: Sequence[Unit], jobs: int) -> Iterator[FileOutcome]:
        """Degrade the units in order, in this process or in several; results do not depend on how many."""
        degrade = functools.partial(degrade_unit, request=self.request)
        with run(degrade, units, Backend("loky", jobs), ordered=True) as outcomes:
            yield from outcomes


def _is_volume(files: Sequence[Path]) -> bool:
    """Return whether single-frame files of one series are a stack of slices; otherwise each is an image of its own."""
    if len(files) < 2:
        return False
    try:
        return imaging.is_dicom_volume(files)
    except DmsegError:
        return False
