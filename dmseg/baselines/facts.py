"""The ``model`` part of a run's record: what is known of a model, whether it ships or a user brings it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmseg.baselines.bridge import Bridge
from dmseg.baselines.cards import ModelCard, model_cards
from dmseg.baselines.interface import ModelAdapter, SelfTestAdapter
from dmseg.baselines.plain_function import FunctionAdapter
from dmseg.baselines.restorers import Restored, restorer_facts, split_arguments
from dmseg.baselines.user_models import hash_files, hash_sources, source_digest
from dmseg.canonical import plain
from dmseg.errors import ModelError
from dmseg.files import sha256_file

_STATED = ("params", "code_url", "paper_url", "license", "input_size", "trained_on", "mode")
_PLACES = ("base_weights", "python", "code")
"""Arguments that say where something lies: the sha256 of the weights, the packages' digest and the version name it."""


def model_facts(
    model: ModelAdapter | SelfTestAdapter,
    arguments: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
) -> dict[str, Any]:
    """Return the facts: name, version, params, weights, arguments, licence, links, input size, training data, mode.

    What the model states as attributes of its own goes before its card. Of a user's model, whatever it calls its
    version, the code (``source_sha256``), the weights file and files named by arguments (``files``) are hashed, so that
    a changed one is another model.

    Raises:
        ModelError: an attribute or argument that cannot be written as JSON.
    """
    if isinstance(model, Restored):
        return _cascade_facts(model, arguments or {}, weights)
    card = _card(model)
    facts: dict[str, Any] = {"name": model.name, "version": _version(model, card)}
    for key in _STATED:
        stated = getattr(model, key, None)
        facts[key] = getattr(card, key, None) if stated is None else stated
    trained_on = facts["trained_on"] or ()
    facts["trained_on"] = [trained_on] if isinstance(trained_on, str) else sorted(trained_on)
    facts["weights_sha256"] = getattr(model, "weights_sha256", None) or _hash_weights(weights)
    chosen = {**(card.arguments if card else {}), **(arguments or {})}
    facts["arguments"] = {key: value for key, value in chosen.items() if key not in _PLACES}
    if isinstance(model, Bridge):
        facts |= {key: value for key, value in model.named_files.items() if value}
        facts["bridge"] = model.environment
    elif card is not None:
        facts |= getattr(model, "named_files", {})  # of an exported network
    else:
        named = {"source_sha256": hash_sources(_code_of(model)), "files": hash_files(facts["arguments"])}
        facts |= {key: value for key, value in named.items() if value}
    try:
        record: dict[str, Any] = plain(facts)
    except ValueError as error:
        raise ModelError(f'model "{model.name}": {error}') from None
    _require_json(record, model.name)
    return record


def _code_of(model: Any) -> Any:
    """Return the class, or the function inside of a wrapped one, whose file is the model's."""
    return model.function if isinstance(model, FunctionAdapter) else type(model)


def _hash_weights(weights: str | Path | None) -> str | None:
    return sha256_file(Path(weights)) if weights is not None and Path(weights).is_file() else None


def _cascade_facts(model: Restored, arguments: Mapping[str, Any], weights: str | Path | None) -> dict[str, Any]:
    """Return the facts of the model behind a restorer, under the cascade's name, and those of the restorer."""
    own, rest = split_arguments(arguments)
    facts = model_facts(model.model, rest, weights)
    facts |= {"name": model.name, "params": model.params, "weights_sha256": model.weights_sha256}
    return {**facts, "restorer": restorer_facts(model.restorer, own)}


def _card(model: ModelAdapter | SelfTestAdapter) -> ModelCard | None:
    # Whoever brings a model may call it as he likes: over a bridge, only what ships has a card.
    name = getattr(model, "card", None) or ("" if isinstance(model, Bridge) else model.name)
    ships = type(model).__module__.startswith("dmseg.baselines.") and name in model_cards()
    return model_cards()[name] if ships else None


def _version(model: ModelAdapter | SelfTestAdapter, card: ModelCard | None) -> str:
    stated = getattr(model, "version", None)
    if stated is not None:
        return str(stated)
    if card is not None:
        return card.version
    return source_digest(type(model)) or "unversioned"


def _require_json(record: Mapping[str, Any], name: str) -> None:
    for key, value in record.items():
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, (str, int, float, bool, list, dict, type(None))):
                raise ModelError(f'model "{name}": {key} is {item!r}; give text, numbers, or lists of them')
