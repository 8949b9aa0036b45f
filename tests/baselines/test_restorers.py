"""Restorers before any model: names, arguments, weights, padding, tiles, the cache, and identity+X = X."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmseg.baselines import load_model
from dmseg.baselines.restorers import load_restorer, restorer_cards, split_arguments, split_cascade
from dmseg.errors import ModelError, UsageError
from dmseg.types import Prompts

torch = pytest.importorskip("torch", reason="restorers need the extra [models]")

from dmseg.baselines.networks.restoration import RestorationNetwork  # noqa: E402
from dmseg.baselines.restorers import NetworkRestorer, Restored  # noqa: E402


class Brighter(RestorationNetwork):
    """Adds a fifth of white; notes the shapes it was given."""

    multiple = 8

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pixels: Any) -> Any:
        self.seen.append(tuple(pixels.shape))
        return pixels + 0.2


def image(height: int = 53, width: int = 75, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def brighter() -> NetworkRestorer:
    return NetworkRestorer("dcpt", Brighter())


def expect(picture: Any) -> Any:
    return np.rint(np.minimum(picture / 255 + 0.2, 1) * 255).astype(np.uint8)


def test_an_image_is_padded_run_cut_clamped_and_rounded(brighter: NetworkRestorer) -> None:
    picture = image()
    (restored,) = brighter.restore([picture])
    assert brighter.network.seen == [(1, 3, 56, 80)]
    assert restored.dtype == np.uint8 and np.array_equal(restored, expect(picture))


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (8, 8)])
def test_any_size_is_restored(brighter: NetworkRestorer, shape: tuple[int, int]) -> None:
    picture = image(*shape)
    assert np.array_equal(brighter.restore([picture])[0], expect(picture))


def test_tiles_cover_the_image_with_context() -> None:
    restorer = NetworkRestorer("dcpt", Brighter(), tile=64, overlap=16, keep=False)
    picture = image(100, 150)
    assert np.array_equal(restorer.restore([picture])[0], expect(picture))
    assert len(restorer.network.seen) == 6
    assert max(shape[3] for shape in restorer.network.seen) == 96


def test_restored_images_are_kept_and_shared(brighter: NetworkRestorer) -> None:
    pictures = [image(seed=1), image(seed=2), image(seed=1)]
    first = brighter.restore(pictures)
    assert brighter.restored == 2
    other = NetworkRestorer("dcpt", Brighter())
    assert all(np.array_equal(a, b) for a, b in zip(first, other.restore(pictures), strict=True))
    assert other.restored == 0
    assert NetworkRestorer("dcpt", Brighter(), tile=64).folder != other.folder
    assert NetworkRestorer("dcpt", Brighter(), weights_sha256="0" * 64).folder != other.folder


def test_the_name_is_split_before_any_path() -> None:
    assert split_cascade("moce-ir+mobile-sam") == ("moce-ir", "mobile-sam")
    assert split_cascade("dcpt+a+b.py:Class") == ("dcpt", "a+b.py:Class")
    assert split_cascade("a+b.py:Class") is None and split_cascade("./dcpt+b.py:Class") is None
    assert split_cascade("watershed") is None
    with pytest.raises(UsageError, match="moce-ir"):
        split_cascade("mocee-ir+mobile-sam")
    with pytest.raises(UsageError, match="behind the plus"):
        split_cascade("dcpt+")


def test_arguments_go_by_prefix() -> None:
    own, rest = split_arguments({"restorer.tile": 512, "mode": "hq"})
    assert own == {"tile": 512} and rest == {"mode": "hq"}


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match=r"restorer\.tile"):
        load_restorer("dcpt", "random", arguments={"tiles": 3})
    with pytest.raises(UsageError, match="routing_noise"):
        load_restorer("dcpt", "random", arguments={"routing_noise": True})
    with pytest.raises(UsageError, match="at least 64"):
        NetworkRestorer("dcpt", Brighter(), tile=7)
    with pytest.raises(UsageError, match="no weights"):
        load_restorer("identity", "file.pth")
    with pytest.raises(UsageError, match="unknown restorer"):
        load_restorer("nafnet")
    with pytest.raises(ModelError, match="needs its weights"):
        load_restorer("dcpt-swinir")


def test_stated_parameter_counts_are_those_of_the_networks() -> None:
    import importlib

    for name, card in restorer_cards().items():
        if card.network:
            module, _, attribute = card.network.partition(":")
            with torch.device("meta"):
                network = getattr(importlib.import_module(module), attribute)(**card.build)
            assert sum(parameter.numel() for parameter in network.parameters()) == card.params, name


@pytest.fixture(scope="module")
def lightning_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as Lightning writes it: prefix net. and the options as a Namespace."""
    from dmseg.baselines.networks.moce_ir import MoCEIR

    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in MoCEIR("moce_ir_s").state_dict().items()}
    state = {f"net.{key}": torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    path = tmp_path_factory.mktemp("weights") / "last.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": {"opt": argparse.Namespace(dim=32)}}, path)
    return path


def test_official_files_are_read_strictly(lightning_file: Path) -> None:
    restorer = load_restorer("moce-ir-s", lightning_file, arguments={"keep": False})
    assert restorer.weights_sha256 and restorer.params == 11477752
    picture = image(16, 16)
    assert np.array_equal(restorer.restore([picture])[0], picture)  # all weights zero: the residual is zero
    with pytest.raises(ModelError, match="moce-ir-s"):
        load_restorer("moce-ir", lightning_file)


def test_identity_before_a_model_is_the_model_bit_for_bit() -> None:
    picture = image(96, 120)
    prompts = Prompts(np.array([[60, 50]], np.float32), np.array([1], np.int8), None, 1)
    plain, cascade = load_model("watershed"), load_model("identity+watershed")
    assert isinstance(cascade, Restored)
    assert (cascade.name, cascade.capabilities) == ("identity+watershed", plain.capabilities)
    answers = [model.predict(model.encode([picture]), [0], [prompts], [None]).logits for model in (plain, cascade)]
    assert np.array_equal(*answers)


def test_routing_noise_is_keyed_by_the_image(lightning_file: Path) -> None:
    restorer = load_restorer("moce-ir-s", lightning_file, arguments={"keep": False, "routing_noise": True})
    assert isinstance(restorer, NetworkRestorer)
    noise = restorer._noise("one")
    assert noise.shape == (10, 1, 4) and torch.equal(noise, restorer._noise("one"))
    assert not torch.equal(noise, restorer._noise("two"))
    assert 0.15 < float(noise.std()) < 0.35


def test_a_model_that_prepares_images_gets_the_restored_ones(brighter: NetworkRestorer) -> None:
    """The harness calls ``prepare`` where a model has it; the restorer must not be passed by."""
    from dmseg.baselines import PreparingAdapter

    class Preparing:
        name = "preparing"
        capabilities = frozenset({"points"})
        device = "cpu"

        def prepare(self, picture: Any) -> Any:
            return picture

        def encode_prepared(self, prepared: Any) -> Any:
            return list(prepared)

        def encode(self, images: Any) -> Any:
            return list(images)

        def predict(self, *_: Any) -> Any: ...

    cascade = Restored(brighter, Preparing())
    assert not isinstance(cascade, PreparingAdapter) and cascade.device == "cpu"
    assert np.array_equal(cascade.encode([image()])[0], expect(image()))
