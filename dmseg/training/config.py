"""What a training run is: one record of all choices, read from presets or a TOML file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmseg.baselines.pge_sam.config import enhancer_config
from dmseg.errors import UsageError, unknown_name
from dmseg.protocol import preset
from dmseg.tables import check_number, file_table, read_packaged_table, record
from dmseg.training.augmentation import Augmentation
from dmseg.training.frozen import ENCODERS
from dmseg.types import LEVELS, SPLITS, check_level

PARTS = ("all", "enhancer", "robust", "mask_decoder", "prompt_encoder", "output_token")
TERMS = ("dice", "focal", "reconstruction", "iou")
"""The losses."""
SUPPORTS = ("soft", "binary", "global")
"""Where the reconstruction loss counts."""
SIDE_STEP = 32  # pixels per position of the mini encoder's smallest map
PRECISIONS = {"fp32": "32-true", "bf16-mixed": "bf16-mixed"}
_CHOICES = {
    "start": ("weights", "random"),
    "gradient": ("every", "first-last"),
    "updates": ("interaction", "batch"),
    "degradation": ("fixed", "fresh"),
    "precision": tuple(PRECISIONS),
    "laterals": ("interaction", "batch"),
    "encoder": ENCODERS,
}


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each loss counts, and the numbers of their equations (:mod:`dmseg.training.losses`)."""

    dice: float
    focal: float
    reconstruction: float
    iou: float
    focal_alpha: float
    focal_gamma: float
    reconstruction_support: str
    reconstruction_epsilon: float

    def __post_init__(self) -> None:
        weights = (self.dice, self.focal, self.reconstruction, self.iou)
        for name, weight in zip(TERMS, weights, strict=True):
            check_number(f"losses.{name}", weight, 0)
        check_number("the sum of losses", sum(weights), above=0)
        check_number("losses.focal_alpha", self.focal_alpha, 0, 1)
        check_number("losses.focal_gamma", self.focal_gamma, 0)
        _check_names("losses.reconstruction_support", [self.reconstruction_support], SUPPORTS)
        check_number("losses.reconstruction_epsilon", self.reconstruction_epsilon, above=0)


@dataclass(frozen=True, slots=True)
class Stage:
    """Until this share of all batches: the image's side in pixels and the images per batch."""

    until: float
    side: int
    batch: int

    def __post_init__(self) -> None:
        check_number("stages: until", self.until, above=0, most=1)
        check_number("stages: batch", self.batch, 1)
        if self.side < SIDE_STEP or self.side % SIDE_STEP:
            raise UsageError(f"stages: side = {self.side}: must be a multiple of {SIDE_STEP}")


