"""NIfTI volumes (.nii, .nii.gz): read whole and checked to the last byte, seen in radiological axial order."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, UsageError
from dmseg.imaging.formats import NIFTI, check_size, decoding
from dmseg.imaging.volumes import (
    Volume,
    axes_of,
    radiological,
    radiological_affine,
    radiological_spacing,
    rescale,
)

_IMAGE_OF_HEADER_SIZE = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
_LONGEST_HEADER = 540
_GZIP = b"\x1f\x8b"
_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_AFTER_DATA = 1 << 20


def _stream(path: Path) -> BinaryIO:
    with path.open("rb") as handle:
        packed = handle.read(2) == _GZIP
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def _header(path: Path, stream: BinaryIO) -> Any:
    head = stream.read(_LONGEST_HEADER)
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    kinds = [kind for size, kind in _IMAGE_OF_HEADER_SIZE.items() if size in sizes]
    if not kinds:
        raise ImageFileError(f"{path}: not a NIfTI file (its header does not begin with 348 or 540)")
    kind: Any = kinds[0]
    return kind, kind.header_class.from_fileobj(io.BytesIO(head))


def _grid(path: Path, header: Any) -> tuple[int, int, int]:
    """Return the three sides; a 2-D file is one slice and further axes of length 1 are dropped."""
    shape = tuple(int(side) for side in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise ImageFileError(f"{path}: {len(shape)}-D data of {shape}; give one 3-D volume per file")
    if header.get_data_dtype().kind not in "iuf":
        raise ImageFileError(f"{path}: colour or complex voxels ({header.get_data_dtype()}); grey values expected")
    return shape[0], shape[1], shape[2]


def _axes(path: Path, affine: NDArray[np.float64]) -> str:
    axes = axes_of((_RAS_TO_LPS @ affine[:3, :3]).T)
    if axes is None:
        raise ImageFileError(f"{path}: its affine is degenerate, so nobody can say which way up it is")
    return axes


def header(path: Path) -> tuple[int, int]:
    """Return (height, width) of an axial slice, from the header alone."""
    with decoding(path, NIFTI), _stream(path) as stream:
        _, head = _header(path, stream)
        grid = _grid(path, head)
        view = radiological(np.broadcast_to(np.uint8(0), grid), _axes(path, head.get_best_affine()))
        check_size(path, view.shape[1], view.shape[2], view.shape[0])
        return view.shape[1], view.shape[2]


def load(path: Path) -> tuple[Any, bytes]:
    """Return the nibabel image and the bytes that it lies in, size checked before and completeness after.

    Raises:
        ImageFileError: not NIfTI, too large, truncated, damaged (checksum of .gz), colour, or more than 3-D.
    """
    with decoding(path, NIFTI), _stream(path) as stream:
        kind, head = _header(path, stream)
        grid = _grid(path, head)
        thin, middle, long = sorted(grid)
        check_size(path, middle, long, thin)
        wanted = int(head.get_data_offset()) + int(np.prod(grid)) * head.get_data_dtype().itemsize
        stream.seek(0)
        content = stream.read(wanted)
        if len(content) < wanted:
            raise ImageFileError(f"{path}: truncated, {len(content)} of {wanted} bytes; download or copy it again")
        stream.read(_AFTER_DATA)  # to the end of the file, where gzip compares its checksum
        return kind.from_bytes(content), content


def view_stored(path: Path, image: Any) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Return the stored voxels of an image in their 3-D file order, a radiological view into them, and the axes."""
    stored = np.array(image.dataobj.get_unscaled())
    grid = _grid(path, image.header)
    axes = _axes(path, image.affine)
    stored = stored.reshape(grid, order="F")
    return stored, radiological(stored, axes), axes


def scaling(image: Any) -> tuple[float, float]:
    """Return (slope, intercept) from stored to real values; 1 and 0 where the header declares none."""
    return float(image.dataobj.slope), float(image.dataobj.inter)


def read(path: Path, axes: str | None = None) -> Volume:
    """Read a volume in radiological axial order with its scaling applied.

    ``axes`` are taken for those of the file, whatever its affine says; the volume then has no affine.
    """
    image, _ = load(path)
    with decoding(path, NIFTI):
        stored, view, own_axes = view_stored(path, image)
        unit = _MM_PER_UNIT.get(image.header.get_xyzt_units()[0], 1.0)
        sizes = np.linalg.norm(image.affine[:3, :3], axis=0) * unit
        affine = None
        if axes is not None:
            view = radiological(stored, axes)
        elif _is_placed(image):
            affine = np.diag([unit, unit, unit, 1.0]) @ np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
            affine = radiological_affine(affine, stored.shape, own_axes)
        spacing = radiological_spacing((float(sizes[0]), float(sizes[1]), float(sizes[2])), axes or own_axes)
        return Volume(rescale(view, *scaling(image)), spacing, "SPL", affine=affine, stored_axes=axes or own_axes)


def _is_placed(image: Any) -> bool:
    """Return whether a file says where it lies: it has a form, and not the identity of tools that know none."""
    has_form = image.header["sform_code"] > 0 or image.header["qform_code"] > 0
    return bool(has_form and not np.array_equal(image.affine, np.eye(4)))


def rewritten(path: Path, values: NDArray[Any]) -> bytes:
    """Return the (unpacked) bytes of the volume with other values, every other byte of the file kept.

    Args:
        path: the volume.
        values: (Z, Y, X) in the order and units of :func:`read`; rounded and limited to what the file's type holds.

    Raises:
        UsageError: another shape.
    """
    image, content = load(path)
    with decoding(path, NIFTI):
        stored, view, _ = view_stored(path, image)
        if values.shape != view.shape:
            raise UsageError(f"{path} has axial slices of {view.shape}, the new values are {values.shape}")
        slope, intercept = scaling(image)
        unscaled = values if (slope, intercept) == (1, 0) else (values.astype(np.float64) - intercept) / slope
        if stored.dtype.kind in "iu":
            limits = np.iinfo(stored.dtype)
            unscaled = np.clip(np.floor(unscaled.astype(np.float64) + 0.5), limits.min, limits.max)
        view[...] = unscaled
        start = int(image.dataobj.offset)
        voxels = stored.tobytes(order="F")
        return content[:start] + voxels + content[start + len(voxels) :]
