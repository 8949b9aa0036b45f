"""Damaged bytes in every format: each reader answers, or raises ImageFileError with the file's name. Nothing else."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from dmseg import imaging
from dmseg.errors import ImageFileError

_ROUNDS = 25
_HEADER = 600


def _whole_files(folder: Path) -> list[Path]:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise).convert("P").save(folder / "palette.png")
    Image.fromarray(noise).save(folder / "a.jpg")
    Image.fromarray(noise).save(folder / "packed.tif", compression="tiff_lzw")
    tifffile.imwrite(folder / "plain.tif", noise)
    nibabel.save(nibabel.Nifti1Image(noise.reshape(10, 20, 10).astype(np.int16), np.eye(4)), folder / "a.nii")
    (folder / "b.nii.gz").write_bytes(gzip.compress((folder / "a.nii").read_bytes()))
    for name in ("MR_small", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_RLE", "examples_palette"):
        (folder / f"{name}.dcm").write_bytes(Path(str(get_testdata_file(f"{name}.dcm"))).read_bytes())
    return sorted(folder.iterdir())


def _damage(content: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.integers(1, 6)):
        end = len(damaged) if random.random() < 0.4 else min(len(damaged), _HEADER)
        damaged[random.integers(0, end)] = random.integers(0, 256)
    return bytes(damaged[: random.integers(1, len(damaged))] if random.random() < 0.2 else damaged)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_never_raise_anything_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "whole").mkdir()
    random = np.random.default_rng(7)
    refused = 0
    for path in _whole_files(tmp_path / "whole"):
        pictures: tuple[Callable[[Path], object], ...] = (imaging.read_image, imaging.read_grey, imaging.image_header)
        readers = (imaging.read_volume, imaging.image_header) if ".nii" in path.name else pictures
        for _ in range(_ROUNDS):
            (tmp_path / path.name).write_bytes(_damage(path.read_bytes(), random))
            for read in readers:
                try:
                    read(tmp_path / path.name)
                except ImageFileError as error:
                    assert path.name in str(error)
                    refused += 1
    assert refused > 100


def test_a_dicom_tag_that_is_no_number_is_named(tmp_path: Path) -> None:
    content = Path(str(get_testdata_file("MR_small.dcm"))).read_bytes()
    assert content.count(b"1600") == 1  # the window width, parsed only when it is asked for
    (tmp_path / "a.dcm").write_bytes(content.replace(b"1600", b"16x0"))
    with pytest.raises(ImageFileError, match=r"a\.dcm"):
        imaging.read_image(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(content.replace(b"0.3125\\0.3125", b"0.3125\\0.31x5"))
    with pytest.raises(ImageFileError, match=r"b\.dcm"):
        imaging.read_dicom_series([tmp_path / "b.dcm"])
