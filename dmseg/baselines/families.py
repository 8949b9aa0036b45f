"""The network baselines by name: which adapter, which network, and how their weights are loaded.

``weights`` is an official file, None for the installed or shipped one, or ``"random"`` for seeded random weights in
tests. Files are accepted strictly (:mod:`dmseg.baselines.checkpoints`). Models that are trained here, on top of another
network, are loaded by :mod:`dmseg.baselines.trained_models`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dmseg.baselines import checkpoints
from dmseg.baselines.additions import add_modules, kind_of
from dmseg.baselines.cards import find_shipped_weights, model_cards
from dmseg.baselines.checkpoints import Checkpoint
from dmseg.baselines.gle_sam import GleSamAdapter, load_companions
from dmseg.baselines.lite_medsam import LiteMedSamAdapter
from dmseg.baselines.medsam import MedSamAdapter
from dmseg.baselines.networks.mini import build_mini_sam
from dmseg.baselines.networks.robust_sam import RobustSAMNetwork
from dmseg.baselines.networks.sam import PromptedNetwork, build_sam
from dmseg.baselines.networks.sam_hq import build_sam_hq
from dmseg.baselines.networks.sam_med2d import build_sam_med2d
from dmseg.baselines.networks.tiny_vit import build_lite_medsam, build_mobile_sam
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.baselines.robust_sam import RobustSamAdapter
from dmseg.baselines.sam import SamAdapter
from dmseg.baselines.sam_hq import SamHqAdapter
from dmseg.baselines.sam_med2d import SamMed2dAdapter
from dmseg.baselines.trained import Trained, is_trained, read_trained
from dmseg.errors import ModelError
from dmseg.files import sha256_file

RANDOM = "random"
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
        addition: what is put on the base (:func:`dmseg.baselines.additions.add_modules`).
    """

    adapter: Callable[..., PromptedAdapter]
    build: Callable[..., PromptedNetwork]
    layout: str
    companions: Callable[[PromptedNetwork, Path], None] | None = None
    bases: tuple[str, ...] = ()
    addition: Mapping[str, Any] = field(default_factory=dict)


def _build_gle_sam(base: str = "sd21-base") -> PromptedNetwork:
    # diffusers and peft are an extra of their own, and slow to import.
    from dmseg.baselines.networks.gle_sam import GleSAMNetwork

    return GleSAMNetwork(base=base)


FAMILIES: dict[str, Family] = {
    "sam-vit-b": Family(SamAdapter, partial(build_sam, "vit_b"), "vit_b"),
    "sam-vit-l": Family(SamAdapter, partial(build_sam, "vit_l"), "vit_l"),
    "sam-vit-h": Family(SamAdapter, partial(build_sam, "vit_h"), "vit_h"),
    "mobile-sam": Family(SamAdapter, build_mobile_sam, "mobile_sam"),
    "medsam": Family(MedSamAdapter, partial(build_sam, "vit_b"), "vit_b"),
    "medsam-box": Family(MedSamAdapter, partial(build_sam, "vit_b"), "vit_b"),
    "lite-medsam": Family(LiteMedSamAdapter, build_lite_medsam, "lite_medsam"),
    "lite-medsam-box": Family(LiteMedSamAdapter, build_lite_medsam, "lite_medsam"),
    "sam-med2d": Family(SamMed2dAdapter, partial(build_sam_med2d, False), "sam_med2d"),
    "sam-med2d-adapter": Family(SamMed2dAdapter, partial(build_sam_med2d, True), "sam_med2d_adapter"),
    "robust-sam-b": Family(RobustSamAdapter, partial(RobustSAMNetwork, "vit_b"), "robust_sam_b"),
    "robust-sam-l": Family(RobustSamAdapter, partial(RobustSAMNetwork, "vit_l"), "robust_sam_l"),
    "gle-sam": Family(GleSamAdapter, _build_gle_sam, "vit_l", load_companions),
    "sam-hq-b": Family(SamHqAdapter, partial(build_sam_hq, "vit_b"), "sam_hq_b"),
    "sam-hq-l": Family(SamHqAdapter, partial(build_sam_hq, "vit_l"), "sam_hq_l"),
    "sam-hq-h": Family(SamHqAdapter, partial(build_sam_hq, "vit_h"), "sam_hq_h"),
    "sam-hq-tiny": Family(SamHqAdapter, partial(build_sam_hq, "vit_tiny"), "sam_hq_tiny"),
    "robust-medsam": Family(RobustSamAdapter, partial(RobustSAMNetwork, "vit_b"), "robust_sam_b"),
    "mini-sam": Family(SamAdapter, build_mini_sam, "mini_sam"),
}


def _standing_on(bases: tuple[str, ...], addition: Mapping[str, Any]) -> Family:
    base = FAMILIES[bases[0]]
    return Family(
        base.adapter,
        lambda: add_modules(base.build(), bases[0], addition),
        f"{base.layout} with {addition}",
        bases=bases,
        addition=addition,
    )


_ENHANCER: Mapping[str, Any] = {"enhancer": {}}
_ADDITIONS: dict[str, Mapping[str, Any]] = {
    "mini-ft": {},
    "mini-pge-sam": _ENHANCER,
    "lite-medsam-ft": {},
    "lite-pge-sam": _ENHANCER,
    "lite-robust-sam": {"robust": True},
    "mobile-pge-sam": _ENHANCER,
    "pge-sam": _ENHANCER,
    "pge-sam-l": _ENHANCER,
}
FAMILIES |= {name: _standing_on(model_cards()[name].bases, addition) for name, addition in _ADDITIONS.items()}


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
        checkpoints.check_state(name, path, found, list_known_layouts())
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


def list_known_layouts() -> dict[str, Mapping[str, tuple[int, ...]]]:
    """Return model name -> official keys and shapes, of networks built without memory."""
    built: dict[str, dict[str, tuple[int, ...]]] = {}
    with torch.device("meta"):
        own = {name: family for name, family in FAMILIES.items() if not family.bases}
        for family in own.values():
            if family.layout not in built:
                built[family.layout] = checkpoints.shapes(family.build().checkpoint_state_dict())
    return {name: built[family.layout] for name, family in own.items()}
