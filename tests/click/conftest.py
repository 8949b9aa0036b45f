from __future__ import annotations

from pathlib import Path

import pytest
from tiny_benchmark import write_tiny_benchmark

from dmseg import build, load_model
from dmseg.click import gallery_of_benchmark


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_benchmark(tmp_path_factory.mktemp("benchmark") / "tiny")


@pytest.fixture(scope="session")
def gallery(tiny):
    return gallery_of_benchmark(build.open_benchmark(tiny))


@pytest.fixture(scope="session")
def models():
    return {name: load_model(name) for name in ("disk", "watershed")}
