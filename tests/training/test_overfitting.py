"""The whole method can learn eight phantoms by heart."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from small_training import PLAIN  # noqa: E402

from dmseg.build import build  # noqa: E402
from dmseg.phantoms import write_phantoms  # noqa: E402
from dmseg.training import load_config, train  # noqa: E402

DATASETS = ("BUSI", "ISIC")


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantoms of each of two datasets."""
    folder = tmp_path_factory.mktemp("eight")
    write_phantoms(folder / "raw", per_dataset=4, datasets=DATASETS)
    build(folder / "raw", folder / "bench", datasets=DATASETS)
    return folder / "bench"


@pytest.mark.slow
def test_eight_phantoms_reach_dice_95_at_step_5(eight: Path, tmp_path: Path) -> None:
    every = ("splits=['train', 'seen', 'unseen']", "masks_per_image=2", "save_every=1000")
    validation = "validation={every=0, images=8, splits=['train', 'seen', 'unseen'], levels=['clear']}"
    side = "stages=[{until=1.0, side=128, batch=8}]"
    backbone = load_config("mini-sam", (*every, validation, side, *PLAIN, "batches=250", "warmup=20"))
    train(backbone, eight, tmp_path / "backbone", device="cpu")
    validation = validation.replace("['clear']", "['clear', 'lq3']")
    method = load_config("mini-pge-sam", (*every, validation, side, *PLAIN, "batches=40", "levels=['clear', 'lq3']"))
    train(method, eight, tmp_path / "method", base_weights=tmp_path / "backbone" / "weights.safetensors", device="cpu")
    for run, levels in (("backbone", ["clear"]), ("method", ["clear", "lq3"])):
        last = list(csv.DictReader((tmp_path / run / "validation.csv").open()))[-1]
        for level in levels:
            assert float(last[f"{level}_5"]) > 0.95, (run, last)
