"""A network's two graphs, traced, written and compared with the network before anything is kept."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmseg.baselines.cards import find_object, model_cards
from dmseg.baselines.exported.graphs import (
    EMBEDDING,
    FOREGROUND,
    IMAGE,
    NO_POINT,
    OUTPUTS,
    PROMPTS,
    DecoderGraph,
    EncoderGraph,
    holds_all_masks,
    name_parts,
)
from dmseg.baselines.exported.running import KEY, RUNTIMES, load_exported
from dmseg.baselines.networks.sam import PromptedNetwork
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.baselines.registry import load_model, require_packages
from dmseg.errors import ModelError, UsageError, unknown_name
from dmseg.types import Prompts
from dmseg.version import __version__

FORMATS = tuple(RUNTIMES)
OPSET = 17
LARGEST_DIFFERENCE = 1e-3
"""Of logits, relative to the largest: what rounding in another order may change; more is a wrong graph."""
_EXAMPLE_SIZE = (97.0, 131.0)  # height, width: unlike, and not the input's, so that no branch is taken for them


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        encoder, decoder: the two files.
        difference: largest difference of logits from torch's, over clicks, a box, and the mask of the step before.
    """

    encoder: Path
    decoder: Path
    difference: float


def export_model(
    name: str,
    file_format: str,
    out: Path,
    weights: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a network as ``encoder`` and ``decoder`` files into a new folder, with ``model.json`` beside them.

    Args:
        name: a SAM-style network of ``dmseg models``.
        file_format: ``onnx`` or ``openvino``.
        out: a folder that is not there yet, or is empty.
        weights, arguments: as :func:`dmseg.baselines.load_model` takes them.

    Raises:
        UsageError: another format, a model that is no such network, or a folder that is not empty.
        ModelError: the files' answers are not the network's; nothing is kept.
        MissingDependencyError: a package is not installed.
    """
    if file_format not in FORMATS:
        raise unknown_name("format", file_format, FORMATS)
    require_packages(f"--format {file_format}", ("onnx", RUNTIMES[file_format]), file_format)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty; give --out a new folder")
    adapter = _load_network(name, weights, arguments)
    facts = _collect_facts(adapter)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        shapes = _write_graphs(adapter, facts, folder, file_format)
        difference = _compare(adapter, folder, file_format)
        described = {**facts, "encoder": shapes[0], "decoder": shapes[1], "largest_difference": difference}
        (folder / "model.json").write_text(json.dumps(described, indent=2) + "\n")
        if out.is_dir():
            out.rmdir()
        shutil.move(folder, out)
    suffix = _suffix(file_format)
    return Exported(out / f"encoder{suffix}", out / f"decoder{suffix}", difference)


def _load_network(name: str, weights: str | Path | None, arguments: Mapping[str, Any] | None) -> PromptedAdapter:
    adapter = load_model(name, weights, "cpu", arguments)
    if not isinstance(adapter, PromptedAdapter) or hasattr(adapter, "named_files"):
        raise UsageError(f'model "{name}" is no network with an encoder and a decoder; nothing to export')
    if not isinstance(adapter.network, PromptedNetwork):
        raise UsageError(f"{name} has a decoder of another layout than SAM's; it is not exported")
    if adapter.card == "gle-sam":
        raise UsageError("gle-sam runs Stable Diffusion's U-Net inside of its encoder; it is not exported")
    if adapter.card.startswith("sam-med2d") and adapter.mode == "official":
        raise UsageError("sam-med2d in mode official centres small images, which the layout cannot say: mode=iterative")
    return adapter


def _collect_facts(adapter: PromptedAdapter) -> dict[str, Any]:
    """Return what a pair of files says of itself, the same in both."""
    card = model_cards()[adapter.card]
    family = next(
        name
        for name in (adapter.card, *card.bases)
        if (place := model_cards()[name].network) is not None and find_object(place.adapter) is type(adapter)
    )
    free = holds_all_masks(adapter.network) and "mode" in card.arguments and not hasattr(adapter.network, "clear")
    return {
        "layout": 1,
        "model": adapter.name,
        "card": adapter.card,
        "family": family,
        "modes": sorted(adapter.modes, key=lambda mode: mode != adapter.mode) if free else [adapter.mode],
        "params": adapter.params,
        "weights_sha256": adapter.weights_sha256,
        "dmseg": __version__,
    }


def _suffix(file_format: str) -> str:
    return ".onnx" if file_format == "onnx" else ".xml"


def _write_graphs(
    adapter: PromptedAdapter, facts: Mapping[str, Any], folder: Path, file_format: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write both files, and return names and shapes of what goes into them."""
    network = adapter.network
    pixels = torch.zeros(1, 3, network.side, network.side)
    with torch.no_grad():
        encoded = network.encode(pixels)
    parts = name_parts(encoded)
    decoder = DecoderGraph(adapter, encoded, adapter.mode == "multi")
    given = {**parts, **_make_example_prompts(parts[EMBEDDING])}
    varying = {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}
    _write(EncoderGraph(network), {IMAGE: pixels}, list(parts), {}, folder / "encoder", facts, file_format)
    varying[OUTPUTS[0]] = {2: "height", 3: "width"}
    _write(decoder, given, list(OUTPUTS), varying, folder / "decoder", facts, file_format)
    names = {name: list(value.shape) for name, value in given.items()}
    for name in ("point_coords", "point_labels"):
        names[name][1] = "num_points"  # type: ignore[call-overload]
    return {IMAGE: list(pixels.shape)}, names


def _make_example_prompts(embedding: Tensor) -> dict[str, Tensor]:
    side = 4 * embedding.shape[-1]
    values = (
        torch.tensor([[[20.0, 30.0], [0.0, 0.0]]]),
        torch.tensor([[float(FOREGROUND), float(NO_POINT)]]),
        torch.zeros(1, 1, side, side),
        torch.ones(1),
        torch.tensor(_EXAMPLE_SIZE),
    )
    return dict(zip(PROMPTS, values, strict=True))


def _write(
    graph: nn.Module,
    given: Mapping[str, Tensor],
    outputs: list[str],
    varying: Mapping[str, Mapping[int, str]],
    path: Path,
    facts: Mapping[str, Any],
    file_format: str,
) -> None:
    import onnx

    place = path.with_suffix(".onnx")
    with torch.no_grad(), _quietly():
        torch.onnx.export(
            graph.eval(), tuple(given.values()), str(place), input_names=list(given), output_names=outputs,
            dynamic_axes=varying, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    stored = json.dumps(facts, sort_keys=True)
    if file_format == "onnx":
        model = onnx.load(str(place), load_external_data=False)
        onnx.helper.set_model_props(model, {KEY: stored})
        onnx.save(model, str(place))
        return
    import openvino

    converted = openvino.convert_model(place)
    converted.set_rt_info(stored, KEY)
    openvino.save_model(converted, path.with_suffix(".xml"), compress_to_fp16=False)
    place.unlink()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hide the tracer's warnings: the comparison afterwards says whether the trace is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _compare(adapter: PromptedAdapter, folder: Path, file_format: str) -> float:
    """Return the largest difference of logits between the files and the network, on a drawn image.

    Raises:
        ModelError: it is more than rounding.
    """
    loaded = load_exported(file_format, str(folder), arguments={"mode": adapter.mode})
    rows, columns = np.mgrid[:90, :120]
    grey = 60 + 120 * ((columns - 50) ** 2 + (rows - 40) ** 2 < 500) + 20 * np.sin(rows / 5)
    image = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    points, labels = np.array([[50, 40], [90, 70]], np.float32), np.array([1, 0], np.int8)
    box = np.array([28, 18, 72, 62], np.float32)
    nothing = (np.zeros((0, 2), np.float32), np.zeros(0, np.int8))
    steps = [Prompts(points[:1], labels[:1], None, 1), Prompts(points, labels, None, 2), Prompts(*nothing, box, 1)]
    if "points" in adapter.capabilities:
        steps.append(Prompts(points[1:], labels[1:], box, 2))
    else:
        steps = steps[2:]
    worst = 0.0
    sides = [(one, one.encode([image])) for one in (adapter, loaded)]
    states: list[Any] = [[None], [None]]
    for given in steps:
        found = []
        for index, (one, embedding) in enumerate(sides):
            answer = one.predict(embedding, [0], [given], states[index] if given.step > 1 else [None])
            states[index] = list(answer.state or [None])
            found.append(answer.logits.double())
        worst = max(worst, float((found[0] - found[1]).abs().max()))
        largest = float(found[0].abs().max())
        if not worst <= LARGEST_DIFFERENCE * max(largest, 1.0):
            raise ModelError(
                f"the {file_format} files of {adapter.name} answer otherwise than the network: logits differ by "
                f"{worst:.3g} of {largest:.3g}; nothing was kept. Please report it, with dmseg doctor"
            )
    return worst
