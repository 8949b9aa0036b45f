"""``dmseg train`` as people type it: what is wrong is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from dmseg.cli import group, main
from dmseg.training.config import load_config, preset_names


def run_failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as a wrong usage, and return its message."""
    with pytest.raises(SystemExit) as left:
        main(["train", *arguments])
    assert left.value.code == 2
    return capsys.readouterr().err


def test_help_has_an_example() -> None:
    shown = CliRunner().invoke(group, ["train", "--help"])
    assert shown.exit_code == 0 and "dmseg train mini-sam --data" in shown.output


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("mini-pge", "", 'unknown training preset "mini-pge" (did you mean "mini-pge-sam"?)'),
        ("mini-sam", "batchs=3", 'unknown key "batchs" (did you mean "batches"?)'),
        ("mini-sam", "batches", "give key=value"),
        ("mini-sam", "batches=many", "batches: expected int, got 'many'"),
        ("mini-sam", "updates=epoch", 'unknown updates "epoch"; one of: interaction, batch'),
        ("mini-sam", "cache=true", "cache = true needs a frozen encoder"),
        ("mini-sam", "updates=interaction", "needs a frozen encoder"),
        ("mini-sam", "levels=['claer']", 'unknown levels "claer" (did you mean "clear"?)'),
        ("mini-ft", "trained=['enhancer']", 'learning_rate has no entry for the trained part "enhancer"'),
        ("mini-ft", "batches=0", "give batches or epochs"),
        ("missing.toml", "", "no such file"),
        ("mini-sam", "batches=-5", "batches = -5: must be at least 0"),
        ("mini-sam", "batch=0", "batch = 0: must be at least 1"),
        ("mini-sam", "learning_rate.all=-1.0", "learning_rate.all = -1: must be above 0"),
        ("mini-sam", "weight_decay=-1", "weight_decay = -1: must be at least 0"),
        ("mini-sam", "betas=[0.9, 1.0]", "betas = 1: must be at least 0 and below 1"),
        ("mini-sam", "clip=0", "clip = 0: must be above 0"),
        ("mini-sam", "ema=1.0", "ema = 1: must be at least 0 and below 1"),
        ("mini-sam", "levels=[]", "levels is empty: name at least one of clear"),
        ("mini-sam", "stages=[{until=1.0, side=100, batch=2}]", "side = 100: must be a multiple of 32"),
        ("mini-sam", "stages=[{until=1.0, side=64, batch=0}]", "stages: batch = 0: must be at least 1"),
        (
            "mini-sam",
            "stages=[{until=0.6, side=64, batch=2}, {until=0.3, side=96, batch=2}, {until=1.0, side=128, batch=2}]",
            "until = 0.6, 0.3, 1: each must last longer than the one before",
        ),
        ("mini-sam", "appearance.gamma=0.5", "appearance.gamma = 0.5: must be at least 1"),
        ("mini-sam", "appearance.window=1.5", "appearance.window = 1.5: must be above 0 and at most 1"),
        ("mini-sam", "losses.reconstruction_support=gobal", '"gobal" (did you mean "global"?)'),
        ("mini-sam", "losses.focal=-1", "losses.focal = -1: must be at least 0"),
        ("mini-sam", "validation.splits=['val']", 'unknown validation.splits "val"'),
        ("mini-sam", "validation.levels=['lq9']", 'unknown validation.levels "lq9"'),
        ("mini-sam", "validation.preset=dmsg", 'unknown preset "dmsg" (did you mean "dmseg"?)'),
        ("mini-sam", "validation.preset=breps-min", "searches for prompts"),
        ("mini-ft", "losses={dice=0.0, focal=0.0, iou=0.0}", "there is no enhancer: nothing would be learnt"),
        ("mini-pge-sam", "enhancer.block_kernels=[]", "block_kernels is empty"),
        ("mini-ft", "start=random", 'start = "random" needs trained = ["all"]'),
        ("mini-ft-token", "trained=['mask_decoder', 'output_token']", 'is a part of "mask_decoder"'),
        ("mini-pge-sam", "trained=['mask_decoder']", 'trained has no "enhancer"'),
        ("mini-pge-sam", "enhancer.blok=3", 'unknown key "blok"'),
        ("mini-pge-sam", "enhancer.block_kernels=[4]", "kernels of an enhancer must be odd"),
        ("mini-pge-sam", "enhancer.click_sigma=0.0", "click_sigma = 0.0: must be above 0"),
        ("lite-robust-sam", "trained=['mask_decoder']", 'trained has no "robust"'),
    ],
)
def test_wrong_choices_are_named(
    preset: str, change: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")
    changes = ("--set", change) if change else ()
    said = run_failing(capsys, preset, "--data", str(tmp_path), "--out", str(tmp_path / "out"), *changes)
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_random_base_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert "could not be loaded again" in run_failing(capsys, "mini-ft", *where, "--base-weights", "random")


def test_data_that_is_no_benchmark_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_failing(capsys, "mini-sam", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert "no such folder; give a folder that `dmseg build` wrote" in said


def test_missing_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = run_failing(capsys, "mini-sam", "--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert 'pip install "dmseg-bench[train]"' in said


def test_every_preset_is_sound_and_a_file_can_start_from_one(tmp_path: Path) -> None:
    for name in preset_names():
        # -cpu and -natural train the same models in another way
        assert load_config(name).model == name.removesuffix("-natural").replace("-cpu", "")
    own = tmp_path / "own.toml"
    own.write_text('like = "mini-pge-sam"\nmodel = "mine"\n[losses]\nfocal = 10\n', encoding="utf-8")
    found, parent = load_config(str(own), ("losses.dice=2",)), load_config("mini-pge-sam")
    assert (found.model, found.losses.focal, found.losses.dice) == ("mine", 10.0, 2.0)
    assert found.losses.reconstruction == parent.losses.reconstruction and found.batch == parent.batch


def test_ablations_differ_from_the_full_method_in_what_they_are_named_for() -> None:
    import dataclasses

    full = dataclasses.asdict(load_config("mini-pge-sam"))
    for name in ("no-pgg", "no-fr", "no-msfi", "global-mse"):
        other = dataclasses.asdict(load_config(f"mini-pge-sam-{name}"))
        different = {key for key in full if full[key] != other[key]}
        assert different in ({"model", "enhancer"}, {"model", "losses"}), name
