"""``dmseg datasets``: the table, the card, what was found, and wrong use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dmseg.cli import group, main
from dmseg.datasets import RECIPES


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(group, ["datasets", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_table_names_every_dataset_and_where_to_get_it() -> None:
    output = _run()
    assert all(name in output for name in RECIPES)
    assert "https://datasets.simula.no/kvasir-seg/" in output and "14,753" in output


def test_what_was_found_is_counted(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "kvasir" / folder).mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "kvasir/images" / f"{name}.jpg")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "kvasir/masks/a.jpg")
    (tmp_path / "kvasir" / "more.zip").write_bytes(b"")
    (tmp_path / "BUSI").mkdir()
    (tmp_path / "CHAOS").mkdir()
    (tmp_path / "CHAOS" / "CHAOS_Train_Sets.zip").write_bytes(b"")
    lines = {line.split()[0]: line for line in _run("--raw", str(tmp_path)).splitlines() if line.strip()}
    assert f"1 images, 1 left out, 1 archives not read in {tmp_path / 'kvasir'}" in lines["Kvasir-SEG"]
    assert "does not hold the expected tree" in lines["BUSI"]
    assert "packed: CHAOS_Train_Sets.zip" in lines["CHAOS"]
    assert lines["LGG"].rstrip().endswith("-")
    card = _run("Kvasir-SEG", "--raw", str(tmp_path))
    assert "left out: images/b.jpg: mask missing" in card and "not read, unpack it if it holds more:" in card


def test_a_card_has_everything_a_user_needs() -> None:
    card = _run("CHAOS")
    for text in ("CC BY-NC-SA 4.0", "zenodo", "DICOM_anon", "@article{kavur2021chaos", "ct: ct_ring; mri: bias_field"):
        assert text in card
    assert "at most 8 objects per image" in _run("BBBC038")


def test_collisions_are_told_not_thrown(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "kvasir" / folder).mkdir(parents=True)
        for name in ("a b", "a-b"):
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "kvasir" / folder / f"{name}.jpg")
    assert "unusable: " in _run("--raw", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["Busy"], 'did you mean "BUSI"'), (["--raw", "/no/such/folder"], "no such folder")],
)
def test_wrong_use_leaves_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["datasets", *arguments])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
