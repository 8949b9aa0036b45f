"""Where a dataset may be: any letter case, other names, nested, packed; and what lists are made of."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmseg import datasets
from dmseg.datasets import tree
from dmseg.errors import DataError


def _pairs(files: Any, grey: Any, block: Any, folder: str, names: tuple[str, ...] = ("a",)) -> None:
    for name in names:
        files.picture(f"{folder}/images/{name}.jpg", np.dstack([grey()] * 3), quality=95)
        files.picture(f"{folder}/masks/{name}.jpg", block(), quality=95)


@pytest.mark.parametrize(
    "folder",
    [
        "Kvasir-SEG",
        "kvasir_seg",
        "KVASIR SEG",
        "Kvasir-SEG/Kvasir-SEG",
        "Kvasir-SEG/archive/Kvasir-SEG",
        "kvasir",
    ],
)
def test_a_dataset_is_found_wherever_it_was_unpacked(
    files: Any, read_all: Any, grey: Any, block: Any, folder: str
) -> None:
    _pairs(files, grey, block, folder)
    files.text("unrelated/readme.txt", "")
    result = read_all("Kvasir-SEG")
    assert result.ids == ["a"]
    assert result.samples[0].source == "images/a.jpg"


def test_raw_may_be_the_dataset_folder_itself(files: Any, grey: Any, block: Any) -> None:
    _pairs(files, grey, block, "Kvasir-SEG")
    root = datasets.reader("Kvasir-SEG").find(files.root / "Kvasir-SEG")
    assert root == (files.root / "Kvasir-SEG").resolve()


def test_letter_case_of_folders_and_extensions_does_not_matter(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    files.picture("Kvasir-SEG/IMAGES/a.JPG", np.dstack([grey()] * 3), format="JPEG")
    files.picture("Kvasir-SEG/Masks/a.Png", block(), format="PNG")
    assert read_all("Kvasir-SEG").ids == ["a"]


def test_a_folder_of_another_dataset_is_not_taken(files: Any, grey: Any, block: Any) -> None:
    _pairs(files, grey, block, "Other")
    assert datasets.reader("Kvasir-SEG").find(files.root) is None


def test_what_operating_systems_leave_is_no_data(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    _pairs(files, grey, block, "Kvasir-SEG")
    files.text("Kvasir-SEG/images/._a.jpg", "resource fork")
    files.text("Kvasir-SEG/images/Thumbs.db", "")
    files.text("Kvasir-SEG/__MACOSX/images/b.jpg", "")
    result = read_all("Kvasir-SEG")
    assert result.ids == ["a"] and not result.left_out


def test_missing_and_unusable_masks_are_left_out_with_the_reason(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    _pairs(files, grey, block, "Kvasir-SEG", ("good", "nomask", "empty", "size"))
    (files.root / "Kvasir-SEG/masks/nomask.jpg").unlink()
    files.picture("Kvasir-SEG/masks/empty.jpg", np.zeros((12, 16), np.uint8))
    files.picture("Kvasir-SEG/masks/size.jpg", block(12, 20))
    files.picture("Kvasir-SEG/masks/orphan.jpg", block())
    result = read_all("Kvasir-SEG")
    assert result.ids == ["good"]
    assert result.reasons == {
        "images/nomask.jpg": "mask missing",
        "masks/orphan.jpg": "mask without an image",
        "images/empty.jpg": "no object: every mask is empty",
        "images/size.jpg": "polyp: mask is 20x12, image is 16x12",
    }


def test_ids_keep_only_safe_characters_and_collisions_are_an_error(
    files: Any, read_all: Any, grey: Any, block: Any
) -> None:
    _pairs(files, grey, block, "Kvasir-SEG", ("Müller (1)", "x" * 120))
    assert read_all("Kvasir-SEG").ids == ["M-ller--1-", "x" * 120]
    _pairs(files, grey, block, "Kvasir-SEG", ("Möller (1)",))
    with pytest.raises(DataError, match=r'share the id "M-ller--1-".*rename one'):
        read_all("Kvasir-SEG")


def test_composed_and_decomposed_letters_give_the_same_id() -> None:
    assert datasets.clean_id("Mu\u0308ller") == datasets.clean_id("M\u00fcller") == "M-ller"


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["i10.png", "i9.png", "I2.png", "i9a.png", "1.png"]
    ordered = [path.name for path in tree.natural(Path(name) for name in names)]
    assert ordered == ["1.png", "I2.png", "i9.png", "i9a.png", "i10.png"]


def test_a_packed_dataset_is_unpacked_into_the_cache_and_nothing_beside_it(
    files: Any, read_all: Any, grey: Any, block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path / "cache"))
    _pairs(files, grey, block, "build/Kvasir-SEG")
    with zipfile.ZipFile(files.path("Kvasir-SEG/kvasir-seg.zip"), "w") as archive:
        for file in sorted((files.root / "build").rglob("*.jpg")):
            archive.write(file, file.relative_to(files.root / "build"))
    before = sorted((files.root / "Kvasir-SEG").rglob("*"))
    assert datasets.reader("Kvasir-SEG").find(files.root, unpack=False) is None
    found = datasets.survey("Kvasir-SEG", files.root)
    assert found.root is None and [file.name for file in found.archives] == ["kvasir-seg.zip"]
    result = read_all("Kvasir-SEG")
    assert result.ids == ["a"]
    assert result.root.is_relative_to(tmp_path / "cache")
    assert sorted((files.root / "Kvasir-SEG").rglob("*")) == before


def test_an_archive_directly_in_raw_is_found_by_its_name(
    files: Any, read_all: Any, grey: Any, block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path / "cache"))
    _pairs(files, grey, block, "build")
    with zipfile.ZipFile(files.path("kvasir-seg.zip"), "w") as archive:
        for file in sorted((files.root / "build").rglob("*.jpg")):
            archive.write(file, file.relative_to(files.root / "build"))
    assert read_all("Kvasir-SEG").ids == ["a"]


def test_a_survey_says_what_is_there_without_reading_pixels(files: Any, grey: Any, block: Any) -> None:
    _pairs(files, grey, block, "Kvasir-SEG", ("a", "b"))
    (files.root / "Kvasir-SEG/masks/b.jpg").unlink()
    files.text("Kvasir-SEG/images/a.jpg", "not an image")
    found = datasets.survey("Kvasir-SEG", files.root)
    assert (found.sources, len(found.left_out)) == (1, 1)
    assert datasets.survey("BUSI", files.root).places == []
    files.text("BUSI/readme.txt", "")
    assert [place.name for place in datasets.survey("BUSI", files.root).places] == ["BUSI"]


def test_a_folder_that_cannot_be_listed_is_named(
    files: Any, grey: Any, block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pairs(files, grey, block, "Kvasir-SEG")
    listed = Path.iterdir

    def refuse(folder: Path) -> Any:
        if folder.name == "images":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    reader = datasets.reader("Kvasir-SEG")
    root = reader.find(files.root)
    assert root is not None
    with pytest.raises(DataError, match=r"images: cannot be listed .Permission denied"):
        reader.sources(root)
    assert "Permission denied" in str(datasets.survey("Kvasir-SEG", files.root).error)
