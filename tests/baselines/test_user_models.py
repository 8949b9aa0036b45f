"""Users' models: imported with their neighbours, checked in words, named by all the code and files they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.baselines import load_model, model_facts
from dmseg.errors import ModelError, UsageError
from dmseg.harness.selfcheck import selfcheck
from dmseg.results import open_run, run_digest

BASE = """
import numpy as np
from dmseg.baselines import Prediction

def disc(shape, prompts, radius=9.0):
    points = prompts.points[prompts.labels == 1]
    x, y = points.mean(axis=0) if len(points) else (prompts.box[:2] + prompts.box[2:]) / 2
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (radius - np.hypot(columns - x, rows - y)).astype(np.float32)

class Base:
    name, version = "base", "1"
    capabilities = frozenset({"points", "negative_points", "box", "mask_feedback", "batched_prompts"})
    def encode(self, images): return list(images)
    def logits(self, embeddings, image_index, prompts):
        return np.stack([disc(embeddings[i].shape, given) for i, given in zip(image_index, prompts)])
    def predict(self, embeddings, image_index, prompts, state):
        return Prediction(self.logits(embeddings, image_index, prompts))
"""

LATE = """
def f(image, points, labels, box, previous):
    import neighbour_of_mine
    return image.mean(2) - neighbour_of_mine.threshold()
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_benchmark(tmp_path_factory.mktemp("benchmark") / "tiny")


@pytest.fixture
def write(tmp_path):
    def write(text, name="model.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def facts(reference, arguments=None, weights=None):
    return model_facts(load_model(reference, weights=weights, arguments=arguments), arguments, weights)


def forget_modules():
    import sys

    for name in [
        one for one in sys.modules if one.startswith("dmseg_user_model_") or one in ("helper", "mine", "mine.util")
    ]:
        del sys.modules[name]


def test_a_neighbour_can_be_imported_also_later(write):
    write("def threshold(): return 128\n", "neighbour_of_mine.py")
    path = write(LATE)
    model = load_model(f"{path}:f")
    prompts = type("P", (), {"points": np.zeros((0, 2)), "labels": np.zeros(0), "box": None, "step": 1})()
    assert model.predict(model.encode([np.full((20, 20, 3), 200, np.uint8)]), [0], [prompts], [None]).logits.min() == 72


def test_a_package_in_the_working_folder_can_be_imported(write, monkeypatch, tmp_path):
    write("", "pack_of_mine/__init__.py")
    write("def f(image, points, labels, box, previous): return image.mean(2)\n", "pack_of_mine/inside.py")
    monkeypatch.chdir(tmp_path)
    assert load_model("pack_of_mine.inside:f").name == "f"


def test_code_that_parses_the_command_line_does_not_see_ours(write, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dmseg", "evaluate", "--model", "x"])
    path = write("import argparse\nargparse.ArgumentParser().parse_args()\ndef f(*given): return given[0].mean(2)\n")
    assert load_model(f"{path}:f").name == "f"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nsys.exit('CUDA not available')\n", "must not exit"),
        ("import no_such_thing_zz\n", "run the model over a bridge"),
        ("def f(:\n", "SyntaxError"),
    ],
)
def test_code_that_cannot_be_imported_is_one_message(write, text, message):
    with pytest.raises(ModelError, match=message):
        load_model(f"{write(text)}:f")


@pytest.mark.parametrize(
    "given",
    [
        '["points", "box"]',
        '("points", "box")',
        '{"points", "box"}',
        '{"points": True, "box": 1, "mask_feedback": False}',
    ],
)
def test_capabilities_may_be_any_collection(write, given):
    path = write(BASE + f"\nclass Mine(Base): capabilities = {given}\n")
    assert load_model(f"{path}:Mine").capabilities == frozenset({"points", "box"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('capabilities = "points"', 'is the text "points"'),
        ("capabilities = 3", "give a set of"),
        ('capabilities = {"pionts"}', 'did you mean "points"'),
        ("name = None", "name is None"),
        ('name = " "', "give a text"),
    ],
)
def test_what_is_wrong_with_a_class_is_said_in_words(write, body, message):
    path = write(BASE + f"\nclass Mine(Base): {body}\n")
    with pytest.raises((ModelError, UsageError), match=message):
        load_model(f"{path}:Mine")


def test_attributes_of_a_function_are_its_facts(write):
    path = write(
        "def f(image, *given): return image.mean(2)\nf.license = 'MIT'\nf.version = '2'\nf.trained_on = 'BUSI'\n"
    )
    known = facts(f"{path}:f")
    assert (known["license"], known["version"], known["trained_on"]) == ("MIT", "2", ["BUSI"])


@pytest.mark.parametrize(
    "answer",
    [
        "self.logits(embeddings, image_index, prompts)",
        "(self.logits(embeddings, image_index, prompts), [None] * len(prompts))",
        "{'logits': self.logits(embeddings, image_index, prompts), 'state': [None] * len(prompts)}",
    ],
)
def test_plain_arrays_tuples_and_dicts_are_answers(write, tiny, tmp_path, answer):
    path = write(
        BASE + f"\nclass Mine(Base):\n    def predict(self, embeddings, image_index, prompts, state): return {answer}\n"
    )
    harness.evaluate(f"{path}:Base", tiny, tmp_path / "base", levels=["clear"])
    harness.evaluate(f"{path}:Mine", tiny, tmp_path / "mine", levels=["clear"])
    assert run_digest(tmp_path / "mine") == run_digest(tmp_path / "base")


