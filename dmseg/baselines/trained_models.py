"""Models that are trained here: a base network, what is put on it, and the trained tensors of a file.

A file of ``dmseg train`` (:mod:`dmseg.baselines.trained`) names the network it stands on, the sha256 of that network's
file and its own configuration; it holds the trained tensors only. Loading builds the base from its official, installed
or shipped file, puts on it what the configuration says, and copies the trained tensors in.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dmseg.baselines import checkpoints
from dmseg.baselines.additions import add_modules, kind_of
from dmseg.baselines.cards import find_shipped_weights
from dmseg.baselines.families import FAMILIES, RANDOM, contents, load_weights, own_file, random_network
from dmseg.baselines.networks.sam import PromptedNetwork
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.baselines.trained import Trained, load_trained, read_trained
from dmseg.errors import ModelError, unknown_name
from dmseg.files import sha256_file

AUTO = "auto"


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
