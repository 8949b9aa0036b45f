"""Every public file at hand, and hostile ones: read or refused in words, geometry equal in SimpleITK, Clear exact."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from dmseg import imaging
from dmseg.errors import DmsegError, ImageFileError
from dmseg.imaging import Derivation
from dmseg.simulators.files import Request, degrade_file

_GEOMETRY = ("GetSize", "GetSpacing", "GetOrigin", "GetDirection")


def _public_files() -> Iterator[Path]:
    for folder in (Path(pydicom.__file__).parent / "data", Path(nibabel.__file__).parent):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (imaging.extension(path) in imaging.EXTENSIONS or not path.suffix):
                yield path


def _is_shown(path: Path) -> bool:
    """Return whether pydicom or SimpleITK can show a file."""
    itk = pytest.importorskip("SimpleITK")
    try:
        if imaging.kind_of(path) == "DICOM":
            assert pydicom.dcmread(path, force=True).pixel_array is not None
        else:
            itk.ReadImage(str(path))
    except Exception:
        try:
            itk.ReadImage(str(path))
        except Exception:
            return False
    return True


def _rewrite(path: Path, out: Path) -> imaging.StoredImage:
    """Write a file back unchanged and compare it with itself, in values and in SimpleITK's geometry."""
    itk = pytest.importorskip("SimpleITK")
    volume = 0 if imaging.extension(path) in (".nii", ".nii.gz") else None
    stored = imaging.open_stored(path, volume=volume)
    stored.write(out, stored.values, Derivation())
    again = imaging.open_stored(out, volume=volume)
    assert again.values.dtype == stored.values.dtype, path
    assert np.array_equal(again.values, stored.values, equal_nan=stored.values.dtype.kind == "f"), path
    if stored.kind in ("DICOM", "NIfTI", "MetaImage", "NRRD"):
        try:
            before = itk.ReadImage(str(path))
        except RuntimeError:
            return stored
        after = itk.ReadImage(str(out))
        for name in _GEOMETRY:
            assert np.allclose(getattr(after, name)(), getattr(before, name)(), equal_nan=True), (path, name)
    return stored


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_public_files_are_read_or_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("imagecodecs")
    pytest.importorskip("SimpleITK").ProcessObject.SetGlobalWarningDisplay(False)
    read, refused, unknown = [], {}, 0
    for path in _public_files():
        try:
            imaging.kind_of(path)
        except ImageFileError:
            continue
        try:
            stored = _rewrite(path, tmp_path / path.name)
            read.append(path)
        except DmsegError as error:
            assert path.name in str(error)
            if _is_shown(path):
                refused[path.name] = str(error)
            else:
                unknown += 1
            continue
        try:
            degrade_file(path, tmp_path / f"lq1-{path.name}", Request("lq1", volume=0), path.name)
        except DmsegError:  # too small, one flat grey: said, and nothing written
            assert not (tmp_path / f"lq1-{path.name}").exists()
        assert stored.values.size
    with capsys.disabled():
        shown = len(read) + len(refused)
        print(f"\n{len(read)} of {shown} public files that can be shown are read; {unknown} are no images")
    assert len(read) >= 100
    # badVR.dcm has pixels for 15 frames and "1A" for their number: which image is meant, nobody can say.
    assert [name for name, text in refused.items() if "a DICOM segmentation" not in text] in ([], ["badVR.dcm"])


def _hostile(folder: Path) -> Iterator[Path]:
    """Write 20 files that are truncated, or whose headers lie."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 255, (64, 80), dtype=np.uint8)
    volume = rng.integers(0, 900, (20, 18, 17)).astype(np.int16)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise).save(folder / "a.jpg")
    Image.fromarray(noise).save(folder / "a.bmp")
    Image.fromarray(noise).save(folder / "a.gif")
    tifffile.imwrite(folder / "a.tif", noise, compression="lzw")
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / "a.nii.gz")
    nibabel.save(nibabel.MGHImage(volume, np.eye(4)), folder / "a.mgh")
    nibabel.save(nibabel.AnalyzeImage(volume, np.eye(4)), folder / "a.hdr")
    (folder / "a.dcm").write_bytes(Path(str(get_testdata_file("MR_small.dcm"))).read_bytes())
    (folder / "b.dcm").write_bytes(Path(str(get_testdata_file("JPEG2000.dcm"))).read_bytes())
    for name in ("a.png", "a.jpg", "a.bmp", "a.gif", "a.tif", "a.nii", "a.nii.gz", "a.mgh", "a.dcm", "b.dcm"):
        content = (folder / name).read_bytes()
        (folder / f"cut-{name}").write_bytes(content[: len(content) * 6 // 10])
        yield folder / f"cut-{name}"
    (folder / "a.img").write_bytes((folder / "a.img").read_bytes()[:500])
    yield folder / "a.hdr"
    lying = pydicom.dcmread(folder / "a.dcm")
    for name, value in {
        "Rows": 65535,
        "NumberOfFrames": 2_000_000,
        "BitsAllocated": 64,
        "SamplesPerPixel": 60000,
    }.items():
        lied = pydicom.dcmread(folder / "a.dcm")
        setattr(lied, name, value)
        lied.save_as(folder / f"{name}.dcm")
        yield folder / f"{name}.dcm"
    del lying.PixelData
    lying.save_as(folder / "none.dcm")
    yield folder / "none.dcm"
    head = b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0)
    (folder / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    )
    yield folder / "bomb.png"
    (folder / "a.nrrd").write_text("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 90000 90000 90000\nencoding: raw\n\n")
    yield folder / "a.nrrd"
    (folder / "b.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 50 50 50\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    yield folder / "b.mha"
    content = bytearray((folder / "a.nii").read_bytes())
    content[108:112] = struct.pack("<f", 4e11)
    (folder / "offset.nii").write_bytes(content)
    yield folder / "offset.nii"


@pytest.mark.filterwarnings("ignore")
def test_hostile_files_are_refused_in_one_sentence_that_names_them(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK").ProcessObject.SetGlobalWarningDisplay(False)
    (tmp_path / "in").mkdir()
    files = list(_hostile(tmp_path / "in"))
    assert len(files) >= 20
    for path in files:
        out = tmp_path / f"out-{path.name}"
        with pytest.raises(DmsegError) as caught:
            degrade_file(path, out, Request("lq1"), "k")
        assert path.stem in str(caught.value), path
        assert "\n" not in str(caught.value), path
        assert not out.exists()
