"""The commands evaluate, models and digest: what they print, their exit codes, and that errors are one message."""

from __future__ import annotations

import pytest
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.baselines import model_names, registry


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return write_tiny_benchmark(tmp_path_factory.mktemp("evaluate") / "bench", levels=("clear", "lq2"))


def test_evaluate_prints_a_table_what_it_wrote_and_what_is_next(run, bench, tmp_path):
    code, out, _ = run("evaluate", "--model", "oracle", "--data", bench, "--out", tmp_path / "run")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["clear", "1.000", "1.000", "1.000", "0.0"] in rows and ["lq2", "1.000", "1.000", "1.000", "0.0"] in rows
    assert "5 images, 8 objects, 80 rows" in out
    assert f"next: dmseg summary {tmp_path / 'run'}" in out


def test_choices_reach_the_run(run, bench, tmp_path):
    model = ("--model", "disk", "--model-arg", "radius=0.2", "--device", "cpu")
    what = (
        "--split",
        "train",
        "--levels",
        "lq2",
        "--limit",
        1,
        "--seed",
        3,
        "--preset",
        "box",
        "--corrective",
        "edt-max",
    )
    how = (
        "--chunk",
        2,
        "--batch-images",
        2,
        "--grid",
        64,
        "--boundary",
        "pixel",
        "--hd95",
        "pooled",
        "--submitter",
        "me",
    )
    assert run("evaluate", *model, "--data", bench, "--out", tmp_path / "run", *what, *how)[0] == 0
    info = harness.open_run(tmp_path / "run").info
    assert info["model"]["arguments"] == {"radius": 0.2}
    assert {info["protocol"][key] for key in ("preset", "corrective", "seed")} == {"box", "edt-max", 3}
    assert info["benchmark"]["split"] == ["train"] and info["benchmark"]["levels"] == ["lq2"]
    assert (info["benchmark"]["limit"], info["chunk"], info["batch_images"], info["submitter"]) == (1, 2, 2, "me")
    assert info["metrics"] == {"grid": 64, "boundary": "pixel", "taus": [1, 2, 3, 5], "hd95": "pooled"}


def test_errors_of_the_model_are_shown_and_give_exit_code_1(run, bench, tmp_path):
    (tmp_path / "bad.py").write_text("def bad(*given):\n    raise ValueError('not today')\n")
    code, out, err = run("evaluate", "--model", f"{tmp_path}/bad.py:bad", "--data", bench, "--out", tmp_path / "run")
    assert code == 1
    assert "80 rows have errors" in err and "step 1: error: ValueError: not today" in err
    assert "Traceback" not in err and "next:" in out


def test_a_shard_says_what_is_left(run, bench, tmp_path):
    arguments = ("evaluate", "--model", "disk", "--data", bench, "--out", tmp_path / "run", "--shard")
    code, out, _ = run(*arguments, "2/2")
    assert code == 0 and "5 work units are left to the others" in out
    code, out, _ = run(*arguments, "1/2")
    assert code == 0 and "80 rows" in out


def test_a_dry_run_counts_and_writes_nothing(run, bench, tmp_path):
    code, out, _ = run("evaluate", "--model", "disk", "--data", bench, "--out", tmp_path / "run", "--dry-run")
    assert code == 0
    assert "5 images, 8 objects, 2 levels: 10 work units, 80 rows" in out and "nothing was changed" in out
    assert not (tmp_path / "run").exists()


def test_without_data_it_says_that_phantoms_are_used(run, bench, tmp_path, monkeypatch):
    monkeypatch.setattr("dmseg.build.phantom_benchmark", lambda limit, track: bench)
    monkeypatch.chdir(tmp_path)
    code, _, err = run("evaluate", "--model", "disk")
    assert code == 0 and "no --data given: synthetic images, the phantom edition" in err
    assert harness.open_run(tmp_path / "runs" / "disk").info["n_masks"] == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "watershd"], 'did you mean "watershed"'),
        (["--model", "disk", "--preset", "boxx"], 'did you mean "box"'),
        (["--model", "disk", "--levels", "lq4"], 'unknown level "lq4"'),
        (["--model", "disk", "--split", "tests"], 'unknown split "tests"'),
        (["--model", "disk", "--shard", "2"], "give i/n"),
        (["--model", "disk", "--model-arg", "radius"], "give key=value"),
        (["--model", "disk", "--model-arg", "radius=wide"], "cannot be made"),
        (["--model", "disk", "--data", "no/such/folder"], "no such folder"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(run, bench, tmp_path, arguments, message):
    code, _, err = run("evaluate", "--data", bench, "--out", tmp_path / "run", *arguments)
    assert code == 2 and message in err and err.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_models_lists_all_with_what_is_missing(run, monkeypatch):
    monkeypatch.setattr("dmseg.baselines.find_missing_packages", lambda card: card.needs)
    code, out, _ = run("models")
    assert code == 0
    assert all(any(line.startswith(name) for line in out.splitlines()) for name in model_names())
    (line,) = (line for line in out.splitlines() if line.startswith("sam-vit-b "))
    assert "[needs torch, segment_anything: not installed]" in line


def test_models_shows_one(run, monkeypatch):
    code, out, _ = run("models", "watershed")
    assert code == 0 and "Vincent and Soille" in out and "core=0.6" in out
    monkeypatch.setattr("dmseg.baselines.find_missing_packages", lambda card: card.needs)
    _, out, _ = run("models", "sam-vit-b")
    assert 'pip install "dmseg-bench[models]"' in out and "sam_vit_b_01ec64.pth" in out
    code, _, err = run("models", "sam-vit-bb")
    assert code == 2 and 'did you mean "sam-vit-b"' in err


def test_models_of_other_packages_are_listed(run, monkeypatch):
    import importlib.metadata

    entry = importlib.metadata.EntryPoint("theirs", "dmseg.baselines.disk:Disk", "dmseg.models")
    monkeypatch.setattr(registry, "_look_up_registered", lambda: {"theirs": entry})
    assert "theirs            registered" in run("models")[1]
    assert "it has no card" in run("models", "theirs")[1]


def test_digest_prints_the_digest(run, bench, tmp_path):
    run("evaluate", "--model", "disk", "--data", bench, "--out", tmp_path / "run")
    code, out, _ = run("digest", tmp_path / "run")
    assert code == 0 and out.strip() == harness.run_digest(tmp_path / "run") and len(out.strip()) == 64
    code, _, err = run("digest", tmp_path)
    assert code == 2 and "no run.json there" in err


def test_missing_weights_are_said_before_phantoms_are_built(run, monkeypatch):
    monkeypatch.setattr("dmseg.build.phantom_benchmark", lambda limit=None: pytest.fail("built for nothing"))
    pytest.importorskip("torch")
    code, _, err = run("evaluate", "--model", "lite-medsam")
    assert code == 2 and "dmseg weights" in err
