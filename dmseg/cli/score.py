"""``dmseg score``: anyone's masks against reference masks, matched by name, into one CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.options import FILE, FOLDER, CommaList
from dmseg.errors import DataError, DmsegError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dmseg.metrics import Score

_LARGEST_LABEL = 127  # above this a picture's values are taken for grey, not for labels
_SHOWN = 20


@dataclass(frozen=True)
class Options:
    """How files become masks and masks become figures; ``threshold`` None: only 0/1 and 0/255 are masks."""

    spacing: tuple[float, float]
    tolerances: tuple[float, ...]
    labels: bool
    threshold: int | None


@dataclass(frozen=True)
class Row:
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


def _numbers(option: str, example: str) -> Any:
    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in value)
        except ValueError:
            raise UsageError(f"{option} {','.join(value)}: give numbers, such as {example}") from None
        if not numbers or not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise UsageError(f"{option} {','.join(value)}: give finite numbers of 0 or more, such as {example}")
        return numbers

    return read


@click.command("score")
@click.argument("reference", metavar="REF_DIR", type=FOLDER)
@click.argument("prediction", metavar="PRED_DIR", type=FOLDER)
@click.option("-o", "--out", type=FILE, required=True, help="CSV file to write.")
@click.option(
    "--spacing",
    type=CommaList(),
    default="1,1",
    show_default=True,
    callback=_numbers("--spacing", "0.5,0.5"),
    help="Pixel size Y,X; distances and tolerances are then in its unit. 1,1 is pixels.",
)
@click.option(
    "--tolerances",
    type=CommaList(),
    default="1,2,3,5",
    show_default=True,
    callback=_numbers("--tolerances", "1,2,3,5"),
    help="Tolerances of NSD.",
)
@click.option("--labels", is_flag=True, help="Pictures are label maps: every value above 0 is an object of its own.")
@click.option("--threshold", type=click.IntRange(0, 254), default=None, help="Grey above this is foreground.")
def command(
    reference: Path,
    prediction: Path,
    out: Path,
    spacing: tuple[float, ...],
    tolerances: tuple[float, ...],
    labels: bool,
    threshold: int | None,
) -> int:
    """Score anyone's masks against reference masks: IoU, Dice, pixel accuracy, NSD, HD95, HD.

    Files are matched by their path below the folder without extension, then by name alone where that is unique: PNG,
    TIFF, JPEG, and NIfTI label maps (one row per label and axial slice where either has it). A missing or unreadable
    prediction, or one of another size, counts as 0 in the mean (distances: the image diagonal), and the exit code is 1.

    \b
    Examples:
      dmseg score reference/ predicted/ -o scores.csv
      dmseg score labels/ predicted/ -o scores.csv --labels --spacing 0.7,0.7 --tolerances 1,2
    """
    if len(spacing) != 2 or min(spacing) <= 0:
        raise UsageError(f"--spacing {','.join(f'{part:g}' for part in spacing)}: give two sizes above 0, Y,X")
    if labels and threshold is not None:
        raise UsageError("--labels and --threshold exclude each other")
    options = Options((spacing[0], spacing[1]), tuple(sorted(set(tolerances))), labels, threshold)
    pairs = matched(reference, prediction)
    if not pairs.both:
        raise DataError(
            f"no file below {prediction} has the name of one below {reference} "
            f"({_examples(pairs.only_reference)} / {_examples(pairs.only_prediction)}); masks are matched by name"
        )
    rows = list(_scored(pairs, options))
    _write(out, rows, options)
    return _summary(out, rows, pairs)


def _examples(files: dict[str, Path]) -> str:
    return ", ".join(sorted(files)[:2]) or "none"


def matched(reference: Path, prediction: Path) -> Pairs:
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
    from dmseg.imaging import EXTENSIONS, extension, stem

    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    doubled: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or EXTENSIONS.get(extension(path)) in (None, "DICOM") or not path.is_file():
            continue
        name = (relative.parent / stem(path)).as_posix()
        if name in files:
            doubled[name] = f"{files[name]} and {path.name} have the same name; keep one"
        files[name] = path
    if not files:
        raise DataError(f"{folder}: no PNG, TIFF, JPEG or NIfTI files there")
    return files, doubled


def _scored(pairs: Pairs, options: Options) -> Iterator[Row]:
    from dmseg.progress import progress

    for name, (reference, prediction) in progress(pairs.both.items(), len(pairs.both), "score", "files"):
        yield from _rows(name, reference, prediction, options, pairs.ambiguous.get(name))
    for name, path in sorted(pairs.only_reference.items()):
        yield from _rows(name, path, None, options, None)
    for name, path in sorted(pairs.only_prediction.items()):
        yield Row(name, 0, status="no reference", message=f"{path}: no reference of this name")


def _rows(name: str, reference: Path, prediction: Path | None, options: Options, problem: str | None) -> Iterator[Row]:
    """Score every object of one pair of files; what cannot be scored becomes rows that count as 0."""
    try:
        expected = _label_stack(reference, options)
    except DmsegError as error:
        yield Row(name, 0, status="error", message=str(error))
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
    options: Options,
    failure: tuple[str, str],
    is_volume: bool,
) -> Iterator[Row]:
    import numpy as np

    from dmseg.metrics import Score, image_diagonal, score

    diagonal = image_diagonal(expected.shape[1:], options.spacing)
    missed = Score(0.0, 0.0, 0.0, dict.fromkeys(options.tolerances, 0.0), math.inf, math.inf)
    for z, plane in enumerate(expected):
        place = z if is_volume else None
        other = None if found is None else found[z]
        present = set(np.unique(plane).tolist()) | (set() if other is None else set(np.unique(other).tolist()))
        # Binary pictures have one object even where both are empty; label maps have those that appear.
        for label in sorted(present - {0}) or ([] if is_volume or options.labels else [1]):
            if other is None:
                yield Row(name, label, place, *failure, missed, diagonal)
                continue
            pair = score(plane == label, other == label, spacing=options.spacing, tolerances=options.tolerances)
            yield Row(name, label, place, score=pair, diagonal=diagonal)


def _label_stack(path: Path, options: Options) -> NDArray[Any]:
    """Read a mask file as (Z, H, W) integer labels, 0 background; a picture is one slice of 0 and 1, or of labels."""
    import numpy as np

    from dmseg import imaging

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
    import numpy as np

    return mask.astype(np.uint8)[None]


def _write(out: Path, rows: Sequence[Row], options: Options) -> None:
    """Write the CSV: numbers in full precision, nothing where there is no number."""
    from dmseg.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    nsd = [f"nsd_{tolerance:g}" for tolerance in options.tolerances]
    writer.writerow(
        [
            "name",
            "label",
            "slice",
            "status",
            "iou",
            "dice",
            "pixel_accuracy",
            *nsd,
            "hd95",
            "hd",
            "hd95_defined",
            "message",
        ]
    )
    for row in rows:
        place = "" if row.slice is None else row.slice
        numbers: list[Any] = [""] * (6 + len(nsd))
        if row.score is not None:
            item = row.score
            hd95, hd = (value if math.isfinite(value) else row.diagonal for value in (item.hd95, item.hd))
            defined = "true" if item.defined else "false"
            numbers = [item.iou, item.dice, item.pixel_accuracy, *item.nsd.values(), hd95, hd, defined]
        writer.writerow([row.name, row.label, place, row.status, *numbers, row.message])
    write_text(out, text.getvalue())


def _summary(out: Path, rows: Sequence[Row], pairs: Pairs) -> int:
    """Print the mean, what did not fit, and where the CSV is; return the exit code."""
    from dmseg.metrics import mean_score

    counted = [(row.score, row.diagonal) for row in rows if row.score is not None]
    failed = [row for row in rows if row.status != "ok"]
    for line in list(dict.fromkeys(f"{row.status}: {row.name}: {row.message}" for row in failed))[:_SHOWN]:
        click.echo(line, err=True)
    if counted:
        means = mean_score([score for score, _ in counted], [diagonal for _, diagonal in counted])
        nsd = "  ".join(f"NSD@{tolerance:g} {value:.4f}" for tolerance, value in means.mean.nsd.items())
        zeros = sum(row.status != "ok" and row.score is not None for row in rows)
        click.echo(f"mean over {means.n} objects" + (f", {zeros} of them failed and counted as 0" if zeros else ""))
        click.echo(f"  Dice {means.mean.dice:.4f}  IoU {means.mean.iou:.4f}  accuracy {means.mean.pixel_accuracy:.4f}")
        click.echo(f"  {nsd}")
        click.echo(
            f"  HD95 {means.mean.hd95:.3f}  HD {means.mean.hd:.3f}"
            + (f" ({means.n_undefined} undefined: the image diagonal)" if means.n_undefined else "")
        )
    click.echo(
        f"{len(pairs.both)} files matched, {len(pairs.only_reference)} without prediction, "
        f"{len(pairs.only_prediction)} without reference"
    )
    click.echo(f"wrote {out}")
    return 1 if failed else 0
