"""Networks by name: from their table entry and a weights file to an adapter.

What a network is made of stands in ``models.toml``: the adapter and the builder of a network of its own, or the base
and the addition of one that is trained here. ``weights`` is a file, None for the installed or shipped one, or
``"random"`` for seeded random weights in tests. Files are accepted strictly (:mod:`dmseg.baselines.checkpoints`).

A file of ``dmseg train`` names the network it stands on, the sha256 of that network's file and its own configuration;
it holds the trained tensors only. Loading builds the base from its official, installed or shipped file, puts on it what
the configuration says, and copies the trained tensors in.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dmseg.baselines import checkpoints
from dmseg.baselines.cards import ModelCard, NetworkPlace, find_object, find_shipped_weights, model_cards
from dmseg.baselines.checkpoints import Checkpoint, Trained, is_trained, load_trained, read_trained
from dmseg.baselines.networks.robust_sam import robust_on
from dmseg.baselines.networks.sam import TABLE, PromptedNetwork
from dmseg.baselines.pge_sam import EnhancedNetwork, enhancer_config
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.baselines.registry import find_missing_packages
from dmseg.errors import ModelError, UsageError, unknown_name
from dmseg.files import sha256_file

RANDOM, AUTO = "random", "auto"
_SEED = 0


@dataclass(frozen=True, slots=True)
class Family:
    """How a model is made.

    Attributes:
        adapter: its class.
        build: makes the network.
        layout: a label shared by checkpoint files of equal keys and shapes.
        companions: reads what lies in files beside the checkpoint, from their folder.
        bases: networks that the model may stand on, the default first; empty for a network of its own, which has a file
            of its own.
        addition: what is put on the base (:func:`add_modules`).
    """

    adapter: Callable[..., PromptedAdapter]
    build: Callable[..., PromptedNetwork]
    layout: str
    companions: Callable[[PromptedNetwork, Path], None] | None = None
    bases: tuple[str, ...] = ()
    addition: Mapping[str, Any] = field(default_factory=dict)


def _call(place: str, *given: Any, **named: Any) -> Any:
    """Call what a place names; imported now, since some networks need packages that others do without."""
    return find_object(place)(*given, **named)


def _read_family(name: str) -> Family:
    card = model_cards()[name]
    if card.network is None:
        base = _read_family(card.bases[0])
        return Family(
            base.adapter,
            lambda: add_modules(base.build(), card.bases[0], card.addition),
            f"{base.layout} with {card.addition}",
            bases=card.bases,
            addition=card.addition,
        )
    place = card.network
    return Family(
        partial(_call, place.adapter),
        partial(_call, place.build, **place.arguments),
        _describe_layout(place),
        None if place.companions is None else partial(_call, place.companions),
    )


def _describe_layout(place: NetworkPlace) -> str:
    if place.file_of is not None:
        other = model_cards()[place.file_of].network
        place = place if other is None else other
    return f"{place.build} {place.arguments}"


FAMILIES = {name: _read_family(name) for name, card in model_cards().items() if card.network or card.bases}
"""How each network is made, by name."""


def load_network_model(
    name: str, weights: str | Path | None, device: str, precision: str, mode: str = "iterative", **shape: str
) -> PromptedAdapter:
    """Return the adapter of network baseline ``name`` with its weights on ``device``.

    ``shape`` chooses among a model's networks, where it has several.

    Raises:
        ModelError: weights that are missing, unreadable, or those of another model.
    """
    family = FAMILIES[name]
    if weights == RANDOM:
        network = random_network(family, **shape)
        digest = None
    else:
        path = Path(weights) if weights is not None else own_file(name)
        network = family.build(**shape)
        digest = load_weights(name, network, path)
        if family.companions is not None:
            family.companions(network, path.parent)
    adapter = family.adapter(name, network, device=device, mode=mode, precision=precision)
    adapter.weights_sha256 = digest
    return adapter


def load_trained_model(
    name: str, weights: str | Path | None, device: str, precision: str, base: str = AUTO, base_weights: str = AUTO
) -> PromptedAdapter:
    """Return the adapter of a model that stands on another network; images are prepared as the base's are.

    Args:
        name: of the model.
        weights: a file of ``dmseg train``; None: the one that ships; ``"random"``: seeded random weights of base and
            addition, for tests (an enhancer then changes nothing: its last layer starts at zero).
        base: the network it stands on; ``auto``: the one that the file names, or the default.
        base_weights: file of the base network, ``random``, or ``auto``: the installed or shipped one.

    Raises:
        UsageError: a base that the model cannot stand on.
        ModelError: weights that are missing, unreadable, of another model, or trained on other weights of the base.
    """
    family = FAMILIES[name]
    if base != AUTO and base not in family.bases:
        raise unknown_name(f'base of "{name}"', base, family.bases)
    if weights == RANDOM:
        base = family.bases[0] if base == AUTO else base
        network = random_network(
            replace(family, build=lambda: add_modules(FAMILIES[base].build(), base, family.addition))
        )
        return FAMILIES[base].adapter(name, network, device=device, precision=precision)
    path = Path(weights) if weights is not None else find_shipped_weights(name)
    trained = read_trained(path)
    config = _config(name, trained, path)
    stands_on = _base(name, base, trained, path)
    complete = _check_tensors(name, stands_on, config, trained, path)
    network = FAMILIES[stands_on].build() if complete else _base_network(stands_on, trained, path, base_weights)
    network = add_modules(network, stands_on, config)
    load_trained(network, trained, path)
    adapter = FAMILIES[stands_on].adapter(trained.metadata["model"], network, device=device, precision=precision)
    adapter.card = name
    adapter.weights_sha256 = sha256_file(path)
    return adapter


def _config(name: str, trained: Trained, path: Path) -> dict[str, Any]:
    """Return the file's configuration, of the kind that ``name`` is."""
    try:
        config = json.loads(trained.metadata["config"])
    except ValueError as error:
        raise ModelError(f"{path}: its configuration is not JSON: {error}") from None
    if not isinstance(config, dict) or kind_of(config) != kind_of(FAMILIES[name].addition):
        raise ModelError(f"{path}: not the weights of {name}: {contents(trained)}")
    return config


