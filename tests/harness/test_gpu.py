"""Runs on a GPU are those of the CPU, whatever happens in between. Speed is measured by ``make gpu-round``.

Weights are regenerated from key names: the masks are no good, but steady and cheap to compare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import fill  # noqa: E402

from dmseg import harness  # noqa: E402
from dmseg.baselines import load_model  # noqa: E402
from dmseg.types import SPLITS  # noqa: E402

MODEL = "mobile-sam"

pytestmark = pytest.mark.gpu


def evaluate_all(bench: Path, out: Path, device: str, precision: str = "fp32", **options: Any) -> Path:
    model = fill(load_model(MODEL, weights="random", device=device, precision=precision))
    harness.evaluate(model, bench, out, splits=SPLITS, precision=precision, **options)
    return out


def read_dice(run: Path) -> Any:
    steps = harness.open_run(run).steps
    assert set(steps["status"]) == {"ok"}
    return steps.set_index(["mask_id", "level", "step"])["dice"].sort_index()


@pytest.fixture(scope="module")
def on_gpu(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate_all(tiny, tmp_path_factory.mktemp("runs") / "fp32", "cuda")


def test_a_gpu_answers_as_the_cpu(on_gpu: Path, tiny: Path, tmp_path: Path) -> None:
    first = evaluate_all(tiny, tmp_path / "cpu", "cpu", chunk=harness.open_run(on_gpu).info["chunk"])
    one, other = (read_dice(run).xs(1, level="step") for run in (on_gpu, first))
    assert float((one - other).abs().max()) < 1e-3  # later clicks may part where a pixel does


def test_the_same_run_twice_has_the_same_rows(on_gpu: Path, tiny: Path, tmp_path: Path) -> None:
    """Although threads take turns at the network in another order each time."""
    again = evaluate_all(tiny, tmp_path / "again", "cuda")
    assert harness.run_digest(again) == harness.run_digest(on_gpu)


def test_bf16_changes_no_level_by_more_than_a_hundredth_of_dice(on_gpu: Path, tiny: Path, tmp_path: Path) -> None:
    reduced = read_dice(evaluate_all(tiny, tmp_path / "bf16", "cuda", "bf16"))
    change = (reduced - read_dice(on_gpu)).groupby("level").mean()
    assert float(change.abs().max()) < 0.01
