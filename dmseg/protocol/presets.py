"""The presets by name: what the first prompts are, how later clicks are placed, how many steps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dmseg.errors import UsageError, unknown_name
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table, record

PROTOCOL_ID = "dmseg-prompt/1"
"""Name and version of the rules, the first part of every key; a change of any rule changes it."""

CORRECTIVE_RULES: tuple[str, ...] = ("center", "edt-max", "random", "mixed")

_NEEDS: dict[str, frozenset[str]] = {
    "mixed": frozenset({"points", "negative_points", "box"}),
    "mixed-combo": frozenset({"points", "negative_points", "box"}),
    "box": frozenset({"box"}),
    "tight-box": frozenset({"box"}),
    "3pos": frozenset({"points"}),
    "edt-max": frozenset({"points"}),
    "text": frozenset({"text"}),
}
"""What a model must accept for each kind of first prompt; corrective clicks need both signs of points."""


@dataclass(frozen=True, slots=True)
class FirstNumbers:
    """The numbers that first prompts are drawn from (``presets.toml``, with sources)."""

    positive_points: tuple[int, int]
    negative_points: tuple[int, int]
    box_jitter: float
    box_jitter_pixels: tuple[int, int]
    box_lowest_iou: float
    box_redraws: int
    uniform_points: int


@dataclass(frozen=True, slots=True)
class SearchNumbers:
    """The numbers that candidate boxes are drawn from (``presets.toml``, with sources)."""

    candidates: int
    gamma_shape: float
    gamma_scale: float
    loss_tolerance: float
    directions: int


@dataclass(frozen=True, slots=True)
class _PresetEntry:
    """One preset as it stands in the table."""

    version: int
    title: str
    first: str
    steps: int
    corrective: str | None = None
    search: str | None = None
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Preset:
    """One way to prompt a model.

    Attributes:
        id: the preset's name.
        version: raised when the preset changes in a way that moves a prompt.
        title: one line for people.
        steps: number of interactions T.
        first: kind of the first prompts: mixed, mixed-combo, box, tight-box, 3pos, edt-max, text.
        corrective: rule of the clicks at steps 2..T, one of :data:`CORRECTIVE_RULES`; None where T is 1.
        search: "min" or "max" where the worst or best of several first prompts counts, else None.
        threshold: probability (sigmoid of the logit) above which a pixel is foreground.
        capabilities: what a model must accept: "points", "negative_points", "box", "text".
    """

    id: str
    version: int
    title: str
    steps: int
    first: str
    corrective: str | None
    search: str | None
    threshold: float
    capabilities: frozenset[str]

    @property
    def gives_text(self) -> bool:
        """Whether its prompts are sentences: rows are about sentences then, and count pixels."""
        return self.first == "text"


def _needs(first: str, corrective: str | None) -> frozenset[str]:
    clicks = frozenset({"points", "negative_points"}) if corrective else frozenset()
    return _NEEDS[first] | clicks


def _read() -> tuple[FirstNumbers, SearchNumbers, dict[str, Preset]]:
    table = read_packaged_table("dmseg.protocol", "presets.toml")
    presets = {}
    for name, values in table["presets"].items():
        entry = record(_PresetEntry, values, f"presets.toml: presets.{name}")
        presets[name] = Preset(id=name, **dataclasses.asdict(entry), capabilities=_needs(entry.first, entry.corrective))
    return (
        record(FirstNumbers, table["first"], "presets.toml: first"),
        record(SearchNumbers, table["search"], "presets.toml: search"),
        presets,
    )


FIRST, SEARCH, PRESETS = _read()


def preset(name: str, *, corrective: str | None = None) -> Preset:
    """Return the preset called ``name``, with another corrective rule if one is given.

    Raises:
        UsageError: no such preset or rule, or a rule for a preset that ends after its first prompts.

    >>> preset("dmseg").steps, preset("dmseg", corrective="random").corrective
    (5, 'random')
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    chosen = PRESETS[name]
    if corrective is None:
        return chosen
    if corrective not in CORRECTIVE_RULES:
        raise unknown_name("corrective rule", corrective, CORRECTIVE_RULES)
    if chosen.corrective is None:
        raise UsageError(f'preset "{name}" has one step and no corrective click; leave out corrective="{corrective}"')
    return dataclasses.replace(chosen, corrective=corrective)


def stream(seed: int, mask_id: str, purpose: str, step: int) -> Stream:
    """Return the random numbers of one purpose at one step of one mask.

    The key holds no level, no preset and no corrective rule: what these leave alike stays alike.
    """
    return Stream(PROTOCOL_ID, seed, mask_id, purpose, step)
