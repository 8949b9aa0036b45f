"""The frozen encoder by OpenVINO is torch's but for rounding."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from small_training import PLAIN  # noqa: E402

from dmseg.errors import MissingDependencyError, UsageError  # noqa: E402
from dmseg.training import load_config  # noqa: E402
from dmseg.training.frozen import openvino_encoder  # noqa: E402
from dmseg.training.networks import build_trainable_model  # noqa: E402


def network(preset: str = "mini-sam"):
    return build_trainable_model(load_config(preset), None, torch.device("cpu")).network.eval()


def test_it_gives_the_features_that_torch_gives_whatever_else_is_in_the_batch() -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    model = network()
    encode = openvino_encoder(model)
    pixels = torch.rand(2, 3, model.side, model.side)
    with torch.no_grad():
        expected = model.encode_frozen(pixels)
    found = encode(pixels)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-3, atol=1e-4)
    assert list(found.intermediate) == list(expected.intermediate)
    for name, value in expected.intermediate.items():
        torch.testing.assert_close(found.intermediate[name], value, rtol=1e-3, atol=1e-4)
    assert torch.equal(encode(pixels[1:]).embedding, found.embedding[1:])


def test_without_openvino_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"openvino.*encoder=torch"):
        openvino_encoder(network())


def test_an_encoder_that_trains_cannot_be_frozen() -> None:
    with pytest.raises(UsageError, match="needs a frozen encoder"):
        load_config("mini-sam", ["encoder=openvino"])
    load_config("mini-ft", [*PLAIN, "encoder=openvino"])
