"""Volumes of other research formats: MetaImage and NRRD (by SimpleITK, an extra), MGH and Analyze (by nibabel)."""

from __future__ import annotations

import gzip
import math
import os
import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, MissingDependencyError
from dmseg.files import write_bytes
from dmseg.imaging.formats import ANALYZE, META, MGH, NRRD, catch_decoder_errors, check_size, extension
from dmseg.imaging.nifti import RAS_TO_LPS, name_axes, unscale
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

_HEADER_BYTES = 1 << 16
_DATA_KEYS = ("elementdatafile", "data file", "datafile")
_INSIDE = ("local", "")
_IO = {META: "MetaImageIO", NRRD: "NrrdImageIO"}
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def simpleitk(path: Path) -> ModuleType:
    """Return the package SimpleITK.

    Raises:
        MissingDependencyError: it is not installed; the message has the command.
    """
    try:
        import SimpleITK as package
    except ImportError:
        raise MissingDependencyError(
            f'{path}: MetaImage and NRRD need a further package: pip install "dmseg-bench[formats]" (SimpleITK)'
        ) from None
    found: ModuleType = package
    return found


def _check_data_file(path: Path) -> Path | None:
    """Return the data file that a header names, and refuse any that is not beside it (it could be any file)."""
    head = path.read_bytes()[:_HEADER_BYTES].split(b"\n\n")[0] if extension(path) in (".nrrd", ".nhdr") else None
    text = (path.read_bytes()[:_HEADER_BYTES] if head is None else head).decode("latin-1")
    for line in text.splitlines():
        key, _, value = line.partition("=" if head is None else ":")
        if key.strip().lower() not in _DATA_KEYS:
            continue
        name = value.strip()
        if name.lower() in _INSIDE:
            return None
        plain = PurePosixPath(name).name == name and PureWindowsPath(name).name == name
        if not plain or "%" in name or name.upper().startswith("LIST"):
            raise ImageFileError(f'{path}: its data lie in "{name}"; give one data file beside the header')
        if not (path.parent / name).is_file():
            raise ImageFileError(f"{path}: its data file {name} is missing; copy it beside the header")
        return path.parent / name
    return None


def data_file(path: Path, kind: str) -> Path | None:
    """Return the file beside a header in which the voxels lie; None where they are in the file itself.

    Raises:
        ImageFileError: the header points elsewhere, or the data file is missing.
    """
    if kind == ANALYZE:
        return _analyze_data(path)
    return _check_data_file(path) if kind in (META, NRRD) else None


def _header(path: Path, kind: str) -> Any:
    """Return SimpleITK's reader after it has read the header, sizes checked."""
    reader = simpleitk(path).ImageFileReader()
    reader.SetFileName(os.fspath(path))
    reader.SetImageIO(_IO[kind])
    _check_data_file(path)
    reader.ReadImageInformation()
    size = [int(side) for side in reader.GetSize()]
    if len(size) > 3 and math.prod(size[3:]) > 1:
        raise ImageFileError(f"{path}: {len(size)}-D data of {size}; give one 3-D volume per file")
    size = [*size, 1, 1][:3]
    thin, middle, long = sorted(size)
    check_size(path, middle, long, thin * int(reader.GetNumberOfComponents()))
    return reader


def _by_itk(path: Path, kind: str) -> tuple[Any, NDArray[Any], str, tuple[float, float, float]]:
    """Return SimpleITK's image, its array (k, j, i[, channels]), the axes' letters and the spacing per array axis."""
    itk = simpleitk(path)
    image = _header(path, kind).Execute()
    array = itk.GetArrayFromImage(image)
    components = image.GetNumberOfComponentsPerPixel()
    if array.dtype.name not in _TYPES or components not in (1, 3):
        raise ImageFileError(f"{path}: {components} channels of {image.GetPixelIDTypeAsString()}; grey or RGB expected")
    dimension = image.GetDimension()
    if dimension not in (2, 3):
        raise ImageFileError(f"{path}: {dimension}-D data; give one 3-D volume per file")
    directions = np.eye(3)
    directions[:dimension, :dimension] = np.array(image.GetDirection()).reshape(dimension, dimension)
    axes = axes_of(directions.T[::-1])
    if axes is None:
        raise ImageFileError(f"{path}: its direction is degenerate, so nobody can say which way up it is")
    array = array if dimension == 3 else array[None]
    steps = (*map(float, image.GetSpacing()), 1.0)[:3]
    return image, array, axes, (steps[2], steps[1], steps[0])


def _by_nibabel(path: Path, kind: str) -> tuple[Any, NDArray[Any], str, tuple[float, float, float]]:
    """Return nibabel's image, its stored array (i, j, k), the axes' letters and the spacing per array axis."""
    loaded: Any = nibabel.load(path)
    shape = tuple(int(side) for side in loaded.shape)
    if not shape or min(shape) < 1 or math.prod(shape[3:]) > 1:
        raise ImageFileError(f"{path}: {len(shape)}-D data of {shape}; give one 3-D volume per file")
    thin, middle, long = sorted((*shape, 1, 1)[:3])
    check_size(path, middle, long, thin)
    if loaded.get_data_dtype().kind not in "iuf":
        raise ImageFileError(f"{path}: voxels of {loaded.get_data_dtype()}; grey values expected")
    if kind == ANALYZE and (data := _analyze_data(path)).suffix == ".img":
        wanted = int(loaded.dataobj.offset) + math.prod(shape) * loaded.get_data_dtype().itemsize
        if data.stat().st_size < wanted:
            raise ImageFileError(f"{data}: truncated, {data.stat().st_size} of {wanted} bytes")
    array = np.array(loaded.dataobj.get_unscaled()).reshape((*shape, 1, 1)[:3], order="F")
    axes = name_axes(path, loaded.affine)
    steps = np.linalg.norm(loaded.affine[:3, :3], axis=0)
    return loaded, array, axes, (float(steps[0]), float(steps[1]), float(steps[2]))


