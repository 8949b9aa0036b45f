"""Restorers around any model: an image is restored, rounded to 8 bits, and handed to the model in its place.

``restorer+model`` names such a cascade (``moce-ir+mobile-sam``, ``dcpt+file.py:Class``). The canvas stays, so prompts
need no mapping; the model's state, capabilities and batching are its own. An image is restored when it is encoded, that
is once per image and level; restored images are kept in the user's cache by the digest of the pixels and of everything
that decides the result, so that several models share them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dmseg import imaging, tables
from dmseg.baselines import checkpoints
from dmseg.baselines.checkpoints import Checkpoint
from dmseg.baselines.interface import Described, ModelAdapter, Prediction, SelfTestAdapter
from dmseg.canonical import digest
from dmseg.errors import MissingDependencyError, UsageError, suggestion, unknown_name
from dmseg.files import cache_folder, sha256_file
from dmseg.manifests import pixel_sha256
from dmseg.types import Image, Prompts

if TYPE_CHECKING:
    from dmseg.baselines.networks.restoration import RestorationNetwork

SEPARATOR = "+"
PREFIX = "restorer."
"""Of the arguments of ``--model-arg`` that go to the restorer: ``restorer.tile=512``."""
RANDOM = "random"
_SEED = 0


class Restorer(Protocol):
    """What stands before the plus: images in, images out, of the same size and type."""

    name: str
    version: str
    params: int
    weights_sha256: str | None

    def restore(self, images: Sequence[Image]) -> list[Image]:
        """Return the restored images, uint8 (H, W, 3) RGB each, one for one."""
        ...


@dataclass(frozen=True, slots=True)
class RestorerCard:
    """Facts about one restorer that ships.

    Attributes:
        summary: one sentence.
        license: SPDX name, or what is known.
        version: changes whenever the output may change.
        network: ``module:class`` of the network; None for the identity.
        build: keyword arguments of the network.
        params: number of parameters.
        arguments: defaults of what ``--model-arg restorer.NAME=VALUE`` changes.
        checkpoint: the official file.
        trained_on_note: which degradations it knows.
    """

    summary: str
    license: str
    params: int
    version: str = "1"
    paper: str | None = None
    paper_url: str | None = None
    code_url: str | None = None
    network: str | None = None
    build: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    trained_on_note: str | None = None


@functools.cache
def restorer_cards() -> dict[str, RestorerCard]:
    """Return the cards of all restorers, by name, in the order of ``restorers.toml``."""
    table = tables.read_packaged_table("dmseg.baselines", "restorers.toml")
    return {name: tables.record(RestorerCard, values, f"restorers.toml [{name}]") for name, values in table.items()}


def split_cascade(name: str) -> tuple[str, str] | None:
    """Return (restorer, model) of a name with a plus before any path or module, else None.

    >>> split_cascade("moce-ir+mobile-sam"), split_cascade("dcpt+my+file.py:Class"), split_cascade("c++/file.py:Class")
    (('moce-ir', 'mobile-sam'), ('dcpt', 'my+file.py:Class'), None)

    Raises:
        UsageError: nothing stands behind the plus, or what stands before it is no restorer.
    """
    restorer, plus, model = name.partition(SEPARATOR)
    if not plus or any(sign in restorer for sign in "./\\:"):
        return None
    if restorer not in restorer_cards():
        if ":" in model:  # a path with a plus in it
            return None
        raise unknown_name("restorer", restorer, tuple(restorer_cards()))
    if not model:
        raise UsageError(
            f'model "{name}": nothing stands behind the plus; give restorer+model, as in moce-ir+mobile-sam'
        )
    return restorer, model


def split_arguments(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the restorer, without their prefix, and those of the model."""
    own = {key.removeprefix(PREFIX): value for key, value in arguments.items() if key.startswith(PREFIX)}
    return own, {key: value for key, value in arguments.items() if not key.startswith(PREFIX)}


