"""On a GPU: time and memory of training the paper's models at its batch sizes; ``pytest -m gpu -s`` shows them.

Weights are random, so nothing here says how good a model is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from lightning_fabric import Fabric  # noqa: E402

from dmseg.build import open_benchmark  # noqa: E402
from dmseg.training import load_config  # noqa: E402
from dmseg.training.config import PRECISIONS  # noqa: E402
from dmseg.training.feed import Feed  # noqa: E402
from dmseg.training.learner import Learner  # noqa: E402
from dmseg.training.networks import build_trainable_model  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("preset", "batch"), [("lite-pge-sam", 16), ("pge-sam", 2)])
def test_a_step_at_the_papers_batch_size(preset: str, batch: int, bench: Path, tmp_path: Path) -> None:
    changes = (f"batch={batch}", "epochs=0", "batches=4", "splits=['seen', 'unseen', 'train']")
    config = load_config(preset, changes)
    fabric = Fabric(accelerator="cuda", devices=1, precision=PRECISIONS[config.precision])  # type: ignore[arg-type]
    trainee = build_trainable_model(config, "random", fabric.device)
    with ThreadPoolExecutor(4) as executor:
        feed = Feed(config, open_benchmark(bench), trainee, fabric, executor, tmp_path)
        learner = Learner(config, trainee, feed, fabric)
        torch.cuda.reset_peak_memory_stats()
        seconds = []
        for index, loaded in feed.batches(0):
            started = time.perf_counter()
            sums = learner.learn(index, loaded)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
            assert all(value == value for value in sums.values())
    memory = torch.cuda.max_memory_allocated() / 2**30
    print(f"{preset}: {min(seconds):.2f} s per batch of {batch} with 5 steps, {memory:.1f} GiB")
    assert memory * 2**30 < torch.cuda.get_device_properties(0).total_memory
