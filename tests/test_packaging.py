"""The wheel, installed where a user would: a fresh environment without torch, an empty folder, no checkout."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmseg.version import __version__

ROOT = Path(__file__).parents[1]


def sh(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command with a clean environment; fail with its output."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DMSEG_", "COV_"))}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**keep, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    sh(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        top = next(name for name in names if name.endswith("top_level.txt"))
        assert archive.read(top).decode().split() == ["dmseg"]
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"dmseg"}
    for data in (
        "simulators/levels.toml",
        "baselines/models.toml",
        "leaderboard/paper.csv",
        "datasets/recipes/BUSI.toml",
    ):
        assert f"dmseg/{data}" in names
    assert any(name.startswith("dmseg/manifests/") and name.endswith(".parquet") for name in names)
    assert not any("/entries/" in name for name in names)


@pytest.mark.slow
def test_a_fresh_environment_without_torch_does_the_main_job_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    sh(sys.executable, "-m", "venv", environment, cwd=work)
    binary = environment / ("Scripts" if os.name == "nt" else "bin")
    sh(binary / "python", "-m", "pip", "install", "--quiet", wheel, cwd=work)
    cache = {"DMSEG_CACHE": str(tmp_path / "cache")}

    def dmseg(*arguments: str) -> str:
        return sh(binary / "dmseg", *arguments, cwd=work, **cache)

    missing = "import importlib.util; print(importlib.util.find_spec('torch'))"
    assert sh(binary / "python", "-c", missing, cwd=work).strip() == "None"
    assert "torch" in dmseg("doctor")
    dmseg("phantom", "--out", "raw", "--per-dataset", "1", "--datasets", "BUSI,Kvasir-SEG,CHAOS")
    dmseg("build", "--raw", "raw", "--out", "bench")
    dmseg("verify", "bench")
    dmseg("evaluate", "--model", "watershed", "--data", "bench", "--out", "run", "--split", "all")
    dmseg("report", "run", "--data", "bench")
    picture = next((work / "bench" / "images").rglob("*.png"))
    dmseg("degrade", str(picture), "out.png", "--level", "lq3", "--modality", "ultrasound")
    for folder in ("references", "predictions"):
        (work / folder).mkdir()
        Image.fromarray(np.tri(32, dtype=np.uint8) * 255).save(work / folder / "a.png")
    dmseg("score", "references", "predictions", "-o", "scores.csv")
    for file in ("run/report.html", "out.png", "scores.csv"):
        assert (work / file).stat().st_size > 0
    said = dmseg("demo", "--out", "demo", "--per-dataset", "1", "--jobs", "2")
    assert "skipped sam-vit-b" in said and "torch" in said
    assert (work / "demo" / "leaderboard" / "leaderboard.csv").is_file()


CONDA_NAMES = {"opencv-python-headless": "py-opencv", "python-gdcm": "gdcm", "matplotlib": "matplotlib-base"}


def test_the_conda_recipe_asks_for_the_same_libraries_and_version_as_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = dict(line.split(">=") for line in setup["options"]["install_requires"].split())
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8")
    run = recipe.split("  run:\n")[1].split("tests:")[0]
    found = dict(re.findall(r"- (\S+) >=(\S+)", run))
    assert found.pop("python") == setup["options"]["python_requires"].removeprefix(">=")
    assert found == {CONDA_NAMES.get(name, name): version for name, version in wanted.items()}
    assert f'version: "{__version__}"' in recipe


def test_the_layers_in_contributing_are_those_that_lint_checks() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = config["importlinter:contract:layers"]["layers"]
    checked = [re.findall(r"\w+", line) for line in layers.split("\n") if line]
    house = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[3]
    assert [re.findall(r"\w+", re.split("  +", line)[0]) for line in house.strip().splitlines()] == checked
