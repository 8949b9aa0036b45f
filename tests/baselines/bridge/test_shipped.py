"""Adapters that ship for environments of their own.

The adapter itself runs where ``DMSEG_NNINTERACTIVE_PYTHON`` names the interpreter of an environment that was made from
``nninteractive.txt``.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.baselines import load_model, model_cards
from dmseg.baselines.bridge.launching import SHIPPED, find_class
from dmseg.errors import DataError, ModelError, UsageError
from dmseg.manifests import mask_sha256
from dmseg.results import open_run
from dmseg.types import Prompts

NAMES = [name for name, card in model_cards().items() if card.kind == "bridge"]


@pytest.mark.parametrize("name", NAMES)
def test_each_has_an_adapter_a_list_of_packages_and_says_how_to_make_its_environment(name: str) -> None:
    adapter = SHIPPED / f"{name}_adapter.py"
    assert find_class(adapter)
    stated = re.search(r"^    capabilities = (\(.*\))$", adapter.read_text(), re.MULTILINE)
    assert stated and set(ast.literal_eval(stated[1])) == set(model_cards()[name].capabilities)
    with pytest.raises(UsageError, match=r"pip install -r .*txt; then give --model-arg python="):
        load_model(name, weights="random")
    assert (SHIPPED / f"{name}.txt").is_file()
    with pytest.raises(DataError, match="no such program"):
        load_model(name, weights="random", arguments={"python": "/nowhere/python"})


@pytest.fixture
def python() -> str:
    given = os.environ.get("DMSEG_NNINTERACTIVE_PYTHON")
    if not given:
        pytest.skip("set DMSEG_NNINTERACTIVE_PYTHON to the interpreter of its environment")
    return given


@pytest.mark.slow
def test_nninteractive_passes_the_self_check_with_random_weights(python: str) -> None:
    from dmseg.harness.selfcheck import FAILED, selfcheck

    model: Any = load_model("nninteractive", weights="random", arguments={"python": python, "autozoom": False})
    assert [check for check in selfcheck(model) if check.verdict == FAILED] == []


PARITY = """
from types import SimpleNamespace as Given
import numpy as np
from nninteractive_adapter import NnInteractive
from skimage.draw import line, polygon2mask

image = np.random.default_rng(0).integers(0, 255, (48, 56, 3), dtype=np.uint8)
points, labels = np.array([[40, 30], [20, 22], [50, 40]], np.float32), np.array([1, 0, 1], np.int8)
box = np.array([20, 10, 45, 40], np.float32)
scribble = Given(kind="scribble", path=np.array([[10, 10], [30, 12]], np.float32), label=1)
lasso = Given(kind="lasso", path=np.array([[30, 10], [50, 10], [50, 40]], np.float32), label=0)
ours, state, model = [], None, NnInteractive("random", autozoom=False)
(volume,) = model.encode([image])
for n, strokes in ((0, ()), (1, ()), (1, (scribble,)), (1, (scribble, lasso)), (2, (scribble, lasso))):
    given = Given(points=points[:n], labels=labels[:n], box=box, strokes=strokes, step=1)
    logits, (state,) = model.predict([volume], [0], [given], [state])
    ours.append(logits[0] > 0)
    other = Given(points=points[2:], labels=labels[2:], box=None, strokes=(), step=1)
    model.predict([volume], [0], [other], [None])  # another object in between

session, target = NnInteractive("random", autozoom=False).session, np.zeros((1, 48, 56), np.uint8)
session.set_image(volume)
session.set_target_buffer(target)
drawn = [np.zeros((1, 48, 56), np.uint8) for _ in range(2)]
drawn[0][(0, *line(10, 10, 12, 30))] = 1
drawn[1][0] = polygon2mask((48, 56), np.array([[10, 30], [10, 50], [40, 50]]))
for place, give in enumerate((
    lambda: session.add_bbox_interaction([[0, 1], [10, 41], [20, 46]], True),
    lambda: session.add_point_interaction((0, 30, 40), True),
    lambda: session.add_scribble_interaction(drawn[0], True),
    lambda: session.add_lasso_interaction(drawn[1], False),
    lambda: session.add_point_interaction((0, 22, 20), False),
)):
    np.random.seed(0)
    give()
    assert (ours[place] == (target[0] > 0)).all(), place
