"""A whole evaluation on a GPU: SAM ViT-B, more than 512 phantom objects, five levels; how fast, how busy, how exact.

The weights are regenerated from key names, so Dice itself says nothing; ``pytest -m gpu -s`` shows the figures.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import fill  # noqa: E402

from dmseg import build, harness, phantoms  # noqa: E402
from dmseg.baselines import load_model  # noqa: E402
from dmseg.types import LEVELS, SPLITS  # noqa: E402

DEVICE = "cuda"
MODEL = "sam-vit-b"
DATASETS = ("BBBC038", "FLARE", "PAXRay", "abdominalUS")  # phantoms of several objects per image
PER_DATASET = 24
MASKS = 512
BUSY = 80.0
"""Share of time, per cent, that the GPU has something to do: the target."""

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    phantoms.write_phantoms(folder / "raw", per_dataset=PER_DATASET, datasets=list(DATASETS))
    build.build(folder / "raw", folder / "bench", jobs=os.cpu_count() or 1)
    return folder / "bench"


@contextlib.contextmanager
def utilisation() -> Iterator[list[float]]:
    """Collect what the driver counts, five times a second: per cent of time in which any kernel ran."""
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("no nvidia-smi here, which counts how busy the GPU is")
    card = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    seen: list[float] = []
    with subprocess.Popen([program, "-i", card, *query], stdout=subprocess.PIPE, text=True) as counter:
        try:
            yield seen
        finally:
            counter.terminate()
            seen += [float(line) for line in (counter.communicate()[0] or "").split()]


def evaluate_all(bench: Path, out: Path, precision: str) -> Any:
    """Run the model over everything, and return its steps."""
    model = fill(load_model(MODEL, weights="random", device=DEVICE, precision=precision))
    harness.evaluate(model, bench, out, splits=SPLITS, precision=precision)
    return harness.open_run(out).steps


@pytest.fixture(scope="module")
def fp32(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run in fp32: its rows, seconds, and how busy the GPU was."""
    with utilisation() as busy:
        start = time.perf_counter()
        steps = evaluate_all(bench, tmp_path_factory.mktemp("runs") / "fp32", "fp32")
        seconds = time.perf_counter() - start
    return {"steps": steps, "seconds": seconds, "busy": busy}


def test_the_gpu_is_busy(fp32: dict[str, Any], record_property: Any) -> None:
    steps, busy = fp32["steps"], sum(fp32["busy"]) / len(fp32["busy"])
    assert steps["mask_id"].nunique() >= MASKS and set(steps["level"]) == set(LEVELS)
    assert set(steps["status"]) == {"ok"}
    pictures = len(steps[["image_id", "level"]].drop_duplicates())
    record_property("images_per_second", pictures / fp32["seconds"])
    record_property("busy_per_cent", busy)
    print(f"\n{pictures} images in {fp32['seconds']:.1f} s: {pictures / fp32['seconds']:.2f} per second")
    print(f"GPU busy {busy:.1f} % of the time, model loading included")
    assert busy >= BUSY


def test_bf16_changes_no_level_by_more_than_a_hundredth_of_dice(
    fp32: dict[str, Any], bench: Path, tmp_path: Path, record_property: Any
) -> None:
    steps = {"fp32": fp32["steps"], "bf16": evaluate_all(bench, tmp_path / "run", "bf16")}
    means = {name: rows[rows["step"] == 5].groupby("level")["dice"].mean() for name, rows in steps.items()}
    difference = (means["bf16"] - means["fp32"]).to_dict()
    record_property("bf16_minus_fp32", difference)
    print("\nDice, bf16 minus fp32:", {level: round(value, 5) for level, value in difference.items()})
    assert max(map(abs, difference.values())) < 0.01
