"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import share_browser

__all__ = ["share_browser"]


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked gpu where there is none, before their fixtures are made."""
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device; torch sees none here")
