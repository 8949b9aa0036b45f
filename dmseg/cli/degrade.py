"""``dmseg degrade``: degrade one image file, or a folder of them, same format out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import (
    ANY_PATH,
    CommaList,
    complete_level,
    complete_modality,
    jobs_option,
    seed_option,
    window_option,
)
from dmseg.errors import DataError, UsageError
from dmseg.types import MODALITIES, Window, check_level, check_modality, resolve_name

if TYPE_CHECKING:
    from dmseg.simulators.files import Request


@click.command("degrade")
@click.argument("source", metavar="IN", type=ANY_PATH)
@click.argument("out", metavar="OUT", type=ANY_PATH)
@click.option("--level", default=None, shell_complete=complete_level, help="clear, lq1, lq2, lq3 or lq3plus (LQ-3+).")
@click.option("--op", default=None, metavar="NAME", help="Instead of a level: this one operation, with --severity.")
@click.option("--severity", default=None, help="Of --op: 1, 2 or 3 (light, medium, heavy).")
@click.option(
    "--modality",
    default=None,
    shell_complete=complete_modality,
    help=f"{', '.join(MODALITIES)}; default: what a DICOM file says.",
)
@click.option("--dataset", default=None, help="Use this dataset's own degradations at lq3plus, and its window.")
@window_option
@click.option(
    "--rescale",
    default=None,
    metavar="NAME",
    help="CT values that are not HU: hu+32768, hu+1024, hu-unsigned, 0..1, 0..255 (A..B spans the window), "
    "0..1=-1000..1000, or hu: they are.",
)
@click.option(
    "--bits", type=click.IntRange(1, 32), default=None, help="Significant bits of unsigned samples, such as 12."
)
@click.option(
    "--axis",
    type=click.Choice(("axial", "coronal", "sagittal")),
    help="Plane to cut volumes into; default: that of acquisition.",
)
@click.option("--volume", type=click.IntRange(min=0), default=None, help="Which volume of a 4-D file; the others stay.")
@click.option("--ops", type=CommaList(), default=None, help="Exactly these operations, in this order, at the level.")
@click.option(
    "--order",
    default="paper",
    show_default=True,
    help="Of LQ-3+: paper (general operations, then those of the domain) or acquisition (the domain's first).",
)
@click.option("--key", default=None, help="Name that the draw depends on; default: the file's name.")
@seed_option
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave files out, such as 'scouts/*'; may be repeated."
)
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Degrade files although they look like masks; may be repeated."
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--keep-patient", is_flag=True, help="Keep the patient module of DICOM files.")
@click.option(
    "--keep-references",
    is_flag=True,
    help="Keep the SOP and series identifiers of DICOM files, so that SEG and RTSTRUCT still find them.",
)
@click.option("--per-slice", is_flag=True, help="Draw anew for each slice of a volume, as the benchmark does.")
@click.option("-v", "--verbose", is_flag=True, help="Print the plan of every file of a folder.")
@jobs_option
def command(
    source: Path,
    out: Path,
    level: str | None,
    op: str | None,
    severity: str | None,
    modality: str | None,
    dataset: str | None,
    window: Window | None,
    rescale: str | None,
    bits: int | None,
    axis: str | None,
    volume: int | None,
    ops: tuple[str, ...] | None,
    order: str,
    key: str | None,
    seed: int,
    exclude: tuple[str, ...],
    include: tuple[str, ...],
    overwrite: bool,
    keep_patient: bool,
    keep_references: bool,
    per_slice: bool,
    verbose: bool,
    jobs: int,
) -> int:
    """Degrade an image file, or every image below a folder (the tree is mirrored), same format out.

    To a --level, or by one operation at a severity: --op ct_ring --severity 2. The table of operations is in
    docs/degradations.md.

    PNG, JPEG, TIFF, BMP, GIF (written as PNG), DICOM of one or many frames, NIfTI, MetaImage, NRRD, MGH, Analyze. Bit
    depth, alpha and geometry stay, so masks stay valid. Volumes are cut along their plane of acquisition; the files of
    a DICOM series are one volume; a volume has one plan (or --per-slice); blank slices are copied.

    Masks in a folder are left alone: by name (labelsTr, masks, _mask), by their values, and DICOM segmentations.

    Grey values deeper than 8 bit are degraded as they look in a window: --window, else the file's own, else the
    modality's. CT must be in HU, or --rescale says what it is.

    DICOM: new SOP and series identifiers (unless --keep-references), private tags and the patient module removed;
    other header fields stay, so this is no anonymisation.

    \b
    Examples:
      dmseg degrade chest.dcm chest_lq3plus.dcm --level lq3plus --modality ct --window -600/1500
      dmseg degrade scans/ degraded/ --level lq2 --modality ultrasound
      dmseg degrade knee.nii.gz ghosts.nii.gz --op mr_ghosting --severity 2
      dmseg degrade deeplesion/ degraded/ --level lq2 --modality ct --rescale hu+32768
    """
    level, ops, single = _resolve_operations(level, op, severity, ops)
    request = _request(level, modality, dataset, window, ops, seed, order, single)
    request = _with_files(request, rescale, bits, axis, volume, keep_patient, keep_references, per_slice)
    if source.is_dir():
        from dmseg.cli.degrade_folder import Folder

        return Folder(source, out, request, key, exclude, include, overwrite, verbose).degrade(jobs)
    from dmseg.cli.degrade_folder import Unit, degrade_unit
    from dmseg.imaging import stem
    from dmseg.reading import show_name

    target = out / source.name if out.is_dir() else out
    if target.exists() and not overwrite and not (source.exists() and target.samefile(source)):
        raise UsageError(f"{target}: exists; give another place, or --overwrite")
    outcome = degrade_unit(Unit((source,), (target,), show_name(stem(source)) if key is None else key), request)
    if outcome.error:
        raise DataError(outcome.error)
    click.echo(outcome.report.words)
    click.echo(f"wrote {target}")
    return 0


def _resolve_operations(
    level: str | None, op: str | None, severity: str | None, ops: tuple[str, ...] | None
) -> tuple[str, tuple[str, ...] | None, bool]:
    """Return the level, the operations or None, and whether it is one operation at a severity."""
    from dmseg import simulators
    from dmseg.simulators.plan import SEVERITY_LEVELS
    from dmseg.simulators.tables import check_severity

    if op is None and severity is not None:
        raise UsageError("--severity is of one operation; name it with --op")
    if (level is None) == (op is None):
        raise UsageError("give either --level LEVEL, or --op NAME with --severity 1, 2 or 3")
    if op is None:
        return str(level), None if ops is None else tuple(simulators.operation(name).name for name in ops), False
    if ops is not None:
        raise UsageError("--ops are operations at a --level; with --severity give one, by --op")
    if severity is None:
        raise UsageError(f"--op {op}: how strong? give --severity 1, 2 or 3")
    return SEVERITY_LEVELS[check_severity(severity)], (simulators.operation(op).name,), True


def _request(
    level: str,
    modality: str | None,
    dataset: str | None,
    window: Window | None,
    ops: tuple[str, ...] | None,
    seed: int,
    order: str,
    single: bool,
) -> Request:
    """Check names; resolve the dataset into its modality, operations and window."""
    from dmseg.simulators.files import Request
    from dmseg.simulators.plan import ORDERS

    level, order = check_level(level), resolve_name("order", order, ORDERS)
    domain = None
    if dataset is not None:
        from dmseg import datasets

        recipe = datasets.recipe(dataset)
        modality = recipe.modality(modality)
        domain = recipe.domain_ops(modality)
        window = window or recipe.windows.get(modality)
    elif modality is not None:
        modality = check_modality(modality)
    return Request(level, modality, domain, ops, window, seed, order=order, single=single)


def _with_files(
    request: Request,
    rescale: str | None,
    bits: int | None,
    axis: str | None,
    volume: int | None,
    keep_patient: bool,
    keep_references: bool,
    per_slice: bool,
) -> Request:
    """Add what says how files are read and written; a conversion's name is checked."""
    import dataclasses

    from dmseg.imaging import parse_rescale
    from dmseg.simulators import default_window

    if rescale is not None:
        parse_rescale(rescale, request.window or default_window("ct"))
    return dataclasses.replace(
        request,
        rescale=rescale,
        bits=bits,
        plane=axis,
        volume=volume,
        keep_patient=keep_patient,
        keep_references=keep_references,
        per_slice=per_slice,
    )
