"""Network baselines on a GPU: what each costs in fp32 and bf16, and that CUDA answers as the CPU does.

Weights are random or regenerated from key names, so nothing here says how good a model is. ``pytest -m gpu -s`` shows
the table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import common, fill  # noqa: E402

from dmseg.baselines import find_missing_packages, load_model, model_cards  # noqa: E402
from dmseg.baselines.loading import FAMILIES  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

DEVICE = "cuda"
ROUNDS = 5
IMAGE = common.image(512, 512)
BOX = np.array([60, 40, 400, 300], np.float32)

pytestmark = pytest.mark.gpu


def prompts(model: Any) -> Prompts:
    """A click, or a box for the models that take nothing else."""
    if "points" in model.capabilities:
        return Prompts(np.array([[200, 160]], np.float32), np.array([1], np.int8), None, 1)
    return Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), BOX, 1)


def load(name: str, precision: str, device: str) -> Any:
    missing = find_missing_packages(model_cards()[name])
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    return load_model(name, weights="random", device=device, precision=precision)


def milliseconds(call: Any, *given: Any) -> float:
    """Median time of a call, the GPU's work included; the first round warms up."""
    spent = []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call(*given)
        torch.cuda.synchronize()
        spent.append((time.perf_counter() - start) * 1000)
    return float(np.median(spent[1:]))


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines that the tests add, printed at the end."""
    lines = [f"{'model':<20}{'precision':<11}{'encode ms':>10}{'click ms':>10}{'peak GB':>9}"]
    yield lines
    print("", *lines, sep="\n")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_network_in_either_precision(name: str, precision: str, table: list[str], record_property: Any) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = load(name, precision, DEVICE)
    asked = [prompts(model)]
    embeddings = model.encode([IMAGE])
    answer = model.predict(embeddings, [0], asked, [None])
    assert answer.logits.device.type == DEVICE
    assert answer.logits.shape == (1, 512, 512) and bool(answer.logits.isfinite().all())
    encode, click = milliseconds(model.encode, [IMAGE]), milliseconds(model.predict, embeddings, [0], asked, [None])
    peak = torch.cuda.max_memory_allocated() / 1e9
    for key, value in {"encode_ms": encode, "click_ms": click, "peak_gb": peak}.items():
        record_property(key, value)
    table.append(f"{name:<20}{precision:<11}{encode:>10.1f}{click:>10.1f}{peak:>9.2f}")


@pytest.mark.parametrize("name", ["sam-vit-b", "mobile-sam"])
def test_cuda_and_the_cpu_agree_in_the_logits(name: str) -> None:
    """Over three steps of feedback, relative to the spread of the logits where that is above 1."""
    answers = []
    for device in ("cpu", DEVICE):
        model = fill(load(name, "fp32", device))
        embeddings, state, steps = model.encode([IMAGE]), [None], []
        for count in (1, 2, 3):
            points, labels = common.points(count)
            given = Prompts(points.astype(np.float32), labels.astype(np.int8), None, count)
            answer = model.predict(embeddings, [0], [given], state)
            state = answer.state
            steps.append(answer.logits.cpu())
        answers.append(torch.cat(steps))
    scale = max(1.0, float(answers[0].std()))
    assert float((answers[0] - answers[1]).abs().max()) / scale < 1e-3
