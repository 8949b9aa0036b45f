"""Files of training, loaded as models: the base is found and checked, trained tensors strictly, messages that help."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

import dmseg  # noqa: E402
from dmseg.baselines import cards, model_cards, model_facts, weights  # noqa: E402
from dmseg.baselines.checkpoints import read_trained, save_trained  # noqa: E402
from dmseg.baselines.loading import (  # noqa: E402
    FAMILIES,
    add_modules,
    random_network,
)
from dmseg.baselines.medsam import MedSamAdapter  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.errors import ModelError, UsageError  # noqa: E402
from dmseg.files import sha256_file  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

IMAGE = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
CLICK = Prompts(np.array([[20, 10]], np.float32), np.array([1], np.int8), None, 1)


def answer(model: Any) -> Any:
    return model.predict(model.encode([IMAGE]), [0], [CLICK], [None]).logits


def write(path: Path, network: Any, names: Any, choices: Any, **fields: str) -> Path:
    known = {"model": "mine", "base": "mini-sam", "base_sha256": "", "config": json.dumps(choices)}
    save_trained(path, network, names, {**known, **fields})
    return path


class StateFiles:
    """A base in half precision, and what was trained on it: an enhancer, and a decoder alone."""

    def __init__(self, folder: Path) -> None:
        network = random_network(FAMILIES["mini-sam"])
        fields = {"model": "mini-sam", "base": "mini-sam", "base_sha256": "", "config": "{}"}
        self.base = folder / "base.safetensors"
        save_trained(self.base, network, network.state_dict(), fields, half=True)
        self.sha256 = sha256_file(self.base)
        base: Any = dmseg.load_model("mini-sam", weights=self.base)
        self.network: Any = add_modules(base.network, "mini-sam", {"enhancer": {"blocks": 2, "click_sigma": 2.0}})
        with torch.no_grad():
            torch.nn.init.normal_(self.network.enhancer.out.weight, std=0.3)
            self.network.mask_decoder.mask_tokens.weight.add_(0.1)
        self.names = [name for name in self.network.state_dict() if not name.startswith(("image_enc", "prompt_enc"))]
        self.config = {"enhancer": dataclasses.asdict(self.network.config), "robust": False}
        self.enhanced = self.write(folder / "enhanced.safetensors", self.names)
        decoder = [name for name in self.names if name.startswith("mask_decoder")]
        self.decoder = self.write(folder / "decoder.safetensors", decoder, {"enhancer": None})

    def write(self, path: Path, names: Any, choices: Any = None, **fields: str) -> Path:
        return write(path, self.network, names, choices or self.config, **{"base_sha256": self.sha256, **fields})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> StateFiles:
    return StateFiles(tmp_path_factory.mktemp("trained"))


def load(name: str, path: Path, base: Path | str, **more: Any) -> Any:
    return dmseg.load_model(name, weights=path, base_weights=str(base), **more)


def test_a_loaded_model_is_what_was_trained(files: StateFiles) -> None:
    model = load("mini-pge-sam", files.enhanced, files.base)
    assert torch.equal(answer(model), answer(SamAdapter("mine", files.network)))
    assert not torch.allclose(answer(model), answer(dmseg.load_model("mini-sam", weights=files.base)))
    assert model.network.config.blocks == 2 and model.network.config.click_sigma == 2.0
    facts = model_facts(model, {"base_weights": str(files.base)})
    assert facts["name"] == "mine" and facts["weights_sha256"] == sha256_file(files.enhanced)
    assert (
        facts["trained_on"] == ["phantoms"] and facts["params"] == model.params != model_cards()["mini-pge-sam"].params
    )
    assert facts["arguments"] == {}, "where a file lies is no choice of the run"


def test_a_decoder_alone_is_loaded_the_same_way(files: StateFiles) -> None:
    model = load("mini-ft", files.decoder, files.base)
    assert not hasattr(model.network, "enhancer")
    assert not torch.allclose(answer(model), answer(dmseg.load_model("mini-sam", weights=files.base)))


def test_equal_content_is_equal_bytes(files: StateFiles, tmp_path: Path) -> None:
    assert files.write(tmp_path / "again.safetensors", files.names).read_bytes() == files.enhanced.read_bytes()
    assert read_trained(files.enhanced).metadata["model"] == "mine"


def test_another_base_file_is_refused_and_both_are_named(files: StateFiles, tmp_path: Path) -> None:
    network = random_network(FAMILIES["mini-sam"])
    with torch.no_grad():
        network.mask_decoder.mask_tokens.weight.add_(1)
    other = write(tmp_path / "other.safetensors", network, network.state_dict(), {})
    with pytest.raises(ModelError) as caught:
        load("mini-pge-sam", files.enhanced, other)
    for part in (files.sha256[:12], sha256_file(other)[:12], "other.safetensors", "base_weights=FILE"):
        assert part in str(caught.value)


def test_an_unstated_base_and_a_random_one_are_warned_of(files: StateFiles, tmp_path: Path) -> None:
    unstated = files.write(tmp_path / "unstated.safetensors", files.names, base_sha256="")
    with pytest.warns(UserWarning, match="does not say which weights of mini-sam"):
        load("mini-pge-sam", unstated, files.base)
    with pytest.warns(UserWarning, match="random weights of mini-sam: for tests only"):
        load("mini-pge-sam", files.enhanced, "random")


def test_a_file_of_everything_needs_no_base(files: StateFiles, tmp_path: Path) -> None:
    whole = files.write(tmp_path / "whole.safetensors", files.network.state_dict())
    model = load("mini-pge-sam", whole, tmp_path / "nowhere.pth")
    assert torch.equal(answer(model), answer(SamAdapter("mine", files.network)))


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        (
            "mini-ft",
            "enhanced",
            r'it holds "mine", trained on mini-sam \(\d+ tensors of enhancer, .*--model mini-pge-sam',
        ),
        ("mini-pge-sam", "decoder", r"tensors of mask_decoder\); use --model mini-ft"),
        ("mini-sam", "enhanced", "not the weights of mini-sam: it holds .*--model mini-pge-sam"),
        ("lite-pge-sam", "enhanced", "lite-pge-sam stands on lite-medsam, but it holds .*--model mini-pge-sam"),
        ("mini-pge-sam", "base", "not the weights of mini-pge-sam: it holds .*--model mini-sam"),
    ],
)
def test_a_file_of_another_model_is_named(files: StateFiles, name: str, file: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dmseg.load_model(name, weights=getattr(files, file))


def test_tensors_are_taken_strictly(files: StateFiles, tmp_path: Path) -> None:
    lacking = files.write(tmp_path / "lacking.safetensors", files.names[:-1])
    with pytest.raises(ModelError, match=f"1 missing \\({files.names[-1]}\\)"):
        load("mini-pge-sam", lacking, files.base)
    smaller = {**files.config, "enhancer": {**files.config["enhancer"], "blocks": 1}}
    more = files.write(tmp_path / "more.safetensors", files.names, smaller)
    with pytest.raises(ModelError, match=r"unexpected \(enhancer.stages.0.1"):
        load("mini-pge-sam", more, files.base)


def test_damaged_and_foreign_files(files: StateFiles, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(files.enhanced.read_bytes()[:5000])
    with pytest.raises(ModelError, match="perhaps truncated"):
        load("mini-pge-sam", tmp_path / "cut.safetensors", files.base)
    with pytest.raises(ModelError, match="no such weights file"):
        load("mini-pge-sam", tmp_path / "none.safetensors", files.base)
    bad = files.write(tmp_path / "bad.safetensors", files.names, config="{")
    with pytest.raises(ModelError, match="its configuration is not JSON"):
        load("mini-pge-sam", bad, files.base)


def test_without_weights_the_message_says_how_to_get_them() -> None:
    with pytest.raises(ModelError, match=r'no weights of model "lite-pge-sam" ship; train it \(dmseg train\)'):
        dmseg.load_model("lite-pge-sam")
    with pytest.raises(UsageError, match=r'unknown base of "pge-sam" "sam-vit-h".*one of: medsam, sam-vit-b'):
        dmseg.load_model("pge-sam", weights="random", base="sam-vit-h")
    with pytest.raises(UsageError, match='no argument "base"'):
        dmseg.load_model("lite-pge-sam", weights="random", base="sam-vit-b")


@pytest.mark.slow
@pytest.mark.parametrize(("base", "adapter"), [("medsam", MedSamAdapter), ("sam-vit-b", SamAdapter)])
def test_pictures_are_prepared_as_the_bases_are(base: str, adapter: Any) -> None:
    assert type(dmseg.load_model("pge-sam", weights="random", base=base)) is adapter


SHIPPED = [name for name, card in model_cards().items() if card.shipped]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_loaded_unasked(name: str) -> None:
    if not weights.list_shipped()[name]:
        pytest.skip(f"the weights of {name} are not in this checkout")
    model: Any = dmseg.load_model(name)
    assert model.weights_sha256 == sha256_file(cards.find_shipped_weights(name))
    assert model.name == name and bool(answer(model).isfinite().all())


def test_shipped_weights_are_small() -> None:
    found = [cards.find_shipped_weights(name) for name, there in weights.list_shipped().items() if there]
    if len(found) < len(SHIPPED):
        pytest.skip("the shipped weights are not all in this checkout")
    assert sum(path.stat().st_size for path in found) <= 8 * 2**20