def _base(name: str, base: str, trained: Trained, path: Path) -> str:
    """Return the network that a file stands on, if ``name`` can stand on it and no other was asked for."""
    stated, allowed = trained.metadata["base"], FAMILIES[name].bases
    if stated not in allowed:
        raise ModelError(f"{path}: {name} stands on {' or '.join(allowed)}, but {contents(trained)}")
    if base not in (AUTO, stated):
        raise ModelError(
            f'{path}: base={base} was asked for, but "{trained.metadata["model"]}" was trained on {stated}'
        )
    return stated


def _check_tensors(name: str, base: str, config: Mapping[str, Any], trained: Trained, path: Path) -> bool:
    """Refuse a file whose tensors are not those of the network; say whether it holds all of them.

    It must hold all that the base's own file does not, and nothing that the network lacks.
    """
    with torch.device("meta"):
        plain = FAMILIES[base].build()
        of_base = set(plain.state_dict())
        state = checkpoints.shapes(add_modules(plain, base, config).state_dict())
    found = checkpoints.shapes(trained.tensors)
    wanted = {key: shape for key, shape in state.items() if key in found or key not in of_base}
    gap = checkpoints.difference(found, wanted)
    if gap:
        raise ModelError(f"{path}: not the weights of {name} on {base}: {gap}; {contents(trained)}")
    return set(found) == set(state)


def _base_network(base: str, trained: Trained, path: Path, base_weights: str) -> PromptedNetwork:
    """Return the base network with its weights, which must be those that the file was trained on."""
    model, stated = trained.metadata["model"], trained.metadata["base_sha256"]
    if base_weights == RANDOM:
        warnings.warn(f'{path}: "{model}" on random weights of {base}: for tests only', stacklevel=4)
        return random_network(FAMILIES[base])
    place = own_file(base) if base_weights == AUTO else Path(base_weights)
    network = FAMILIES[base].build()
    digest = load_weights(base, network, place)
    if not stated:
        warnings.warn(f"{path} does not say which weights of {base} it was trained on: taken on {place}", stacklevel=4)
    elif digest != stated:
        raise ModelError(
            f'{path}: "{model}" was trained on weights of {base} whose sha256 begins with {stated[:12]}, but {place} '
            f"begins with {digest[:12]}; give the file it was trained on: --model-arg base_weights=FILE"
        )
    return network


