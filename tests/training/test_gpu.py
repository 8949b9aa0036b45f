"""Training on a GPU is that of the CPU, and loses no memory from batch to batch. ``make gpu-round`` measures its speed.

Weights are random, so nothing here says how good a model is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from lightning_fabric import Fabric  # noqa: E402
from small_training import PLAIN, small  # noqa: E402

from dmseg.baselines.networks.precision import use_full_fp32  # noqa: E402
from dmseg.build import open_benchmark  # noqa: E402
from dmseg.training.config import PRECISIONS, TrainConfig  # noqa: E402
from dmseg.training.feed import Feed  # noqa: E402
from dmseg.training.learner import Learner  # noqa: E402
from dmseg.training.networks import build_trainable_model  # noqa: E402


def learn_all(config: TrainConfig, bench: Path, folder: Path, device: str) -> tuple[list[dict[str, float]], list[int]]:
    """Return the losses of all batches, and the GPU's memory after each."""
    precision: Any = PRECISIONS[config.precision]
    fabric = Fabric(accelerator=device, devices=1, precision=precision)
    trainee = build_trainable_model(config, "random", fabric.device)
    losses, memory = [], []
    with use_full_fp32():
        feed = Feed(config, open_benchmark(bench), trainee, fabric, folder)
        learner = Learner(config, trainee, feed, fabric)
        for index, loaded in feed.batches():
            losses.append({name: float(value) for name, value in learner.learn(index, loaded).items()})
            memory.append(torch.cuda.memory_allocated() if device == "cuda" else 0)
    return losses, memory


def test_losses_are_repeated_exactly_on_the_cpu(bench: Path, tmp_path: Path) -> None:
    """What the comparison below rests on."""
    config = small("mini-pge-sam", *PLAIN, "batches=2", "precision=fp32")
    assert learn_all(config, bench, tmp_path / "a", "cpu") == learn_all(config, bench, tmp_path / "b", "cpu")


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns(bench: Path, tmp_path: Path) -> None:
    config = small("mini-pge-sam", *PLAIN, "batches=3", "precision=fp32")
    expected, _ = learn_all(config, bench, tmp_path / "cpu", "cpu")
    found, _ = learn_all(config, bench, tmp_path / "cuda", "cuda")
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, rel=2e-3, abs=1e-4)


@pytest.mark.gpu
def test_no_memory_is_lost_from_batch_to_batch(bench: Path, tmp_path: Path) -> None:
    config = small("mini-pge-sam", *PLAIN, "batches=8", "precision=bf16-mixed")
    losses, memory = learn_all(config, bench, tmp_path, "cuda")
    assert all(value == value for row in losses for value in row.values())
    assert memory[-1] <= memory[2] * 1.01 + 2**16
