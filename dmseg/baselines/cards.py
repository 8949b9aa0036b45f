"""Model cards: what is known about each model that ships, read from ``models.toml``."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from dmseg import tables
from dmseg.baselines.checkpoints import Checkpoint
from dmseg.errors import ModelError

PROMPT_KINDS: tuple[str, ...] = ("box", "points", "masks")
"""A box, clicks, and the mask of the step before."""
KINDS: tuple[str, ...] = ("classical", "network", "self-test", "bridge", "unpublished")


@dataclass(frozen=True, slots=True)
class NetworkPlace:
    """Where the code of a network is; places are ``module:name`` below ``dmseg.baselines``.

    Attributes:
        adapter: the adapter's class.
        build: makes the network, of the keywords ``arguments``.
        companions: reads what lies in files beside the checkpoint: a function of the network and their folder.
        file_of: model whose checkpoint has the same keys and shapes, where it is another network.
        costly: its builder needs memory and time, so it is not built only to name a file of another model.
    """

    adapter: str
    build: str
    arguments: dict[str, Any] = field(default_factory=dict)
    companions: str | None = None
    file_of: str | None = None
    costly: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What makes one model, and facts about it for ``dmseg models`` and for the ``model`` part of a run's record.

    Attributes:
        kind: ``classical`` (no weights), ``network``, ``self-test`` (is shown the reference), ``bridge`` (runs in an
            environment of its own), or ``unpublished`` (named in the literature; there is nothing to run).
        summary: one sentence.
        license: SPDX name of the licence of method code and weights.
        capabilities: subset of :data:`dmseg.baselines.interface.CAPABILITIES`.
        version: changes whenever the model's output may change.
        params: number of parameters, 0 without weights, None where it depends on the arguments.
        input_size: side of the image that the network sees, None for native resolution.
        needs: importable packages beyond the plain installation; ``extra`` names the extra that brings them.
        trained_on: data sets used in training, by this project's names where they are part of the benchmark.
        trained_on_note: where that is known from, and what of it is not certain.
        trained_prompts: kinds of prompts that training showed, of :data:`PROMPT_KINDS`; empty where it is not known.
        mode: how it is used: ``zero-shot``, ``fine-tuned``, ``classical``, ``self-test``.
        arguments: defaults of the constructor's arguments, which ``--model-arg`` changes.
        checkpoint: the official weights file, None where there is none.
        shipped: the weights file inside this package (``pge_sam/weights``), None where none ships.
        factory: place (``module:name`` below ``dmseg.baselines``) of what makes a model that is no network.
        network: where the code of a network is; None for one that stands on another.
        bases: networks that a model trained here stands on, the default first.
        addition: what it puts on its base (:func:`dmseg.baselines.loading.add_modules`).
        added_params: its parameters above those of its base.
        prompts_note: where the paper's protocol and the authors' own predictor differ.
    """

    kind: str
    summary: str
    license: str
    capabilities: tuple[str, ...]
    version: str = "1"
    params: int | None = None
    input_size: int | None = None
    paper: str | None = None
    paper_url: str | None = None
    code_url: str | None = None
    needs: tuple[str, ...] = ()
    extra: str | None = None
    trained_on: tuple[str, ...] = ()
    trained_on_note: str | None = None
    trained_prompts: tuple[str, ...] = ()
    mode: str = "classical"
    arguments: dict[str, Any] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    shipped: str | None = None
    factory: str | None = None
    network: NetworkPlace | None = None
    bases: tuple[str, ...] = ()
    addition: dict[str, Any] = field(default_factory=dict)
    added_params: int | None = None
    prompts_note: str | None = None


@functools.cache
def model_cards() -> dict[str, ModelCard]:
    """Return the cards of all models that ship, by name, in the order of ``models.toml``.

    >>> model_cards()["watershed"].kind
    'classical'
    """
    table = tables.read_packaged_table("dmseg.baselines", "models.toml")
    return {name: tables.record(ModelCard, values, f"models.toml [{name}]") for name, values in table.items()}


def find_object(place: str) -> Any:
    """Return what ``module:name`` below ``dmseg.baselines`` names.

    Raises:
        ModelError: there is no such module, or no such name in it.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(f"dmseg.baselines.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name != f"dmseg.baselines.{module}":
            raise
        file = f"dmseg/baselines/{module.replace('.', '/')}.py"
        raise ModelError(f'models.toml says "{place}", but there is no {file}; write it, or correct this') from None
    except AttributeError as error:
        if getattr(error, "name", None) != name:
            raise
        raise ModelError(f'models.toml says "{place}", but module {module} has no "{name}"') from None


def find_shipped_weights(name: str) -> Path:
    """Return the weights file of model ``name`` that ships inside the package.

    Raises:
        ModelError: none ships, or this installation came without it.
    """
    shipped = model_cards()[name].shipped
    if shipped is None:
        raise ModelError(f'no weights of model "{name}" ship; train it (dmseg train), and give --weights FILE')
    path = Path(str(resources.files("dmseg.baselines").joinpath("pge_sam", "weights", shipped)))
    if not path.is_file():
        raise ModelError(
            f'the weights of model "{name}", {shipped}, are not in this installation ({path.parent}); install dmseg '
            f"again, or train them (dmseg train {name}) and give --weights FILE"
        )
    return path


def list_unseen_prompts(card: ModelCard, given: Collection[str], steps: int) -> list[str]:
    """Return the kinds of prompts that a run gives and the model's training never showed; none where it is not known.

    Args:
        given: what a preset asks a model to accept: "points", "negative_points", "box".
        steps: interactions; after the first, a model that takes the mask of the step before gets it.
    """
    if not card.trained_prompts:
        return []
    kinds = {"box"} & set(given) | ({"points"} if "points" in given else set())
    if steps > 1 and "mask_feedback" in card.capabilities:
        kinds.add("masks")
    return [kind for kind in PROMPT_KINDS if kind in kinds and kind not in card.trained_prompts]
