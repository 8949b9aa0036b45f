"""From a name to a model: what ships, what other packages register, and users' own classes and functions.

Nothing is imported before it is asked for: a model that needs torch costs nothing until it is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmseg.baselines.cards import ModelCard, find_object, model_cards
from dmseg.baselines.interface import ModelAdapter, SelfTestAdapter
from dmseg.baselines.plain_function import FunctionAdapter
from dmseg.baselines.restorers import RANDOM, Restored, load_restorer, split_arguments, split_cascade
from dmseg.baselines.user_models import check_user_model, import_user_object
from dmseg.errors import DataError, MissingDependencyError, ModelError, UsageError, suggestion, unknown_name

if TYPE_CHECKING:
    from dmseg.baselines.exported import Exported
    from dmseg.baselines.flops import Cost

ENTRY_POINT_GROUP = "dmseg.models"
BRIDGE = "bridge:"
"""What the names of models in other environments begin with."""
EXPORTED = ("onnx", "openvino")
"""What the names of exported networks begin with, before a colon."""
DEVICES = "auto, cpu, cuda or cuda:N"

_OF_NETWORKS = ("torch", "segment_anything")
_RESERVED = ("name", "weights", "device", "precision")


def model_names() -> tuple[str, ...]:
    """Return the names that :func:`load_model` knows: those that ship, then those that other packages register."""
    cards = model_cards()
    return (*cards, *(name for name in _look_up_registered() if name not in cards))


def _look_up_registered() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def find_missing_packages(card: ModelCard) -> tuple[str, ...]:
    """Return the packages that a model needs and that are not installed."""
    return tuple(package for package in card.needs if importlib.util.find_spec(package) is None)


def load_model(
    name: str,
    weights: str | Path | None = None,
    device: str = "auto",
    arguments: Mapping[str, Any] | None = None,
    precision: str = "fp32",
) -> ModelAdapter | SelfTestAdapter:
    """Return a ready model.

    Args:
        name: a name of ``dmseg models``, ``pkg.mod:Class``, ``file.py:Class``, either with a plain function
            ``f(image, points, labels, box, previous_logits) -> logits`` in place of the class,
            ``bridge:FILE.toml`` (see :mod:`dmseg.baselines.bridge`), or ``onnx:ENCODER,DECODER`` and
            ``openvino:ENCODER,DECODER`` (see :mod:`dmseg.baselines.exported`); before each of them may stand
            ``restorer+`` (see :mod:`dmseg.baselines.restorers`).
        weights: a checkpoint file; None: the installed or shipped weights, never random ones; ``"random"``: seeded
            random weights, for tests.
        device: auto, cpu, cuda or cuda:N.
        arguments: keyword arguments of the constructor; those that begin with ``restorer.`` are the restorer's.
        precision: fp32, bf16 or fp16, for networks.

    Raises:
        UsageError: unknown name or argument, or an option that the model has no use for.
        ModelError: the class fails to construct or lacks part of the interface, or weights are missing or unusable.
        MissingDependencyError: the model needs packages that are not installed.
    """
    given = dict(arguments or {})
    cascade = split_cascade(name)
    if cascade is not None:
        return _load_cascade(*cascade, given, weights, device, precision)
    if name.startswith(BRIDGE):
        from dmseg.baselines.bridge import load_bridge

        return check_user_model(load_bridge(name.removeprefix(BRIDGE), weights, device, given, precision), name)
    runtime, colon, place = name.partition(":")
    if colon and runtime in EXPORTED:
        return _load_exported(runtime, place, weights, device, given, precision)
    if ":" in name:
        return check_user_model(_construct(import_user_object(name), name, given, weights, device, precision), name)
    if name in model_cards():
        return _load_built_in(name, given, weights, device, precision)
    entries = _look_up_registered()
    if name not in entries:
        hint = "; your own model: pkg.mod:Class or file.py:Class" if name.endswith(".py") or "." in name else ""
        raise UsageError(f"{unknown_name('model', name, model_names())}{hint}")
    return check_user_model(_construct(entries[name].load(), name, given, weights, device, precision), name)


def _load_cascade(
    restorer: str,
    model: str,
    given: Mapping[str, Any],
    weights: str | Path | None,
    device: str,
    precision: str,
) -> ModelAdapter:
    own, rest = split_arguments(given)
    own_weights = own.pop("weights", RANDOM if weights == RANDOM else None)
    inner = load_model(model, weights, device, rest, precision)
    return Restored(load_restorer(restorer, own_weights, resolve_device(device), own), inner)


def _load_exported(runtime: str, place: str, *options: Any) -> ModelAdapter:
    require_packages(f'model "{runtime}:{place}"', _OF_NETWORKS, runtime)
    model: ModelAdapter = find_object("exported:load_exported")(runtime, place, *options)
    return model


def export_model(
    name: str,
    file_format: str,
    out: Path,
    weights: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a SAM-style network as ONNX or OpenVINO files: see :func:`dmseg.baselines.exported.export_model`."""
    require_packages("dmseg export-model", _OF_NETWORKS, file_format if file_format in EXPORTED else EXPORTED[0])
    exported: Exported = find_object("exported:export_model")(name, file_format, out, weights, arguments)
    return exported


