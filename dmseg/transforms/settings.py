"""What every transform can be told, checked once; and the draw of one degradation from a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from dmseg.errors import UsageError, unknown_name
from dmseg.rng import Stream
from dmseg.simulators import plan, plan_operations
from dmseg.simulators.arrays import check_domain
from dmseg.simulators.geometry import check_geometry
from dmseg.simulators.plan import SEVERITY_LEVELS, Given
from dmseg.simulators.tables import check_severity
from dmseg.transforms.degradation import Degradation
from dmseg.types import Window, check_level, check_modality

Operations = str | Sequence[str] | Mapping[str, Mapping[str, Given]]
MEASURED = ("minmax", "percentiles")


class Options(TypedDict, total=False):
    """The keyword arguments of every transform; see :class:`Settings`."""

    levels: str | Sequence[str] | None
    ops: Operations | None
    severity: int | str | Sequence[int | str] | None
    domain: Sequence[str] | None
    order: str
    geometry: Mapping[str, Any] | None
    window: Window | tuple[float, float] | None
    value_range: tuple[float, float] | str | None
    seed: int | None
    keyed: bool
    per_slice: bool
    colour: bool | None


@dataclass(frozen=True)
class Settings:
    """What is drawn, and what the pixels mean.

    Attributes:
        modality: one of :data:`dmseg.types.MODALITIES`; None: general operations only (or that of ``ops``).
        levels: one level, or several to draw from; None: LQ-1, LQ-2, LQ-3, and with a modality LQ-3+.
        ops: instead of drawn operations: a name, names in order, or name -> parameter -> number or (low, high); see
            :func:`dmseg.simulators.plan_operations`.
        severity: of ``ops``: 1 (light), 2, 3 (heavy), or several to draw from; None: all three.
        domain: operations that LQ-3+ adds, instead of the modality's list.
        order: of LQ-3+: ``paper`` (general operations first) or ``acquisition`` (those of the domain first).
        geometry: of ultrasound scans that have all the same one; None: it is estimated on every image, which takes most
            of the time there. See :mod:`dmseg.simulators.geometry`.
        window: (center, width) in the scanner's units: what signed integers and floats in HU are shown with, and how
            grey becomes HU in 8-bit CT; None: the modality's.
        value_range: the values that are black and white, for floats and whatever does not use the full range of its
            type; ``minmax`` or ``percentiles`` (0.5 and 99.5): those of each image or volume.
        seed: of all draws: of ``keyed`` ones, and of a generator where the host has none.
        keyed: draws depend on the image's name (or, without one, its pixels) and the seed alone: the benchmark's way.
        per_slice: slices of a volume are images of their own, instead of one plan for all.
        colour: three channels are colours (True) or images of their own (False); None: False for MRI, else True.
    """

    modality: str | None = None
    levels: str | Sequence[str] | None = None
    ops: Operations | None = None
    severity: int | str | Sequence[int | str] | None = None
    domain: Sequence[str] | None = None
    order: str = "paper"
    geometry: Mapping[str, Any] | None = None
    window: Window | tuple[float, float] | None = None
    value_range: tuple[float, float] | str | None = None
    seed: int | None = None
    keyed: bool = False
    per_slice: bool = False
    colour: bool | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if self.modality is not None:
            put("modality", check_modality(self.modality))
        put("levels", self._levels())
        if self.window is not None and not isinstance(self.window, Window):
            put("window", Window(*_two_numbers(self.window, "window=(center, width)")))
        if self.geometry is not None:
            put("geometry", check_geometry(self.geometry))
        if isinstance(self.value_range, str):
            if self.value_range not in MEASURED:
                raise unknown_name("value_range", self.value_range, MEASURED)
        elif self.value_range is not None:
            low, high = _two_numbers(self.value_range, "value_range=(black, white)")
            if not low < high:
                raise UsageError(f"value_range={self.value_range!r}: black must be below white")
            put("value_range", (low, high))
        drawn = self.draw("check")  # names of operations, their parameters and ranges, at once
        put("modality", drawn.plan.modality)

    def _levels(self) -> tuple[str, ...]:
        if self.ops is not None:
            if self.levels is not None:
                raise UsageError("levels draw their own operations; with ops give severity=1, 2, 3 or several of them")
            wanted = (1, 2, 3) if self.severity is None else self.severity
            several = (wanted,) if isinstance(wanted, int | str) else tuple(wanted)
            if not several:
                raise UsageError(f"severity={self.severity!r}; give 1 (light), 2, 3 (heavy) or several of them")
            return tuple(SEVERITY_LEVELS[check_severity(one)] for one in several)
        if self.severity is not None:
            raise UsageError("severity is for ops; without ops give levels, such as levels=('lq1', 'lq3')")
        given = self.levels
        if given is None:
            return ("lq1", "lq2", "lq3") + (("lq3plus",) if self.modality or self.domain is not None else ())
        levels = tuple(check_level(level) for level in ((given,) if isinstance(given, str) else given))
        if not levels:
            raise UsageError("give at least one level to draw from: clear, lq1, lq2, lq3, lq3plus")
        for level in levels:
            check_domain(level, self.modality, given=self.domain is not None)
        return levels

    def draw(self, key: str) -> Degradation:
        """Return the degradation of a key: the same for the same key and seed, anywhere."""
        seed, window = self.seed or 0, self.window
        assert window is None or isinstance(window, Window)
        levels = list(self.levels or ())
        level = levels[0] if len(levels) == 1 else Stream("transform", seed, key).choice(levels)
        common: dict[str, Any] = {
            "modality": self.modality,
            "seed": seed,
            "window": window,
            "geometry": self.geometry,
        }
        if self.ops is None:
            drawn = plan(key, domain=self.domain, order=self.order, **common)
        else:
            drawn = plan_operations(key, self.ops, **common)
        return Degradation(drawn, level)

    def acts(self, key: str, p: float) -> bool:
        """Return whether a keyed transform of probability ``p`` acts on an image."""
        return p >= 1 or Stream("transform acts", self.seed or 0, key).uniform() < p


def make_settings(modality: str | None, options: Options) -> Settings:
    """Return the settings; a keyword that does not exist is named, with the nearest one."""
    known = [each.name for each in fields(Settings)]
    for name in options:
        if name not in known:
            raise unknown_name("argument", name, known)
    return Settings(modality=modality, **options)


def check_probability(p: float) -> float:
    """Return a probability, or raise :class:`UsageError`."""
    if not 0 <= p <= 1:
        raise UsageError(f"p={p!r} is no probability; give a number from 0 to 1")
    return float(p)


def _two_numbers(given: Any, what: str) -> tuple[float, float]:
    try:
        first, second = (float(value) for value in given)
    except (TypeError, ValueError):
        raise UsageError(f"{given!r} are not two numbers; give {what}") from None
    return first, second
