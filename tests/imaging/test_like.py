"""Writing back in the source's format: pixels as given, geometry kept, identity new, patient gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from dmseg import imaging
from dmseg.errors import UsageError

Writer = Callable[..., Path]


def _noise(shape: tuple[int, ...], top: int = 255, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, top, shape).astype(dtype)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey.png", _noise((20, 30))),
        ("colour.png", _noise((20, 30, 3))),
        ("deep.png", _noise((20, 30), 65535, np.uint16)),
        ("grey.tif", _noise((20, 30))),
        ("colour.tiff", _noise((20, 30, 3))),
        ("deep.tif", _noise((20, 30), 65535, np.uint16)),
        ("signed.tif", (_noise((20, 30), 6000, np.int32) - 3000).astype(np.int16)),
        ("float.tif", _noise((20, 30)).astype(np.float32) / 7),
    ],
)
def test_lossless_formats_return_the_new_pixels(tmp_path: Path, name: str, pixels: np.ndarray) -> None:
    source = tmp_path / name
    if source.suffix == ".png":
        source.write_bytes(imaging.png_bytes(pixels))
    else:
        tifffile.imwrite(source, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    changed = pixels[::-1].copy()
    imaging.write_like(source, tmp_path / "out" / name, changed)
    again = imaging.read_image(tmp_path / "out" / name)
    assert again.pixels.dtype == pixels.dtype
    assert np.array_equal(again.pixels, changed)
    imaging.write_like(source, tmp_path / "twice" / name, changed)
    assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_jpeg_stays_jpeg_on_its_own_grid_with_its_orientation_and_no_other_metadata(tmp_path: Path) -> None:
    smooth = (np.add.outer(np.arange(32), np.arange(48)) * 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    Image.fromarray(np.dstack([smooth] * 3)).save(tmp_path / "a.jpg", exif=exif, quality=98)
    seen = imaging.read_image(tmp_path / "a.jpg").pixels
    assert seen.shape == (48, 32, 3)
    imaging.write_like(tmp_path / "a.jpg", tmp_path / "b.jpg", seen)
    again = imaging.read_image(tmp_path / "b.jpg")
    assert again.kind == "JPEG"
    assert again.pixels.shape == (48, 32, 3)
    assert np.abs(again.pixels.astype(int) - seen).max() <= 6
    assert dict(Image.open(tmp_path / "b.jpg").getexif()) == {0x0112: 6}
    assert Image.open(tmp_path / "b.jpg").size == (48, 32)


def test_another_format_or_shape_or_the_source_itself_is_refused(tmp_path: Path) -> None:
    imaging.write_png(tmp_path / "a.png", _noise((20, 30)))
    with pytest.raises(UsageError, match=r"same format is written; name it \.png"):
        imaging.write_like(tmp_path / "a.png", tmp_path / "a.jpg", _noise((20, 30)))
    with pytest.raises(UsageError, match="new pixels"):
        imaging.write_like(tmp_path / "a.png", tmp_path / "b.png", _noise((30, 20)))
    with pytest.raises(UsageError, match="source file"):
        imaging.write_like(tmp_path / "a.png", tmp_path / "." / "a.png", _noise((20, 30)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


_KEPT = [
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID", "StudyInstanceUID"),
    *("Rows", "Columns", "RescaleSlope", "RescaleIntercept", "InstanceNumber", "SOPClassUID", "BitsStored", "Modality"),
]
_PATIENT = {"PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "19700101", "PatientSex": "F"}


def _ct(make_dicom: Writer, **tags: object) -> Path:
    stored = (_noise((20, 32), 3000, np.int32)).astype(np.int16)
    path = make_dicom(
        stored,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[0.8, 0.7],
        FrameOfReferenceUID="1.2.3",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        InstanceNumber=7,
        PatientAge="050Y",
        PatientComments="private",
        **{**_PATIENT, **tags},
    )
    dataset = pydicom.dcmread(path)
    dataset.private_block(0x0009, "MAKER", create=True).add_new(1, "LO", "private text")
    request = pydicom.Dataset()
    request.PatientID = "4711"
    request.ScheduledProcedureStepID = "keep"
    request.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "private text")
    dataset.RequestAttributesSequence = [request]
    dataset.add_new("SmallestImagePixelValue", "SS", 0)
    dataset.save_as(path)
    return path


def test_a_derived_dicom_has_new_pixels_identity_and_no_patient(make_dicom: Writer, tmp_path: Path) -> None:
    source = _ct(make_dicom)
    before = pydicom.dcmread(source)
    values = imaging.read_image(source).pixels
    changed = values.copy()
    changed[3:9, 4:20] += 57
    imaging.write_like(source, tmp_path / "out.dcm", changed, derivation="digest-of-plan", series="lq3plus")
    after = pydicom.dcmread(tmp_path / "out.dcm")
    assert np.array_equal(imaging.read_image(tmp_path / "out.dcm").pixels, changed)
    for name in _KEPT:
        assert after[name].value == before[name].value, name
    assert list(after.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert after.DerivationDescription == "digest-of-plan"
    assert after.SOPInstanceUID not in ("", before.SOPInstanceUID)
    assert after.SeriesInstanceUID not in ("", before.SeriesInstanceUID)
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert after.SOPInstanceUID.is_valid
    assert after.SeriesInstanceUID.is_valid
    everything = str(after)
    for secret in ("Doe", "4711", "19700101", "050Y", "private"):
        assert secret not in everything
    assert (after.PatientName, after.PatientID) == ("", "")
    assert "SmallestImagePixelValue" not in after
    assert after.RequestAttributesSequence[0].ScheduledProcedureStepID == "keep"
    assert b"4711" not in (tmp_path / "out.dcm").read_bytes()


def test_the_patient_may_be_kept_but_private_tags_never(make_dicom: Writer, tmp_path: Path) -> None:
    source = _ct(make_dicom)
    imaging.write_like(source, tmp_path / "out.dcm", imaging.read_image(source).pixels, keep_patient=True)
    after = pydicom.dcmread(tmp_path / "out.dcm")
    assert {name: str(after[name].value) for name in _PATIENT} == _PATIENT
    assert b"private text" not in (tmp_path / "out.dcm").read_bytes()


def test_identifiers_depend_on_source_and_derivation_only(make_dicom: Writer, tmp_path: Path) -> None:
    def derive(source: Path, derivation: str, series: str) -> pydicom.Dataset:
        imaging.write_like(
            source, tmp_path / "out.dcm", imaging.read_image(source).pixels, derivation=derivation, series=series
        )
        return pydicom.dcmread(tmp_path / "out.dcm")

    first, second = _ct(make_dicom, name="1.dcm"), _ct(make_dicom, name="2.dcm", SOPInstanceUID="1.2.840.99.2")
    a, b = derive(first, "p1", "lq1"), derive(second, "p2", "lq1")
    content = (tmp_path / "out.dcm").read_bytes()
    assert derive(second, "p2", "lq1") == b
    assert (tmp_path / "out.dcm").read_bytes() == content
    assert a.SeriesInstanceUID == b.SeriesInstanceUID  # one series stays one series
    assert a.SOPInstanceUID != b.SOPInstanceUID
    other = derive(first, "p3", "lq3")
    assert other.SeriesInstanceUID != a.SeriesInstanceUID
    assert other.SOPInstanceUID != a.SOPInstanceUID


def test_inverted_scaled_and_narrow_pixels_are_stored_the_way_they_came(make_dicom: Writer, tmp_path: Path) -> None:
    stored = _noise((16, 18), 4096, np.uint16)
    source = make_dicom(
        stored,
        Modality="DX",
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        RescaleSlope=0.5,
        RescaleIntercept=2,
    )
    values = imaging.read_image(source).pixels
    imaging.write_like(source, tmp_path / "same.dcm", values)
    assert np.array_equal(pydicom.dcmread(tmp_path / "same.dcm").pixel_array, stored)
    imaging.write_like(source, tmp_path / "bright.dcm", values + 10_000)
    bright = pydicom.dcmread(tmp_path / "bright.dcm")
    assert (bright.pixel_array == 0).all()  # limited to 12 bit; bright is 0 in MONOCHROME1
    assert bright.PhotometricInterpretation == "MONOCHROME1"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_RLE.dcm",
        "examples_palette.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_small_odd.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_files_of_many_makers_are_written_back(tmp_path: Path, name: str) -> None:
    source = Path(str(get_testdata_file(name)))
    loaded = imaging.read_image(source)
    changed = np.ascontiguousarray(loaded.pixels[::-1])
    imaging.write_like(source, tmp_path / "out.dcm", changed)
    again = imaging.read_image(tmp_path / "out.dcm")
    assert np.array_equal(again.pixels, changed)
    assert again.spacing == loaded.spacing
    assert (tmp_path / "out.dcm").read_bytes()[:128] == b"\0" * 128


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "ASL", "ILP"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_volume_is_written_back_into_its_own_orientation(
    tmp_path: Path, body: np.ndarray, axes: str, ending: str
) -> None:
    ras = nibabel.Nifti1Image(np.ascontiguousarray(np.flip(body.transpose(2, 1, 0), (0, 1))), np.diag([0.7, 1.1, 5, 1]))
    orientation = nibabel.orientations
    turned = ras.as_reoriented(
        orientation.ornt_transform(orientation.io_orientation(ras.affine), orientation.axcodes2ornt(axes))
    )
    turned.header["descrip"] = b"kept"
    source = tmp_path / f"a{ending}"
    nibabel.save(turned, source)
    values = imaging.read_volume(source).values.copy()
    values[4, 2, 3] += 77
    imaging.write_like(source, tmp_path / f"b{ending}", values)
    assert np.array_equal(imaging.read_volume(tmp_path / f"b{ending}").values, values)
    again = nibabel.load(tmp_path / f"b{ending}")
    assert again.header == nibabel.load(source).header
    assert np.array_equal(again.affine, nibabel.load(source).affine)
    assert (np.asarray(again.dataobj) != np.asarray(turned.dataobj)).sum() == 1


def test_a_scaled_or_big_endian_volume_keeps_its_type(tmp_path: Path) -> None:
    stored = _noise((6, 7, 8), 900, np.int16)
    content = bytearray(nibabel.Nifti1Image(stored, np.eye(4)).to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    header["scl_slope"], header["scl_inter"] = 0.5, -20
    content[:348] = header.binaryblock
    (tmp_path / "s.nii").write_bytes(content)
    nibabel.save(
        nibabel.Nifti1Image(stored.astype(">i2"), np.eye(4), nibabel.Nifti1Header(endianness=">")), tmp_path / "b.nii"
    )
    for name, step in (("s.nii", 0.5), ("b.nii", 1)):
        values = imaging.read_volume(tmp_path / name).values
        imaging.write_like(tmp_path / name, tmp_path / f"out-{name}", values + values.dtype.type(4 * step))
        again = nibabel.load(tmp_path / f"out-{name}")
        assert np.array_equal(again.dataobj.get_unscaled(), stored + 4)
        assert again.get_data_dtype() == nibabel.load(tmp_path / name).get_data_dtype()
    with pytest.raises(UsageError, match="axial slices"):
        imaging.write_like(tmp_path / "s.nii", tmp_path / "x.nii", np.zeros((6, 7, 8)))
