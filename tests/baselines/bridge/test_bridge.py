"""A model in another process answers as in this one; what it does wrong there costs its own masks only."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.baselines import load_model, model_facts
from dmseg.baselines.bridge import dmseg_bridge as frames
from dmseg.baselines.bridge import load_isolated
from dmseg.errors import DataError, ModelError, UsageError
from dmseg.results import open_run, run_digest
from dmseg.types import Prompts

MODELS = Path(__file__).with_name("models_elsewhere.py")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_benchmark(tmp_path_factory.mktemp("benchmark") / "tiny")


def write_bridge(where: Path, model: str = "models_elsewhere.py:Grower", **keys: str) -> str:
    """Write a bridge file to this interpreter beside a copy of the models; return the model's name."""
    shutil.copy(MODELS, where)
    lines = [f'model = "{model}"', *(f"{key} = {value}" for key, value in keys.items())]
    if not {"command", "container"} & set(keys):
        lines.append(f'python = "{sys.executable}"') if "python" not in keys else None
    path = where / "elsewhere.toml"
    path.write_text("\n".join(lines) + "\n")
    return f"bridge:{path}"


def ask(x: float = 10.0, step: int = 1) -> Prompts:
    return Prompts(np.array([[x, 12.0]], np.float32), np.ones(1, np.int8), None, step)


IMAGE = np.full((48, 64, 3), 90, np.uint8)


def test_a_run_over_the_bridge_has_the_digest_of_the_run_in_process(tiny, tmp_path):
    harness.evaluate(f"{MODELS}:Grower", tiny, tmp_path / "in")
    harness.evaluate(write_bridge(tmp_path), tiny, tmp_path / "over")
    assert run_digest(tmp_path / "over") == run_digest(tmp_path / "in")
    record = open_run(tmp_path / "over").info["model"]
    assert (record["name"], record["version"], record["license"]) == ("grower", "3", "MIT")
    assert record["trained_on"] == ["BUSI"]
    assert record["bridge"]["python"] == sys.version.split()[0]
    assert len(record["bridge"]["packages_sha256"]) == 64
    assert "made a grower" in (tmp_path / "over" / "model.log").read_text()


@pytest.mark.slow
def test_worker_processes_have_a_bridge_each(tiny, tmp_path):
    name = write_bridge(tmp_path)
    harness.evaluate(name, tiny, tmp_path / "one", levels=["clear"])
    harness.evaluate(name, tiny, tmp_path / "two", levels=["clear"], jobs=2)
    assert run_digest(tmp_path / "one") == run_digest(tmp_path / "two")


@pytest.mark.parametrize("fault", ["raise", "memory"])
def test_what_a_model_raises_is_recorded_as_in_process(tiny, tmp_path, fault):
    arguments = {"fault": fault}
    harness.evaluate(f"{MODELS}:Grower", tiny, tmp_path / "in", arguments=arguments, levels=["clear"])
    harness.evaluate(write_bridge(tmp_path), tiny, tmp_path / "over", arguments=arguments, levels=["clear"])
    assert run_digest(tmp_path / "over") == run_digest(tmp_path / "in")
    assert (open_run(tmp_path / "in").steps["status"] != "ok").any()


@pytest.mark.parametrize(("fault", "status"), [("die", "error"), ("hang", "timeout")])
@pytest.mark.slow
def test_a_killed_or_hanging_model_costs_its_own_rows(tiny, tmp_path, fault, status):
    harness.evaluate(f"{MODELS}:Grower", tiny, tmp_path / "sound", levels=["clear"])
    name = write_bridge(tmp_path, timeout_s="0.6")
    harness.evaluate(name, tiny, tmp_path / "faulty", arguments={"fault": fault}, levels=["clear"])
    sound, faulty = (open_run(tmp_path / place).steps for place in ("sound", "faulty"))
    merged = pd.merge(sound, faulty, on=["mask_id", "level", "step"], suffixes=("", "_faulty"))
    failed = merged["status_faulty"] != "ok"
    assert set(merged.loc[failed, "status_faulty"]) == {status}
    assert failed.any() and (merged.loc[failed, "step"] >= 2).all()
    same = merged[~failed]
    assert (same["pred_digest"] == same["pred_digest_faulty"]).all()
    assert len(same) > 2 * failed.sum()


