"""Masks in files: match two folders by name, read any usual encoding, score every object; failures are rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg import imaging
from dmseg.errors import DataError, DmsegError
from dmseg.metrics.pairs import Score, image_diagonal, score
from dmseg.progress import progress

_LARGEST_LABEL = 127  # above this an image's values are taken for grey, not for labels


@dataclass(frozen=True)
class ScoreOptions:
    """How files become masks and masks become figures; ``threshold`` None: only 0/1 and 0/255 are masks."""

    spacing: tuple[float, float]
    tolerances: tuple[float, ...]
    labels: bool
    threshold: int | None


@dataclass(frozen=True)
class ScoredObject:
    """One object: a line of the CSV. ``score`` is None only where there is no reference to compare with."""

    name: str
    label: int
    slice: int | None = None
    status: str = "ok"
    message: str = ""
    score: Score | None = None
    diagonal: float = math.nan


@dataclass(frozen=True)
class Pairs:
    """Files by name below both folders."""

    both: dict[str, tuple[Path, Path]]
    only_reference: dict[str, Path]
    only_prediction: dict[str, Path]
    ambiguous: dict[str, str] = field(default_factory=dict)


def match_files(reference: Path, prediction: Path) -> Pairs:
    """Match the mask files below two folders by relative path without extension, then by unique name.

    Raises:
        DataError: a folder is missing, or holds no mask files.
    """
    left, doubled = _masks_below(reference)
    right, also_doubled = _masks_below(prediction)
    both = {name: (left.pop(name), right.pop(name)) for name in sorted(left.keys() & right.keys())}
    by_name = [{name.rpartition("/")[2]: name for name in side} for side in (left, right)]
    unique = [Counter(name.rpartition("/")[2] for name in side) for side in (left, right)]
    for bare in sorted(by_name[0].keys() & by_name[1].keys()):
        if unique[0][bare] == unique[1][bare] == 1:
            name, other = by_name[0][bare], by_name[1][bare]
            both[name] = (left.pop(name), right.pop(other))
    return Pairs(dict(sorted(both.items())), left, right, doubled | also_doubled)


def _masks_below(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return name -> file, and name -> what is wrong for names that two files of different extension share."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    doubled: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or imaging.EXTENSIONS.get(imaging.extension(path)) in (None, "DICOM") or not path.is_file():
            continue
        name = (relative.parent / imaging.stem(path)).as_posix()
        if name in files:
            doubled[name] = f"{files[name]} and {path.name} have the same name; keep one"
        files[name] = path
    if not files:
        raise DataError(f"{folder}: no PNG, TIFF, JPEG or NIfTI files there")
    return files, doubled


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
        expected = _label_stack(reference, options)
    except DmsegError as error:
        yield ScoredObject(name, 0, status="error", message=str(error))
        return
    status, message = (
        ("no prediction", "no prediction of this name") if prediction is None else ("error", problem or "")
    )
    found: NDArray[Any] | None = None
    if prediction is not None and not problem:
        try:
            found = _label_stack(prediction, options)
            if found.shape != expected.shape:
                message = f"{prediction}: size {_size(found)}, the reference has {_size(expected)}"
                found = None
        except DmsegError as error:
            message = str(error)
    is_volume = reference.name.lower().endswith((".nii", ".nii.gz"))
    yield from _objects(name, expected, found, options, (status, message), is_volume)


def _size(stack: NDArray[Any]) -> str:
    return " x ".join(str(side) for side in (stack.shape[1:] if stack.shape[0] == 1 else stack.shape))


def _objects(
    name: str,
    expected: NDArray[Any],
    found: NDArray[Any] | None,
    options: ScoreOptions,
    failure: tuple[str, str],
    is_volume: bool,
) -> Iterator[ScoredObject]:
    diagonal = image_diagonal(expected.shape[1:], options.spacing)
    missed = Score(0.0, 0.0, 0.0, dict.fromkeys(options.tolerances, 0.0), math.inf, math.inf)
    for z, plane in enumerate(expected):
        place = z if is_volume else None
        other = None if found is None else found[z]
        present = set(np.unique(plane).tolist()) | (set() if other is None else set(np.unique(other).tolist()))
        # Binary images have one object even where both are empty; label maps have those that appear.
        for label in sorted(present - {0}) or ([] if is_volume or options.labels else [1]):
            if other is None:
                yield ScoredObject(name, label, place, *failure, missed, diagonal)
                continue
            pair = score(plane == label, other == label, spacing=options.spacing, tolerances=options.tolerances)
            yield ScoredObject(name, label, place, score=pair, diagonal=diagonal)


def _label_stack(path: Path, options: ScoreOptions) -> NDArray[Any]:
    """Read a mask file as (Z, H, W) integer labels, 0 background; an image is one slice of 0 and 1, or of labels."""
    kind = imaging.kind_of(path)
    if kind == "NIfTI":
        return imaging.read_label_volume(path).values
    if options.threshold is not None:
        return _one_slice(imaging.read_mask(path, threshold=options.threshold))
    if kind == "JPEG":
        if options.labels:
            raise DataError(f"{path}: JPEG does not keep labels; store label maps as PNG or TIFF")
        return _one_slice(imaging.read_mask(path))
    grey = imaging.read_grey(path)
    if options.labels:
        return grey[None]
    values: set[int] = set(np.unique(grey).tolist())
    if not (values <= {0, 1} or values <= {0, 255}):
        low, high = min(values), max(values)
        hint = "--labels if they are objects" if high <= _LARGEST_LABEL else "--threshold 127 if it is grey"
        raise DataError(
            f"{path}: {len(values)} values from {low} to {high}, a mask has 0 and 1 or 0 and 255; give {hint}"
        )
    return _one_slice(grey > 0)


def _one_slice(mask: NDArray[np.bool_]) -> NDArray[Any]:
    return mask.astype(np.uint8)[None]
