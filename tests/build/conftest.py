"""A dataset of a few tiny volumes in a layout of its own, so that builds take a second and every case can be made."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dmseg import datasets
from dmseg.datasets import LeftOut, Recipe, Source
from dmseg.datasets.recipes import from_table
from dmseg.datasets.sources import Reader, Scan
from dmseg.errors import ImageFileError
from dmseg.types import Sample, Structure, Window

TABLE = {
    "id": "Toy",
    "version": 1,
    "title": "Discs in noise",
    "modalities": ["ct"],
    "anatomy": "none",
    "structures": ["disc", "dot"],
    "reader": "toy",
    "role": "seen",
    "validation": True,
    "expected_images": 6,
    "target_rule": "the disc",
    "case_rule": "one per file",
    "domain": {"ct": ["ct_ring"]},
    "citation": "@misc{toy, title = {Toy}}",
    "licence": "CC0",
    "url": "https://example.org",
    "how_to_get": "draw it",
    "tree": "Toy/<case>.npz",
    "evaluate_at_most": 2,
}


class ToyReader(Reader):
    """One .npz per case with ``image`` (Z, H, W) and one ``mask_<structure>`` (N, Z, H, W) per structure."""

    def is_root(self, folder: Path) -> bool:
        return any(folder.glob("*.npz"))

    def scan(self, root: Path) -> Scan:
        files = sorted(root.glob("*.npz"))
        lonely = [LeftOut(path.name, "mask missing") for path in sorted(root.glob("*.png"))]
        return Scan([Source(path.stem, path.stem, (Path(path.name),)) for path in files], lonely)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        path = root / source.files[0]
        try:
            content = dict(np.load(path))
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ImageFileError(f"{path}: truncated: {error}") from None
        for z, image in enumerate(content["image"]):
            structures = [
                Structure(name.removeprefix("mask_"), mask[z])
                for name, stack in content.items()
                if name.startswith("mask_")
                for mask in stack
            ]
            yield self.sample(
                f"{source.id}_z{z:03d}",
                source.case_id,
                image,
                structures,
                source=f"{source.files[0]}#z{z:03d}",
                spacing=(0.5, 0.25),
                window=Window(40.0, 400.0),
            )


def disc(size: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def write_case(root: Path, name: str, n_slices: int = 2, size: tuple[int, int] = (40, 48), dots: int = 0) -> None:
    """Write one case: a bright disc in each slice, and ``dots`` objects of 4 px each."""
    generator = np.random.default_rng(sum(map(ord, name)))
    image = generator.integers(40, 90, (n_slices, *size)).astype(np.uint8)
    masks = np.stack([disc(size, 15 + z, 20, 7) for z in range(n_slices)])
    image[masks] += 100
    small = np.zeros((dots, n_slices, *size), bool)
    for number in range(dots):
        small[number, :, 34:36, 4 * number : 4 * number + 2] = True
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / f"{name}.npz", image=image, mask_disc=masks[None], mask_dot=small)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch):
    """Make ``Toy`` the only known dataset and return a function that changes its recipe."""

    def install(**changes) -> Recipe:
        recipe = from_table(TABLE | changes, "toy")
        monkeypatch.setattr(datasets, "RECIPES", ("Toy",))
        monkeypatch.setattr(datasets, "recipe", lambda name: recipe)
        monkeypatch.setattr(datasets, "reader_of", ToyReader)
        return recipe

    install()
    return install


@pytest.fixture
def raw(tmp_path: Path, toy) -> Path:
    """RAW with five cases of two slices; one slice set has two objects that are too small."""
    root = tmp_path / "raw" / "Toy"
    for number in range(5):
        write_case(root, f"case{number}", dots=2 if number == 3 else 0)
    return tmp_path / "raw"


@pytest.fixture
def tree():
    """Return a function: every file below a folder -> (bytes, inode), to see what was written anew."""

    def state(folder: Path) -> dict[str, tuple[bytes, int]]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_ino) for path in files}

    return state


@pytest.fixture
def kvasir(tmp_path: Path) -> Path:
    """RAW with eight small pairs in the layout of Kvasir-SEG, for tests that run other processes."""
    import cv2

    root = tmp_path / "raw" / "Kvasir-SEG"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(8):
        mask = disc((60, 72), 25 + number, 30, 9 + number)
        image = generator.integers(60, 120, (60, 72, 3)).astype(np.uint8)
        image[mask] += 90
        cv2.imwrite(str(root / "images" / f"cju{number}.jpg"), image)
        cv2.imwrite(str(root / "masks" / f"cju{number}.jpg"), mask.astype(np.uint8) * 255)
    return tmp_path / "raw"