def test_states_are_made_again_in_a_new_process(tmp_path):
    model = load_model(write_bridge(tmp_path))
    embedding = model.encode([IMAGE])
    first = model.predict(embedding, [0], [ask()], [None])
    second = model.predict(embedding, [0], [ask(step=2)], first.state)
    model._drop()
    again = model.predict(embedding, [0], [ask(step=3)], second.state)
    assert again.logits.max() == pytest.approx(6.0 + 2, abs=0.6)


def test_what_nobody_holds_is_forgotten_on_the_other_side(tmp_path):
    model = load_model(write_bridge(tmp_path))
    held = model.encode([IMAGE] * 3)
    numbers = sorted(one.number for one in held)
    del held
    gc.collect()
    assert sorted(model._kept.released) == numbers
    held = model.encode([IMAGE])
    assert not model._kept.released and held


def test_a_plain_function_elsewhere(tmp_path):
    model = load_model(write_bridge(tmp_path, "models_elsewhere.py:plain"))
    assert "batched_prompts" not in model.capabilities
    image = np.zeros((20, 20, 3), np.uint8)
    image[5:9] = 200
    answer = model.predict(model.encode([image]), [0], [ask()], [None])
    assert np.array_equal(answer.logits[0] > 0, image[..., 0] > 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"python": '"/no/such/python"'}, "no such program"),
        ({"python": f'"{sys.executable}"', "command": '["x"]'}, "exactly one of python, command and container"),
        ({"folder": '"nowhere"'}, "does not exist"),
        ({"pythn": '"x"'}, 'unknown key "pythn"'),
        ({"container": '{ engine = "dockr", image = "x" }'}, 'did you mean "docker"'),
    ],
)
def test_a_bridge_file_with_a_mistake_is_refused(tmp_path, keys, message):
    with pytest.raises((DataError, UsageError), match=message):
        load_model(write_bridge(tmp_path, **keys))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models_elsewhere.py:Nobody", "Nobody"),
        ("missing.py:Model", "no such Python file"),
    ],
)
def test_a_model_that_does_not_load_elsewhere_says_why(tmp_path, model, message):
    with pytest.raises(ModelError, match=message):
        load_model(write_bridge(tmp_path, model))


def test_a_command_that_speaks_something_else_is_named(tmp_path):
    with pytest.raises(ModelError, match="something else than answers"):
        load_model(write_bridge(tmp_path, command='["sh", "-c", "echo hello, I am a shell; sleep 5"]'))
    with pytest.raises(ModelError, match="exit status 3"):
        load_model(write_bridge(tmp_path, command='["sh", "-c", "exit 3"]'))


def test_hostile_frames_take_no_memory():
    for header in (b'{"arrays": [["float64", [99999999, 99999999]]]}', b'{"arrays": [["object", [1]]]}', b"[", b"{}"):
        with pytest.raises(frames.ProtocolError):
            frames.parse_header(header)
    with pytest.raises(frames.ProtocolError, match="DSB1"):
        frames.check_preamble(b"Hello, w")
    with pytest.raises(frames.ProtocolError, match="at most"):
        frames.check_preamble(b"DSB1\xff\xff\xff\xff")


def test_an_isolated_model_gives_the_same_run(tiny, tmp_path):
    harness.evaluate("watershed", tiny, tmp_path / "in", levels=["clear"])
    harness.evaluate("watershed", tiny, tmp_path / "isolated", levels=["clear"], isolate=True)
    assert run_digest(tmp_path / "isolated") == run_digest(tmp_path / "in")
    inside, outside = (open_run(tmp_path / place).info for place in ("in", "isolated"))
    assert inside["run_key"] == outside["run_key"]
    assert outside["model"]["bridge"]["command"] == "isolated"