def load_restorer(
    name: str, weights: str | Path | None = None, device: str = "cpu", arguments: Mapping[str, Any] | None = None
) -> Restorer:
    """Return a ready restorer.

    Args:
        name: one of :func:`restorer_cards`.
        weights: an official file; None: the installed one; ``"random"``: seeded random weights, for tests.
        device: cpu, cuda or cuda:N.
        arguments: ``tile`` (side of the tiles in pixels, 0 = the whole image at once), ``overlap`` (context around a
            tile), ``routing_noise`` (MoCE-IR only), ``keep`` (restored images are kept in the cache).

    Raises:
        UsageError: an unknown restorer or argument, or an argument out of range.
        ModelError: weights that are missing, unreadable, or those of another network.
    """
    cards = restorer_cards()
    if name not in cards:
        raise unknown_name("restorer", name, tuple(cards))
    card, given = cards[name], dict(arguments or {})
    for key in given:
        if key not in card.arguments:
            allowed = ", ".join(PREFIX + one for one in card.arguments) or "none"
            raise UsageError(
                f'restorer "{name}" has no argument "{key}"{suggestion(key, card.arguments)}; it takes: {allowed}'
            )
    if card.network is None:
        if weights not in (None, RANDOM):
            raise UsageError(f'restorer "{name}" has no weights; leave out --restorer-weights')
        return Identity()
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            f'restorer "{name}" needs torch, not installed here; install it with: pip install "dmseg-bench[models]"'
        )
    network, sha256 = _load_network(name, card, weights)
    return NetworkRestorer(name, network, device=device, weights_sha256=sha256, **{**card.arguments, **given})


def _load_network(name: str, card: RestorerCard, weights: str | Path | None) -> tuple[RestorationNetwork, str | None]:
    import torch

    module, _, attribute = str(card.network).partition(":")
    make = getattr(importlib.import_module(module), attribute)
    if weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            network: RestorationNetwork = make(**card.build)
        return network, None
    if weights is None and card.checkpoint is not None:
        path = checkpoints.find_installed(name, card.checkpoint)
    else:
        path = Path(str(weights))
    state = checkpoints.read_state(path)
    with torch.device("meta"):
        network = make(**card.build)
    target = network.official_state_dict()
    found, wanted = checkpoints.shapes(state), checkpoints.shapes(target)
    if checkpoints.difference(found, wanted):
        checkpoints.check_state(name, path, found, _build_shapes())
    network.load_state_dict({key: state[key].to(target[key].dtype) for key in target}, assign=True)
    return network, sha256_file(path)


def _build_shapes() -> dict[str, Mapping[str, tuple[int, ...]]]:
    """Return restorer -> official keys and shapes, of networks built without memory."""
    import torch

    known: dict[str, Mapping[str, tuple[int, ...]]] = {}
    with torch.device("meta"):
        for name, card in restorer_cards().items():
            if card.network is not None:
                module, _, attribute = card.network.partition(":")
                network = getattr(importlib.import_module(module), attribute)(**card.build)
                known[name] = checkpoints.shapes(network.official_state_dict())
    return known


class Identity:
    """The restorer that changes nothing."""

    name = "identity"
    version = "1"
    params = 0
    weights_sha256: str | None = None

    def restore(self, images: Sequence[Image]) -> list[Image]:
        """Return the images themselves."""
        return list(images)


