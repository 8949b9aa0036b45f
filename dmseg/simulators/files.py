"""Degrade image files, same format out: 8 bit as it is, deeper values through a grey window, volumes by slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg import canonical, imaging
from dmseg.errors import DataError, UsageError
from dmseg.imaging import Derivation, StoredImage
from dmseg.simulators.arrays import check_domain
from dmseg.simulators.operations import home_modality
from dmseg.simulators.plan import Plan, plan
from dmseg.simulators.tables import default_window, tables_digest
from dmseg.simulators.volumes import plan_volume
from dmseg.types import LEVEL_LABELS, LEVELS, Window


@dataclass(frozen=True)
class Request:
    """What is asked for, the same for every file.

    Attributes:
        level: one of :data:`dmseg.types.LEVELS`.
        modality: None: that of the DICOM tag, where a file has one.
        domain, ops, seed: as in :func:`dmseg.simulators.plan`.
        window: used wherever values deeper than 8 bit become grey (CT: in HU); None: the file's own, else the
            modality's, else what ``bits`` hold, else the 0.5 to 99.5 percentile above the background.
        rescale: name of the conversion of CT values that are no HU (:func:`dmseg.imaging.parse_rescale`).
        bits: significant bits of unsigned samples; None: what the file says.
        volume: which volume of a NIfTI file of several.
        plane: plane that volumes are cut into; None: that of acquisition.
        keep_patient: keep the patient module of DICOM files.
        keep_references: keep the identifiers of DICOM files, so that what refers to them still fits.
        order: of LQ-3+, as in :func:`dmseg.simulators.plan`.
        single: one operation at one severity is asked for, which ``ops`` and ``level`` hold.
        per_slice: each slice of a volume gets a draw of its own, as in the benchmark; else one plan holds for all.
    """

    level: str
    modality: str | None = None
    domain: tuple[str, ...] | None = None
    ops: tuple[str, ...] | None = None
    window: Window | None = None
    seed: int = 0
    keep_patient: bool = False
    rescale: str | None = None
    bits: int | None = None
    volume: int | None = None
    plane: str | None = None
    keep_references: bool = False
    per_slice: bool = False
    order: str = "paper"
    single: bool = False

    @property
    def title(self) -> str:
        """What is asked for in words: a level, or a severity."""
        return f"severity {LEVELS.index(self.level)}" if self.single else LEVEL_LABELS[self.level]

    def find_modality(self, code: str | None) -> str | None:
        """Return the modality of a file with this DICOM tag: as asked for, the tag's, or that of the operations."""
        homes = (home_modality(name) for name in self.ops or ())
        found = self.modality or imaging.modality_of(code)
        return found or next((home for home in homes if home is not None), None)

    def series(self) -> str:
        """Return what all files of one request have in common: it names the derived DICOM series."""
        window = None if self.window is None else [self.window.center, self.window.width]
        more = [value for value in (self.rescale, self.bits, self.plane, self.per_slice or None) if value is not None]
        if self.order != "paper":
            more.append(self.order)
        asked = [self.level, self.modality, self.domain, self.ops, window, self.seed, self.keep_patient, *more]
        return canonical.digest([*asked, tables_digest()])


_WARNING = "its values look like labels; if this is a mask, leave it out with --exclude"


class LabelsFound(DataError):
    """The file holds labels: degraded, it would be a wrong mask."""


@dataclass(frozen=True)
class Report:
    """What was done to a file: a line, the whole plan in words, and whether it has an EXIF orientation."""

    line: str
    words: str
    turned: bool = False


@dataclass(frozen=True)
class _WorkingView:
    """How the values of a file are looked at: after a conversion, through a window; None: 8 bit as it is."""

    values: NDArray[Any]
    window: Window | None
    modality: str | None
    rescale: imaging.Rescale | None
    notes: tuple[str, ...]


