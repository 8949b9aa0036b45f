"""Masks in files: read any usual encoding, compare geometry and values, score every object; failures are rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg import imaging
from dmseg.errors import DataError, DmsegError
from dmseg.imaging.formats import VOLUMES
from dmseg.metrics.matching import Pairs, match_files
from dmseg.metrics.pairs import Score, image_diagonal, score
from dmseg.metrics.volumes import score_volume
from dmseg.progress import progress

__all__ = ["GEOMETRIES", "Pairs", "ScoreOptions", "ScoredObject", "match_files", "score_pairs"]

GEOMETRIES = ("header", "voxels")
_LARGEST_LABEL = 127  # above this an image's values are taken for grey, not for labels
_WHOLE = 1e-3  # labels stored as fractions are whole numbers up to here


@dataclass(frozen=True)
class ScoreOptions:
    """How files become masks and masks become figures.

    Attributes:
        spacing: (y, x), or (z, y, x) for volumes; None: what the header of a volume says (mm), 1 pixel for images.
        tolerances: of NSD, in the unit of the spacing.
        labels: images are label maps.
        threshold: values above it are foreground; None: only 0/1 and 0/255 are masks.
        ignore: values of the reference whose pixels are left out on both sides.
        geometry: ``header``: files must lie in the same place; ``voxels``: the order of the voxels is believed.
        surfaces: score whole volumes in 3-D beside their slices.
        names: label -> name.
    """

    spacing: tuple[float, ...] | None
    tolerances: tuple[float, ...]
    labels: bool = False
    threshold: float | None = None
    ignore: tuple[int, ...] = ()
    geometry: str = "header"
    surfaces: bool = False
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredObject:
    """One object: a line of the CSV. ``score`` is None only where there is no reference to compare with.

    ``slice`` is None for an image, the number of a slice, or ``3d`` for a whole volume.
    """

    name: str
    label: int
    slice: int | str | None = None
    status: str = "ok"
    message: str = ""
    score: Score | None = None
    diagonal: float = math.nan
    unit: str = "px"
    structure: str = ""


@dataclass(frozen=True)
class _Stack:
    """Labels of a file: (Z, H, W) integers, 0 background; the place of a volume; the white of a binary image, or 0."""

    values: NDArray[Any]
    volume: imaging.Volume | None = None
    white: int = 0


def score_pairs(pairs: Pairs, options: ScoreOptions) -> Iterator[ScoredObject]:
    """Score every object of every matched pair; then the references and predictions that have no partner."""
    for name, (reference, prediction) in progress(pairs.both.items(), len(pairs.both), "score", "files"):
        yield from _rows(name, reference, prediction, options, pairs.ambiguous.get(name))
    for name, path in sorted(pairs.only_reference.items()):
        yield from _rows(name, path, None, options, None)
    for name, path in sorted(pairs.only_prediction.items()):
        yield ScoredObject(name, 0, status="no reference", message=f"{path}: no reference of this name")


def _rows(
    name: str, reference: Path, prediction: Path | None, options: ScoreOptions, problem: str | None
) -> Iterator[ScoredObject]:
    """Score every object of one pair of files; what cannot be scored becomes rows that count as 0."""
    try:
        expected = _read_stack(reference, options)
    except DmsegError as error:
        yield ScoredObject(name, 0, status="error", message=str(error))
        return
    status, message = (
        ("no prediction", "no prediction of this name") if prediction is None else ("error", problem or "")
    )
    found: _Stack | None = None
    if prediction is not None and not problem:
        try:
            found = _read_partner(prediction, expected, options)
        except DmsegError as error:
            message = str(error)
    wanted, given, said = _prepare(expected, found, options)
    yield from _objects(name, wanted, given, options, (status, message if found is None else said), expected.volume)


def _read_partner(path: Path, expected: _Stack, options: ScoreOptions) -> _Stack:
    """Return the labels of a prediction on the grid of its reference.

    Raises:
        DataError: another size, or another place and the headers count.
    """
    axes = expected.volume.stored_axes if expected.volume and options.geometry == "voxels" else None
    found = _read_stack(path, options, axes)
    if found.values.shape != expected.values.shape:
        raise DataError(f"{path}: size {_size(found.values)}, the reference has {_size(expected.values)}")
    if expected.volume is None or found.volume is None or options.geometry == "voxels":
        return found
    if difference := imaging.describe_difference(expected.volume, found.volume):
        raise DataError(
            f"{path}: lies in another place than its reference: {difference}; --geometry voxels believes the order of "
            "the voxels instead"
        )
    return found


def _prepare(
    expected: _Stack, found: _Stack | None, options: ScoreOptions
) -> tuple[NDArray[Any], NDArray[Any] | None, str]:
    """Return both label arrays without what is ignored, 255 as 1 where the other side has 1, and what was done."""
    wanted, given = expected.values, None if found is None else found.values
    if options.ignore:
        left_out = np.isin(wanted, options.ignore)
        wanted = np.where(left_out, 0, wanted)
        given = None if given is None else np.where(left_out | np.isin(given, options.ignore), 0, given)
    if found is None or given is None:
        return wanted, None, ""
    tops = [_white(each, stack) for each, stack in ((wanted, expected), (given, found))]
    if sorted(tops) == [1, 255]:
        return (wanted != 0).astype(np.uint8), (given != 0).astype(np.uint8), "0/1 against 0/255: 255 is taken for 1"
    return wanted, given, ""


def _white(values: NDArray[Any], stack: _Stack) -> int:
    """Return 1 or 255 where the values are 0 and that, else 0."""
    present = set(np.unique(values).tolist()) - {0}
    return stack.white or (int(next(iter(present))) if present in ({1}, {255}) else 0)


def _size(stack: NDArray[Any]) -> str:
    return " x ".join(str(side) for side in (stack.shape[1:] if stack.shape[0] == 1 else stack.shape))


def _find_spacing(volume: imaging.Volume | None, options: ScoreOptions) -> tuple[tuple[float, float, float], str]:
    """Return (z, y, x) and its unit: as given, from the header of the reference, or pixels."""
    if options.spacing is not None:
        z, y, x = (1.0, *options.spacing)[-3:]
        return (z, y, x), "px" if set(options.spacing) == {1.0} else "as given"
    if volume is not None and volume.spacing is not None:
        return volume.spacing, "mm"
    return (1.0, 1.0, 1.0), "px"


def _objects(
    name: str,
    expected: NDArray[Any],
    found: NDArray[Any] | None,
    options: ScoreOptions,
    said: tuple[str, str],
    volume: imaging.Volume | None,
) -> Iterator[ScoredObject]:
    """Score every label of each slice, and of the volume as a whole where that is asked for."""
    spacing, unit = _find_spacing(volume, options)
    plane = "axial" if volume is None else imaging.acquisition_plane(expected.shape, volume.spacing)
    slices = imaging.cut(expected, plane)
    others = None if found is None else imaging.cut(found, plane)
    in_plane = imaging.cut_spacing(spacing, plane)[1:]
    if options.spacing is not None and len(options.spacing) == 2:
        in_plane = (options.spacing[0], options.spacing[1])
    diagonal = image_diagonal(slices.shape[1:], in_plane)
    n = 0
    for z, part in enumerate(slices):
        other = None if others is None else others[z]
        # Binary images have one object even where both are empty; label maps have those that appear.
        for label in _labels(part, other) or ([] if volume is not None or options.labels else [1]):
            n += 1
            place = z if volume is not None else None
            yield _score_object(name, label, place, part, other, in_plane, options, said, diagonal, unit)
    if volume is None:
        return
    present = _labels(expected, found) or [1]
    if not n:  # two empty volumes count as two empty images do
        yield _score_object(
            name, 1, None, slices[0], None if others is None else others[0], in_plane, options, said, diagonal, unit
        )
    if options.surfaces:
        whole = image_diagonal(expected.shape, spacing)
        for label in present:
            yield _score_object(name, label, "3d", expected, found, spacing, options, said, whole, unit)


def _labels(part: NDArray[Any], other: NDArray[Any] | None) -> list[int]:
    present = set(np.unique(part).tolist()) | (set() if other is None else set(np.unique(other).tolist()))
    return sorted(present - {0})


def _score_object(
    name: str,
    label: int,
    place: int | str | None,
    expected: NDArray[Any],
    found: NDArray[Any] | None,
    spacing: Sequence[float],
    options: ScoreOptions,
    said: tuple[str, str],
    diagonal: float,
    unit: str,
) -> ScoredObject:
    structure = options.names.get(label, "")
    if found is None:
        missed = Score(0.0, 0.0, 0.0, dict.fromkeys(options.tolerances, 0.0), math.inf, math.inf)
        return ScoredObject(name, label, place, *said, missed, diagonal, unit, structure)
    masks = expected == label, found == label
    if len(spacing) == 3:
        pair = score_volume(*masks, spacing=(spacing[0], spacing[1], spacing[2]), tolerances=options.tolerances)
    else:
        pair = score(*masks, spacing=(spacing[0], spacing[1]), tolerances=options.tolerances)
    return ScoredObject(name, label, place, "ok", said[1], pair, diagonal, unit, structure)


def _read_stack(path: Path, options: ScoreOptions, axes: str | None = None) -> _Stack:
    """Read a mask file as (Z, H, W) integer labels, 0 background; an image is one slice of 0 and 1, or of labels."""
    kind = imaging.kind_of(path)
    if kind in VOLUMES:
        volume = imaging.read_volume(path, axes)
        return _Stack(_whole_labels(path, volume.values, options), volume)
    if options.threshold is not None:
        return _one_slice(imaging.read_mask_values(path) > options.threshold)
    if kind == "JPEG":
        if options.labels:
            raise DataError(f"{path}: JPEG does not keep labels; store label maps as PNG or TIFF")
        return _one_slice(imaging.read_mask(path))
    grey = imaging.read_grey(path)
    if options.labels:
        return _Stack(_whole_labels(path, grey, options)[None])
    values: set[int] = set(np.unique(grey).tolist()) - set(options.ignore)
    if not (values <= {0, 1} or values <= {0, 255}):
        low, high = min(values), max(values)
        hint = "--labels if they are objects" if high <= _LARGEST_LABEL else "--threshold 127 if it is grey"
        raise DataError(
            f"{path}: {len(values)} values from {low} to {high}, a mask has 0 and 1 or 0 and 255; give {hint}"
        )
    if options.ignore:
        return _Stack(np.where(np.isin(grey, options.ignore), grey, grey > 0).astype(np.int32)[None])
    return _one_slice(grey > 0, max(values, default=0))


def _whole_labels(path: Path, values: NDArray[Any], options: ScoreOptions) -> NDArray[Any]:
    """Return labels as integers of 0 or more (and ignored ones), or what lies above the threshold as 1.

    Raises:
        DataError: no number, fractions without a threshold, or labels below 0.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{path}: holds values that are no numbers (NaN or infinite)")
    if options.threshold is not None:
        return (values > options.threshold).astype(np.uint8)
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        if np.abs(values - rounded).max(initial=0) > _WHOLE:
            span = f"{values.min():g} to {values.max():g}"
            raise DataError(
                f"{path}: holds fractions from {span}, expected labels; give --threshold 0.5 if they are probabilities"
            )
        values = rounded.astype(np.int64)
    low = [value for value in np.unique(values[values < 0]).tolist() if value not in options.ignore]
    if low:
        raise DataError(
            f"{path}: labels below 0 ({', '.join(map(str, low[:5]))}); give --ignore {low[0]} to leave them out"
        )
    return values


def _one_slice(mask: NDArray[np.bool_], white: int = 0) -> _Stack:
    return _Stack(mask.astype(np.uint8)[None], None, white)
