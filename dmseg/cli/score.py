"""``dmseg score``: anyone's masks against reference masks, matched by name, into one CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.options import FILE, FOLDER, CommaList
from dmseg.errors import DataError, UsageError

if TYPE_CHECKING:
    from dmseg.metrics.files import Pairs, ScoredObject, ScoreOptions

_SHOWN = 20


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


def _whole(option: str) -> Any:
    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[int, ...]:
        try:
            return tuple(int(part) for part in value)
        except ValueError:
            raise UsageError(f"{option} {','.join(value)}: give whole numbers, such as 255") from None

    return read


@click.command("score")
@click.argument("reference", metavar="REF_DIR", type=FOLDER)
@click.argument("prediction", metavar="PRED_DIR", type=FOLDER)
@click.option("-o", "--out", type=FILE, required=True, help="CSV file to write.")
@click.option(
    "--spacing",
    metavar="[Z,]Y,X",
    type=CommaList(),
    default=None,
    callback=lambda ctx, param, value: None if value is None else _numbers("--spacing", "0.5,0.5")(ctx, param, value),
    help="Pixel size; distances and tolerances are in its unit. Default: the header of a volume (mm), else pixels.",
)
@click.option(
    "--tolerances",
    metavar="T,T,...",
    type=CommaList(),
    default="1,2,3,5",
    show_default=True,
    callback=_numbers("--tolerances", "1,2,3,5"),
    help="Tolerances of NSD, in mm or pixels as the spacing is.",
)
@click.option("--3d", "surfaces", is_flag=True, help="Score whole volumes by their surfaces too, beside their slices.")
@click.option("--labels", is_flag=True, help="Images are label maps: every value above 0 is an object of its own.")
@click.option("--threshold", type=click.FloatRange(min=0), default=None, help="What lies above this is foreground.")
@click.option(
    "--ignore",
    metavar="V,V,...",
    type=CommaList(),
    default="",
    callback=_whole("--ignore"),
    help="Values of the reference whose pixels count on neither side, such as 255.",
)
@click.option(
    "--geometry",
    type=click.Choice(["header", "voxels"]),
    default="header",
    show_default=True,
    help="Volumes must lie in one place by their headers, or the order of the voxels is believed.",
)
@click.option(
    "--strip-suffix",
    "strip",
    multiple=True,
    metavar="TEXT",
    help="Ending to take off names before they are matched, such as _segmentation or _0000; may be repeated.",
)
@click.option(
    "--names", type=FILE, default=None, help="dataset.json with names of labels; default: the one in or above REF_DIR."
)
def command(
    reference: Path,
    prediction: Path,
    out: Path,
    spacing: tuple[float, ...] | None,
    tolerances: tuple[float, ...],
    surfaces: bool,
    labels: bool,
    threshold: float | None,
    ignore: tuple[int, ...],
    geometry: str,
    strip: tuple[str, ...],
    names: Path | None,
) -> int:
    """Score anyone's masks against reference masks: IoU, Dice, pixel accuracy, NSD, HD95, HD.

    Files are matched by their path below the folder without extension; a path matches the end of another (a and p1/a)
    where nothing else could be meant. PNG, TIFF, JPEG, and label volumes (NIfTI, MetaImage, NRRD: one row per label and
    slice where either has it, with --3d one per label and volume). A missing or unreadable prediction, or one of
    another size or place, counts as 0 in the mean (distances: the image diagonal), and the exit code is 1.

    \b
    Examples:
      dmseg score reference/ predicted/ -o scores.csv
      dmseg score labels/ predicted/ -o scores.csv --labels --spacing 0.7,0.7 --tolerances 1,2
      dmseg score labelsTr/ predicted/ -o scores.csv --3d --strip-suffix _0000
    """
    if spacing is not None and (len(spacing) not in (2, 3) or min(spacing) <= 0):
        raise UsageError(
            f"--spacing {','.join(f'{part:g}' for part in spacing)}: give two sizes above 0, Y,X (or Z,Y,X)"
        )
    if surfaces and spacing is not None and len(spacing) == 2:
        raise UsageError("--3d needs the distance of slices too: --spacing Z,Y,X, or none for that of the headers")
    if labels and threshold is not None:
        raise UsageError("--labels and --threshold exclude each other")
    from dmseg.metrics.files import ScoreOptions, match_files, score_pairs

    options = ScoreOptions(
        spacing, tuple(sorted(set(tolerances))), labels, threshold, ignore, geometry, surfaces, _names(reference, names)
    )
    pairs = match_files(reference, prediction, strip)
    if not pairs.both:
        hint = f"; {pairs.hints[0]}" if pairs.hints else ""
        raise DataError(
            f"no file below {prediction} has the name of one below {reference} "
            f"({_examples(pairs.only_reference)} / {_examples(pairs.only_prediction)}); masks are matched by name{hint}"
        )
    rows = list(score_pairs(pairs, options))
    _write(out, rows, options)
    return _summary(out, rows, pairs)


def _names(reference: Path, given: Path | None) -> dict[int, str]:
    """Return label -> name from a dataset.json."""
    from dmseg.datasets.own.names import read_label_names

    places = [given] if given else [reference / "dataset.json", reference.resolve().parent / "dataset.json"]
    found: dict[float, str] = next(filter(None, (read_label_names(place) for place in places)), {})
    if given and not found:
        raise DataError(f'{given}: no names of labels in it; expected "labels": {{"1": "liver"}} or {{"liver": 1}}')
    return {int(value): name for value, name in found.items()}


def _examples(files: Mapping[str, Path]) -> str:
    return ", ".join(sorted(files)[:2]) or "none"


def _write(out: Path, rows: Sequence[ScoredObject], options: ScoreOptions) -> None:
    """Write the CSV: numbers in full precision, nothing where there is no number."""
    from dmseg.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    nsd = [f"nsd_{tolerance:g}" for tolerance in options.tolerances]
    writer.writerow(
        [
            "name",
            "label",
            "structure",
            "slice",
            "unit",
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
        writer.writerow([row.name, row.label, row.structure, place, row.unit, row.status, *numbers, row.message])
    write_text(out, text.getvalue())


def _summary(out: Path, rows: Sequence[ScoredObject], pairs: Pairs) -> int:
    """Print the mean, what did not fit, and where the CSV is; return the exit code."""
    from dmseg.metrics import mean_score

    failed = [row for row in rows if row.status != "ok"]
    for line in list(dict.fromkeys(f"{row.status}: {row.name}: {row.message}" for row in failed))[:_SHOWN]:
        click.echo(line, err=True)
    for message in sorted({row.message for row in rows if row.status == "ok" and row.message}):
        names = {row.name for row in rows if row.status == "ok" and row.message == message}
        click.echo(f"{len(names)} files: {message}")
    whole = [row for row in rows if row.slice == "3d"]
    for title, part in (("", [row for row in rows if row.slice != "3d"]), (" as whole volumes", whole)):
        counted = [(row.score, row.diagonal) for row in part if row.score is not None]
        if not counted:
            continue
        units = sorted({row.unit for row in part if row.score is not None})
        means = mean_score([score for score, _ in counted], [diagonal for _, diagonal in counted])
        nsd = "  ".join(f"NSD@{tolerance:g} {value:.4f}" for tolerance, value in means.mean.nsd.items())
        zeros = sum(row.status != "ok" and row.score is not None for row in part)
        click.echo(
            f"mean over {means.n} objects{title}" + (f", {zeros} of them failed and counted as 0" if zeros else "")
        )
        click.echo(f"  Dice {means.mean.dice:.4f}  IoU {means.mean.iou:.4f}  accuracy {means.mean.pixel_accuracy:.4f}")
        click.echo(f"  {nsd}")
        click.echo(
            f"  HD95 {means.mean.hd95:.3f}  HD {means.mean.hd:.3f}, tolerances and distances in {' and '.join(units)}"
            + (f" ({means.n_undefined} undefined: the image diagonal)" if means.n_undefined else "")
        )
    for hint in pairs.hints:
        click.echo(f"hint: {hint}")
    click.echo(
        f"{len(pairs.both)} files matched, {len(pairs.only_reference)} without prediction, "
        f"{len(pairs.only_prediction)} without reference"
    )
    click.echo(f"wrote {out}")
    return 1 if failed else 0
