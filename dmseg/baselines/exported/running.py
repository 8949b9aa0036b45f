"""Exported files as a model: the adapter of the network's family around two graphs that another runtime runs."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmseg.baselines.cards import find_object, model_cards
from dmseg.baselines.exported.graphs import EMBEDDING, FIRST_CORNER, IMAGE, LAST_CORNER, NO_POINT, OUTPUTS, PROMPTS
from dmseg.baselines.networks.sam import TABLE, Encoded
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.baselines.registry import require_packages
from dmseg.canonical import digest
from dmseg.errors import DataError, ModelError, UsageError, unknown_name
from dmseg.files import sha256_file

KEY = "dmseg"
"""Under which the metadata of a file holds what the layout itself does not say."""
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Prefix of a model's name, also name of the extra -> the package that runs it."""
_SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".onnx")}
_MASKS, _SCORES, _LOW_RES = OUTPUTS


class Graph(ABC):
    """One loaded file; runs on as many threads as torch does now.

    Attributes:
        inputs: name -> shape, None where it varies.
        facts: the metadata that :func:`~dmseg.baselines.exported.export_model` wrote, empty for other files.
    """

    inputs: dict[str, tuple[int | None, ...]]
    facts: dict[str, Any]

    @abstractmethod
    def run(self, given: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name."""


class OnnxGraph(Graph):
    """A file run by ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {
            one.name: tuple(side if isinstance(side, int) else None for side in one.shape)
            for one in self.session.get_inputs()
        }
        self.outputs = [one.name for one in self.session.get_outputs()]
        self.facts = _read_facts(self.session.get_modelmeta().custom_metadata_map.get(KEY), path)

    def run(self, given: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(self.outputs, self.session.run(None, dict(given)), strict=True))


class OpenVinoGraph(Graph):
    """A file run by OpenVINO, in full precision on the CPU."""

    def __init__(self, path: Path) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
        self.compiled: Any = core.compile_model(model, "CPU", settings)
        self.inputs = {
            one.get_any_name(): tuple(side.get_length() if side.is_static else None for side in one.partial_shape)
            for one in model.inputs
        }
        self.outputs = [one.get_any_name() for one in model.outputs]
        stored = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        self.facts = _read_facts(stored, path)

    def run(self, given: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        found = self.compiled(dict(given))
        return {name: np.array(found[place]) for place, name in enumerate(self.outputs)}


def _read_facts(stored: str | None, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(stored) if stored else {}
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise ModelError(f"{path}: its metadata under {KEY} is not what dmseg export-model writes; export it again")
    return facts


class ExportedNetwork(nn.Module):
    """Two graphs in the place of a :class:`~dmseg.baselines.networks.sam.PromptedNetwork`.

    Images and masks go through one by one, so that what comes of one does not depend on its neighbours.
    """

    def __init__(self, encoder: Graph, decoder: Graph) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.raw_pixels = len(encoder.inputs[IMAGE]) == 3  # samexporter's form with preprocessing inside
        self.parts = [name for name in decoder.inputs if name not in PROMPTS]
        self.mask_side: Any = decoder.inputs["mask_input"][-1]

    @property
    def side(self) -> int:
        """Return the side of the encoder's square input."""
        return self._side

    @side.setter
    def side(self, side: int) -> None:
        self._side = side

    def encode(self, pixels: Tensor) -> Encoded:
        """Encode normalised pixels (B, 3, S, S)."""
        rows = [self.encoder.run({IMAGE: self._lay_out(image)}) for image in pixels]
        parts = {name: torch.from_numpy(np.concatenate([row[name] for row in rows])) for name in self.parts}
        return Encoded(parts.pop(EMBEDDING), parts)

    def _lay_out(self, image: Tensor) -> NDArray[np.float32]:
        if not self.raw_pixels:
            return np.ascontiguousarray(image[None].numpy())
        table = TABLE["normalisation"]  # the padding becomes the mean, which the graph takes off again
        return np.ascontiguousarray(image.permute(1, 2, 0).numpy() * table["std"] + table["mean"], dtype=np.float32)

    def forward_prompts(
        self,
        encoded: Encoded,
        points: Tensor | None,
        labels: Tensor | None,
        box: Tensor | None,
        mask_input: Tensor | None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode N masks of one image: see :meth:`PromptedNetwork.forward_prompts`."""
        count = len(points if points is not None else box)  # type: ignore[arg-type]  # one of them is given
        parts = {EMBEDDING: encoded.embedding, **encoded.intermediate}
        shared = {name: np.ascontiguousarray(value.numpy()) for name, value in parts.items()}
        rows = []
        for mask in range(count):
            coords, kinds = _list_points(
                None if points is None or labels is None else (points[mask], labels[mask]),
                None if box is None else box[mask],
            )
            before = np.zeros((1, 1, self.mask_side, self.mask_side), np.float32)
            if mask_input is not None:
                before = np.ascontiguousarray(mask_input[mask][None].numpy(), dtype=np.float32)
            flag, size = np.full(1, mask_input is not None, np.float32), np.ones(2, np.float32)
            own: tuple[NDArray[np.float32], ...] = (coords, kinds, before, flag, size)
            found = self.decoder.run({**shared, **dict(zip(PROMPTS, own, strict=True))})
            rows.append((found[_LOW_RES], found[_SCORES]))
        low_res, scores = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True))
        if low_res.shape[1] > 1:  # SAM's single mask, then its three others
            chosen = slice(1, None) if multimask else slice(0, 1)
            low_res, scores = low_res[:, chosen], scores[:, chosen]
        return low_res, scores


def _list_points(
    clicks: tuple[Tensor, Tensor] | None, box: Tensor | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one list of points (1, K, 2) and labels (1, K): clicks, then the box's corners, or "no point" without."""
    coords = [] if clicks is None else [clicks[0].numpy()]
    kinds = [] if clicks is None else [clicks[1].numpy()]
    coords.append(np.zeros((1, 2)) if box is None else box.numpy().reshape(2, 2))
    kinds.append(np.array([NO_POINT] if box is None else [FIRST_CORNER, LAST_CORNER]))
    return np.concatenate(coords)[None].astype(np.float32), np.concatenate(kinds)[None].astype(np.float32)


# ---------------------------------------------------------------- from a name to a model


def load_exported(
    runtime: str,
    place: str,
    weights: str | Path | None = None,
    device: str = "auto",
    arguments: Mapping[str, Any] | None = None,
    precision: str = "fp32",
) -> PromptedAdapter:
    """Return the model of two exported files.

    Args:
        runtime: ``onnx`` or ``openvino``.
        place: ``ENCODER,DECODER``, or the folder that ``dmseg export-model`` wrote.
        arguments: ``mode``, of the modes that the files hold; ``like``, the network whose images are prepared alike,
            for files that dmseg did not write.

    Raises:
        UsageError: options that exported files have no use for, or files that are not there.
        ModelError: files that cannot be read, or are not an encoder and its decoder.
        MissingDependencyError: the runtime is not installed.
    """
    _refuse_options(runtime, place, weights, device, precision)
    chosen = dict(arguments or {})
    like, mode = chosen.pop("like", None), chosen.pop("mode", None)
    if chosen:
        raise UsageError(f'model "{runtime}:{place}" has no argument "{next(iter(chosen))}"; one of: like, mode')
    files = find_files(runtime, place)
    encoder, decoder = (_open_graph(runtime, path) for path in files)
    _check_pair(files, encoder, decoder)
    facts = _check_facts(files, encoder.facts, decoder.facts, like)
    adapter = _make_adapter(facts, ExportedNetwork(encoder, decoder), mode)
    adapter.name = f"{facts['model']}-{runtime}"
    adapter.card = facts["card"]
    adapter.params = facts["params"]
    named = hash_model_files(files)
    adapter.named_files = {"runtime": RUNTIMES[runtime], "files": named}  # type: ignore[attr-defined]
    adapter.weights_sha256 = digest(named)
    return adapter


def hash_model_files(files: tuple[Path, Path]) -> dict[str, str]:
    """Return role -> sha256 of the two files, and of the files beside them that hold their weights."""
    named = {}
    for role, path in zip(("encoder", "decoder"), files, strict=True):
        named[role] = sha256_file(path)
        for beside in (path.with_suffix(".bin"), path.with_name(f"{path.name}.data")):
            if beside.is_file():
                named[f"{role}_weights"] = sha256_file(beside)
    return named


def find_files(runtime: str, place: str) -> tuple[Path, Path]:
    """Return the encoder's and the decoder's file that a model's name gives.

    Raises:
        UsageError: not two files, files that are not there, or of another format.
    """
    parts = [Path(part.strip()) for part in place.split(",")]
    if len(parts) == 1 and parts[0].is_dir():
        suffix = next((one for one in _SUFFIXES[runtime] if (parts[0] / f"encoder{one}").is_file()), "")
        parts = [parts[0] / f"{role}{suffix or _SUFFIXES[runtime][0]}" for role in ("encoder", "decoder")]
    if len(parts) != 2:
        raise UsageError(f'model "{runtime}:{place}": give {runtime}:ENCODER,DECODER, or {runtime}:FOLDER')
    for path in parts:
        if path.suffix not in _SUFFIXES[runtime]:
            other = "; OpenVINO's files are run by openvino:" if path.suffix == ".xml" else ""
            raise UsageError(f"{path}: {runtime}: runs {' and '.join(_SUFFIXES[runtime])} files{other}")
        if not path.is_file():
            raise UsageError(f"{path}: no such file; dmseg export-model NAME --format {runtime} --out FOLDER writes it")
    return parts[0], parts[1]


def _refuse_options(runtime: str, place: str, weights: Any, device: str, precision: str) -> None:
    name = f"{runtime}:{place}"
    require_packages(f'model "{name}"', (RUNTIMES[runtime],), runtime)
    if weights is not None:
        raise UsageError(f'model "{name}" holds its weights; leave out --weights')
    if device not in ("auto", "cpu"):
        raise UsageError(f'model "{name}" runs on the CPU only; leave out --device {device}')
    if precision != "fp32":
        raise UsageError(f'model "{name}" has no choice of precision; leave out --precision {precision}')


def _open_graph(runtime: str, path: Path) -> Graph:
    try:
        return (OnnxGraph if runtime == "onnx" else OpenVinoGraph)(path)
    except (UsageError, DataError, ModelError):
        raise
    except Exception as error:  # each runtime has errors of its own
        package = importlib.import_module(RUNTIMES[runtime]).__version__
        line = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(f"{path}: {RUNTIMES[runtime]} {package} cannot read it: {line}") from None


def _check_pair(files: tuple[Path, Path], encoder: Graph, decoder: Graph) -> None:
    for path, graph, wanted, role in (
        (files[0], encoder, {IMAGE}, "encoder"),
        (files[1], decoder, {EMBEDDING, *PROMPTS}, "decoder"),
    ):
        lacking = sorted(wanted - set(graph.inputs))
        if lacking:
            swapped = "; is it the other one? First the encoder, then the decoder" if role == "encoder" else ""
            raise ModelError(
                f"{path}: not a SAM {role}: no input {', '.join(lacking)}, only {', '.join(graph.inputs)}{swapped}"
            )


def _check_facts(
    files: tuple[Path, Path], of_encoder: Mapping[str, Any], of_decoder: Mapping[str, Any], like: str | None
) -> dict[str, Any]:
    """Return what is known of the pair: of its metadata, or of the network that ``like`` names."""
    if of_encoder != of_decoder:
        one, other = (facts.get("model", "no model that it names") for facts in (of_encoder, of_decoder))
        raise ModelError(f"{files[0]} is of {one}, {files[1]} of {other} or of another export: give one export's two")
    networks = [name for name, card in model_cards().items() if card.network is not None]
    if of_encoder:
        if like is not None:
            raise UsageError(f"{files[0]} says what it is ({of_encoder.get('model')}); leave out --model-arg like=...")
        if of_encoder.get("family") not in networks:
            raise ModelError(f"{files[0]}: exported from a network that this version does not know; export it again")
        return dict(of_encoder)
    if like is None:
        raise ModelError(
            f"{files[0]} does not say how images are prepared for it; --model-arg like=NAME, the network it was "
            "exported from (SAM's own are sam-vit-b, sam-vit-l, sam-vit-h, mobile-sam)"
        )
    if like not in networks:
        raise unknown_name("network", like, networks)
    card = model_cards()[like]
    return {"model": like, "card": like, "family": like, "modes": ["iterative"], "params": card.params}


def _make_adapter(facts: Mapping[str, Any], network: ExportedNetwork, mode: str | None) -> PromptedAdapter:
    family = model_cards()[facts["family"]]
    assert family.network is not None
    network.side = _find_side(network, family.input_size)
    modes = facts["modes"]
    if mode is not None and mode not in modes:
        raise UsageError(f'"{facts["model"]}" was exported for mode {" or ".join(modes)}; export it with mode={mode}')
    adapter: PromptedAdapter = find_object(family.network.adapter)(facts["model"], network, mode=mode or modes[0])
    return adapter


def _find_side(network: ExportedNetwork, card_side: int | None) -> int:
    side = network.encoder.inputs[IMAGE][-1] if not network.raw_pixels else card_side
    if side is None or network.mask_side is None:
        raise ModelError("the encoder's input or the decoder's mask_input has no fixed size: not Meta's layout")
    return side
