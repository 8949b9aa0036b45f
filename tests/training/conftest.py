"""A tiny benchmark, and runs on it that take a second or two."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from small_training import small  # noqa: E402
from tiny_benchmark import write_tiny_benchmark  # noqa: E402

from dmseg.training import train  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn images at five levels."""
    return write_tiny_benchmark(tmp_path_factory.mktemp("training") / "bench")


@pytest.fixture(scope="session")
def base(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a mini backbone, hardly trained."""
    out = tmp_path_factory.mktemp("training") / "mini-sam"
    train(small("mini-sam", "batches=1"), bench, out, device="cpu", jobs=1)
    return out / "weights.safetensors"