def degrade_file(
    source: Path,
    target: Path,
    request: Request,
    key: str,
    is_label: Callable[[NDArray[Any]], bool] | None = None,
    certain: bool = True,
) -> Report:
    """Degrade one file.

    Args:
        source, target: what to read and where to write; the same format.
        request: what is asked for.
        key: names the file in all draws.
        is_label: says of the pixel values whether they are labels.
        certain: labels are degraded all the same, with a note.

    Raises:
        LabelsFound: ``is_label`` says so, and it is not certain.
        DmsegError: the file cannot be read, is too small, is a segmentation, shows nothing in its window, is CT that is
            not in HU, or the target is not allowed; nothing was written then.
    """
    kind = imaging.kind_of(source)
    imaging.check_target(source, target, kind)
    stored = imaging.open_stored(source, volume=request.volume, plane=request.plane)
    if is_label is not None and is_label(stored.values):
        if not certain:
            raise LabelsFound(f"{source}: its values are those of a mask or a label map")
        stored = replace(stored, notes=(*stored.notes, _WARNING))
    if request.level == "clear" and kind != "DICOM":
        imaging.copy_unchanged(source, target, kind)
        return _report_copy(str(source), stored)
    values, digest, report = _degrade_stored(stored, request, key, str(source))
    stored.write(target, values, _derivation(request, digest))
    return report


def degrade_series(files: Sequence[Path], folder: Path, request: Request, key: str) -> tuple[list[Path], Report]:
    """Degrade the DICOM files of one series as the volume that they are; they keep their names in ``folder``.

    Returns:
        The files in slice order, and what was done.

    Raises:
        DataError: the files are no volume; nothing was written.
    """
    stored = imaging.open_series(files)
    values, digest, report = _degrade_stored(stored, request, key, f"{files[0].parent} ({len(files)} files)")
    stored.write(folder, values, _derivation(request, digest))
    return list(stored.files), report


@dataclass(frozen=True)
class ShownFile:
    """A file as it is looked at.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        window: what the values were seen through; None: 8 bit as it is.
        number: which slice, page or frame of a stack; None: the file holds one image.
        modality: as asked for, or that of the DICOM tag; None: neither.
    """

    pixels: NDArray[np.uint8]
    window: Window | None
    number: int | None
    modality: str | None


def show_file(source: Path, request: Request, number: int | None = None) -> ShownFile:
    """Return a file as it is looked at; of a stack the slice of this number, or the middle one.

    Raises:
        UsageError: no slice of this number.
        DmsegError: as :func:`degrade_file`.
    """
    stored = imaging.open_stored(source, volume=request.volume, plane=request.plane)
    view = _view(stored, replace(request, modality=request.find_modality(stored.modality)), str(source))
    number = stored.choose_slice(number, source)
    values = view.values if number is None else view.values[number]
    pixels = values if view.window is None else imaging.apply_window(values, view.window)
    return ShownFile(pixels, view.window, number, view.modality)


def _derivation(request: Request, digest: str) -> Derivation:
    return Derivation(digest, request.series(), request.keep_patient, request.keep_references)


def _report_copy(where: str, stored: StoredImage) -> Report:
    line = "; ".join([f"{where}: nothing: the image as it is", *stored.notes])
    return Report(line, line, stored.orientation != 1)


def _degrade_stored(stored: StoredImage, request: Request, key: str, where: str) -> tuple[NDArray[Any], str, Report]:
    """Return new values for an open file, the digest of what was done, and words."""
    modality = request.find_modality(stored.modality)
    check_domain(request.level, modality, given=request.domain is not None or request.ops is not None)
    if request.level == "clear":
        drawn = plan(key, modality=modality, domain=request.domain, ops=request.ops, seed=request.seed)
        return stored.values, drawn.digest(request.level), _report_copy(where, stored)
    view = _view(stored, replace(request, modality=modality), where)
    if stored.stack:
        made, digest, words, operations = _degrade_stack(view, request, key, stored.what)
    else:
        made, drawn, words = _degrade_image(view.values, request, key, view)
        digest, operations = drawn.digest(request.level), _operations(drawn, request.level)
    new = _return(stored, view, made, request.bits or stored.bits)
    seen = "" if view.window is None else f"; grey window {view.window.center:g}/{view.window.width:g}"
    line = f"{where}: {', '.join(operations) or 'no operation'}{seen}"
    notes = "".join(f"\nnote: {note}" for note in view.notes)
    short = "".join(f"; {note}" for note in view.notes)
    return new, digest, Report(line + short, f"{where}: {words}{notes}", stored.orientation != 1)


