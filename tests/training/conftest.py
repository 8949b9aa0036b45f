"""A tiny benchmark, and runs on it that take a second or two."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from tiny_benchmark import write_tiny_benchmark  # noqa: E402

from dmseg.training import TrainConfig, load_config, train  # noqa: E402

SMALL = ("batches=4", "save_every=1", "splits=['seen', 'unseen', 'train']", "prompt_kinds=1", "interactions=2")
SIDE = "stages=[{until=1.0, side=64, batch=2}]"


def small(preset: str, *changes: str) -> TrainConfig:
    """A preset, cut down to seconds: two pictures of 64 pixels a batch, without kept features."""
    return load_config(preset, (*SMALL, "cache=false", "batch=2", SIDE, *changes))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn pictures at five levels."""
    return write_tiny_benchmark(tmp_path_factory.mktemp("training") / "bench")


@pytest.fixture(scope="session")
def base(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a mini backbone, hardly trained."""
    out = tmp_path_factory.mktemp("training") / "mini-sam"
    train(small("mini-sam", "batches=1"), bench, out, device="cpu", jobs=1)
    return out / "weights.safetensors"
