"""From a name to a model: names, users' own classes and functions, arguments, weights, devices; every refusal."""

from __future__ import annotations

import importlib.metadata
import sys

import numpy as np
import pytest

from dmseg.baselines import (
    CAPABILITIES,
    FunctionAdapter,
    SelfTestAdapter,
    load_model,
    model_cards,
    model_facts,
    model_names,
    registry,
)
from dmseg.baselines.cards import KINDS, find_object
from dmseg.errors import DmsegError, MissingDependencyError, ModelError, UsageError
from dmseg.types import Prompts

CLASS_FILE = '''
import numpy as np
from dmseg.baselines import Prediction

class Half:
    """The left part of every image."""
    name = "half"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self, share=0.5):
        self.share = share

    def encode(self, images):
        return [image.shape[:2] for image in images]

    def predict(self, embeddings, image_index, prompts, state):
        def one(shape):
            return np.where(np.arange(shape[1]) < self.share * shape[1], 1.0, -1.0) * np.ones(shape)
        return Prediction(np.stack([one(embeddings[i]) for i in image_index]))

def function(image, points, labels, box, previous):
    image[:] = 0
    return np.full(image.shape[:2], 1.0 if previous is None else -previous)

class NoPredict:
    name, capabilities = "no", frozenset()
    def encode(self, images): return images

class Odd(Half):
    capabilities = frozenset({"telepathy"})

class Breaks(Half):
    def __init__(self): raise RuntimeError("no licence key")

instance = Half()
'''


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my model.py"
    path.write_text(CLASS_FILE)
    return path


def test_every_entry_of_the_table_says_in_one_way_how_the_model_is_made():
    assert model_names()[: len(model_cards())] == tuple(model_cards())
    for name, card in model_cards().items():
        assert [card.factory is not None, card.network is not None, bool(card.bases)].count(True) == 1, name
    for name, card in model_cards().items():
        assert card.kind in KINDS
        assert set(card.capabilities) <= set(CAPABILITIES), name
        assert card.summary and card.license


def test_cards_say_what_the_models_take():
    for name, card in model_cards().items():
        if not card.needs and card.kind not in ("unpublished", "bridge"):
            assert load_model(name).capabilities == set(card.capabilities), name


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("brigth:Bright", "there is no dmseg/baselines/brigth.py"),
        ("disk:Disc", 'module disk has no "Disc"'),
    ],
)
def test_a_place_in_the_table_that_leads_nowhere_is_said(place, message):
    with pytest.raises(ModelError, match=message):
        find_object(place)


def test_loading_the_package_does_not_import_torch():
    import subprocess

    code = "import sys, dmseg.baselines as b; b.model_cards(); b.load_model('watershed'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r'"watershd".*did you mean "watershed".*one of: disk'):
        load_model("watershd")


def test_a_file_without_a_class_is_pointed_to_the_form():
    with pytest.raises(UsageError, match=r"file\.py:Class"):
        load_model("mymodel.py")


@pytest.mark.parametrize("option", [{"weights": "x.pth"}, {"device": "cuda"}, {"precision": "bf16"}])
def test_options_that_a_model_has_no_use_for_are_refused(option):
    with pytest.raises(UsageError, match=f'"watershed".*--{next(iter(option))}'):
        load_model("watershed", **option)


def test_the_cpu_may_be_named():
    assert load_model("watershed", device="cpu").name == "watershed"


def test_arguments_reach_the_constructor_and_unknown_ones_are_refused():
    assert load_model("disk", arguments={"radius": 0.4}).radius == 0.4
    with pytest.raises(UsageError, match=r'no argument "radus".*did you mean "radius"'):
        load_model("disk", arguments={"radus": 1})
    with pytest.raises(UsageError, match="it takes none"):
        load_model("oracle", arguments={"a": 1})


def test_a_bad_argument_is_one_message():
    with pytest.raises(ModelError, match='"disk" cannot be made: ValueError'):
        load_model("disk", arguments={"radius": "wide"})


def test_a_model_whose_packages_are_missing_names_the_extra(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'needs torch.*pip install "dmseg-bench\[models\]"'):
        load_model("sam-vit-b")


def test_a_class_of_a_file(own):
    model = load_model(f"{own}:Half", arguments={"share": 0.25})
    assert model.share == 0.25
    assert load_model(f"{own}:instance").name == "half"


def test_a_class_of_a_package():
    model = load_model("dmseg.baselines.disk:Disk", arguments={"radius": 0.3})
    assert model.radius == 0.3


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("{own}:Halv", 'has no "Halv".*did you mean "Half"'),
        ("{own}:NoPredict", "lacks predict"),
        ("{own}:Odd", 'unknown capability "telepathy"'),
        ("{own}:Breaks", "cannot be made: RuntimeError: no licence key"),
        ("{own}x.py:Half", "no such file"),
        ("no_such_package_here.mod:Class", "can be imported"),
        ("dmseg.baselines.selftest:Oracle", "self-test that sees the reference"),
    ],
)
def test_what_is_wrong_with_an_own_model_is_said(own, reference, message):
    with pytest.raises(DmsegError, match=message):
        load_model(reference.format(own=own))


