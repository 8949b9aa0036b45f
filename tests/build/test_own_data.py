"""Building one's own data with a recipe of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dmseg import build
from dmseg.cli.build import command
from dmseg.datasets import own
from dmseg.errors import DataError, UsageError
from dmseg.types import LEVELS


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Four images with masks in ``mine`` and the recipe guessed for them."""
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


def test_own_data_are_rebuilt_from_their_manifest_and_recipe(recipe: Path, tmp_path: Path) -> None:
    names = (str(recipe),)
    first = build.build(tmp_path / "mine", tmp_path / "bench", datasets=names, seed=5)
    build.export_manifest(build.open_benchmark(tmp_path / "bench").manifest, tmp_path / "mine.zip")
    manifest = build.find_manifest(str(tmp_path / "mine.zip"))
    again = build.rebuild(manifest, tmp_path / "mine", tmp_path / "again", recipes=names)
    assert again.manifest_digest == first.manifest_digest
    assert not build.verify(build.open_benchmark(tmp_path / "again"))
    # The same from the command line, on a copy of the recipe that lies elsewhere.
    copy = tmp_path / "elsewhere.toml"
    copy.write_text(recipe.read_text(encoding="utf-8"), encoding="utf-8")
    options = ["--raw", str(tmp_path / "mine"), "--manifest", str(tmp_path / "mine.zip"), "--recipe", str(copy)]
    result = CliRunner().invoke(command, [*options, "--out", str(tmp_path / "third")])
    assert result.exit_code == 0 and first.manifest_digest in result.output


def test_a_manifest_of_own_data_asks_for_the_recipe_and_refuses_another(recipe: Path, tmp_path: Path) -> None:
    build.build(tmp_path / "mine", tmp_path / "bench", datasets=(str(recipe),), levels=["clear"])
    manifest = build.find_manifest(str(tmp_path / "bench"))
    with pytest.raises(DataError, match="dataset mine is none that dmseg ships; give its recipe: --recipe FILE"):
        build.rebuild(manifest, tmp_path / "mine", tmp_path / "again")
    changed = tmp_path / "changed.toml"
    changed.write_text(recipe.read_text().replace("version = 1", "version = 2"))
    with pytest.raises(DataError, match=r"other rules.*mine.*recipe that it was made with"):
        build.rebuild(manifest, tmp_path / "mine", tmp_path / "again", recipes=(str(changed),))
    other = tmp_path / "other.toml"
    other.write_text(recipe.read_text().replace('id = "mine"', 'id = "yours"'))
    with pytest.raises(UsageError, match="its dataset yours is not in the manifest, which has mine"):
        build.rebuild(manifest, tmp_path / "mine", tmp_path / "again", recipes=(str(other),))
    assert not (tmp_path / "again").exists()
