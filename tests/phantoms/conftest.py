"""Phantoms drawn and written once for all tests of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dmseg.phantoms
from dmseg.phantoms.folder import DrawnItem
from dmseg.phantoms.sets import SETS, draw_item, tasks


@pytest.fixture(scope="session")
def items() -> dict[Any, DrawnItem]:
    """Task -> what is drawn for it, the first two images of all data sets."""
    return {task: draw_item(task) for name in SETS for task in tasks(name, 2, 0)}


@pytest.fixture(scope="session")
def pictures(items: dict[Any, DrawnItem]) -> dict[str, list[Any]]:
    """Data set -> the contents of its first two images (Drawings, or one Stack)."""
    return {name: [items[task].content for task in tasks(name, 2, 0)] for name in SETS}


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory, items: dict[Any, DrawnItem]) -> Path:
    """All data sets with two images each, written from the images that are drawn already."""
    out = tmp_path_factory.mktemp("phantoms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dmseg.phantoms, "draw_item", items.__getitem__)
        dmseg.phantoms.write_phantoms(out, per_dataset=2)
    return out
