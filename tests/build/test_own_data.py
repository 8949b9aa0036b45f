"""Building one's own data with a recipe of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmseg import build
from dmseg.datasets import own
from dmseg.errors import DataError
from dmseg.types import LEVELS


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Four pictures with masks in ``mine`` and the recipe guessed for them."""
    mask = np.zeros((40, 48), np.uint8)
    mask[8:20, 10:30] = 255
    for folder in ("images", "masks"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    for k in range(4):
        Image.fromarray(mask // 3 + np.uint8(20 + k)).save(tmp_path / "mine/images" / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / "mine/masks" / f"{k}.png")
    path = tmp_path / "mine.toml"
    path.write_text(own.guess(tmp_path / "mine", modality="xray", domain=["grid_banding"]).text, encoding="utf-8")
    return path


def test_own_data_become_a_benchmark(recipe: Path, tmp_path: Path) -> None:
    summary = build.build(tmp_path / "mine", tmp_path / "bench", datasets=(str(recipe),))
    assert (summary.n_images, summary.errors, summary.edition) == (4, (), "local")
    bench = build.open_benchmark(tmp_path / "bench")
    assert set(bench.images["split"]) == {"unseen"} and set(bench.images["dataset"]) == {"mine"}
    assert set(bench.masks["structure"]) == {"object"} and bench.masks["area"].tolist() == [240] * 4
    assert not build.verify(bench)
    assert bench.image("mine__0", LEVELS[-1]).shape == (40, 48)


def test_a_recipe_may_not_take_the_name_of_a_shipped_dataset(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text().replace('id = "mine"', 'id = "BUSI"'))
    with pytest.raises(DataError, match='"BUSI" is that of a shipped dataset'):
        build.build(tmp_path / "mine", tmp_path / "bench", datasets=(str(recipe),))
    assert not (tmp_path / "bench").exists()
