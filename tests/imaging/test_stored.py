"""Files opened to be changed: depth, alpha, orientation, frames and further formats survive; Clear is exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from dmseg import imaging
from dmseg.errors import ImageFileError, MissingDependencyError, UsageError
from dmseg.imaging import Derivation

Writer = Callable[..., Path]
PLAIN = Derivation()


def _ramp(height: int = 24, width: int = 40) -> np.ndarray:
    return (np.arange(height)[:, None] * 5 + np.arange(width)[None] * 3).astype(np.uint8)


def _deep(channels: int, kind: type = np.uint16) -> np.ndarray:
    planes = [np.roll(_ramp(), 7 * c, 1).astype(np.int64) * 251 + c for c in range(channels)]
    return np.dstack(planes).astype(kind)


def _rewrite(source: Path, out: Path, change: int = 0) -> imaging.StoredImage:
    """Write a file back, ``change`` added to its values, and return it as it was opened."""
    stored = imaging.open_stored(source)
    values = stored.values
    stored.write(out, (values.astype(np.float64) + change).astype(values.dtype) if change else values, PLAIN)
    return stored


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_png_keeps_depth_and_alpha(tmp_path: Path, channels: int) -> None:
    array = _deep(channels)
    if channels in (2, 4):
        array[..., -1] = 65535
        array[:4, :, -1] = 20000
        array[4:8, :, -1] = 0
    (tmp_path / "a.png").write_bytes(imaging.png_bytes(array))
    stored = _rewrite(tmp_path / "a.png", tmp_path / "b.png")
    assert stored.values.dtype == np.uint16
    assert stored.values.shape == (24, 40) if channels == 2 else (24, 40, 3)
    read = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    back = read[..., 2:] if channels == 2 else read[..., [2, 1, 0, 3][:channels]]
    assert np.array_equal(back, array)
    _rewrite(tmp_path / "a.png", tmp_path / "c.png", 300)
    again = imaging.open_stored(tmp_path / "c.png").values.astype(int)
    opaque = np.ones((24, 40), bool) if channels == 3 else array[..., -1] == 65535
    assert (np.abs(again - stored.values - 300)[opaque] == 0).all()
    if channels != 3:
        half = array[..., -1] == 20000
        assert np.abs(again - np.minimum(stored.values.astype(int) + 300, 20000))[half].max() <= 1
        changed = cv2.imread(str(tmp_path / "c.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(changed[..., 3], read[..., 3])
        assert np.array_equal(changed[4:8], read[4:8])  # what is hidden stays


def test_a_transparent_palette_becomes_rgb_with_its_alpha(tmp_path: Path) -> None:
    indices = _ramp() % 3
    picture = Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 100])
    picture.save(tmp_path / "p.png", transparency=b"\xff\x80\x00")
    stored = _rewrite(tmp_path / "p.png", tmp_path / "q.png", 5)
    with Image.open(tmp_path / "q.png") as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image)[..., 3], np.array([255, 128, 0])[indices])
    again = imaging.open_stored(tmp_path / "q.png").values
    assert np.array_equal(again[indices == 0], stored.values[indices == 0] + 5)
    assert (again[indices == 2] == 0).all()


def test_associated_alpha_is_not_multiplied_again(tmp_path: Path) -> None:
    alpha = np.full((24, 40), 128, np.uint8)
    colours = np.dstack([_ramp() // 2] * 3)
    array = np.dstack([colours, alpha])
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["assocalpha"])
    assert np.array_equal(imaging.read_image(tmp_path / "a.tif").pixels, colours)
    _rewrite(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert np.array_equal(file.asarray(), array)
        assert int(file.pages.first.extrasamples[0]) == 1
    tifffile.imwrite(tmp_path / "c.tif", array, photometric="rgb", extrasamples=["unspecified"])
    assert np.array_equal(imaging.read_image(tmp_path / "c.tif").pixels, colours)


TIFFS = {
    "int8": ((_ramp().astype(int) - 100).astype(np.int8), {}),
    "int16": (_deep(1)[..., 0].astype(np.int16) - 9000, {}),
    "uint32": (_deep(1, np.uint32)[..., 0], {}),
    "float16": (_ramp().astype(np.float16) / 8, {}),
    "float64": (_ramp() / 7.0, {}),
    "predictor 3": (_ramp().astype(np.float32) / 7, {"predictor": 3}),
    "rgb16": (_deep(3), {"photometric": "rgb"}),
    "rgba16": (_deep(4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "planar": (np.moveaxis(_deep(3), -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "white0": (_ramp(), {"photometric": "miniswhite"}),
    "cmyk16": (_deep(4), {"photometric": "separated"}),
    "pages": (np.stack([_ramp(), _ramp()[::-1]]), {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("name", TIFFS)
def test_tiff_keeps_type_and_channels_whatever_packs_it(tmp_path: Path, name: str, compression: str | None) -> None:
    array, options = TIFFS[name]
    if compression is None:
        options = {key: value for key, value in options.items() if key != "predictor"}
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, **options)
    stored = _rewrite(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as one, tifffile.TiffFile(tmp_path / "b.tif") as two:
        before, after = one.asarray(), two.asarray()
        if name == "planar":
            before = np.moveaxis(before, 0, -1)
        assert after.dtype == before.dtype
        assert np.array_equal(after, before)
        assert one.pages.first.photometric == two.pages.first.photometric
    _rewrite(tmp_path / "a.tif", tmp_path / "c.tif", 1)
    again = imaging.open_stored(tmp_path / "c.tif").values
    if name not in ("rgba16", "float16"):
        step = np.abs(again.astype(float) - stored.values)
        assert (np.abs(step - 1) < 1e-3).mean() > 0.9  # the rest wraps at white


def test_odd_bit_depths_keep_their_packing(tmp_path: Path) -> None:
    for bits in (10, 12, 14):
        values = (_ramp().astype(np.uint16) * 13) % (1 << bits)
        tifffile.imwrite(tmp_path / f"{bits}.tif", values, bitspersample=bits, photometric="minisblack")
        stored = _rewrite(tmp_path / f"{bits}.tif", tmp_path / f"b{bits}.tif")
        assert stored.bits == bits
        with tifffile.TiffFile(tmp_path / f"b{bits}.tif") as file:
            assert file.pages.first.bitspersample == bits
            assert np.array_equal(file.asarray(), values)


def test_one_bit_palette_and_thumbnails(tmp_path: Path) -> None:
    bits = Image.fromarray(_ramp() > 90)
    indexed = bits.convert("P")
    indexed.putpalette([200, 10, 10, 10, 10, 200])
    indexed.save(tmp_path / "p.png", bits=1)
    assert len(np.unique(imaging.read_image(tmp_path / "p.png").pixels.reshape(-1, 3), axis=0)) == 2
    colours = np.zeros((3, 2), np.uint16)
    colours[0, 0], colours[2, 1] = 65535, 30000
    with tifffile.TiffWriter(tmp_path / "q.tif") as writer:
        writer.write(
            _ramp() > 90, photometric="minisblack", metadata=None, extratags=[(320, "H", 6, colours.ravel(), True)]
        )
    with tifffile.TiffFile(tmp_path / "q.tif", mode="r+b") as file:
        file.pages.first.tags["PhotometricInterpretation"].overwrite(3)
    expected = (colours.T >> 8).astype(np.uint8)[(_ramp() > 90).astype(int)]
    assert np.array_equal(imaging.read_image(tmp_path / "q.tif").pixels, expected)
    assert set(np.unique(imaging.read_grey(tmp_path / "q.tif"))) == {0, 1}
    with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
        writer.write(_ramp(), metadata=None)
        writer.write(_ramp()[::4, ::4], subfiletype=1, metadata=None)
    assert np.array_equal(imaging.read_image(tmp_path / "t.tif").pixels, _ramp())


def test_header_stated_sizes_of_every_axis_are_checked(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((16, 32, 32), np.uint8),
        volumetric=True,
        tile=(16, 16, 16),
        photometric="minisblack",
    )
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["ImageDepth"].overwrite(60_000)
    for read in (imaging.read_image, imaging.open_stored, imaging.image_header):
        with pytest.raises(ImageFileError, match=r"a\.tif: .*(voxels|ImageDepth)"):
            read(tmp_path / "a.tif")
    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([1, 1, 2, 1])).to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    header["dim"] = [7, 30000, 30000, 30000, 30000, 30000, 30000, 30000]
    content[:348] = header.binaryblock
    (tmp_path / "a.nii").write_bytes(content)
    for read in (imaging.read_volume, imaging.open_stored, imaging.image_header):
        with pytest.raises(ImageFileError, match="voxels"):
            read(tmp_path / "a.nii")
    (tmp_path / "a.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 60000 60000 60000\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    with pytest.raises(ImageFileError, match="megapixels"):
        imaging.read_volume(tmp_path / "a.mha")


def test_gif_and_bmp(tmp_path: Path) -> None:
    frames = [Image.fromarray(_ramp()), Image.fromarray(_ramp()[::-1])]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    stored = imaging.open_stored(tmp_path / "a.gif")
    assert np.array_equal(stored.values, _ramp())
    assert "first of 2 frames" in stored.notes[0]
    with pytest.raises(UsageError, match=r"name it \.png"):
        imaging.write_like(tmp_path / "a.gif", tmp_path / "b.gif", _ramp())
    imaging.write_like(tmp_path / "a.gif", tmp_path / "b.png", 255 - _ramp())
    assert np.array_equal(imaging.read_image(tmp_path / "b.png").pixels, 255 - _ramp())
    colour = np.dstack([_ramp(), _ramp()[::-1], _ramp()[:, ::-1]])
    Image.fromarray(colour).save(tmp_path / "a.bmp")
    _rewrite(tmp_path / "a.bmp", tmp_path / "b.bmp")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.bmp")), colour)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_stay_on_their_grid_and_the_orientation_with_them(tmp_path: Path, ending: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored_grid = np.zeros((32, 48), np.uint8)
    stored_grid[:16, :16] = 240
    Image.fromarray(stored_grid).save(tmp_path / f"a.{ending}", exif=exif)
    opened = imaging.open_stored(tmp_path / f"a.{ending}")
    assert opened.orientation == orientation
    assert np.abs(opened.values.astype(int) - imaging.read_image(tmp_path / f"a.{ending}").pixels).max() == 0
    opened.write(tmp_path / f"b.{ending}", opened.values // 2, PLAIN)
    with Image.open(tmp_path / f"b.{ending}") as image:
        assert image.getexif().get(0x0112, 1) == orientation
        grid = tifffile.imread(tmp_path / "b.tif") if ending == "tif" else np.asarray(image)  # Pillow turns TIFF
        assert np.abs(grid.astype(int) - stored_grid // 2).max() <= 6


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".nii", ".nii.gz", ".hdr"])
def test_volume_formats_keep_geometry_type_and_exact_clear(tmp_path: Path, ending: str, body: np.ndarray) -> None:
    itk = pytest.importorskip("SimpleITK")
    source, out = tmp_path / f"a{ending}", tmp_path / "out" / f"b{ending}"
    ras = np.ascontiguousarray(np.flip(body.transpose(2, 1, 0), (0, 1)))
    if ending in (".mgz", ".mgh"):
        nibabel.save(nibabel.MGHImage(ras, np.diag([0.7, 1.1, 5, 1])), source)
    elif ending == ".hdr":
        nibabel.save(nibabel.AnalyzeImage(ras, np.diag([-0.7, 1.1, 5, 1])), source)
    elif ending.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(ras, np.diag([0.7, 1.1, 5, 1])), source)
    else:
        image = itk.GetImageFromArray(body)
        image.SetSpacing((0.7, 1.1, 5.0))
        image.SetOrigin((-3.0, 4.0, 9.0))
        itk.WriteImage(image, str(source))
    volume = imaging.read_volume(source)
    if ending != ".hdr":
        assert np.array_equal(volume.values, body)
        assert np.allclose(volume.spacing, (5, 1.1, 0.7))
    stored = imaging.open_stored(source)
    assert stored.what == "axial slices"
    stored.write(out, stored.values, PLAIN)
    assert np.array_equal(imaging.open_stored(out).values, stored.values)
    changed = stored.values.copy()
    changed[4, 2, 3] += 77
    stored.write(out, changed, PLAIN)
    assert np.array_equal(imaging.open_stored(out).values, changed)
    if ending in (".mha", ".mhd", ".nrrd", ".nhdr", ".nii", ".nii.gz"):
        one, two = itk.ReadImage(str(source)), itk.ReadImage(str(out))
        assert two.GetPixelID() == one.GetPixelID()
        for name in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
            assert getattr(one, name)() == getattr(two, name)()
        assert (itk.GetArrayFromImage(one) != itk.GetArrayFromImage(two)).sum() == 1


@pytest.mark.parametrize("name", ["../x.raw", "/etc/passwd", "LIST", "slice%03d.raw 1 9 1", "C:\\x.raw"])
def test_headers_do_not_reach_other_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    header = f"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_UCHAR\nElementDataFile = {name}\n"
    (tmp_path / "in" / "a.mhd").write_text(header)
    with pytest.raises(ImageFileError, match="one data file beside the header"):
        imaging.read_volume(tmp_path / "in" / "a.mhd")
    header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 10 10\nencoding: raw\ndata file: {name}\n\n"
    (tmp_path / "in" / "a.nhdr").write_text(header)
    with pytest.raises(ImageFileError, match="one data file beside the header"):
        imaging.read_volume(tmp_path / "in" / "a.nhdr")


def test_four_dimensional_and_colour_nifti(tmp_path: Path, body: np.ndarray) -> None:
    ras = np.ascontiguousarray(np.flip(body.transpose(2, 1, 0), (0, 1)))
    nibabel.save(nibabel.Nifti1Image(np.stack([ras, ras + 1, ras + 2], -1), np.diag([1, 1, 4, 1])), tmp_path / "t.nii")
    for read in (imaging.read_volume, imaging.open_stored):
        with pytest.raises(ImageFileError, match=r"3 volumes; one is expected: .* a file of its own"):
            read(tmp_path / "t.nii")
    assert np.array_equal(imaging.read_volume(tmp_path / "t.nii", volume=1).values, body + 1)
    stored = imaging.open_stored(tmp_path / "t.nii", volume=1)
    stored.write(tmp_path / "u.nii", stored.values + 5, PLAIN)
    for number, added in ((0, 0), (1, 6), (2, 2)):
        assert np.array_equal(imaging.read_volume(tmp_path / "u.nii", volume=number).values, body + added)
    with pytest.raises(ImageFileError, match="0 to 2"):
        imaging.read_volume(tmp_path / "t.nii", volume=3)
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours = np.random.default_rng(1).integers(0, 255, (20, 18, 17, 3), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(colours.view(kind)[..., 0], np.eye(4)), tmp_path / "c.nii")
    opened = imaging.open_stored(tmp_path / "c.nii")
    assert opened.values.shape == (17, 18, 20, 3)
    opened.write(tmp_path / "d.nii", 255 - opened.values, PLAIN)
    back = np.asarray(nibabel.load(tmp_path / "d.nii").dataobj)
    assert np.array_equal(np.ascontiguousarray(back).view(np.uint8).reshape(colours.shape), 255 - colours)


@pytest.mark.parametrize(
    ("shape", "spacing", "plane"),
    [
        ((30, 64, 64), (5, 1, 1), "axial"),
        ((64, 30, 64), (1, 5, 1), "coronal"),
        ((64, 64, 30), (1, 1, 5), "sagittal"),
        ((64, 64, 64), (1, 1, 1.02), "axial"),
        ((64, 64, 1), (1, 1, 1), "sagittal"),
        ((64, 9, 64), None, "coronal"),
    ],
)
def test_volumes_are_cut_along_their_acquisition_plane(
    shape: tuple[int, int, int], spacing: tuple[float, float, float] | None, plane: str
) -> None:
    assert imaging.acquisition_plane(shape, spacing) == plane
    values = np.arange(np.prod(shape)).reshape(shape)
    slices = imaging.cut(values, plane)
    assert min(slices.shape[1:]) >= 30
    assert slices.base is not None
    if plane != "axial":
        assert slices[0, 0, 0] == values[-1, 0, 0]  # the head is up


def test_frames_windows_and_padding_of_enhanced_dicom(make_dicom: Writer, tmp_path: Path) -> None:
    frames = np.stack([_ramp(20, 30).astype(np.int16) * 4 - 100 * z for z in range(3)])
    per_frame = []
    for z in range(3):
        item = pydicom.Dataset()
        for group, tags in {
            "PixelValueTransformationSequence": {"RescaleSlope": 2, "RescaleIntercept": -10 * z},
            "FrameVOILUTSequence": {"WindowCenter": 50 + z, "WindowWidth": 300},
            "PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.75]},
        }.items():
            inner = pydicom.Dataset()
            for name, value in tags.items():
                setattr(inner, name, value)
            setattr(item, group, [inner])
        per_frame.append(item)
    source = make_dicom(
        frames.reshape(60, 30),
        Rows=20,
        NumberOfFrames=3,
        PerFrameFunctionalGroupsSequence=per_frame,
        PixelPaddingValue=0,
    )
    stored = imaging.open_stored(source)
    assert stored.stack
    expected = np.stack([frames[z] * 2.0 - 10 * z for z in range(3)])
    assert np.array_equal(stored.values, expected)
    assert [window.center for window in stored.windows] == [50, 51, 52]
    assert stored.spacing == (0.5, 0.75)
    assert stored.padding is not None
    assert np.array_equal(stored.padding, frames == 0)
    stored.write(tmp_path / "b.dcm", stored.values + 20, PLAIN)
    assert np.array_equal(pydicom.dcmread(tmp_path / "b.dcm").pixel_array, frames + 10)
    with pytest.raises(ImageFileError, match="3 frames"):
        imaging.read_image(source)


@pytest.mark.parametrize(("name", "kind"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_float_pixel_data(make_dicom: Writer, tmp_path: Path, name: str, kind: type) -> None:
    values = np.linspace(-3, 7, 600).reshape(20, 30).astype(kind)
    path = make_dicom(np.zeros((20, 30), np.uint16))
    dataset = pydicom.dcmread(path)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated = 8 * values.itemsize
    setattr(dataset, name, values.tobytes())
    dataset.save_as(path)
    stored = imaging.open_stored(path)
    assert np.allclose(stored.values, values, atol=1e-5)
    stored.write(tmp_path / "b.dcm", stored.values, PLAIN)
    assert np.array_equal(np.frombuffer(pydicom.dcmread(tmp_path / "b.dcm")[name].value, kind), values.ravel())
    stored.write(tmp_path / "c.dcm", stored.values + 1, PLAIN)
    assert np.allclose(imaging.open_stored(tmp_path / "c.dcm").values, values + 1, atol=1e-5)


def test_retired_curves_and_unwritable_tags_do_not_stop_a_good_image(make_dicom: Writer, tmp_path: Path) -> None:
    source = make_dicom(_ramp().astype(np.uint16) * 9, Modality="MR")
    dataset = pydicom.dcmread(source)
    dataset.add_new(0x50000005, "US", 2)
    dataset.add_new(0x50003000, "OW", b"\0\1" * 4)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    dataset.save_as(source, enforce_file_format=True)
    stored = _rewrite(source, tmp_path / "b.dcm", 3)
    written = pydicom.dcmread(tmp_path / "b.dcm")
    assert not [element for element in written if element.tag.group == 0x5000]
    assert np.array_equal(written.pixel_array, stored.values + 3)


def test_twelve_bit_jpeg_is_read_or_its_package_named(
    make_dicom: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codecs = pytest.importorskip("imagecodecs")
    values = _ramp().astype(np.uint16) * 16
    packed = codecs.jpeg8_encode(values, level=100, bitspersample=12)
    dataset = pydicom.dcmread(make_dicom(values, BitsStored=12, Modality="DX"))
    dataset.PixelData = pydicom.encaps.encapsulate([packed + b"\0" * (len(packed) % 2)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGExtended12Bit
    dataset.save_as(tmp_path / "j.dcm")
    stored = imaging.open_stored(tmp_path / "j.dcm")
    assert stored.bits == 12
    assert np.abs(stored.values.astype(int) - values).max() <= 2
    _rewrite(tmp_path / "j.dcm", tmp_path / "k.dcm")
    assert np.array_equal(imaging.read_image(tmp_path / "k.dcm").pixels, stored.values)
    monkeypatch.setattr("dmseg.imaging.dicom_frames.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'j\.dcm: 12-bit JPEG .* pip install "dmseg-bench\[formats\]"'):
        imaging.open_stored(tmp_path / "j.dcm")


def test_a_packed_tiff_without_its_package_is_read_rightly_or_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmseg.imaging.tiff.find_spec", lambda name: None)
    tifffile.imwrite(tmp_path / "u.tif", _ramp(), compression="lzw")
    assert np.array_equal(imaging.read_image(tmp_path / "u.tif").pixels, _ramp())
    for array in TIFFS["int8"][0], TIFFS["rgb16"][0]:
        tifffile.imwrite(tmp_path / "s.tif", array, compression="lzw")
        with pytest.raises(MissingDependencyError, match=r"dmseg-bench\[formats\]"):
            imaging.read_image(tmp_path / "s.tif")


def test_a_series_is_one_volume_in_order_and_keeps_its_files_and_its_names(make_dicom: Writer, tmp_path: Path) -> None:
    files = []
    for z in range(4):
        tags = {
            "ImagePositionPatient": [0, 0, 5.0 * z],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [1, 1],
            "SOPInstanceUID": f"1.2.3.{z + 1}",
        }
        files.append(make_dicom(_ramp().astype(np.int16) + 10 * z, f"s/{3 - z}.dcm", **tags))
    assert imaging.is_dicom_volume(sorted(files))
    stored = imaging.open_series(sorted(files))
    assert stored.values[:, 0, 0].tolist() == [0, 10, 20, 30]
    assert [path.name for path in stored.files] == ["3.dcm", "2.dcm", "1.dcm", "0.dcm"]
    for keep in (False, True):
        stored.write(tmp_path / f"out{keep}", stored.values + 1, Derivation("what", "series", keep_references=keep))
        series = set()
        for z, path in enumerate(stored.files):
            before, after = pydicom.dcmread(path), pydicom.dcmread(tmp_path / f"out{keep}" / path.name)
            assert np.array_equal(after.pixel_array, before.pixel_array + 1), z
            assert (after.SOPInstanceUID == before.SOPInstanceUID) is keep
            assert (after.SeriesInstanceUID == before.SeriesInstanceUID) is keep
            assert after.ImagePositionPatient == before.ImagePositionPatient
            series.add(after.SeriesInstanceUID)
        assert len(series) == 1


def test_odd_but_harmless_header_fields_do_not_stop_writing(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    tifffile.imwrite(tmp_path / "a.tif", _ramp(), resolution=(30, 40), resolutionunit=3)
    _rewrite(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.tags["XResolution"].value[0] / file.pages.first.tags["XResolution"].value[1] == 30
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["ResolutionUnit"].overwrite(41473)
    _rewrite(tmp_path / "a.tif", tmp_path / "c.tif")
    image = itk.GetImageFromArray(np.zeros((2, 18, 17), np.int16))
    image.SetMetaData("Comment", "plain")
    itk.WriteImage(image, str(tmp_path / "a.mha"))
    content = (tmp_path / "a.mha").read_bytes().replace(b"Comment = plain", b"Comment = pl\xffin")
    (tmp_path / "a.mha").write_bytes(content)
    stored = _rewrite(tmp_path / "a.mha", tmp_path / "b.mha")
    assert np.array_equal(imaging.read_volume(tmp_path / "b.mha").values, stored.values)
