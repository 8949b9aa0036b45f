"""NIfTI volumes (.nii, .nii.gz): read whole and checked to the last byte, seen in radiological axial order."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, UsageError
from dmseg.files import write_bytes
from dmseg.imaging.formats import MAX_VOXELS, NIFTI, catch_decoder_errors, check_size, extension
from dmseg.imaging.stored import Derivation, StoredImage
from dmseg.imaging.volumes import (
    Volume,
    acquisition_plane,
    axes_of,
    cut,
    cut_spacing,
    radiological,
    radiological_affine,
    radiological_spacing,
    rescale,
)

_IMAGE_OF_HEADER_SIZE = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
_LONGEST_HEADER = 540
_GZIP = b"\x1f\x8b"
_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AFTER_DATA = 1 << 20
_LARGEST_OFFSET = 1 << 28  # bytes of extensions before the voxels


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


def _grid(path: Path, header: Any, volume: int | None = None) -> tuple[int, int, int]:
    """Return the three sides; a 2-D file is one slice and further axes of length 1 are dropped.

    Raises:
        ImageFileError: several volumes where none (or one that is not there) is asked for, or complex voxels.
    """
    shape = tuple(int(side) for side in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise ImageFileError(f"{path}: its header says {shape}; the file is broken")
    if math.prod(shape) > MAX_VOXELS:
        raise ImageFileError(f"{path}: {shape} voxels, more than the limit of {MAX_VOXELS // 1_000_000} million")
    kind = header.get_data_dtype()
    if kind.kind not in "iuf" and kind.names is None:
        raise ImageFileError(f"{path}: complex voxels ({kind}); grey values or colours expected")
    if len(shape) > 3 and (count := math.prod(shape[3:])) > 1:
        if volume is None:
            raise ImageFileError(
                f"{path}: {len(shape)}-D data of {shape}, {count} volumes; one is expected: dmseg degrade takes "
                "--volume N, for everything else save the wanted volume as a file of its own"
            )
        if not 0 <= volume < count:
            raise ImageFileError(f"{path}: holds the volumes 0 to {count - 1}, there is no {volume}")
    shape = (*shape, 1, 1)[:3]
    return shape[0], shape[1], shape[2]


def name_axes(path: Path, affine: NDArray[np.float64]) -> str:
    """Return the letters of a file's axes from its affine (4, 4) to RAS, nibabel's.

    Raises:
        ImageFileError: it is degenerate.
    """
    axes = axes_of((RAS_TO_LPS @ affine)[:3, :3].T)
    if axes is None:
        raise ImageFileError(f"{path}: its affine is degenerate, so nobody can say which way up it is")
    return axes


def header(path: Path) -> tuple[int, int]:
    """Return (height, width) of an axial slice, from the header alone."""
    with catch_decoder_errors(path, NIFTI), _stream(path) as stream:
        _, head = _header(path, stream)
        grid = _grid(path, head)
        view = radiological(np.broadcast_to(np.uint8(0), grid), name_axes(path, head.get_best_affine()))
        check_size(path, view.shape[1], view.shape[2], view.shape[0])
        return view.shape[1], view.shape[2]


def load(path: Path, volume: int | None = None) -> tuple[Any, bytes]:
    """Return the nibabel image and the bytes that it lies in, size checked before and completeness after.

    Args:
        path: the file.
        volume: which one of a file with several.

    Raises:
        ImageFileError: not NIfTI, too large, truncated, damaged (checksum of .gz), complex, or more than 3-D.
    """
    with catch_decoder_errors(path, NIFTI), _stream(path) as stream:
        kind, head = _header(path, stream)
        if head["magic"].item().strip(b"\0") in (b"ni1", b"ni2"):
            raise ImageFileError(f"{path}: a NIfTI header whose data lie in another file; give the .hdr file")
        thin, middle, long = sorted(_grid(path, head, volume))
        check_size(path, middle, long, thin)
        start = int(head.get_data_offset())
        if not 0 <= start <= _LARGEST_OFFSET:
            raise ImageFileError(f"{path}: its header says that the data begin at byte {start}; the file is broken")
        wanted = start + math.prod(map(int, head.get_data_shape())) * head.get_data_dtype().itemsize
        stream.seek(0)
        content = stream.read(wanted)
        if len(content) < wanted:
            raise ImageFileError(f"{path}: truncated, {len(content)} of {wanted} bytes; download or copy it again")
        stream.read(_AFTER_DATA)  # to the end of the file, where gzip compares its checksum
        return kind.from_bytes(content), content


def view_stored(path: Path, image: Any, volume: int | None = None) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Return the stored voxels of a file in their order, a view (X, Y, Z) into one volume of them, and its axes.

    The view of coloured voxels has a fourth axis, the channels (RGB, or RGB and alpha).
    """
    grid = _grid(path, image.header, volume)
    stored = np.array(image.dataobj.get_unscaled()).reshape(*grid, -1, order="F")
    axes = name_axes(path, image.affine)
    one = stored[..., volume or 0]
    if one.dtype.names is not None:
        one = _channels(one)
    return stored, one, axes


