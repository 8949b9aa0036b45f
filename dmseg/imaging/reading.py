"""Read any image, mask or volume by its content. Decoders are loaded when a file of their format comes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError
from dmseg.imaging import raster
from dmseg.imaging import samples as look
from dmseg.imaging.formats import DICOM, JPEG, NIFTI, VOLUMES, catch_decoder_errors, kind_of
from dmseg.imaging.grey import apply_window
from dmseg.imaging.volumes import Volume
from dmseg.types import Window


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """One image as it was read.

    Attributes:
        pixels: (H, W) uint8, uint16, int16 or float32, or (H, W, 3) uint8 RGB. DICOM values are rescaled (CT: HU).
        spacing: (y, x) mm from DICOM, else None: the resolution tags of other formats speak of paper, not of patients.
        window: the window that a DICOM file declares, in units of ``pixels``; None otherwise.
        kind: PNG, JPEG, TIFF, BMP, GIF or DICOM.
        modality: the DICOM modality code (CT, MR, US ...), else None.
        orientation: 1..8, the EXIF orientation that was applied.
        notes: what the user should know, such as that the first of several frames was taken.
    """

    pixels: NDArray[Any]
    spacing: tuple[float, float] | None
    window: Window | None
    kind: str
    modality: str | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()


def read_image(path: str | Path, *, window: Window | None = None) -> LoadedImage:
    """Read a PNG, JPEG, TIFF, BMP, GIF or DICOM image as it is meant to be seen.

    EXIF orientation is applied, palettes are expanded, transparency is laid over black, 16-bit colour becomes 8-bit,
    1-bit gives 0 and 255, MONOCHROME1 is inverted (not for HU), rescale slope and intercept are applied.

    Args:
        path: the file; its content, not its name, says what it is.
        window: if given, grey pixels are mapped to uint8 by :func:`~dmseg.imaging.apply_window`.

    Raises:
        ImageFileError: missing, not an image, too large (200 megapixels), truncated, several pages or frames.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind in VOLUMES:
        raise ImageFileError(f"{path}: a volume ({kind}), expected an image; read it with read_volume")
    if kind == DICOM:
        from dmseg.imaging import dicom

        with catch_decoder_errors(path, kind):  # numbers in tags are parsed when they are asked for
            image = dicom.load(path)
            values, spacing = image.values()[0], dicom.pixel_spacing(image.dataset)
            if values.dtype == np.float64:
                values = values.astype(np.float32)
            modality = image.dataset.get("Modality")
            loaded = LoadedImage(values, spacing, image.window(), kind, modality or None)
    else:
        read = raster.samples(path, kind)
        loaded = LoadedImage(
            look.to_viewed(read, path), None, None, kind, orientation=read.orientation, notes=read.notes
        )
    if window is not None and loaded.pixels.ndim == 2:
        return replace(loaded, pixels=apply_window(loaded.pixels, window))
    return loaded


def read_mask(path: str | Path, *, threshold: int = 127) -> NDArray[np.bool_]:
    """Read a drawn mask as it is seen: (H, W) bool, grey above ``threshold``; colour counts by its luminance.

    For masks stored as 0 and 1 pass ``threshold=0``, or use :func:`read_grey`.

    Raises:
        ImageFileError: as :func:`read_image`.
    """
    path = Path(path)
    kind = kind_of(path)
    grey = (
        read_image(path).pixels
        if kind == DICOM or kind in VOLUMES
        else look.luminance(raster.samples(path, kind), path)
    )
    return np.asarray(grey > threshold)


def read_grey(path: str | Path) -> NDArray[Any]:
    """Read stored grey values or labels without any scaling: (H, W) uint8, uint16, int16 or int32.

    0 and 1 stay 0 and 1, palette images give their indices, 1-bit files give 0 and 255. A colour file is accepted where
    its channels are equal. What is transparent is 0; over a single colour the alpha itself is the mask.

    Raises:
        ImageFileError: as :func:`read_image`; or a colour image, or fractions.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == DICOM or kind in VOLUMES:
        pixels = read_image(path).pixels
        if pixels.ndim == 3 or pixels.dtype.kind not in "iu":
            raise ImageFileError(f"{path}: colour or fractions, expected grey values or labels as whole numbers")
        return pixels
    return look.raw_grey(raster.samples(path, kind), path)


def read_mask_values(path: str | Path) -> NDArray[Any]:
    """Read the values of a mask as :func:`read_grey`, (H, W), fractions too; of a JPEG file the luminance.

    Raises:
        ImageFileError: as :func:`read_image`; or a colour image that is no JPEG.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == DICOM or kind in VOLUMES:
        pixels = read_image(path).pixels
        if pixels.ndim == 3:
            raise ImageFileError(f"{path}: a colour image, expected grey values or labels in one channel")
        return pixels
    decoded = raster.samples(path, kind)
    return look.luminance(decoded, path) if kind == JPEG else look.mask_values(decoded, path)


