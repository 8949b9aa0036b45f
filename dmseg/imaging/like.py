"""Write changed pixels back in the format of the file that they came from: whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dmseg.errors import UsageError
from dmseg.imaging.formats import DICOM, EXTENSIONS, GIF, PNG, extension, kind_of
from dmseg.imaging.opening import open_stored, recombine_seen
from dmseg.imaging.stored import Derivation


def write_like(
    source: str | Path,
    out: str | Path,
    pixels: NDArray[Any],
    *,
    derivation: str = "",
    series: str = "",
    keep_patient: bool = False,
    keep_references: bool = False,
) -> None:
    """Write ``pixels`` to ``out`` in the format of ``source``; the file is whole or absent.

    PNG, TIFF and BMP are lossless, JPEG has quality 95 without colour sub-sampling; they keep depth, alpha and the EXIF
    orientation (pixels lie as they did, so masks on either grid fit), and no other metadata. Volumes keep
    their whole header (affine, scaling, type). DICOM keeps geometry and study, gets new SOP and series identifiers and
    the image type DERIVED, SECONDARY, is uncompressed, and loses private tags and the patient module; other header
    fields (dates, institution, physicians) stay, so this is no anonymisation.

    Args:
        source: the file that was read.
        out: where to write; its extension must be one of the source's format.
        pixels: as :func:`read_image` gave them (shape, type, units), or ``values`` of :func:`read_volume`, changed.
        derivation: what was done, for the DICOM tag DerivationDescription; identifiers depend on it and the source.
        series: what all files of one derived series have in common; their series identifier depends on it.
        keep_patient: keep the patient module of DICOM.
        keep_references: keep the SOP and series identifiers of DICOM, so that what refers to the source still fits.

    Raises:
        UsageError: another extension or shape, or ``out`` is the source itself.
        ImageFileError: the source cannot be read.
    """
    source, out = Path(source), Path(out)
    check_target(source, out, kind_of(source))
    stored = open_stored(source, plane="axial")
    pixels = recombine_seen(stored, pixels)
    if pixels.shape != stored.values.shape:
        what = "axial slices of " if stored.what == "axial slices" else ""
        raise UsageError(f"{source} has {what}{stored.values.shape}, the new pixels are {pixels.shape}")
    stored.write(out, pixels, Derivation(derivation, series, keep_patient, keep_references))


def check_target(source: Path, out: Path, kind: str) -> None:
    """Refuse to write a file over itself, or under an extension of another format.

    Raises:
        UsageError: one of these.
    """
    if out.exists() and out.samefile(source):
        raise UsageError(f"{out}: this is the source file; give another place to write to")
    ending = extension(out)
    if kind == GIF:
        if EXTENSIONS.get(ending) != PNG:
            raise UsageError(f"{out}: {source.name} is GIF, which has too few colours to be written; name it .png")
        return
    if EXTENSIONS.get(ending, kind if kind == DICOM else "") != kind:
        allowed = ", ".join(name for name, what in EXTENSIONS.items() if what == kind)
        raise UsageError(f"{out}: {source.name} is {kind}, and the same format is written; name it {allowed}")