def _channels(voxels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a writeable uint8 view (X, Y, Z, channels) into coloured voxels (X, Y, Z)."""
    first = voxels[next(iter(voxels.dtype.fields or {}))]
    return np.lib.stride_tricks.as_strided(
        first, shape=(*voxels.shape, voxels.dtype.itemsize), strides=(*voxels.strides, 1)
    )


def scaling(image: Any) -> tuple[float, float]:
    """Return (slope, intercept) from stored to real values; 1 and 0 where the header declares none."""
    return float(image.dataobj.slope), float(image.dataobj.inter)


def read(path: Path, axes: str | None = None, volume: int | None = None) -> Volume:
    """Read a volume in radiological axial order with its scaling applied; colours have a fourth axis.

    ``axes`` are taken for those of the file, whatever its affine says; the volume then has no affine.
    """
    image, _ = load(path, volume)
    with catch_decoder_errors(path, NIFTI):
        _, one, own_axes = view_stored(path, image, volume)
        view = radiological(one, axes or own_axes)
        affine = None
        if axes is None and _is_placed(image):
            unit = _unit(image)
            affine = np.diag([unit, unit, unit, 1.0]) @ RAS_TO_LPS @ image.affine
            affine = radiological_affine(affine, one.shape, own_axes)
        spacing = _spacing(image, axes or own_axes)
        return Volume(rescale(view, *scaling(image)), spacing, "SPL", affine=affine, stored_axes=axes or own_axes)


def _unit(image: Any) -> float:
    """Return how many mm the header's unit of length has."""
    return _MM_PER_UNIT.get(image.header.get_xyzt_units()[0], 1.0)


def _is_placed(image: Any) -> bool:
    """Return whether a file says where it lies: it has a form, and not the identity of tools that know none."""
    has_form = image.header["sform_code"] > 0 or image.header["qform_code"] > 0
    return bool(has_form and not np.array_equal(image.affine, np.eye(4)))


def _spacing(image: Any, axes: str) -> tuple[float, float, float]:
    sizes = np.linalg.norm(image.affine[:3, :3], axis=0) * _unit(image)
    return radiological_spacing((float(sizes[0]), float(sizes[1]), float(sizes[2])), axes)


def open_volume(path: Path, *, volume: int | None = None, plane: str | None = None) -> StoredImage:
    """Open a NIfTI file to be changed; every byte that is no voxel of the volume is kept.

    Args:
        path: the file.
        volume: which one of a file with several; the others stay as they are.
        plane: ``axial``, ``coronal`` or ``sagittal``; None: the plane of acquisition.
    """
    image, content = load(path, volume)
    with catch_decoder_errors(path, NIFTI):
        stored, one, axes = view_stored(path, image, volume)
        view = radiological(one, axes)
        spacing = _spacing(image, axes)
        plane = plane or acquisition_plane(view.shape, spacing)
        slices = cut(view, plane)
        slope, intercept = scaling(image)
        values = rescale(slices[..., :3] if slices.ndim == 4 else slices, slope, intercept)

    def write(out: Path, new: NDArray[Any], _: Derivation) -> None:
        if new.shape != values.shape:
            raise UsageError(f"{path} has {plane} slices of {values.shape}, the new values are {new.shape}")
        target = slices[..., :3] if slices.ndim == 4 else slices
        kept = target.copy()
        target[...] = np.where(new == values, kept, unscale(new, target.dtype, slope, intercept))
        start, voxels = int(image.dataobj.offset), stored.tobytes(order="F")
        packed = content[:start] + voxels + content[start + len(voxels) :]
        target[...] = kept
        write_bytes(out, gzip.compress(packed, mtime=0) if extension(out) == ".nii.gz" else packed)

    return StoredImage(NIFTI, np.ascontiguousarray(values), write, True, f"{plane} slices", cut_spacing(spacing, plane))


def unscale(values: NDArray[Any], kind: np.dtype[Any], slope: float, intercept: float) -> NDArray[Any]:
    """Undo a scaling; integers are rounded half up and limited to what the type holds."""
    if (slope, intercept) != (1, 0):
        values = (values.astype(np.float64) - intercept) / slope
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.floor(values.astype(np.float64) + 0.5), limits.min, limits.max)
    return values.astype(kind)
