"""Fp32 means the same in training as in evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from small_training import small  # noqa: E402

from dmseg.training import loop, train  # noqa: E402


def test_training_computes_without_tf32_and_leaves_the_setting_alone(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    seen: list[tuple[bool, bool]] = []

    class Noting:
        def __init__(self, *given: object) -> None:
            pass

        def run(self) -> None:
            seen.append((cudnn.allow_tf32, products.allow_tf32))

    monkeypatch.setattr(loop, "Training", Noting)
    before = cudnn.allow_tf32, products.allow_tf32
    try:
        cudnn.allow_tf32 = products.allow_tf32 = True
        train(small("mini-sam", "batches=1"), bench, tmp_path / "run", device="cpu", jobs=1)
        assert seen == [(False, False)]
        assert cudnn.allow_tf32 and products.allow_tf32
    finally:
        cudnn.allow_tf32, products.allow_tf32 = before
