"""A frozen image encoder run by OpenVINO: in full precision about 2.5 times as fast on a CPU as by torch."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dmseg.baselines.networks.sam import Encoded, PromptedNetwork
from dmseg.errors import MissingDependencyError

ENCODERS = ("torch", "openvino")
"""What can run a frozen encoder."""


class _Flat(nn.Module):
    """An encoder whose result is one tuple: the embedding, then the intermediate features."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        embedding, intermediate = self.encoder(pixels)
        return (embedding, *intermediate.values())


def openvino_encoder(network: PromptedNetwork) -> Callable[[Tensor], Encoded]:
    """Return a function from (B, 3, S, S) to what ``network.encode_frozen`` returns, equal but for rounding.

    It uses as many threads as torch does now, and encodes images one by one, so that what comes of an image does not
    depend on its neighbours.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise MissingDependencyError(
            'encoder = "openvino" needs OpenVINO; install it (pip install "dmseg-bench[openvino]"), or give '
            "--set encoder=torch"
        )
    import openvino

    example = torch.zeros(1, 3, network.side, network.side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: shapes are constant here
        names = list(network.image_encoder(example)[1])
        model = openvino.convert_model(_Flat(network.image_encoder), example_input=example)
    model.reshape(list(example.shape))
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled: Any = openvino.Core().compile_model(model, "CPU", settings)

    def encode(pixels: Tensor) -> Encoded:
        rows = []
        for image in pixels:
            found = compiled(image[None].numpy())
            rows.append([torch.from_numpy(found[place].copy()) for place in range(1 + len(names))])
        embedding, *others = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return Encoded(embedding, dict(zip(names, others, strict=True)))

    return encode
