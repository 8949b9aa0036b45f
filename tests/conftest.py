"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path_factory.getbasetemp() / "dmseg-cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real samples in their original layouts, named by DMSEG_REAL_DATA."""
    value = os.environ.get("DMSEG_REAL_DATA")
    if not value or not Path(value).is_dir():
        pytest.skip("set DMSEG_REAL_DATA to the folder of real samples to run this test")
    return Path(value)
