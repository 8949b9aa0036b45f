"""Checkpoints that ``dmseg train`` writes: the trained tensors of a network, and what they belong to.

A file is safetensors: tensors under their names in the network's ``state_dict()``, and in its header ``format``,
``model``, ``base`` (name of the network they stand on), ``base_sha256`` (of its file, empty where it was trained from
nothing) and ``config`` (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dmseg.errors import ModelError
from dmseg.files import write_bytes

FORMAT = "dmseg-trained/1"
FIELDS = ("model", "base", "base_sha256", "config")


@dataclass(frozen=True, slots=True)
class Trained:
    """A file, read: name -> tensor, and the fields of its header (:data:`FIELDS`)."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def save_trained(
    path: Path, network: nn.Module, names: Iterable[str], metadata: Mapping[str, str], half: bool = False
) -> None:
    """Write tensors of a network, atomically.

    Args:
        names: of the tensors, as in ``network.state_dict()``.
        metadata: the fields :data:`FIELDS`.
        half: store floating-point tensors as float16.
    """
    state = network.state_dict()
    tensors = {name: _to_stored(state[name], half) for name in names}
    missing = [field for field in FIELDS if field not in metadata]
    if missing:
        raise ValueError(f"metadata lacks {', '.join(missing)}")
    write_bytes(path, _sort_header(save(tensors, {"format": FORMAT, **metadata})))


def _sort_header(content: bytes) -> bytes:
    """Return a safetensors file whose metadata are in order, which the library leaves to chance: equal bytes."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def _to_stored(tensor: Tensor, half: bool) -> Tensor:
    kept = tensor.detach().to("cpu", torch.float16) if half and tensor.is_floating_point() else tensor.detach().cpu()
    return kept.contiguous().clone()


def is_trained(path: Path) -> bool:
    """Whether a file's header says that :func:`save_trained` wrote it."""
    try:
        with safe_open(path, "pt") as opened:
            return (opened.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def read_trained(path: Path) -> Trained:
    """Read a file of :func:`save_trained`; nothing in it is executed.

    Raises:
        ModelError: the file is missing, damaged, or was not written by ``dmseg train``.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file, perhaps truncated: {error}") from None
    if metadata.get("format") != FORMAT or any(field not in metadata for field in FIELDS):
        found = metadata.get("format", "none")
        raise ModelError(f"{path}: not a checkpoint of `dmseg train` (format {found}; expected {FORMAT})")
    return Trained(tensors, {field: metadata[field] for field in FIELDS})


def load_trained(network: nn.Module, trained: Trained, path: Path) -> None:
    """Copy trained tensors into a network; what the file does not hold stays.

    Raises:
        ModelError: a tensor that the network does not have, or has in another shape.
    """
    state = network.state_dict()
    for name, tensor in trained.tensors.items():
        if name not in state or state[name].shape != tensor.shape:
            here = f"shape {tuple(state[name].shape)}" if name in state else "no such tensor"
            raise ModelError(
                f'{path}: trained as "{trained.metadata["model"]}" on {trained.metadata["base"]}, which does not fit '
                f"this network: {name} has shape {tuple(tensor.shape)} there, {here} here"
            )
    with torch.no_grad():
        for name, tensor in trained.tensors.items():
            state[name].copy_(tensor)
