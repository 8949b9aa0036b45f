"""DICOM: values, polarity, spacing, compressions, slice order, and files that are not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from dmseg import imaging
from dmseg.errors import DataError, ImageFileError
from dmseg.types import Window

Writer = Callable[..., Path]


def _make_stored(height: int = 20, width: int = 32) -> np.ndarray:
    return (np.arange(height)[:, None] * 40 + np.arange(width)[None] * 3).astype(np.int16)


def test_rescale_gives_hounsfield_units_and_keeps_integers(make_dicom: Writer) -> None:
    path = make_dicom(
        _make_stored(),
        RescaleSlope=1,
        RescaleIntercept=-1000,
        PixelSpacing=[0.8, 0.7],
        WindowCenter=[60, 300],
        WindowWidth=[400, 99],
    )
    loaded = imaging.read_image(path)
    assert loaded.pixels.dtype == np.int16
    assert np.array_equal(loaded.pixels, _make_stored() - 1000)
    assert loaded.spacing == (0.8, 0.7)
    assert loaded.window == Window(60, 400)
    assert loaded.kind == "DICOM"
    assert imaging.image_header(path) == (20, 32)
    windowed = imaging.read_image(path, window=Window(-700, 600))
    assert np.array_equal(windowed.pixels, imaging.apply_window(_make_stored() - 1000, Window(-700, 600)))


def test_a_fractional_slope_gives_floats(make_dicom: Writer) -> None:
    pixels = imaging.read_image(make_dicom(_make_stored(), RescaleSlope=0.25, RescaleIntercept=1.5)).pixels
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, _make_stored() * 0.25 + 1.5)


def test_monochrome1_is_inverted_but_hounsfield_units_are_not(make_dicom: Writer) -> None:
    stored = _make_stored().astype(np.uint16)
    film = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12}
    xray = imaging.read_image(make_dicom(stored, Modality="DX", WindowCenter=1000, WindowWidth=500, **film))
    assert np.array_equal(xray.pixels, 4095 - stored.astype(int))
    assert xray.window == Window(4095 - 1000, 500)
    ct = imaging.read_image(make_dicom(stored, Modality="CT", RescaleIntercept=-1024, RescaleSlope=1, **film))
    assert np.array_equal(ct.pixels, stored.astype(int) - 1024)
    signed = imaging.read_image(
        make_dicom(_make_stored() - 300, Modality="DX", PhotometricInterpretation="MONOCHROME1", BitsStored=12)
    )
    assert np.array_equal(signed.pixels, -1 - (_make_stored() - 300))


def test_spacing_falls_back_to_the_detector_and_to_ultrasound_regions(make_dicom: Writer) -> None:
    assert imaging.read_image(make_dicom(_make_stored())).spacing is None
    assert imaging.read_image(make_dicom(_make_stored(), ImagerPixelSpacing=[0.2, 0.1])).spacing == (0.2, 0.1)
    region = pydicom.Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.005, 0.007
    spacing = imaging.read_image(make_dicom(_make_stored(), SequenceOfUltrasoundRegions=[region])).spacing
    assert spacing == pytest.approx((0.07, 0.05))


def test_colour_and_palette(make_dicom: Writer) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (10, 12, 3), dtype=np.uint8)
    assert np.array_equal(imaging.read_image(make_dicom(colour, Modality="ES")).pixels, colour)
    palette = imaging.read_image(str(get_testdata_file("examples_palette.dcm"))).pixels
    assert palette.dtype == np.uint8
    assert palette.ndim == 3


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_every_compression_gives_the_same_picture(packed: str, plain: str) -> None:
    expected = imaging.read_image(str(get_testdata_file(plain))).pixels
    assert np.array_equal(imaging.read_image(str(get_testdata_file(packed))).pixels, expected)


def _jpeg_lossless(source: Path, target: Path) -> None:
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_jpeg_lossless(make_dicom: Writer, tmp_path: Path) -> None:
    source = make_dicom(_make_stored(), RescaleSlope=1, RescaleIntercept=-1000)
    _jpeg_lossless(source, tmp_path / "lossless.dcm")
    assert pydicom.dcmread(tmp_path / "lossless.dcm").file_meta.TransferSyntaxUID == pydicom.uid.JPEGLosslessSV1
    assert np.array_equal(imaging.read_image(tmp_path / "lossless.dcm").pixels, _make_stored() - 1000)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_and_meta_header(make_dicom: Writer, tmp_path: Path, implicit: bool) -> None:
    dataset = pydicom.dcmread(make_dicom(_make_stored(), RescaleSlope=1, RescaleIntercept=-1000))
    bare = pydicom.Dataset()
    bare.update(dataset)
    bare.save_as(tmp_path / "bare.dcm", implicit_vr=implicit, little_endian=True)
    assert (tmp_path / "bare.dcm").read_bytes()[128:132] != b"DICM"
    assert np.array_equal(imaging.read_image(tmp_path / "bare.dcm").pixels, _make_stored() - 1000)


def test_a_stripped_file_is_named(make_dicom: Writer) -> None:
    path = make_dicom(_make_stored())
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    assert imaging.image_header(path) == (20, 32)
    with pytest.raises(ImageFileError, match="without pixel data"):
        imaging.read_image(path)


def test_masks_may_be_dicom_or_not_colour(make_dicom: Writer) -> None:
    mask = (_make_stored() > 400).astype(np.uint8)
    path = make_dicom(mask, Modality="OT")
    assert np.array_equal(imaging.read_grey(path), mask)
    assert np.array_equal(imaging.read_mask(path, threshold=0), mask > 0)
    colour = make_dicom(np.zeros((8, 8, 3), np.uint8), "c.dcm", Modality="OT")
    with pytest.raises(ImageFileError, match="colour"):
        imaging.read_grey(colour)
    with pytest.raises(DataError, match="colour images"):
        imaging.read_dicom_series([colour])


def test_a_dicom_that_is_also_a_tiff_is_a_dicom() -> None:
    path = str(get_testdata_file("MR_small.dcm"))
    with open(path, "rb") as handle:  # noqa: PTH123
        assert handle.read(2) == b"II"
    assert imaging.read_image(path).kind == "DICOM"


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_plain_pixels_are_named(make_dicom: Writer, kept: float) -> None:
    path = make_dicom(np.zeros((64, 64), np.int16))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageFileError, match=r"a\.dcm"):
        imaging.read_image(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.9])
@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"])
def test_truncated_packed_pixels_are_named(tmp_path: Path, name: str, kept: float) -> None:
    content = Path(str(get_testdata_file(name))).read_bytes()
    (tmp_path / "t.dcm").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageFileError, match=r"t\.dcm"):
        imaging.read_image(tmp_path / "t.dcm")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "jpeg-lossless"])
def test_a_frame_cut_inside_an_intact_file_is_named(make_dicom: Writer, tmp_path: Path, name: str) -> None:
    if name == "jpeg-lossless":
        source = tmp_path / "whole.dcm"
        noise = np.random.default_rng(0).integers(-500, 500, (64, 64), dtype=np.int16)
        _jpeg_lossless(make_dicom(noise), source)
    else:
        source = Path(str(get_testdata_file(name)))
    dataset = pydicom.dcmread(source)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
    dataset.save_as(tmp_path / "cut.dcm")
    with pytest.raises(ImageFileError, match=r"cut\.dcm: truncated"):
        imaging.read_image(tmp_path / "cut.dcm")


def test_dicom_without_a_picture_frames_and_tables(make_dicom: Writer) -> None:
    with pytest.raises(ImageFileError, match="without an image"):
        imaging.read_image(str(get_testdata_file("rtplan.dcm")))
    with pytest.raises(ImageFileError, match="2 frames"):
        imaging.read_image(make_dicom(_make_stored(), NumberOfFrames=2))
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.add_new("LUTData", "OW", np.array([7, 5, 900, 65535], "<u2").tobytes())
    indices = np.arange(600, dtype=np.uint16).reshape(20, 30) % 4
    source = make_dicom(indices, ModalityLUTSequence=[table])
    values = imaging.read_image(source).pixels
    assert np.array_equal(values, np.array([7, 5, 900, 65535], np.uint16)[indices])
    imaging.write_like(source, source.with_name("b.dcm"), values // 2)
    assert np.array_equal(imaging.read_image(source.with_name("b.dcm")).pixels, values // 2)
    huge = make_dicom(_make_stored())
    dataset = pydicom.dcmread(huge)
    dataset.Rows = dataset.Columns = 20_000
    dataset.save_as(huge)
    for read in (imaging.read_image, imaging.image_header):
        with pytest.raises(ImageFileError, match="400 megapixels"):
            read(huge)


def _series(make_dicom: Writer, n: int = 6, **tags: object) -> list[Path]:
    """Write slices whose names, instance numbers and positions all disagree; pixel value = position rank."""
    names = [3, 0, 5, 1, 4, 2]
    paths = []
    for rank in range(n):
        stored = np.zeros((10, 12), np.int16)
        stored[:, :4] = 500  # left half of the image
        stored[0, :] = 700
        stored[5, 6] = rank
        paths.append(
            make_dicom(
                stored,
                f"series/{names[rank]}.dcm",
                SOPInstanceUID=f"1.2.826.0.1.3680043.9.4.{rank}",
                InstanceNumber=n - rank,
                **{
                    "ImagePositionPatient": [-10, -20, -100 + 2.5 * rank],
                    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                    "PixelSpacing": [0.9, 0.8],
                    **tags,
                },
            )
        )
    return paths


def test_slices_are_sorted_by_position_not_by_name_or_number(make_dicom: Writer) -> None:
    paths = _series(make_dicom)
    for source in (paths[0].parent, paths[::-1], [paths[i] for i in (4, 1, 0, 5, 3, 2)]):
        volume = imaging.read_dicom_series(source)
        assert volume.values[:, 5, 6].tolist() == [0, 1, 2, 3, 4, 5]
        assert volume.files == tuple(paths)
        assert volume.spacing == (2.5, 0.9, 0.8)
        assert volume.axes == "SPL"
        assert volume.values.dtype == np.int16


@pytest.mark.parametrize(
    ("rows_columns", "axes", "step"),
    [
        ([1, 0, 0, 0, 1, 0], "SPL", [0, 0, 1]),
        ([-1, 0, 0, 0, 1, 0], "SPR", [0, 0, 1]),
        ([1, 0, 0, 0, -1, 0], "SAL", [0, 0, 1]),
        ([0, 1, 0, 1, 0, 0], "SLP", [0, 0, 1]),
        ([1, 0, 0, 0, 0, -1], "PIL", [0, 1, 0]),
        ([0, 1, 0, 0, 0, -1], "LIP", [1, 0, 0]),
        ([0.98, 0.0, 0.199, 0.0, 1.0, 0.0], "SPL", [0, 0, 1]),
    ],
)
def test_pictures_stay_as_stored_and_the_axes_say_how_they_lie(
    make_dicom: Writer, rows_columns: list[float], axes: str, step: list[int]
) -> None:
    for rank, path in enumerate(_series(make_dicom)):
        dataset = pydicom.dcmread(path)
        dataset.ImageOrientationPatient = rows_columns
        dataset.ImagePositionPatient = [float(2 * rank * s) for s in step]
        dataset.save_as(path)
    volume = imaging.read_dicom_series(path.parent)
    assert volume.axes == axes
    assert volume.values[:, 5, 6].tolist() == [0, 1, 2, 3, 4, 5]
    assert (volume.values[:, 1:, :4] == 500).all()
    if axes in ("SPL", "SPR", "SAL", "SLP"):
        seen = imaging.radiological(volume.values, axes)
        # The stored top row lies where the row index begins: in front unless the rows run to the front.
        expected = {"SPL": seen[:, 0], "SPR": seen[:, 0], "SAL": seen[:, -1], "SLP": seen[:, :, 0]}[axes]
        assert (expected == 700).all()


def test_instance_numbers_count_only_where_positions_are_missing(make_dicom: Writer) -> None:
    paths = _series(make_dicom)
    for path in paths:
        dataset = pydicom.dcmread(path)
        del dataset.ImagePositionPatient
        dataset.SliceThickness = 4
        dataset.save_as(path)
    volume = imaging.read_dicom_series(paths)
    assert volume.values[:, 5, 6].tolist() == [5, 4, 3, 2, 1, 0]
    assert volume.spacing == (4.0, 0.9, 0.8)
    dataset = pydicom.dcmread(paths[0])
    del dataset.InstanceNumber
    dataset.save_as(paths[0])
    with pytest.raises(DataError, match="neither positions"):
        imaging.read_dicom_series(paths)


def test_slices_with_their_own_rescale_are_put_on_one_scale(make_dicom: Writer) -> None:
    paths = _series(make_dicom)
    for rank, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope, dataset.RescaleIntercept = rank + 1, 0.5
        dataset.save_as(path)
    values = imaging.read_dicom_series(paths).values
    assert values[:, 1, 0].tolist() == [500 * (rank + 1) + 0.5 for rank in range(6)]


def test_what_is_no_single_series_is_refused(make_dicom: Writer, tmp_path: Path) -> None:
    def change(**tags: object) -> list[Path]:
        paths = _series(make_dicom)
        dataset = pydicom.dcmread(paths[2])
        for key, value in tags.items():
            setattr(dataset, key, value)
        dataset.save_as(paths[2])
        return paths

    with pytest.raises(DataError, match="2 DICOM series"):
        imaging.read_dicom_series(change(SeriesInstanceUID="1.2.3"))
    with pytest.raises(DataError, match="different size"):
        imaging.read_dicom_series(change(Rows=5, Columns=24))
    with pytest.raises(DataError, match="different orientation"):
        imaging.read_dicom_series(change(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    with pytest.raises(DataError, match="same place"):
        imaging.read_dicom_series(change(ImagePositionPatient=[-10, -20, -100]))
    with pytest.raises(DataError, match="no such folder"):
        imaging.read_dicom_series(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("nothing")
    with pytest.raises(DataError, match="no DICOM files"):
        imaging.read_dicom_series(tmp_path / "empty")


@pytest.mark.real
def test_the_real_series_are_sorted_and_windowed_sensibly(real_data: Path) -> None:
    ct = imaging.read_dicom_series(next((real_data / "CHAOS").rglob("CT/1/DICOM_anon")))
    assert ct.axes == "SPL"
    assert np.percentile(ct.values, 1) < -900  # air
    # In front is up and the table lies behind: the lower margin of the image is denser than the upper one.
    assert ct.values[:, -60:, 100:400].mean() > ct.values[:, :60, 100:400].mean()
