"""PNG, JPEG, TIFF: what is read is what is seen; broken files are named, never read half."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from dmseg import imaging
from dmseg.errors import ImageFileError, UsageError


def _ramp(height: int = 24, width: int = 40) -> np.ndarray:
    return (np.arange(height)[:, None] * 5 + np.arange(width)[None] * 3).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_lossless_grey_and_colour_come_back_exactly(tmp_path: Path, ending: str) -> None:
    grey = _ramp()
    colour = np.dstack([grey, grey[::-1], 255 - grey])
    for name, array in (("g", grey), ("c", colour)):
        path = tmp_path / f"{name}.{ending}"
        Image.fromarray(array).save(path)
        loaded = imaging.read_image(path)
        assert loaded.pixels.dtype == np.uint8
        assert np.array_equal(loaded.pixels, array)
        assert imaging.image_header(path) == array.shape[:2]
        assert loaded.spacing is None


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
def test_tiff_compressions(tmp_path: Path, compression: str | None) -> None:
    Image.fromarray(_ramp()).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(imaging.read_image(tmp_path / "a.tif").pixels, _ramp())


def test_jpeg_is_close_and_its_kind_is_known_by_content(tmp_path: Path) -> None:
    Image.fromarray(_ramp()).save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    loaded = imaging.read_image(tmp_path / "a.png")
    assert loaded.kind == "JPEG"
    assert np.abs(loaded.pixels.astype(int) - _ramp()).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, ending: str) -> None:
    upright = np.zeros((32, 48), np.uint8)
    upright[:16, :16] = 250  # bright upper left corner
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose}
    undo |= {6: lambda a: np.rot90(a), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.ascontiguousarray(undo[orientation](upright))).save(path, exif=exif, quality=95)
    pixels = imaging.read_image(path).pixels
    assert pixels.shape == upright.shape == imaging.image_header(path)
    assert np.abs(pixels.astype(int) - upright).max() <= 6
    assert imaging.read_grey(path).shape == upright.shape


def test_transparency_is_laid_over_black(tmp_path: Path) -> None:
    rgba = np.zeros((4, 5, 4), np.uint8)
    rgba[..., :3] = (200, 100, 50)
    rgba[..., 3] = [[0], [128], [255], [64]]
    Image.fromarray(rgba).save(tmp_path / "a.png")
    seen = imaging.read_image(tmp_path / "a.png").pixels
    expected = np.round(rgba[..., :3].astype(float) * rgba[..., 3:] / 255)
    assert seen.shape == (4, 5, 3)
    assert np.array_equal(seen, expected)
    Image.fromarray(rgba[..., [0, 3]], mode="LA").save(tmp_path / "la.png")
    assert np.array_equal(imaging.read_image(tmp_path / "la.png").pixels, expected[..., 0])


def test_a_palette_is_expanded_and_its_indices_are_the_grey_values(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    picture = Image.fromarray(labels).convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "p.png")
    seen = imaging.read_image(tmp_path / "p.png").pixels
    assert np.array_equal(seen, np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[labels])
    assert np.array_equal(imaging.read_grey(tmp_path / "p.png"), labels)


def test_transparent_colours_of_palette_and_key_are_laid_over_black(tmp_path: Path) -> None:
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    picture = Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 100])
    for transparency, colours in (
        (1, [[10, 20, 30], [0, 0, 0], [0, 0, 100]]),
        (b"\xff\x80\x00", [[10, 20, 30], [100, 0, 0], [0, 0, 0]]),
    ):
        picture.save(tmp_path / "p.png", transparency=transparency)
        assert np.array_equal(imaging.read_image(tmp_path / "p.png").pixels, np.array(colours, np.uint8)[indices])
        assert np.array_equal(imaging.read_grey(tmp_path / "p.png"), indices)
    Image.fromarray(indices * 100).save(tmp_path / "key.png", transparency=200)
    assert np.array_equal(imaging.read_image(tmp_path / "key.png").pixels, np.array([0, 100, 0], np.uint8)[indices])
    assert np.array_equal(imaging.read_grey(tmp_path / "key.png"), np.array([0, 100, 0], np.uint8)[indices])


def test_tiff_polarity_bits_palette_and_alpha(tmp_path: Path) -> None:
    ramp = _ramp()
    tifffile.imwrite(tmp_path / "white0.tif", ramp, photometric="miniswhite")
    assert np.array_equal(imaging.read_image(tmp_path / "white0.tif").pixels, 255 - ramp)
    mask = ramp > 100
    for compression in (None, "group4", "tiff_lzw"):
        Image.fromarray(mask).save(tmp_path / "bits.tif", compression=compression)
        assert np.array_equal(imaging.read_mask(tmp_path / "bits.tif"), mask), compression
    colours = np.zeros((3, 256), np.uint16)
    colours[0, 1], colours[2, 2] = 65535, 65535
    tifffile.imwrite(tmp_path / "palette.tif", ramp % 3, photometric="palette", colormap=colours)
    expected = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[ramp % 3]
    assert np.array_equal(imaging.read_image(tmp_path / "palette.tif").pixels, expected)
    assert np.array_equal(imaging.read_grey(tmp_path / "palette.tif"), ramp % 3)
    rgba = np.dstack([ramp, ramp, ramp, np.full_like(ramp, 128)])
    tifffile.imwrite(tmp_path / "alpha.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(imaging.read_image(tmp_path / "alpha.tif").pixels[..., 0], np.round(ramp * (128 / 255)))
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "jpeg.tif", compression="jpeg", quality=95)
    assert np.abs(imaging.read_image(tmp_path / "jpeg.tif").pixels[..., 1].astype(int) - ramp).max() < 8


def test_deep_integers_are_exact_or_refused(tmp_path: Path) -> None:
    labels = np.arange(600, dtype=np.int32).reshape(20, 30) * 1000
    tifffile.imwrite(tmp_path / "a.tif", labels)
    assert np.array_equal(imaging.read_grey(tmp_path / "a.tif"), labels)
    assert np.array_equal(imaging.read_image(tmp_path / "a.tif").pixels, labels.astype(np.float32))
    tifffile.imwrite(tmp_path / "b.tif", labels * 1000)
    with pytest.raises(ImageFileError, match="2\\^24"):
        imaging.read_image(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 4), np.complex64))
    with pytest.raises(ImageFileError, match="complex64"):
        imaging.read_image(tmp_path / "c.tif")
    tifffile.imwrite(
        tmp_path / "d.tif", np.zeros((20, 30, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(ImageFileError, match="5 channels"):
        imaging.read_image(tmp_path / "d.tif")


def test_masks_of_every_usual_encoding(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:12, 8:20] = True
    saved = {
        "bit.png": Image.fromarray(mask),
        "grey.png": Image.fromarray(mask.astype(np.uint8) * 255),
        "rgb.png": Image.fromarray(np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)),
        "lossy.jpg": Image.fromarray(mask.astype(np.uint8) * 255),
    }
    for name, picture in saved.items():
        picture.save(tmp_path / name)
        assert np.array_equal(imaging.read_mask(tmp_path / name), mask), name
    assert set(np.unique(imaging.read_grey(tmp_path / "bit.png"))) == {0, 255}
    assert np.array_equal(imaging.read_grey(tmp_path / "rgb.png") > 0, mask)
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "labels.png")
    assert set(np.unique(imaging.read_grey(tmp_path / "labels.png"))) == {0, 1}
    assert np.array_equal(imaging.read_mask(tmp_path / "labels.png", threshold=0), mask)
    imaging.write_mask(tmp_path / "own.png", mask)
    assert np.array_equal(imaging.read_mask(tmp_path / "own.png"), mask)


def test_colour_is_no_grey(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([_ramp(), _ramp(), 255 - _ramp()])).save(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=r"a\.png: a colour image"):
        imaging.read_grey(tmp_path / "a.png")


@pytest.mark.parametrize(
    "array",
    [
        (np.arange(600).reshape(20, 30) * 100).astype(np.uint16),
        (np.arange(600).reshape(20, 30) * 100 - 30000).astype(np.int16),
        np.linspace(-3, 5, 600, dtype=np.float32).reshape(20, 30),
        np.linspace(-3, 5, 600, dtype=np.float64).reshape(20, 30),
    ],
)
def test_scientific_tiff_keeps_its_values(tmp_path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array)
    pixels = imaging.read_image(tmp_path / "a.tif").pixels
    assert pixels.dtype == (np.float32 if array.dtype.kind == "f" else array.dtype)
    assert np.array_equal(pixels, array.astype(pixels.dtype))
    if array.dtype.kind != "f":
        assert np.array_equal(imaging.read_grey(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_colour_tiff_becomes_eight_bit(tmp_path: Path, planar: str) -> None:
    colour = np.dstack([_ramp(), _ramp()[::-1], 255 - _ramp()])
    stored = colour.astype(np.uint16) * 257
    layout = np.moveaxis(stored, -1, 0) if planar == "separate" else stored
    tifffile.imwrite(tmp_path / "a.tif", layout, photometric="rgb", planarconfig=planar)
    assert np.array_equal(imaging.read_image(tmp_path / "a.tif").pixels, colour)


def test_sixteen_bit_png(tmp_path: Path) -> None:
    array = (np.arange(600).reshape(20, 30) * 109).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imaging.png_bytes(array))
    pixels = imaging.read_image(tmp_path / "a.png").pixels
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, array)


def test_label_tiff_with_fractions_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 1.5, np.float32))
    with pytest.raises(ImageFileError, match="fractions"):
        imaging.read_grey(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), 2.0, np.float32))
    assert (imaging.read_grey(tmp_path / "b.tif") == 2).all()


def test_several_pages_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 20, 30), np.uint8), photometric="minisblack")
    with pytest.raises(ImageFileError, match="3 pages"):
        imaging.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_truncated_file_is_named(tmp_path: Path, ending: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 80), dtype=np.uint8)
    path = tmp_path / f"a.{ending}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    for read in (imaging.read_image, imaging.read_mask, imaging.read_grey):
        with pytest.raises(ImageFileError, match=rf"a\.{ending}: cannot be read as"):
            read(path)


def test_pillows_tolerance_of_truncated_files_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    imaging.write_png(tmp_path / "a.png", _ramp())
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UsageError, match="set it to False"):
        imaging.read_image(tmp_path / "a.png")


def _png_with_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def test_a_huge_picture_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_with_header(20_001, 10_000))
    for read in (imaging.read_image, imaging.image_header, imaging.read_grey):
        with pytest.raises(ImageFileError, match="200 megapixels, more than the limit"):
            read(path)
    path.write_bytes(_png_with_header(20_000, 10_000))  # the limit itself passes, Pillow's own (179) does not count
    assert imaging.image_header(path) == (10_000, 20_000)


def test_huge_jpeg_and_tiff_are_refused_from_their_headers(tmp_path: Path) -> None:
    Image.fromarray(_ramp()).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 50_000)
    (tmp_path / "a.jpg").write_bytes(content)
    tifffile.imwrite(tmp_path / "b.tif", _ramp())
    with tifffile.TiffFile(tmp_path / "b.tif", mode="r+b") as file:
        for tag, value in (("ImageWidth", 50_000), ("ImageLength", 60_000)):
            file.pages.first.tags[tag].overwrite(value)
    for name in ("a.jpg", "b.tif"):
        for read in (imaging.read_image, imaging.image_header, imaging.read_mask):
            with pytest.raises(ImageFileError, match="3000 megapixels"):
                read(tmp_path / name)


def test_what_is_no_image_is_named_with_its_beginning(tmp_path: Path) -> None:
    cases = {
        "page.png": (b"<!DOCTYPE html><html>", "DOCTYPE"),
        "empty.png": (b"", "empty file"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1", "git"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageFileError, match=words):
            imaging.read_image(tmp_path / name)
    with pytest.raises(ImageFileError, match="no such file"):
        imaging.read_image(tmp_path / "missing.png")
    with pytest.raises(ImageFileError, match="a folder"):
        imaging.read_image(tmp_path)


def test_png_writing_is_exact_repeatable_and_leaves_nothing_behind(tmp_path: Path) -> None:
    colour = np.dstack([_ramp(), _ramp()[::-1], 255 - _ramp()])
    imaging.write_png(tmp_path / "deep" / "a.png", colour)
    imaging.write_png(tmp_path / "b.png", colour[::1])
    assert (tmp_path / "deep" / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), colour)
    with pytest.raises(ValueError, match="float64"):
        imaging.write_png(tmp_path / "c.png", np.zeros((4, 4)))  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["a.png", "b.png"]


def test_cmyk_jpeg_reads_as_colour(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(buffer, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    red, green, blue = imaging.read_image(tmp_path / "a.jpg").pixels[8, 8]
    assert red > 200
    assert max(green, blue) < 60


def test_equal_channels_collapse_and_others_do_not() -> None:
    grey = _ramp()
    assert np.array_equal(imaging.grey_if_colourless(np.dstack([grey] * 3)), grey)
    tinted = np.dstack([grey, grey, grey ^ 1])
    assert imaging.grey_if_colourless(tinted) is tinted
    assert imaging.grey_if_colourless(grey) is grey


@pytest.mark.real
def test_all_real_pictures_are_read_with_the_size_of_their_header(real_data: Path) -> None:
    paths = [path for path in sorted(real_data.rglob("*")) if path.suffix.lower() in (".png", ".jpg", ".tif", ".dcm")]
    assert len(paths) > 100
    for path in paths[::25]:
        assert imaging.image_header(path) == imaging.read_image(path).pixels.shape[:2]
