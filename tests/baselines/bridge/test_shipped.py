"""Adapters that ship for environments of their own.

The adapter itself runs where ``DMSEG_NNINTERACTIVE_PYTHON`` names the interpreter of an environment that was made from
``nninteractive.txt``.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from typing import Any

import pytest

from dmseg.baselines import load_model, model_cards
from dmseg.baselines.bridge.launching import SHIPPED, find_class
from dmseg.errors import DataError, UsageError

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