def _operations(drawn: Plan, level: str) -> list[str]:
    return [step.operation for step, _ in drawn.steps(level)]


def _view(stored: StoredImage, request: Request, where: str) -> _WorkingView:
    """Choose how a file is looked at; see :class:`Request` for the rules.

    Raises:
        DataError: CT that is not in HU, or a window that shows nothing.
    """
    notes = list(stored.notes)
    code = imaging.modality_of(stored.modality)
    if code is not None and request.modality is not None and code != request.modality:
        notes.append(f"the file says {stored.modality}, degraded as {request.modality}")
    values = stored.values
    colour = values.ndim == (4 if stored.stack else 3)
    image = values if stored.padding is None else values[~stored.padding]
    rescale = _rescale(request, image, colour, where)
    if rescale is None and values.dtype == np.uint8:
        return _WorkingView(values, None, request.modality, None, tuple(notes))
    if rescale is not None:
        values, image = rescale.to_hu(values), rescale.to_hu(image)
    window, said = _window(stored, request, image, colour, where)
    return _WorkingView(values, window, request.modality, rescale, (*notes, *said))


def _rescale(request: Request, image: NDArray[Any], colour: bool, where: str) -> imaging.Rescale | None:
    """Return the conversion to HU that is asked for; refuse CT that is in need of one."""
    standard = default_window("ct")
    if request.rescale is not None:
        if request.modality != "ct" or colour:
            raise UsageError(f"{where}: --rescale is for grey CT values; give --modality ct")
        return imaging.parse_rescale(request.rescale, request.window or standard)
    if request.modality == "ct" and not colour and image.dtype != np.uint8:
        imaging.check_hounsfield(image, where)
    return None