assert len({int(mask.sum()) for mask in ours}) > 1
print("equal", [int(mask.sum()) for mask in ours])
"""


@pytest.mark.slow
def test_every_answer_equals_the_packages_own_session(python: str) -> None:
    done = subprocess.run([python, "-c", PARITY], capture_output=True, text=True, check=False, cwd=SHIPPED)
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout


# ---------------------------------------------------------------- LISA and UFO, with stubs of the same interface


STUBS = Path(__file__).with_name("stubbed.py")
SENTENCES = {
    "alpha__a1__disc__0": ("Left disc, the big one", "the disc on the right"),
    "beta__b1__disc__0": ("a disc",),
}


def write_checkpoint(place: Path, content: Any) -> Path:
    """Write a checkpoint as torch does, and return it."""
    torch = pytest.importorskip("torch")
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, place)
    return place


def load_stubbed(name: str, tmp_path: Path, **arguments: Any) -> Any:
    torch = pytest.importorskip("torch")
    weights = write_checkpoint(tmp_path / "weights" / "model.bin", {"a": torch.zeros(2)})
    (tmp_path / "b.toml").write_text(f'model = "{STUBS}:{name}"\npython = "{sys.executable}"\n')
    given = {"shipped": str(SHIPPED), **arguments}
    place = weights.parent if name == "Lisa" else weights
    return load_model(f"bridge:{tmp_path / 'b.toml'}", weights=place, arguments=given)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken") / "bench"
    return write_tiny_benchmark(folder, levels=("clear", "lq1"), sentences=SENTENCES)


@pytest.mark.parametrize(("name", "arguments"), [("Lisa", {}), ("Lisa", {"answer": "generated"}), ("Ufo", {})])
def test_the_text_preset_runs_over_the_bridge(
    spoken: Path, tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    model = load_stubbed(name, tmp_path, **arguments)
    assert "text" in model.capabilities and re.fullmatch(r"1\+[0-9a-f]{12}", model.version)
    assert len(model.weights_sha256) == 64
    harness.evaluate(model, spoken, tmp_path / "run", preset="text")
    steps = open_run(tmp_path / "run").steps
    assert set(steps["status"]) == {"ok"}, set(steps["error"])
    halves = np.zeros((48, 64), bool)
    halves[:, :32] = True
    for row in steps.to_dict("records"):
        answered = halves if "left" in row["expression"].lower() else ~halves
        assert row["pred_digest"] == mask_sha256(answered), row["expression"]
    model.close()


def ask(model: Any, *texts: str) -> Any:
    nothing = np.zeros((0, 2), np.float32), np.zeros(0, np.int8), None, 1
    prompts = [Prompts(*nothing, text=text) for text in texts]
    (embedding,) = model.encode([np.zeros((30, 40, 3), np.uint8)])
    return np.asarray(model.predict([embedding], [0] * len(texts), prompts, [None] * len(texts)).logits)


@pytest.mark.slow
def test_where_the_model_names_no_mask_the_answer_is_empty(tmp_path: Path) -> None:
    lisa = load_stubbed("Lisa", tmp_path, answer="generated")
    assert not (ask(lisa, "nothing of this") > 0).any()
    ufo = load_stubbed("Ufo", tmp_path)
    assert not (ask(ufo, "nothing of this") > 0).any()
    with pytest.raises(Exception, match="15 tokens"):
        ask(ufo, "a broken answer")
    for model in (lisa, ufo):
        model.close()


@pytest.mark.slow
def test_lisa_is_asked_as_in_its_evaluation_and_embeds_an_image_once(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weights = write_checkpoint(tmp_path / "weights" / "model.bin", {"a": torch.zeros(2)})
    script = f"""
import sys, numpy as np
sys.path.insert(0, {str(STUBS.parent)!r})
from types import SimpleNamespace as Given
from stubbed import Lisa
model = Lisa({str(weights.parent)!r}, shipped={str(SHIPPED)!r})
from model.LISA import read
(image,) = model.encode([np.zeros((30, 40, 3), np.uint8)])
logits = model.predict([image], [0] * 3, [Given(text=t) for t in (" Left Man ", "a", "b")], [None] * 3)
print(tuple(logits.shape), model.network.embedded, model.network.passes)
print(repr(read(model._ask(" Left Man ", "[SEG]."))))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    counts, prompt = found.stdout.splitlines() or [found.stderr, ""]
    assert counts == "(3, 30, 40) 1 1"  # one embedding and one pass for three sentences
    seg = chr(60000)
    assert prompt == repr(
        "SYSTEM USER: <im_start><image><im_end>\n What is left man in this image? Please output segmentation mask. "
        f"ASSISTANT: {seg}.</s>"
    )


class Runs:
    def __reduce__(self) -> Any:
        return print, ("executed",)


@pytest.mark.parametrize("name", ["Lisa", "Ufo"])
def test_weights_that_would_run_code_are_refused_unread(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "weights" / "other.bin", {"a": Runs()})
    place = tmp_path / "weights" if name == "Lisa" else tmp_path / "weights" / "other.bin"
    (tmp_path / "b.toml").write_text(f'model = "{STUBS}:{name}"\npython = "{sys.executable}"\n')
    with pytest.raises(ModelError, match=r"refused, since reading it would run code from the file: __builtin__ print"):
        load_model(f"bridge:{tmp_path / 'b.toml'}", weights=place, arguments={"shipped": str(SHIPPED)})
    assert "executed" not in "".join(capfd.readouterr())


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give --weights FOLDER, a downloaded model of the authors"):
        load_model("lisa", arguments={"python": sys.executable})
    with pytest.raises(ModelError, match=r"code=FOLDER, a clone of https://github\.com/nnnth/UFO"):
        weights = write_checkpoint(tmp_path / "a.pth", {})
        load_model("ufo", weights=weights, arguments={"python": sys.executable})