def _analyze_data(path: Path) -> Path:
    """Return the file of an Analyze header's voxels."""
    base = path.with_suffix("")
    for name in (base.with_suffix(".img"), base.with_suffix(".IMG"), Path(f"{base}.img.gz")):
        if name.is_file():
            return name
    raise ImageFileError(f"{path}: its data file {base.name}.img is missing; copy it beside the header")


def _load(path: Path, kind: str) -> tuple[Any, NDArray[Any], str, tuple[float, float, float], tuple[float, float]]:
    """Return the image, its array, axes and spacing per array axis, and (slope, intercept)."""
    if kind in (META, NRRD):
        return *_by_itk(path, kind), (1.0, 0.0)
    if kind == ANALYZE:
        _analyze_data(path)
    image, array, axes, spacing = _by_nibabel(path, kind)
    scaling = (float(image.dataobj.slope), float(image.dataobj.inter)) if kind == ANALYZE else (1.0, 0.0)
    return image, array, axes, spacing, scaling


def read(path: Path, kind: str, axes: str | None = None) -> Volume:
    """Read a volume in radiological axial order, as :func:`dmseg.imaging.read_volume` says; colours: a fourth axis."""
    with catch_decoder_errors(path, kind):
        image, array, own_axes, spacing, scaling = _load(path, kind)
        used = axes or own_axes
        affine = None
        if axes is None and kind != ANALYZE:  # which says nothing of where it lies
            affine = radiological_affine(_affine(image, kind, array), array.shape, own_axes)
        values = rescale(radiological(array, used), *scaling)
        return Volume(values, radiological_spacing(spacing, used), "SPL", affine=affine, stored_axes=used)


def _affine(image: Any, kind: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """Return the (4, 4) affine from the index of the array, as it was loaded, to LPS mm."""
    if kind not in (META, NRRD):
        return RAS_TO_LPS @ np.asarray(image.affine, np.float64)
    n = image.GetDimension()
    affine = np.eye(4)
    affine[:n, :n] = np.array(image.GetDirection()).reshape(n, n) * np.array(image.GetSpacing())
    affine[:n, 3] = image.GetOrigin()
    return affine[:, [2, 1, 0, 3]]  # the array's axes are k, j, i


def header(path: Path, kind: str) -> tuple[int, int]:
    """Return (height, width) of an axial slice."""
    height, width = read(path, kind).values.shape[1:3]
    return height, width


def open_volume(path: Path, kind: str, *, plane: str | None = None) -> StoredImage:
    """Open a volume to be changed; geometry, header fields and type are kept."""
    with catch_decoder_errors(path, kind):
        image, array, axes, steps, (slope, intercept) = _load(path, kind)
        view = radiological(array, axes)
        spacing = radiological_spacing(steps, axes)
        plane = plane or acquisition_plane(view.shape, spacing)
        slices = cut(view, plane)
        values = np.ascontiguousarray(rescale(slices, slope, intercept))

    def write(out: Path, new: NDArray[Any], _: Derivation) -> None:
        changed = array.copy()
        target = cut(radiological(changed, axes), plane)
        target[...] = np.where(new == values, slices, unscale(new, array.dtype, slope, intercept))
        if kind in (META, NRRD):
            _write_by_itk(path, out, image, changed)
        else:
            _write_by_nibabel(out, kind, image, changed)

    return StoredImage(kind, values, write, True, f"{plane} slices", cut_spacing(spacing, plane))


def _write_by_itk(path: Path, out: Path, image: Any, array: NDArray[Any]) -> None:
    itk = simpleitk(path)
    colours = image.GetNumberOfComponentsPerPixel() > 1
    new = itk.GetImageFromArray(array if image.GetDimension() == 3 else array[0], isVector=colours)
    new.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        # Bytes that are no text come as surrogates, which SimpleITK cannot take back.
        if not key.startswith("ITK_") and key.isprintable() and (value := image.GetMetaData(key)).isprintable():
            new.SetMetaData(key, value)
    _write_in_place(out, lambda made: itk.WriteImage(new, os.fspath(made), useCompression=_is_packed(path)))


def _is_packed(path: Path) -> bool:
    head = path.read_bytes()[:_HEADER_BYTES].lower()
    return b"compresseddata = true" in head or b"encoding: gz" in head


def _write_by_nibabel(out: Path, kind: str, image: Any, array: NDArray[Any]) -> None:
    shaped = array.reshape(image.shape, order="F")
    if kind == MGH:
        content = type(image)(shaped, image.affine, image.header).to_bytes()
        write_bytes(out, gzip.compress(content, mtime=0) if extension(out) == ".mgz" else content)
        return
    header, start = image.header, int(image.dataobj.offset)
    write_bytes(out.with_suffix(".img"), b"\0" * start + shaped.astype(header.get_data_dtype()).tobytes(order="F"))
    source = Path(image.file_map["header"].filename)
    write_bytes(out, source.read_bytes())


def _write_in_place(out: Path, make: Any) -> None:
    """Let ``make`` write into a folder beside ``out`` and move what it wrote; the header comes last."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".dmseg-") as folder:
        make(Path(folder) / out.name)
        made = sorted(Path(folder).iterdir(), key=lambda file: file.name == out.name)
        for file in made:
            file.replace(out.parent / file.name)