def _window(
    stored: StoredImage, request: Request, image: NDArray[Any], colour: bool, where: str
) -> tuple[Window, list[str]]:
    """Return the grey window of values deeper than 8 bit, and notes on those that were passed over."""
    if request.window is not None:
        imaging.check_visible(image, request.window, where)
        return request.window, []
    notes: list[str] = []
    # Declared windows speak of the file's own units, which a conversion by name replaces.
    own = stored.windows[len(stored.windows) // 2] if stored.windows and request.rescale is None else None
    standard = default_window(request.modality) if request.modality else None
    for window, name in ((own, "the file's window"), (standard, "the window of the modality")):
        if window is None:
            continue
        if not imaging.shows_nothing(image, window):
            return window, notes
        notes.append(f"{name} {window.center:g}/{window.width:g} shows nothing")
    bits = request.bits or (stored.bits if _reaches(image, stored.bits) else None)
    if image.dtype.kind == "u" and (bits is not None or colour):
        return _full_window(image, bits), notes
    if colour and image.dtype.kind == "f" and image.min() >= 0 and image.max() <= 1:
        return Window(0.5, 1.0), notes
    try:
        return imaging.percentile_window(image), notes
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _reaches(image: NDArray[Any], bits: int | None) -> bool:
    """Return whether values fill what the file's bits hold, at least to a quarter: else they say nothing of white."""
    return bits is not None and image.dtype.kind == "u" and int(image.max(initial=0)) >= 1 << (bits - 2)


def _full_window(image: NDArray[Any], bits: int | None) -> Window:
    """Return the window from 0 to the largest number that the bits hold, if no value is larger."""
    white = float((1 << (bits or 8 * image.itemsize)) - 1)
    if float(image.max(initial=0)) > white:
        raise DataError(f"values up to {image.max()} do not fit {bits} bits; give --bits {8 * image.itemsize}")
    return Window(white / 2, white)


def _degrade_image(
    values: NDArray[Any], request: Request, key: str, view: _WorkingView
) -> tuple[NDArray[Any], Plan, str]:
    """Return one degraded image in the type and units of the view, its plan, and words.

    8-bit images are degraded as they are. Deeper ones (CT, MR, 16 bit) are degraded as they look in the window, and
    the change times the width of the window is added to the values.
    """
    window = view.window
    image = values if window is None else imaging.normalise(values, window)
    drawn = plan(
        key,
        modality=view.modality,
        domain=request.domain,
        ops=request.ops,
        image=image,
        seed=request.seed,
        window=window or request.window,
        order=request.order,
    )
    degraded = drawn.apply(image, request.level)
    words = drawn.describe(request.level, request.title)
    if window is None:
        return degraded, drawn, words
    if "grey window" not in words:
        words += f"\ngrey window {window.center:g}/{window.width:g} (center/width)"
    return imaging.add_change(values, image, degraded, window), drawn, words


def _degrade_stack(
    view: _WorkingView, request: Request, key: str, what: str
) -> tuple[NDArray[Any], str, str, list[str]]:
    """Return a degraded stack of slices, pages or frames, its digest, words and operations; blank ones are copied."""
    blank = [bool(one.min() == one.max() or not np.isfinite(one).any()) for one in view.values]
    copied = f", {sum(blank)} blank ones copied" if any(blank) else ""
    if all(blank):
        return view.values, canonical.digest([]), f"{len(blank)} {what}{copied}", [f"{len(blank)} {what}{copied}"]
    degrade = _degrade_each if request.per_slice else _degrade_together
    made, digest, words, operations = degrade(view, request, key, blank)
    return made, digest, f"{len(blank)} {what}{copied}, {words}", [f"{len(blank)} {what}{copied}", *operations]


def _degrade_together(
    view: _WorkingView, request: Request, key: str, blank: Sequence[bool]
) -> tuple[NDArray[Any], str, str, list[str]]:
    """Degrade a stack by one plan: the same settings everywhere, smooth fields, fresh noise."""
    window = view.window
    before = view.values if window is None else imaging.normalise(view.values, window)
    drawn = plan_volume(
        key,
        before,
        modality=view.modality,
        domain=request.domain,
        ops=request.ops,
        seed=request.seed,
        window=window or request.window,
        order=request.order,
    )
    after = drawn.apply(before, request.level)
    made = np.array(view.values)
    for z in np.flatnonzero(np.logical_not(blank)):
        made[z] = after[z] if window is None else imaging.add_change(view.values[z], before[z], after[z], window)
    words = drawn.plan.describe(request.level, request.title)
    return made, drawn.digest(request.level), f"one plan for all:\n{words}", _operations(drawn.plan, request.level)


def _degrade_each(
    view: _WorkingView, request: Request, key: str, blank: Sequence[bool]
) -> tuple[NDArray[Any], str, str, list[str]]:
    """Degrade every image of a stack by a draw of its own, as the benchmark does; keys are ``<key>_z012``."""
    made = np.array(view.values)
    digests: list[str] = []
    words, operations = "", [""]
    for z in np.flatnonzero(np.logical_not(blank)):
        made[z], drawn, described = _degrade_image(view.values[z], request, f"{key}_z{z:03d}", view)
        digests.append(drawn.digest(request.level))
        if not words or z <= len(made) // 2:
            words, operations = described, _operations(drawn, request.level)
    return made, canonical.digest(digests), f"each its own draw; the middle one:\n{words}", operations


def _return(stored: StoredImage, view: _WorkingView, made: NDArray[Any], bits: int | None) -> NDArray[Any]:
    """Return degraded values in the type and units of the file; what did not change, and padding, exactly."""
    same = made == view.values
    new = made
    if view.rescale is not None:
        new = view.rescale.from_hu(made, stored.values.dtype)
    if view.window is not None and stored.values.dtype.kind == "u" and bits and bits < 8 * stored.values.itemsize:
        new = np.minimum(new, (1 << bits) - 1)
    keep = same if stored.padding is None else same | stored.padding
    return np.where(keep, stored.values, new).astype(stored.values.dtype)