def image_orientation(path: str | Path) -> int:
    """Return the EXIF or TIFF orientation of an image file, 1..8; 1, upright as stored, where it has none.

    The readers turn images by it already; a mask drawn on the stored pixels is turned by :func:`orient`.
    """
    path = Path(path)
    kind = kind_of(path)
    return 1 if kind == DICOM or kind in VOLUMES else raster.orientation(path, kind)


def image_header(path: str | Path) -> tuple[int, int]:
    """Return (height, width) as the readers will give them (a volume: of an axial slice), without decoding pixels.

    Raises:
        ImageFileError: missing, not an image, or above 200 megapixels.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == DICOM:
        from dmseg.imaging import dicom

        return dicom.header(path)
    if kind == NIFTI:
        from dmseg.imaging import nifti

        return nifti.header(path)
    if kind in VOLUMES:
        from dmseg.imaging import volume_files

        return volume_files.header(path, kind)
    return raster.header(path, kind)


def read_volume(path: str | Path, axes: str | None = None, *, volume: int | None = None) -> Volume:
    """Read a NIfTI, MetaImage, NRRD, MGH or Analyze volume in radiological axial order, whatever its affine.

    Args:
        path: the file.
        axes: letters to believe instead of the file's (the ``stored_axes`` of the image that a mask belongs to).
        volume: which one of a NIfTI file of several.

    Returns:
        ``values`` (Z, Y, X): slices from feet to head, rows from front to back, columns from the patient's right to
        the left; oblique volumes by the nearest axes. The header's scaling is applied. ``spacing`` (z, y, x) mm.

    Raises:
        ImageFileError: no volume, truncated, too large, colours, several volumes, or a degenerate affine.
        MissingDependencyError: MetaImage or NRRD, and SimpleITK is not installed.
    """
    from dmseg.imaging import nifti

    path = Path(path)
    kind = kind_of(path)
    if kind not in VOLUMES:
        raise ImageFileError(f"{path}: not a NIfTI volume (.nii, .nii.gz), nor MetaImage, NRRD, MGH or Analyze")
    if kind == NIFTI:
        found = nifti.read(path, axes, volume)
    else:
        from dmseg.imaging import volume_files

        found = volume_files.read(path, kind, axes)
    if found.values.ndim != 3:
        raise ImageFileError(f"{path}: colour voxels; grey values expected")
    return found


def read_label_volume(path: str | Path, axes: str | None = None) -> Volume:
    """Read a NIfTI label map as :func:`read_volume`, with integer ``values``; labels stored as float are accepted.

    Raises:
        ImageFileError: as :func:`read_volume`; or a value is not a whole number.
    """
    volume = read_volume(path, axes)
    if volume.values.dtype.kind != "f":
        return volume
    labels = np.round(volume.values)
    if not (np.isfinite(volume.values).all() and (labels == volume.values).all()):
        raise ImageFileError(f"{path}: holds fractions, expected labels as whole numbers")
    return replace(volume, values=labels.astype(np.int32))


def read_dicom_series(source: str | Path | Sequence[str | Path]) -> Volume:
    """Read one DICOM series from a folder or from its files.

    Slices are sorted by position along the slice normal, towards the head (axial), the back (coronal) or the left
    (sagittal); instance numbers count only where a file has no position. Images stay as they are stored, so that
    masks drawn on them fit; ``axes`` says which way they lie, and :func:`radiological` turns values and masks alike.
    ``files`` are in slice order.

    Raises:
        DataError: no DICOM there, more than one series, different sizes or orientations, two slices at one place.
        ImageFileError: one file cannot be decoded.
    """
    from dmseg.imaging import dicom

    files = Path(source) if isinstance(source, (str, Path)) else [Path(path) for path in source]
    with catch_decoder_errors(files if isinstance(files, Path) else Path(*files[:1]), DICOM):
        return dicom.read_series(files)


def is_dicom_volume(files: Sequence[str | Path]) -> bool:
    """Return whether the files of one DICOM series are slices at different places of one stack; headers alone are read.

    Raises:
        DataError: different sizes or orientations, two slices at one place.
        ImageFileError: a file is no DICOM image of one frame.
    """
    from dmseg.imaging import dicom

    paths = [Path(path) for path in files]
    with catch_decoder_errors(Path(*paths[:1]), DICOM):
        return dicom.is_volume(paths)