@dataclass(frozen=True, slots=True)
class Validation:
    """When and on what: ``images`` of the splits under a prompt preset, after every so many batches and at the end.

    With ``every = 0`` it is after each epoch where ``epochs`` give the run's length, else at the end only; with no
    images, never.
    """

    every: int
    images: int
    splits: tuple[str, ...]
    levels: tuple[str, ...]
    preset: str

    def __post_init__(self) -> None:
        check_number("validation.every", self.every, 0)
        check_number("validation.images", self.images, 0)
        _check_names("validation.splits", self.splits, SPLITS)
        object.__setattr__(self, "levels", _check_levels("validation.levels", self.levels))
        if preset(self.preset).search:
            raise UsageError(f'validation.preset = "{self.preset}" searches for prompts: give one that does not')


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All choices of a training run; ``presets.toml`` gives the reason of each.

    Attributes:
        model: name of what comes out.
        base: name of the network that is trained or that the enhancer is put on.
        start: ``weights`` of the base, or ``random`` ones (seeded).
        enhancer: changes of the base's enhancer (:class:`dmseg.baselines.pge_sam.EnhancerConfig`), or None for none.
        robust: put RobustSAM's blocks on the base; ``trained`` then names the part ``robust``.
        trained: parts of the network that change, of :data:`PARTS`.
        learning_rate: peak learning rate of each trained part.
        splits, levels: images that are trained on; levels are drawn uniformly.
        degradation: ``fixed``: the benchmark's own versions; ``fresh``: a new plan at each visit.
        cache: keep the features of the frozen encoder on disk.
        cache_gb: how much of the disk they may take, in 1e9 bytes; what finds no room is encoded at every visit.
        encoder: what runs a frozen encoder: ``torch``, or ``openvino`` (CPU only, full precision).
        augment: one of the eight flips and quarter turns per visit.
        appearance: what else of a clear image changes at each visit, before it is degraded; None for nothing.
        seed: of everything that is drawn.
        batches: length of the run, in batches; 0: ``epochs`` decides.
        until: end the run after this many of its batches, with its schedule as if it went on; 0: after the last.
        snapshots: also write the weights after these numbers of batches, as ``weights-N.safetensors``.
        epochs: visits of every image, where ``batches`` is 0.
        batch: images per batch, over all devices.
        masks_per_image: objects per image and visit, or all where it has fewer.
        stages: growing side of the image; empty: the network's own side and ``batch`` throughout.
        interactions: prompts per sample.
        prompt_kinds: how many kinds of first prompts (number of clicks, box) a batch holds, since samples of one kind
            share a call; 0: each sample draws its own.
        gradient: interactions with gradient: ``every``, or the ``first-last`` of a drawn number of them.
        updates: an optimiser step after each ``interaction`` that has a gradient, or after each ``batch``.
        laterals: how often the part of an enhancer that no prompt changes is computed and stepped: at each
            ``interaction``, or once per ``batch`` with the mean of the interactions' gradients.
        accumulate: updates gathered before an optimiser step.
        weight_decay: of AdamW, for matrices only; vectors and scalars do not decay.
        betas: of AdamW.
        warmup: optimiser steps to the peak learning rate.
        final_rate: share of the peak that the cosine ends at.
        clip: largest norm of the gradient.
        precision: ``fp32`` or ``bf16-mixed``.
        ema: decay of the averaged weights, or 0 for none.
        losses: weights of the losses.
        validation: when and on what.
        save_every: batches between saved states.
        log_every: batches that a line of the log is the mean of.
    """

    model: str
    base: str
    start: str
    trained: tuple[str, ...]
    learning_rate: dict[str, float]
    splits: tuple[str, ...]
    levels: tuple[str, ...]
    degradation: str
    cache: bool
    cache_gb: float
    encoder: str
    augment: bool
    seed: int
    batches: int
    until: int
    snapshots: tuple[int, ...]
    epochs: int
    batch: int
    masks_per_image: int
    interactions: int
    prompt_kinds: int
    gradient: str
    updates: str
    laterals: str
    accumulate: int
    weight_decay: float
    betas: tuple[float, float]
    warmup: int
    final_rate: float
    clip: float
    precision: str
    ema: float
    losses: LossWeights
    validation: Validation
    save_every: int
    log_every: int
    stages: tuple[Stage, ...] = ()
    appearance: Augmentation | None = None
    enhancer: dict[str, Any] | None = None
    robust: bool = False

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _check_names(name, [getattr(self, name)], allowed)
        _check_names("trained", self.trained, PARTS)
        _check_names("splits", self.splits, SPLITS)
        object.__setattr__(self, "levels", _check_levels("levels", self.levels))
        for part in self.trained:
            if part not in self.learning_rate:
                raise UsageError(f'learning_rate has no entry for the trained part "{part}"')
        for part, rate in self.learning_rate.items():
            check_number(f"learning_rate.{part}", rate, above=0)
        for name in ("batch", "masks_per_image", "interactions", "accumulate", "save_every", "log_every"):
            check_number(name, getattr(self, name), 1)
        for name in ("batches", "until", "epochs", "prompt_kinds", "warmup", "weight_decay", "cache_gb"):
            check_number(name, getattr(self, name), 0)
        for name, share in (("ema", self.ema), ("betas", self.betas[0]), ("betas", self.betas[1])):
            check_number(name, share, 0, below=1)
        check_number("final_rate", self.final_rate, 0, 1)
        check_number("clip", self.clip, above=0)
        for after in self.snapshots:
            check_number("snapshots", after, 1)
        if self.enhancer is not None:
            enhancer_config(self.base, self.enhancer)
        for problem in self._contradictions():
            raise UsageError(problem)

    def _contradictions(self) -> Sequence[str]:
        """Return what does not go together."""
        encoder_trains = "all" in self.trained
        ends = [stage.until for stage in self.stages]
        checks = (
            (encoder_trains and len(self.trained) > 1, 'trained: "all" stands alone'),
            ("enhancer" in self.trained and self.enhancer is None, 'trained has "enhancer", but there is none'),
            ("robust" in self.trained and not self.robust, 'trained has "robust", but robust is false'),
            (
                self.enhancer is not None and not encoder_trains and "enhancer" not in self.trained,
                'there is an enhancer, but trained has no "enhancer": it would stay random',
            ),
            (
                self.robust and not encoder_trains and "robust" not in self.trained,
                'robust = true, but trained has no "robust": its blocks would stay random',
            ),
            (
                self.enhancer is None and self.losses.dice + self.losses.focal + self.losses.iou == 0,
                "only the reconstruction loss counts, and there is no enhancer: nothing would be learnt",
            ),
            (
                {"mask_decoder", "output_token"} <= set(self.trained),
                'trained: "output_token" is a part of "mask_decoder"; give one of them',
            ),
            (
                self.start == "random" and not encoder_trains,
                'start = "random" needs trained = ["all"]: what is not trained is not in the file and would be lost',
            ),
            (self.robust and self.enhancer is not None, "give an enhancer or robust = true, not both"),
            (
                encoder_trains and self.updates == "interaction",
                'updates = "interaction" needs a frozen encoder: its features would be those of older weights; '
                'give updates = "batch"',
            ),
            (self.cache and encoder_trains, "cache = true needs a frozen encoder"),
            (self.encoder != "torch" and encoder_trains, f'encoder = "{self.encoder}" needs a frozen encoder'),
            (
                self.encoder != "torch" and bool(self.stages),
                f'encoder = "{self.encoder}" has one side: leave out stages',
            ),
            (
                self.cache and (self.augment or self.appearance is not None),
                'cache = true keeps one version of each image: give augment = false, appearance = "none"',
            ),
            (
                self.cache and self.degradation == "fresh",
                'cache = true keeps one version of each image: give degradation = "fixed"',
            ),
            (
                self.appearance is not None and self.degradation == "fixed" and set(self.levels) != {"clear"},
                "appearance changes images before they are degraded, which stored levels are already: "
                'give degradation = "fresh", or appearance = "none"',
            ),
            (self.cache and bool(self.stages), "cache = true keeps features of one side: leave out stages"),
            (self.gradient == "first-last" and self.interactions < 2, "first-last needs at least 2 interactions"),
            (self.batches < 1 and self.epochs < 1, "give batches or epochs"),
            (
                self.until * self.updates_per_batch % self.accumulate != 0,
                f"until = {self.until}: would end between two steps of accumulate = {self.accumulate}",
            ),
            (
                bool(self.stages) and [*sorted({stage.until for stage in self.stages})] != ends,
                f"stages: until = {', '.join(f'{end:g}' for end in ends)}: each must last longer than the one before",
            ),
            (bool(self.stages) and ends[-1] != 1, "the last stage must last until 1"),
        )
        return [message for wrong, message in checks if wrong]

    def to_json(self) -> str:
        """Return all choices as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def updates_per_batch(self) -> int:
        """How many times a batch asks for an optimiser step."""
        if self.updates == "batch":
            return 1
        return self.interactions if self.gradient == "every" else 2

    @property
    def digest(self) -> str:
        """sha256 of :meth:`to_json`: the name of exactly these choices."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


_OPTIONAL = ("appearance", "enhancer")
"""Tables that ``none`` takes away again from what a configuration is ``like``."""


@dataclass(frozen=True, slots=True)
class _Presets:
    """The file of presets: choices all share, families that some share, and what each adds."""

    base: dict[str, Any]
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(_table().presets)


def _table() -> _Presets:
    return record(_Presets, read_packaged_table("dmseg.training", "presets.toml"), "presets.toml")


def load_config(source: str, changes: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration that a preset or a TOML file gives, with changes.

    Args:
        source: name of a preset, or the path of a TOML file, whose key ``like`` may name the preset it starts from.
        changes: ``key=value`` texts; dots reach into tables (``losses.focal=10``), values are written as in TOML.

    Raises:
        UsageError: an unknown preset or choice, or choices that do not go together.
        DataError: the file is not TOML, or a key is unknown, missing or of the wrong type.
    """
    if source.endswith(".toml"):
        values = _inherit(file_table(Path(source)), ())
    elif source in preset_names():
        values = _inherit({"like": source}, ())
    else:
        raise UsageError(f"{unknown_name('training preset', source, preset_names())}; or give a file FILE.toml")
    for change in changes:
        values = _merge(values, _parse(change))
    values = {key: value for key, value in values.items() if not (key in _OPTIONAL and value == "none")}
    return record(TrainConfig, values, source)