@pytest.mark.parametrize(
    ("answer", "message"), [("None", "NoneType"), ("{'masks': 1}", "a mapping with masks"), ("'text'", "str")]
)
def test_other_answers_are_refused_in_words(write, tiny, tmp_path, answer, message):
    path = write(BASE + f"\nclass Mine(Base):\n    def predict(self, *given): return {answer}\n")
    harness.evaluate(f"{path}:Mine", tiny, tmp_path / "mine", levels=["clear"], limit=1)
    errors = open_run(tmp_path / "mine").steps["error"]
    assert errors.str.contains(message).all() and errors.str.contains("return Prediction").all()


# ---------------------------------------------------------------- names of code and files


def test_changed_weights_are_another_model_whatever_version_says(write, tiny, tmp_path):
    path = write(BASE + "\nclass Mine(Base):\n    def __init__(self, weights=None, ckpt=None): pass\n")
    one, two = write("0.5", "one.pth"), write("0.6", "two.pth")
    assert facts(f"{path}:Mine", weights=one)["weights_sha256"] != facts(f"{path}:Mine", weights=two)["weights_sha256"]
    harness.evaluate(f"{path}:Mine", tiny, tmp_path / "run", levels=["clear"], arguments={"ckpt": str(one)})
    one.write_text("0.7")
    with pytest.raises(UsageError, match=r"files\.ckpt"):
        harness.evaluate(f"{path}:Mine", tiny, tmp_path / "run", levels=["clear"], arguments={"ckpt": str(one)})


@pytest.mark.parametrize("changed", ["model.py", "helper.py", "mine/__init__.py", "mine/util.py", "mine/deep.py"])
def test_changed_code_is_another_model_whatever_version_says(write, changed):
    files = {
        "model.py": "import helper\nfrom mine import util\n" + BASE + "\ndef late():\n    from mine.deep import x\n",
        "helper.py": "A = 1\n", "mine/__init__.py": "", "mine/util.py": "B = 1\n", "mine/deep.py": "x = 1\n",
    }  # fmt: skip
    for name, text in files.items():
        write(text, name)
    forget_modules()
    path = write(files["model.py"])
    before = facts(f"{path}:Base")["source_sha256"]
    assert facts(f"{path}:Base")["source_sha256"] == before
    write(files[changed] + "\n# changed\n", changed)
    assert facts(f"{path}:Base")["source_sha256"] != before
    write("unrelated", "other.py")
    write(files[changed], changed)
    assert facts(f"{path}:Base")["source_sha256"] == before
    forget_modules()


def test_a_moved_project_is_the_same_model(write, tmp_path):
    for place in ("here", "there"):
        write("A = 1\n", f"{place}/helper.py")
        write("import helper\n" + BASE, f"{place}/model.py")
    forget_modules()
    one, two = (facts(f"{tmp_path}/{place}/model.py:Base")["source_sha256"] for place in ("here", "there"))
    forget_modules()
    assert one == two


def test_models_that_ship_are_named_by_their_version():
    assert "source_sha256" not in facts("watershed")


# ---------------------------------------------------------------- selfcheck


def verdicts(model):
    return {check.name: check for check in selfcheck(model)}


PROBABILITIES = """
import numpy as np
def prob(image, points, labels, box, previous): return 1 / (1 + np.exp(128 - image.mean(2) / 1.0))
"""
SWAPPED = """
class Swapped(Base):
    def predict(self, embeddings, image_index, prompts, state):
        from types import SimpleNamespace
        turned = [SimpleNamespace(points=one.points[:, ::-1], labels=one.labels, box=one.box) for one in prompts]
        return Prediction(self.logits(embeddings, image_index, turned))
"""
NO_BOX_WITH_CLICKS = """
class Mine(Base):
    def predict(self, embeddings, image_index, prompts, state):
        if prompts[0].box is not None and len(prompts[0].points): raise RuntimeError("sizes")
        return Base.predict(self, embeddings, image_index, prompts, state)
"""
REMEMBERS = """
class Mine(Base):
    capabilities = frozenset({"points", "box"})
    def encode(self, images):
        self.last = images[-1]
        return [None] * len(images)
    def predict(self, embeddings, image_index, prompts, state):
        logits = np.zeros((1, 96, 128), np.float32) - 1
        logits[:, : int(self.last.shape[0] // 4)] = 1
        return Prediction(logits)
"""
TRAINING = """
import torch
class Mine(Base):
    def __init__(self): self.net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
"""


def test_probabilities_are_found(write):
    found = verdicts(load_model(f"{write(PROBABILITIES)}:prob"))["logit range"]
    assert found.verdict == "failed" and "probabilities" in found.detail


def test_swapped_axes_are_found(write):
    path = write(BASE + SWAPPED)
    assert verdicts(load_model(f"{path}:Swapped"))["x and y"].verdict == "failed"
    assert verdicts(load_model(f"{path}:Base"))["x and y"].verdict == "ok"


def test_a_box_with_clicks_that_fails_is_found(write):
    path = write(BASE + NO_BOX_WITH_CLICKS)
    assert verdicts(load_model(f"{path}:Mine"))["box and click"].verdict == "failed"
    assert verdicts(load_model(f"{path}:Base"))["box and click"].verdict == "ok"


def test_a_model_that_remembers_the_last_image_is_told_so(write):
    found = verdicts(load_model(f"{write(BASE + REMEMBERS)}:Mine"))["memory"]
    assert found.verdict == "failed" and "--serial" in found.detail


def test_a_network_left_in_training_mode_is_found(write):
    pytest.importorskip("torch")
    model = load_model(f"{write(BASE + TRAINING)}:Mine")
    assert verdicts(model)["evaluation mode"].verdict == "failed"
    model.net.eval()
    assert verdicts(model)["evaluation mode"].verdict == "ok"
