"""Open any file to be changed: one door to the formats, and the way back in the same format."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, UsageError
from dmseg.files import atomic_path, write_bytes
from dmseg.imaging import raster, tiff
from dmseg.imaging import samples as look
from dmseg.imaging.formats import DICOM, GIF, NIFTI, PNG, RASTER, TIFF, catch_decoder_errors, extension, kind_of
from dmseg.imaging.samples import DecodedSamples
from dmseg.imaging.stored import Derivation, StoredImage


def open_stored(path: str | Path, *, volume: int | None = None, plane: str | None = None) -> StoredImage:
    """Open an image, a stack of pages or frames, or a volume to be changed.

    Args:
        path: the file; its content says what it is.
        volume: which one of a NIfTI file of several volumes.
        plane: the plane that a volume is cut into (``axial``, ``coronal``, ``sagittal``); None: that of acquisition.

    Raises:
        ImageFileError: missing, not an image, a DICOM segmentation, too large, truncated, several volumes.
        MissingDependencyError: its format or compression needs a package that is not installed; the message names it.
    """
    path = Path(path)
    kind = kind_of(path)
    with catch_decoder_errors(path, kind):
        if kind == DICOM:
            from dmseg.imaging import dicom_writing

            return dicom_writing.open_dicom(path)
        if kind == NIFTI:
            from dmseg.imaging import nifti

            return nifti.open_volume(path, volume=volume, plane=plane)
        if kind in RASTER:
            return _open_raster(path, kind)
        from dmseg.imaging import volume_files

        return volume_files.open_volume(path, kind, plane=plane)


def open_series(files: Sequence[Path]) -> StoredImage:
    """Open the files of one DICOM series as one volume; ``write`` takes the folder to write to.

    Raises:
        DataError: the files are no volume (:func:`dmseg.imaging.read_dicom_series`).
        ImageFileError: a file cannot be decoded, or is a segmentation.
    """
    from dmseg.imaging import dicom_writing

    return dicom_writing.open_series(files)


def _open_raster(path: Path, kind: str) -> StoredImage:
    pages = raster.all_pages(path, kind)
    images = [look.full_depth(page, path) for page in pages]
    if len({(image.shape, image.dtype) for image in images}) > 1:
        shapes = sorted({f"{image.shape} {image.dtype}" for image in images})
        raise ImageFileError(f"{path}: pages of different kinds ({'; '.join(shapes)}); save each as a file of its own")
    stack = len(pages) > 1

    def write(out: Path, new: NDArray[Any], _: Derivation) -> None:
        made = list(new) if stack else [new]
        if [one.shape for one in made] != [image.shape for image in images]:
            raise UsageError(f"{path} is {len(images)} x {images[0].shape}, the new pixels are {new.shape}")
        joined = [look.recombine(*three) for three in zip(pages, images, made, strict=True)]
        if kind == TIFF:
            write_bytes(out, tiff.encode(path, list(zip(pages, joined, strict=True))))
        else:  # a GIF has too few colours for what is made of it
            write_bytes(out, raster.encode(pages[0], joined[0], PNG if kind == GIF else kind))

    notes = pages[0].notes
    return StoredImage(
        kind,
        np.stack(images) if stack else images[0],
        write,
        stack,
        "pages" if stack else "image",
        bits=pages[0].bits,
        orientation=pages[0].orientation,
        notes=notes,
    )


def copy_unchanged(source: Path, out: Path, kind: str) -> None:
    """Write a copy of a file that is no DICOM, byte for byte (with its data file, where the format has one).

    A GIF becomes the PNG that every other level of it is.
    """
    if kind == GIF:
        stored = open_stored(source)
        stored.write(out, stored.values, Derivation())
        return
    from dmseg.imaging.volume_files import data_file

    beside = data_file(source, kind)
    if beside is not None:
        if extension(out) != extension(source) or out.name != source.name:
            stored = open_stored(source)  # the header names its data file
            stored.write(out, stored.values, Derivation())
            return
        _copy(beside, out.with_name(beside.name))
    _copy(source, out)


def _copy(source: Path, out: Path) -> None:
    with atomic_path(out) as made:
        shutil.copyfile(source, made)


def recombine_seen(stored: StoredImage, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return ``pixels``, given as :func:`dmseg.imaging.read_image` shows them, in the depth of an open file."""
    if pixels.dtype == stored.values.dtype or pixels.ndim != 3 or stored.values.dtype.kind != "u":
        return pixels
    deep = 8 * (stored.values.itemsize - 1)
    if stored.bits:
        deep = stored.bits - 8
    same = (stored.values >> deep).astype(np.uint8) == pixels
    return np.where(same, stored.values, pixels.astype(stored.values.dtype) << deep)


__all__ = ["DecodedSamples", "copy_unchanged", "open_series", "open_stored", "recombine_seen"]