def add_modules(network: PromptedNetwork, base: str, config: Mapping[str, Any]) -> PromptedNetwork:
    """Return a base network with what a training configuration puts on it; the base's parts are taken over.

    Args:
        network: the base network.
        base: its name.
        config: of it, ``enhancer`` (a table of changes of :class:`~dmseg.baselines.pge_sam.EnhancerConfig`, may be
            empty) and ``robust`` (true or false) are looked at; without either the network is returned as it is.

    Raises:
        UsageError: the base has no such addition, or an enhancer of another width.
        DataError: a field of the enhancer that does not exist, or of the wrong type.
    """
    kind = kind_of(config)
    if kind == "enhancer":
        enhancer, width = enhancer_config(base, config["enhancer"]), network.prompt_encoder.embed_dim
        if enhancer.width != width:
            raise UsageError(f"enhancer: width = {enhancer.width}: must be that of the embedding of {base}, {width}")
        return EnhancedNetwork(network, enhancer)
    if kind == "robust":
        first = TABLE["robust_sam"]["first"]
        if base not in first:
            raise unknown_name("base of RobustSAM's blocks", base, first)
        return robust_on(network, first[base]["name"], first[base]["width"])
    return network


def kind_of(config: Mapping[str, Any]) -> str:
    """Return what a configuration puts on its base: ``enhancer``, ``robust``, or an empty string."""
    if config.get("enhancer") is not None:
        return "enhancer"
    return "robust" if config.get("robust") else ""


def random_network(family: Family, **shape: str) -> PromptedNetwork:
    """Return a network with seeded random weights; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return family.build(**shape)


def official_file(name: str) -> Checkpoint:
    """Return what is known of a network baseline's official file."""
    checkpoint = model_cards()[name].checkpoint
    if checkpoint is None:
        raise ModelError(f'model "{name}" has no official weights; train it (dmseg train), or give --weights FILE')
    return checkpoint


def own_file(name: str) -> Path:
    """Return the file that a network is loaded from unasked: the one that ships, or the installed official one.

    Raises:
        ModelError: there is none; the message says how to get it.
    """
    if model_cards()[name].shipped is not None:
        return find_shipped_weights(name)
    return checkpoints.find_installed(name, official_file(name))


def load_weights(name: str, network: PromptedNetwork, path: Path) -> str:
    """Copy an official file into a network, strictly, and return the file's sha256.

    A file that fits several models and whose hash is not known is taken as ``name``, with a warning that names them.
    """
    state = checkpoints.read_state(path)
    found, target = checkpoints.shapes(state), network.checkpoint_state_dict()
    if checkpoints.difference(found, checkpoints.shapes(target)):
        if is_trained(path):
            raise ModelError(f"{path}: not the weights of {name}: {contents(read_trained(path))}")
        checkpoints.check_state(name, path, found, list_known_layouts(name))
    layout = FAMILIES[name].layout
    alike = [other for other, one in FAMILIES.items() if one.layout == layout]
    twins = {other: card for other in alike if (card := model_cards()[other].checkpoint) is not None}
    doubt = checkpoints.identity(name, path, twins)
    if doubt:
        warnings.warn(doubt, stacklevel=2)
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(state[key])
    return sha256_file(path)


def contents(trained: Trained) -> str:
    """Say what a file of ``dmseg train`` holds, and which models load it."""
    model, base = trained.metadata["model"], trained.metadata["base"]
    parts = sorted({key.partition(".")[0] for key in trained.tensors})
    text = f'it holds "{model}", trained on {base} ({len(trained.tensors)} tensors of {", ".join(parts)})'
    try:
        kind = kind_of(json.loads(trained.metadata["config"]))
    except (ValueError, AttributeError):
        return text
    fitting = [one for one, known in FAMILIES.items() if base in known.bases and kind_of(known.addition) == kind]
    if not trained.metadata["base_sha256"] and base in FAMILIES:
        fitting = [base]  # trained from nothing: the whole network
    return text + (f"; use --model {' or '.join(fitting)}" if fitting else "")


def list_known_layouts(wanted: str) -> dict[str, Mapping[str, tuple[int, ...]]]:
    """Return model name -> official keys and shapes, of networks built without memory, and of ``wanted``."""
    built: dict[str, dict[str, tuple[int, ...]]] = {}
    with torch.device("meta"):
        own = {
            name: family
            for name, family in FAMILIES.items()
            if not family.bases and (name == wanted or _is_known_cheaply(model_cards()[name]))
        }
        for family in own.values():
            if family.layout not in built:
                built[family.layout] = checkpoints.shapes(family.build().checkpoint_state_dict())
    return {name: built[family.layout] for name, family in own.items()}


def _is_known_cheaply(card: ModelCard) -> bool:
    return not find_missing_packages(card) and card.network is not None and not card.network.costly