@pytest.mark.parametrize("content", ["import no_such_package_here", "1 / 0", "def broken("])
def test_a_file_that_does_not_run(tmp_path, content):
    path = tmp_path / "bad.py"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"bad\.py: running the file failed"):
        load_model(f"{path}:Model")


def test_an_import_error_inside_a_package_is_not_called_a_missing_module(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_package_here")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match=r"importing half_installed failed.*no_such_package_here"):
        load_model("half_installed:Model")


def test_an_option_for_an_own_class_that_does_not_take_it(own):
    with pytest.raises(UsageError, match="has no weights"):
        load_model(f"{own}:Half", weights="w.pth")
    with pytest.raises(UsageError, match='no argument "radius"'):
        load_model(f"{own}:Half", arguments={"radius": 1})


def test_a_plain_function_gets_its_own_picture_and_its_previous_logits(own):
    model = load_model(f"{own}:function")
    assert isinstance(model, FunctionAdapter)
    image = np.full((4, 5, 3), 7, dtype=np.uint8)
    embeddings = model.encode([image])
    given = [Prompts(np.zeros((1, 2), np.float32), np.ones(1, np.int8), None, 1)]
    first = model.predict(embeddings, [0], given, [None])
    second = model.predict(embeddings, [0], given, first.state)
    assert (image == 7).all()
    assert (first.logits == 1).all() and (second.logits == -1).all()


def test_a_function_may_not_change_its_answer_afterwards():
    buffer = np.ones((4, 5))
    model = FunctionAdapter(lambda *given: buffer)
    given = [Prompts(np.zeros((1, 2), np.float32), np.ones(1, np.int8), None, 1)]
    answer = model.predict([np.zeros((4, 5, 3), np.uint8)], [0], given, [None])
    buffer[:] = -1
    assert (answer.logits == 1).all()


def test_models_of_other_packages_are_found_by_entry_point(monkeypatch):
    entry = importlib.metadata.EntryPoint("theirs", "dmseg.baselines.disk:Disk", "dmseg.models")
    monkeypatch.setattr(registry, "_look_up_registered", lambda: {"theirs": entry})
    assert "theirs" in model_names()
    assert load_model("theirs", arguments={"radius": 0.1}).radius == 0.1


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(UsageError, match="give auto, cpu, cuda or cuda:N"):
        registry.resolve_device(device)


def test_facts_of_a_model_that_ships_and_of_an_own_one(own):
    ships = model_facts(load_model("watershed"))
    assert ships["name"] == "watershed" and ships["license"] == "Apache-2.0" and ships["params"] == 0
    assert ships["arguments"]["core"] == 0.6
    before = model_facts(load_model(f"{own}:Half"))
    assert before["license"] is None and len(before["version"]) == 12
    other = own.with_name("other.py")
    other.write_text(CLASS_FILE + "\n# changed\n")
    assert model_facts(load_model(f"{other}:Half"))["version"] != before["version"]


def test_facts_must_be_writable():
    model = FunctionAdapter(lambda *given: None)
    model.paper_url = object()
    with pytest.raises(ModelError, match="paper_url"):
        model_facts(model)
    model.paper_url = float("nan")
    with pytest.raises(ModelError, match="finite"):
        model_facts(model)


def test_self_tests_know_their_answer():
    reference = np.zeros((30, 40), bool)
    reference[8:20, 10:30] = True
    given = [Prompts(np.zeros((1, 2), np.float32), np.ones(1, np.int8), None, step) for step in (1, 2, 5)]
    loaded = {name: load_model(name) for name in ("oracle", "empty", "noisy-oracle")}
    assert all(isinstance(model, SelfTestAdapter) for model in loaded.values())
    masks = {name: model.predict_from_reference([reference] * 3, given).logits > 0 for name, model in loaded.items()}
    assert (masks["oracle"] == reference).all()
    assert not masks["empty"].any()
    errors = [int((mask != reference).sum()) for mask in masks["noisy-oracle"]]
    assert errors[0] > errors[2] >= 0


def test_the_noisy_oracle_without_noise_is_the_oracle():
    reference = np.zeros((30, 40), bool)
    reference[8:20, 10:30] = True
    given = [Prompts(np.zeros((1, 2), np.float32), np.ones(1, np.int8), None, 1)]
    logits = load_model("noisy-oracle", arguments={"amplitude": 0}).predict_from_reference([reference], given).logits
    assert ((logits[0] > 0) == reference).all()


def test_a_model_of_which_nothing_is_public_says_so():
    with pytest.raises(ModelError, match="neither code nor weights are public"):
        load_model("gara-sam")
