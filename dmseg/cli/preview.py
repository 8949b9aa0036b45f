"""``dmseg preview``: a contact sheet of an image file or of a built benchmark, with PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.options import ANY_PATH, FILE, complete_modality, seed_option, window_option
from dmseg.errors import UsageError
from dmseg.types import ALL_LEVELS, LEVEL_LABELS, LEVELS, MODALITIES, Window, check_modality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dmseg.types import Image, Mask

_GAIN = 2
_GREY = 128
_ZOOM = 4


@dataclass(frozen=True)
class Subject:
    """One undegraded image and what belongs to it; ``levels`` are ready-made images of a benchmark, or None."""

    name: str
    modality: str | None
    clear: Image
    window: Window | None = None
    masks: tuple[Mask, ...] = ()
    levels: dict[str, Image] | None = None
    synthetic: bool = False


@dataclass
class Sheet:
    """The rows of a contact sheet, and the numbers printed beside it; outlines and zooms only where asked for."""

    columns: Sequence[str]
    outlines: bool = False
    zoom: bool = False
    synthetic: bool = False
    zooms: list[tuple[int, int, int, int] | None] = field(default_factory=list)
    rows: list[list[Image | None]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    contours: list[tuple[Mask, ...]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    def add(self, label: str, clear: Image, images: Sequence[Image], masks: tuple[Mask, ...], difference: bool) -> None:
        """Add a row that begins with Clear; with ``difference`` a second row of what changed."""
        self.rows.append([clear, *images])
        self.labels.append(label)
        self.contours.append(masks if self.outlines else ())
        self.zooms.append(choose_zoom(clear, masks) if self.zoom else None)
        if difference:
            self.rows.append([None, *(draw_difference(clear, image) for image in images)])
            self.labels.append(f"change x {_GAIN}")
            self.contours.append(())
            self.zooms.append(None)
        for column, image in zip(self.columns[1:], images, strict=True):
            psnr, ssim = fidelity(clear, image)
            name = label.replace("\n", " ")
            self.numbers.append(f"{name:<44} {column:<8} PSNR {psnr:5.1f} dB  SSIM {ssim:.3f}")


def choose_zoom(image: Image, masks: Sequence[Mask]) -> tuple[int, int, int, int]:
    """Return the window (x0, y0, x1, y1) of a quarter of the image's side about the first object, else the middle."""
    import numpy as np

    height, width = image.shape[:2]
    side = max(8, max(height, width) // _ZOOM)
    rows, columns = np.nonzero(masks[0]) if len(masks) and masks[0].any() else ([height // 2], [width // 2])
    tall, wide = min(side, height), min(side, width)
    y0 = int(np.clip(np.median(rows) - tall // 2, 0, height - tall))
    x0 = int(np.clip(np.median(columns) - wide // 2, 0, width - wide))
    return x0, y0, x0 + wide, y0 + tall


def draw_difference(clear: Image, degraded: Image) -> NDArray[Any]:
    """Return what changed, twofold, about mid-grey: uint8 of the images' shape."""
    import numpy as np

    change = (degraded.astype(np.int16) - clear) * _GAIN + _GREY
    return np.clip(change, 0, 255).astype(np.uint8)


def fidelity(clear: Image, degraded: Image) -> tuple[float, float]:
    """Return PSNR in dB (infinite for equal images) and SSIM (Wang et al. 2004, 7 x 7 window), both on 8 bits."""
    import numpy as np
    from skimage.metrics import structural_similarity

    error = float(np.mean((clear.astype(np.float64) - degraded) ** 2))
    psnr = float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
    axis = 2 if clear.ndim == 3 else None
    return psnr, float(structural_similarity(clear, degraded, channel_axis=axis, data_range=255))  # type: ignore[no-untyped-call]


@click.command("preview")
@click.argument("source", metavar="IN|BENCH", type=ANY_PATH)
@click.option("--out", required=True, type=FILE, help="The contact sheet, a PNG file.")
@click.option(
    "--by",
    type=click.Choice(["level", "operation"]),
    default="level",
    show_default=True,
    help="level: one row per image; operation: one row per operation, at severity 1, 2 and 3.",
)
@click.option(
    "--modality", default=None, shell_complete=complete_modality, help=f"Of an image file: {', '.join(MODALITIES)}."
)
@window_option
@click.option("--key", default=None, help="Name that the draw depends on; default: the file's name.")
@seed_option
@click.option("--difference", is_flag=True, help="Below each row, what changed.")
@click.option("--outlines", is_flag=True, help="Outline the objects of a benchmark.")
@click.option("--zoom", is_flag=True, help="Show a part of each image enlarged, about its first object.")
@click.option("--limit", type=click.IntRange(min=1), default=1, show_default=True, help="Images of each dataset.")
def command(
    source: Path,
    out: Path,
    by: str,
    modality: str | None,
    window: Window | None,
    key: str | None,
    seed: int,
    difference: bool,
    outlines: bool,
    zoom: bool,
    limit: int,
) -> None:
    """Draw a contact sheet: image x level, or operation x severity, and print PSNR and SSIM.

    \b
    Examples:
      dmseg preview chest.png --out sheet.png --modality xray --difference
      dmseg preview slice.dcm --out operations.png --modality ct --by operation
      dmseg preview bench/ --out sheet.png --limit 2 --outlines --zoom
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the contact sheet is a PNG file; end its name in .png")
    modality = check_modality(modality) if modality is not None else None
    subjects = _benchmark(source, limit) if source.is_dir() else iter([read_as_shown(source, modality, window, key)])
    if by == "level":
        sheet = Sheet([LEVEL_LABELS[level] for level in LEVELS], outlines, zoom)
        for subject in subjects:
            _add_levels(sheet, subject, seed, difference)
    else:
        sheet = Sheet(["Clear", "severity 1", "severity 2", "severity 3"], outlines, zoom)
        _add_operations(sheet, list(subjects), seed, difference)
    _write(sheet, out)


def read_as_shown(source: Path, modality: str | None, window: Window | None, key: str | None) -> Subject:
    """Return an image file as it is shown: 8 bits, through its window where it has deeper values."""
    from dmseg import imaging
    from dmseg.reading import show_name
    from dmseg.simulators.files import Request, show_file

    shown = show_file(source, Request("clear", modality, window=window))
    return Subject(
        key if key is not None else show_name(imaging.stem(source)),
        shown.modality,
        shown.pixels,
        shown.window or window,
    )


def _benchmark(folder: Path, limit: int) -> Iterator[Subject]:
    """Yield the first images of each dataset of a benchmark, their levels and masks."""
    from dmseg.build import open_benchmark

    benchmark = open_benchmark(folder)
    synthetic = benchmark.info.get("synthetic") or ()
    for _, rows in benchmark.images.groupby("dataset", sort=True):
        for row in rows.head(limit).to_dict("records"):
            name = str(row["image_id"])
            objects = benchmark.masks.loc[benchmark.masks["image_id"] == name, "mask_id"]
            levels = {level: benchmark.image(name, level) for level in benchmark.levels}
            masks = tuple(benchmark.mask(mask_id) for mask_id in objects)
            drawn = row["dataset"] in synthetic
            yield Subject(name, str(row["modality"]), levels["clear"], masks=masks, levels=levels, synthetic=drawn)


def _add_levels(sheet: Sheet, subject: Subject, seed: int, difference: bool) -> None:
    from dmseg import simulators

    levels = subject.levels
    sheet.synthetic |= subject.synthetic
    if levels is None:
        plan = simulators.plan(
            subject.name, modality=subject.modality, image=subject.clear, seed=seed, window=subject.window
        )
        levels = plan.apply_levels(subject.clear, LEVELS)
        click.echo(plan.describe("lq3plus"))
    shown = [level for level in ALL_LEVELS if level in levels]
    sheet.columns = [LEVEL_LABELS[level] for level in shown]
    label = f"{subject.name}\n{subject.modality or 'any modality'}"
    sheet.add(label, subject.clear, [levels[level] for level in shown if level != "clear"], subject.masks, difference)


def _add_operations(sheet: Sheet, subjects: Sequence[Subject], seed: int, difference: bool) -> None:
    """One row per operation: the general ones on the first image, the domain ones on the first of their modality."""
    from dmseg import simulators

    seen: set[str | None] = set()
    for number, subject in enumerate(subjects):
        sheet.synthetic |= subject.synthetic
        names = list(simulators.GENERAL) if number == 0 else []
        if subject.modality not in seen:
            names += simulators.modality_operations(subject.modality) if subject.modality else []
        seen.add(subject.modality)
        for name in names:
            images = [
                simulators.corrupt(
                    subject.clear,
                    name,
                    severity,
                    key=subject.name,
                    seed=seed,
                    modality=subject.modality,
                    window=subject.window,
                )
                for severity in (1, 2, 3)
            ]
            sheet.add(f"{name}\n{subject.name}", subject.clear, images, subject.masks, difference)


def _write(sheet: Sheet, out: Path) -> None:
    from dmseg import imaging
    from dmseg.figures import contact_sheet

    banner = "Synthetic images (phantoms), no patients" if sheet.synthetic else ""
    image = contact_sheet(
        sheet.rows, sheet.labels, sheet.columns, contours=sheet.contours, zooms=sheet.zooms, banner=banner
    )
    imaging.write_png(out, image)
    for line in sheet.numbers:
        click.echo(line)
    click.echo(f"wrote {out}: {len(sheet.labels)} rows; look at it")
