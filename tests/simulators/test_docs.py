"""The page about the degradations is what the code and the tables say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dmseg.datasets import recipe
from dmseg.simulators import OPS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(name="written", scope="module")
def write_page() -> str:
    specification = importlib.util.spec_from_file_location("degradations_page", DOCS / "degradations_page.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert set(module.PROOFS) == set(OPS), "each operation needs its line in PROOFS of docs/degradations_page.py"
    return str(module.page())


def test_page_is_current(written: str) -> None:
    assert (DOCS / "degradations.md").read_text(encoding="utf-8") == written, "run docs/degradations_page.py"


def test_every_operation_has_its_picture() -> None:
    pictures = list((DOCS / "images" / "degradations").glob("*.jpg"))
    assert {path.stem for path in pictures} == set(OPS), "run docs/degradations_page.py NAME"
    assert sum(path.stat().st_size for path in pictures) < 3_000_000


def test_gallery_is_current_and_shows_every_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    gallery = importlib.import_module("gallery_page")
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == gallery.write_page(), "run docs/gallery_page.py --text"
    pictures = list((DOCS / "images" / "gallery").glob("*.jpg"))
    assert {path.stem for path in pictures} == set(OPS), "run docs/gallery_page.py RAW NAME"
    assert sum(path.stat().st_size for path in (DOCS / "images" / "gallery").iterdir()) < 2_000_000


def test_real_images_of_the_gallery_are_cc0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    gallery = importlib.import_module("gallery_page")
    for dataset, licence, _ in gallery.REAL.values():
        assert "CC0" in licence and "CC0" in recipe(dataset).licence


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(DOCS / "notebooks" / "degrade_and_augment.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 5