def _inherit(values: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    """Return a table over those that it is ``like``, down to the base table."""
    table = _table()
    parent = values.get("like")
    own = {key: value for key, value in values.items() if key != "like"}
    if parent is None:
        return _merge(table.base, own)
    if parent not in table.presets or parent in seen:
        raise unknown_name("training preset", str(parent), [name for name in table.presets if name not in seen])
    return _merge(_inherit(table.presets[parent], (*seen, parent)), own)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the keys of ``above`` over it, table by table."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _parse(change: str) -> dict[str, Any]:
    """Return ``a.b=value`` as a nested table; a value that is no TOML is taken as text."""
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise UsageError(f'--set "{change}": give key=value, such as batches=500 or losses.focal=10')
    for text in (value, json.dumps(value)):
        try:
            return tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            continue
    raise UsageError(f'--set "{change}": "{key}" is not the name of a choice')


def _check_levels(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of levels that were typed; UsageError where there are none."""
    if not given:
        raise UsageError(f"{name} is empty: name at least one of {', '.join(LEVELS)}")
    return tuple(check_level(one, name) for one in given)


def _check_names(name: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise UsageError for a list of names that is empty or holds an unknown one."""
    if not given:
        raise UsageError(f"{name} is empty: name at least one of {', '.join(allowed)}")
    for one in given:
        if one not in allowed:
            raise unknown_name(name, one, allowed)
