"""``dmseg init-recipe``: writes a recipe once, says what it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmseg import datasets
from dmseg.cli import main


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 255
    for k in range(15):
        (tmp_path / "scans" / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask // 2).save(tmp_path / "scans" / "images" / f"{k}.png")
    (tmp_path / "scans" / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "scans" / "masks" / "0.png")
    return tmp_path / "scans"


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["init-recipe", *arguments])
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def test_it_writes_a_recipe_and_says_what_did_not_match(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.toml"
    code, text, _ = _run(capsys, str(scans), "--modality", "ct", "--out", str(out), "--name", "mine")
    assert code == 0
    assert "images: images/{id}    masks: masks/{id}" in text
    assert "1 with masks, 14 without a partner" in text and "and 4 more" in text
    recipe = datasets.from_file(out)
    assert recipe.id == "mine" and recipe.domain_ops() == ("ct_ring", "beam_hardening")
    assert recipe.windows["ct"].width == 400


def test_an_existing_recipe_is_not_overwritten(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    code, _, error = _run(capsys, str(scans), "--modality", "ct", "--out", str(out))
    assert code == 2 and "there already" in error and out.read_text() == "mine"
    assert _run(capsys, str(scans), "--modality", "ct", "--out", str(out), "--force")[0] == 0
    assert out.read_text() != "mine"


def test_wrong_use_leaves_with_2(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = _run(capsys, str(scans), "--modality", "cct")
    assert code == 2 and 'did you mean "ct"' in error
    code, _, error = _run(capsys, str(scans), "--modality", "ct", "--rescale", "hounsfield")
    assert code == 2 and "hu+N" in error


def test_a_folder_without_masks_gives_a_recipe_to_complete(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.toml"
    code, text, _ = _run(capsys, str(scans / "images"), "--modality", "ct", "--out", str(out))
    assert code == 1 and "no pair of an image and a mask" in text and "0.png" in out.read_text()
    assert datasets.from_file(out).reader == "own_images"
