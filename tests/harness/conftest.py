from __future__ import annotations

from pathlib import Path

import pytest
from tiny_benchmark import write_tiny_benchmark


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of 6 small images, 8 objects to evaluate in seen and unseen, at all five levels. Read only."""
    return write_tiny_benchmark(tmp_path_factory.mktemp("benchmark") / "tiny")
