"""The page about the degradations is what the code and the tables say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

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