class NetworkRestorer:
    """A restoration network on images of any size.

    An image is padded by reflection on the right and at the bottom to the network's multiple, as the authors do, cut
    back, clamped to [0, 1] and rounded to 8 bits. With ``tile``, squares of that side are restored one by one, each
    with ``overlap`` pixels of context; since these networks look at the whole image, the result then differs slightly.

    Attributes:
        restored: how many images were restored by the network, that is, not found in the cache.
    """

    version = "1"

    def __init__(
        self,
        name: str,
        network: RestorationNetwork,
        *,
        device: str = "cpu",
        weights_sha256: str | None = None,
        tile: int = 0,
        overlap: int = 32,
        routing_noise: bool = False,
        keep: bool = True,
    ) -> None:
        import torch

        if tile and tile < 64:
            raise UsageError(f'restorer "{name}": tile is {tile}; give 0 (no tiles), or at least 64 pixels')
        if overlap < 0:
            raise UsageError(f'restorer "{name}": overlap is {overlap}; give 0 or more pixels')
        self.name = name
        self.version = restorer_cards()[name].version
        self.params = sum(parameter.numel() for parameter in network.parameters())
        self.weights_sha256 = weights_sha256
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.tile, self.overlap, self.routing_noise, self.keep = tile, overlap, routing_noise, keep
        self.restored = 0

    @functools.cached_property
    def folder(self) -> Path:
        """Where restored images are kept: named by all that decides them, but for the image."""
        made_of = [self.version, self.weights_sha256 or RANDOM, self.tile, self.tile and self.overlap]
        return cache_folder() / "restored" / f"{self.name}-{digest([*made_of, self.routing_noise])[:16]}"

    def restore(self, images: Sequence[Image]) -> list[Image]:
        """Return the restored images, one after another: a batch would change MoCE-IR's official choices."""
        return [self._restore_one(image) for image in images]

    def _restore_one(self, image: Image) -> Image:
        key = pixel_sha256(image)
        path = self.folder / f"{key}.png"
        if self.keep and path.is_file():
            return imaging.read_image(path).pixels
        restored = self._run_tiles(image, key) if self.tile else self._run(image, key)
        self.restored += 1
        if self.keep:
            path.parent.mkdir(parents=True, exist_ok=True)
            imaging.write_png(path, restored)
        return restored

    def _run_tiles(self, image: Image, key: str) -> Image:
        height, width = image.shape[:2]
        result = np.empty_like(image)
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                bottom, right = min(top + self.tile, height), min(left + self.tile, width)
                y, x = max(top - self.overlap, 0), max(left - self.overlap, 0)
                part = self._run(image[y : bottom + self.overlap, x : right + self.overlap], f"{key}/{top}/{left}")
                result[top:bottom, left:right] = part[top - y : bottom - y, left - x : right - x]
        return result

    def _run(self, image: Image, key: str) -> Image:
        import torch

        height, width = image.shape[:2]
        side = self.network.multiple
        padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="reflect")
        pixels = torch.from_numpy(padded).permute(2, 0, 1)[None].to(self.device).float() / 255
        noise = self._noise(key) if self.routing_noise else None
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            output = self.network(pixels) if noise is None else self.network(pixels, noise)
        clamped = output[0, :, :height, :width].clamp(0, 1).mul(255).round().to(torch.uint8)
        restored: Image = np.ascontiguousarray(clamped.permute(1, 2, 0).cpu().numpy())
        return restored

    def _noise(self, key: str) -> Any:
        """Return the routing noise of one image: the published code's distribution, keyed by the image."""
        import torch

        from dmseg.baselines.networks.moce_ir import SHARED, MoCEIR
        from dmseg.rng import Stream

        if not isinstance(self.network, MoCEIR):
            raise UsageError(f'restorer "{self.name}" has no routing noise')
        stream = Stream("routing noise", self.name, key)
        count, experts = self.network.routers, SHARED["experts"]
        values = [stream.normal(0.0, SHARED["noise_deviation"]) for _ in range(count * experts)]
        return torch.tensor(values, device=self.device).view(count, 1, experts)


_FACTS = ("device", "precision", "mode", "card")
"""Attributes of a model that its cascade has as well."""


class Restored(Described):
    """A model that sees restored images; everything else about it is the model's own.

    Attributes:
        restorer, model: the two parts.
    """

    def __init__(self, restorer: Restorer, model: ModelAdapter | SelfTestAdapter) -> None:
        if isinstance(model, SelfTestAdapter):
            raise UsageError(f'model "{model.name}" is a self-test that looks at no image: nothing to restore for it')
        self.restorer = restorer
        self.model = model
        self.name = f"{restorer.name}{SEPARATOR}{model.name}"
        self.capabilities = model.capabilities
        both = (restorer.weights_sha256, getattr(model, "weights_sha256", None))
        self.weights_sha256 = digest(list(both)) if restorer.weights_sha256 else both[1]

    def __getattr__(self, name: str) -> Any:
        # Facts alone: what else a model offers (``prepare``, ``encode_prepared``) would pass the restorer by.
        if name not in _FACTS:
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def params(self) -> int | None:
        """The parameters of both, None where the model states none."""
        own: int | None = getattr(self.model, "params", None)
        return None if own is None else own + self.restorer.params

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        """Restore the images and encode them."""
        return self.model.encode(self.restorer.restore(images))

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        """Answer as the model does."""
        return self.model.predict(embeddings, image_index, prompts, state)


def restorer_facts(restorer: Restorer, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a run's record says of a restorer; ``arguments`` come without their prefix."""
    own = {key: value for key, value in (arguments or {}).items() if key != "weights"}
    return {
        "name": restorer.name,
        "version": restorer.version,
        "params": restorer.params,
        "weights_sha256": restorer.weights_sha256,
        "arguments": {**restorer_cards()[restorer.name].arguments, **own},
    }


__all__ = [
    "PREFIX",
    "RANDOM",
    "Identity",
    "NetworkRestorer",
    "Restored",
    "Restorer",
    "RestorerCard",
    "load_restorer",
    "restorer_cards",
    "restorer_facts",
    "split_arguments",
    "split_cascade",
]