@pytest.mark.slow
def test_an_isolated_network_gives_the_same_run(tiny, tmp_path):
    pytest.importorskip("torch", reason="network baselines need the extra [models]")
    harness.evaluate("mini-sam", tiny, tmp_path / "in", levels=["clear"], limit=1)
    harness.evaluate("mini-sam", tiny, tmp_path / "isolated", levels=["clear"], limit=1, isolate=True)
    assert run_digest(tmp_path / "isolated") == run_digest(tmp_path / "in")


def test_a_model_that_looks_into_its_callers_frames_finds_nothing_when_isolated(tiny, tmp_path):
    harness.evaluate(f"{MODELS}:Peeking", tiny, tmp_path / "in", levels=["clear"])
    harness.evaluate(f"{MODELS}:Peeking", tiny, tmp_path / "isolated", levels=["clear"], isolate=True)
    assert open_run(tmp_path / "in").steps["dice"].mean() == 1  # what the harness cannot prevent in its own process
    assert open_run(tmp_path / "isolated").steps["dice"].max() == 0


def test_an_isolated_model_reaches_neither_references_nor_network_nor_processes(tiny, tmp_path, monkeypatch):
    model = load_isolated(f"{MODELS}:Prying", None, "auto", {"secret": str(tiny)}, "fp32", [tiny])
    if model.environment["files"] != "hidden":
        pytest.skip("this system gives no namespaces to an ordinary process")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("DMSEG_TEST_PORT", str(server.getsockname()[1]))
        answer = model.predict(model.encode([IMAGE]), [0], [ask()], [None])
    assert answer.logits.max() == -0.5


def test_a_model_in_the_hidden_folder_is_refused(tmp_path):
    shutil.copy(MODELS, tmp_path)
    with pytest.raises(UsageError, match="must not see"):
        load_isolated(f"{tmp_path / MODELS.name}:Grower", None, "auto", {}, "fp32", [tmp_path])


def test_self_tests_are_not_isolated():
    with pytest.raises(ModelError, match="self-test"):
        load_isolated("oracle", None, "auto", {}, "fp32", [])


@pytest.mark.slow
def test_an_environment_with_conflicting_pins_gives_the_same_run(tiny, tmp_path):
    """Another numpy major version, in the oldest Python at hand; needs the package index."""
    found = [shutil.which(f"python3.{minor}") for minor in (8, 9, 10, 11)]
    found[:0] = sorted(map(str, Path.home().glob(".pyenv/versions/3.[89]*/bin/python")))
    older = next(
        (one for one in found if one and subprocess.run([one, "-c", ""], capture_output=True).returncode == 0),
        sys.executable,
    )
    subprocess.run([older, "-m", "venv", tmp_path / "env"], check=True)
    other = tmp_path / "env" / "bin" / "python"
    subprocess.run([other, "-m", "pip", "install", "--quiet", "numpy<2"], check=True)
    harness.evaluate(f"{MODELS}:Grower", tiny, tmp_path / "in", levels=["clear"])
    harness.evaluate(write_bridge(tmp_path, python=f'"{other}"'), tiny, tmp_path / "over", levels=["clear"])
    assert run_digest(tmp_path / "over") == run_digest(tmp_path / "in")
    elsewhere = open_run(tmp_path / "over").info["model"]["bridge"]
    assert elsewhere["numpy"].startswith("1.") and not np.__version__.startswith("1.")


def test_the_other_side_is_python_3_8():
    import ast

    ast.parse(Path(frames.__file__).read_text(), feature_version=(3, 8))


def test_facts_name_the_other_side(tmp_path):
    facts = model_facts(load_model(write_bridge(tmp_path, name='"mine"')))
    assert facts["name"] == "mine"
    assert facts["bridge"]["network"] == "shared"
