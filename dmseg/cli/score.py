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


@click.command("score")
@click.argument("reference", metavar="REF_DIR", type=FOLDER)
@click.argument("prediction", metavar="PRED_DIR", type=FOLDER)
@click.option("-o", "--out", type=FILE, required=True, help="CSV file to write.")
@click.option(
    "--spacing",
    metavar="Y,X",
    type=CommaList(),
    default="1,1",
    show_default=True,
    callback=_numbers("--spacing", "0.5,0.5"),
    help="Pixel size; distances and tolerances are then in its unit. 1,1 is pixels.",
)
@click.option(
    "--tolerances",
    metavar="T,T,...",
    type=CommaList(),
    default="1,2,3,5",
    show_default=True,
    callback=_numbers("--tolerances", "1,2,3,5"),
    help="Tolerances of NSD.",
)
@click.option("--labels", is_flag=True, help="Images are label maps: every value above 0 is an object of its own.")
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
    from dmseg.metrics.files import ScoreOptions, match_files, score_pairs

    options = ScoreOptions((spacing[0], spacing[1]), tuple(sorted(set(tolerances))), labels, threshold)
    pairs = match_files(reference, prediction)
    if not pairs.both:
        raise DataError(
            f"no file below {prediction} has the name of one below {reference} "
            f"({_examples(pairs.only_reference)} / {_examples(pairs.only_prediction)}); masks are matched by name"
        )
    rows = list(score_pairs(pairs, options))
    _write(out, rows, options)
    return _summary(out, rows, pairs)


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


def _summary(out: Path, rows: Sequence[ScoredObject], pairs: Pairs) -> int:
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