def _load_built_in(
    name: str, given: dict[str, Any], weights: str | Path | None, device: str, precision: str
) -> ModelAdapter | SelfTestAdapter:
    card = model_cards()[name]
    require_packages(f'model "{name}"', card.needs, card.extra)
    loader = "loading:load_trained_model" if card.bases else "loading:load_network_model"
    factory = find_object(card.factory or loader)
    _refuse_unknown(name, given, card.arguments)
    model: ModelAdapter | SelfTestAdapter = _construct(
        factory, name, {**card.arguments, **given}, weights, device, precision
    )
    return model


def require_packages(what: str, packages: Sequence[str], extra: str | None) -> None:
    """Refuse what needs packages that are not installed.

    Raises:
        MissingDependencyError: it says which, and the extra of dmseg-bench that brings them.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        advice = f'; install it with: pip install "dmseg-bench[{extra}]"' if extra else ""
        raise MissingDependencyError(f"{what} needs {', '.join(missing)}, not installed here{advice}")


def cost_of(name: str) -> Cost:
    """Return parameters and floating-point operations of a network baseline; nothing is run and no weights are needed.

    Raises:
        UsageError: an unknown model, or one that is no network.
        MissingDependencyError: its packages are not installed.
    """
    networks = [one for one, card in model_cards().items() if card.kind == "network"]
    if name not in networks:
        raise unknown_name("network", name, networks)
    card = model_cards()[name]
    require_packages(f'model "{name}"', card.needs, card.extra)
    cost: Cost = find_object("flops:cost")(find_object("loading:FAMILIES")[name].build)
    return cost


def _refuse_unknown(name: str, given: Mapping[str, Any], accepted: Mapping[str, Any]) -> None:
    for key in given:
        if key not in accepted:
            allowed = f"; one of: {', '.join(accepted)}" if accepted else "; it takes none"
            raise UsageError(f'model "{name}" has no argument "{key}"{suggestion(key, accepted)}{allowed}')


def _construct(
    target: Any, name: str, arguments: Mapping[str, Any], weights: str | Path | None, device: str, precision: str
) -> Any:
    """Return the adapter that ``target`` (class, factory, function or adapter) stands for."""
    plain = not inspect.isclass(target) and name not in model_cards()
    accepted = {} if plain else inspect.signature(target).parameters
    if "weights" not in accepted and weights is not None:
        raise UsageError(f'model "{name}" has no weights; leave out --weights')
    if "device" not in accepted and device not in ("auto", "cpu"):
        raise UsageError(f'model "{name}" runs on the CPU only; leave out --device {device}')
    if "precision" not in accepted and precision != "fp32":
        raise UsageError(f'model "{name}" has no choice of precision; leave out --precision {precision}')
    if plain:
        _refuse_unknown(name, arguments, {})
        return target if hasattr(target, "predict") else FunctionAdapter(target, name.rpartition(":")[2])
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        _refuse_unknown(name, arguments, {key: None for key in accepted if key not in _RESERVED})
    device = resolve_device(device) if "device" in accepted else device
    offered = {"name": name, "weights": weights, "device": device, "precision": precision}
    passed = {key: value for key, value in offered.items() if key in accepted}
    return _call_factory(target, name, {**passed, **arguments})


def _call_factory(target: Callable[..., Any], name: str, keywords: Mapping[str, Any]) -> Any:
    try:
        return target(**keywords)
    except (UsageError, DataError, ModelError, MissingDependencyError):
        raise
    except Exception as error:
        raise ModelError(f'model "{name}" cannot be made: {type(error).__name__}: {error}') from error


def resolve_device(device: str) -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is CUDA where torch finds it.

    Raises:
        UsageError: another word, or a CUDA device that torch does not see.
    """
    kind, _, number = device.partition(":")
    if device not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdigit()):
        raise UsageError(f'unknown device "{device}"; give {DEVICES}')
    if device == "cpu" or (device == "auto" and importlib.util.find_spec("torch") is None):
        return "cpu"
    torch = importlib.import_module("torch")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if count else "cpu"
    if count <= int(number or 0):
        raise UsageError(f'device "{device}": torch sees {count} CUDA devices here; give --device cpu, or auto')
    return device
