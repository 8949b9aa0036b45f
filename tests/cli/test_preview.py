"""``dmseg preview`` draws sheets of files and benchmarks, and prints their fidelity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

from dmseg.cli.preview import command, draw_difference, fidelity
from dmseg.errors import DmsegError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    y, x = np.indices((96, 128))
    grey = 40 + 120 * (np.hypot(x - 60, y - 50) < 30) + (x + y) // 8
    path = tmp_path / "slice.png"
    Pillow.fromarray(grey.astype(np.uint8)).save(path)
    return path


def test_sheet_of_levels(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = run(picture, "--out", out, "--modality", "mri")
    assert result.exit_code == 0, result.output
    sheet = np.asarray(Pillow.open(out))
    assert sheet.ndim == 3 and sheet.shape[1] > 5 * 192
    lines = [line for line in result.output.splitlines() if "PSNR" in line]
    assert len(lines) == 4 and "LQ-3+" in lines[-1]
    psnr = [float(line.split("PSNR")[1].split()[0]) for line in lines]
    assert psnr[0] > psnr[2]
    assert "wrote" in result.output.splitlines()[-1]


def test_sheet_of_operations_with_differences(picture: Path, tmp_path: Path) -> None:
    plain, both = tmp_path / "a.png", tmp_path / "b.png"
    first = run(picture, "--out", plain, "--modality", "ct", "--by", "operation")
    second = run(picture, "--out", both, "--modality", "ct", "--by", "operation", "--difference")
    assert first.exit_code == second.exit_code == 0
    for name in ("gaussian_noise", "ct_ring", "beam_hardening", "photon_starvation"):
        assert name in first.output
    assert np.asarray(Pillow.open(both)).shape[0] > 1.8 * np.asarray(Pillow.open(plain)).shape[0]


def test_a_dicom_file_says_its_modality(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    result = run(get_testdata_file("CT_small.dcm"), "--out", tmp_path / "s.png", "--by", "operation")
    assert result.exit_code == 0, result.output
    assert "ct_ring" in result.output and "speckle" not in result.output


def test_sheet_is_the_same_twice(picture: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.png", "b.png")]
    for path in files:
        run(picture, "--out", path, "--modality", "ultrasound", "--seed", 4)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_wrong_use_is_one_message_and_writes_nothing(picture: Path, tmp_path: Path) -> None:
    for arguments, words in (
        ((picture, "--out", tmp_path / "sheet.jpg"), "PNG file"),
        ((picture, "--out", tmp_path / "s.png", "--modality", "mrx"), 'did you mean "mri"'),
        ((picture, "--out", tmp_path / "s.png", "--window", "wide"), "center/width"),
        ((picture, "--out", tmp_path / "s.png", "--window", "40/0"), "above 0"),
        ((tmp_path / "none.png", "--out", tmp_path / "s.png"), "none.png"),
        ((tmp_path, "--out", tmp_path / "s.png"), str(tmp_path)),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, DmsegError) and words in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["slice.png"]


def test_fidelity_and_difference() -> None:
    clear = np.full((32, 32), 100, np.uint8)
    psnr, ssim = fidelity(clear, clear)
    assert psnr == float("inf") and ssim == 1
    assert fidelity(clear, clear + 10)[0] == pytest.approx(20 * np.log10(25.5))
    assert np.all(draw_difference(clear, clear + 10) == 148) and np.all(draw_difference(clear, clear - 100) == 0)


def test_sheet_of_a_benchmark(tmp_path: Path) -> None:
    from dmseg.build import build
    from dmseg.phantoms import write_phantoms

    write_phantoms(tmp_path / "raw", per_dataset=1, datasets=["BUSI", "Kvasir-SEG"])
    build(tmp_path / "raw", tmp_path / "bench", datasets=["BUSI", "Kvasir-SEG"], limit=1)
    result = run(tmp_path / "bench", "--out", tmp_path / "sheet.png")
    assert result.exit_code == 0, (result.output, result.exception)
    assert len([line for line in result.output.splitlines() if "PSNR" in line]) == 8
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    by_operation = run(tmp_path / "bench", "--out", tmp_path / "operations.png", "--by", "operation")
    assert by_operation.exit_code == 0 and "speckle" in by_operation.output and "vignette" in by_operation.output
