"""Fixtures for folders of one's own data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from own_folders import Read, Writer


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """A writer below an empty folder ``mine``."""
    (tmp_path / "mine").mkdir()
    return Writer(tmp_path / "mine")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Read]:
    """``read(modality)``: guess a recipe for ``mine``, and read all with it."""
    return lambda modality="ultrasound", **options: Read(tmp_path / "mine", modality, tmp_path / "mine.toml", **options)
