"""Plans: everything random about one image's five levels, drawn once as decimal strings; and the chain of replay."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from dmseg import canonical, imaging
from dmseg.errors import DataError, UsageError
from dmseg.rng import Stream
from dmseg.simulators import general, tables, visibility
from dmseg.simulators.observe import Facts, look, make_working
from dmseg.simulators.operations import GENERAL, home_modality, operation
from dmseg.simulators.scene import Scene
from dmseg.types import LEVEL_LABELS, LEVELS, Image, Window, check_level, check_modality, resolve_name

FORMAT = 1
_SEVERITY: dict[str, str] = {"lq1": "light", "lq2": "medium", "lq3": "heavy", "lq3plus": "heavy"}
SEVERITY_LEVELS: dict[str, str] = {"light": "lq1", "medium": "lq2", "heavy": "lq3"}
"""The level at which the operations of a plan act with a severity."""
_GENERAL_COUNTS = (2, 3, 4)
ORDERS: dict[str, str] = {
    "paper": "general operations before those of the domain, as the paper defines LQ-3+",
    "acquisition": "operations of the domain first, as they arise in the scanner, then the general ones",
}
"""Orders of LQ-3+. The benchmark has the paper's."""
FRESH = ("gaussian_noise", "salt_pepper", "speckle", "rician_noise", "photon_starvation")
"""Operations whose field is drawn anew on every slice of a volume."""


@dataclass(frozen=True)
class PlanStep:
    """One operation of a plan: its name, the version it was planned with, severity -> parameter -> decimal string."""

    operation: str
    version: int
    values: dict[str, dict[str, str]]

    def numbers(self, severity: str) -> dict[str, float]:
        """Return the parameters at a severity as numbers."""
        if severity not in self.values:
            raise UsageError(
                f"this plan holds {self.operation} at {', '.join(self.values)} only, not {severity}; "
                "it was written for one level"
            )
        return {name: float(text) for name, text in self.values[severity].items()}


@dataclass(frozen=True, repr=False)
class Plan:
    """What will be done to one image at every level.

    Attributes:
        key, seed: what all draws and fields depend on.
        modality: of the image, or None (general operations only).
        general: operations of LQ-1 to LQ-3, in order.
        domain: operations added at LQ-3+, in order.
        domain_severity: ranges that the domain operations use.
        tables: version and digest of the tables that the values were drawn from.
        observed: what was measured on Clear, or None: then it is measured on the image that is given, as Clear.
        order: of LQ-3+, one of :data:`ORDERS`.
        place: number of the slice and of all slices where the plan is one slice's of a volume; None: an image.
        visibility: factor of the visibility cap; None: it is found when the image is observed.
        channel: number of the channel where channels are images of their own; their noise differs.
    """

    key: str
    seed: int
    modality: str | None
    general: tuple[PlanStep, ...]
    domain: tuple[PlanStep, ...]
    domain_severity: str
    tables: dict[str, str]
    observed: Mapping[str, Any] | None = None
    visibility: float | None = None
    window: Window | None = None
    geometry: dict[str, Any] | None = field(default=None)
    order: str = "paper"
    place: tuple[int, int] | None = field(default=None, compare=False)
    channel: int | None = field(default=None, compare=False)

    def observe(self, clear: Any) -> Plan:
        """Return this plan with the facts and the visibility factor of an undegraded image."""
        seen = self.look(clear)
        return dataclasses.replace(seen, observed=dict(seen.observed or {}))

    def look(self, clear: Any) -> Plan:
        """Return :meth:`observe` with facts that are measured when an operation asks for them."""
        facts = look(clear, modality=self.modality, geometry=self.geometry, window=self.window)
        decided = self.visibility if self.observed is None else None
        if decided is None and not any(step.operation in visibility.CAPPED for step in self.general):
            decided = 1.0
        seen = self._copy(observed=facts, visibility=decided)
        return seen if decided is not None else seen._copy(visibility=seen._find_visibility(facts.image))

    def _copy(self, **changes: Any) -> Plan:
        """Return what :func:`dataclasses.replace` does, which asks about every field: a draw may take 0.1 ms in all."""
        other = object.__new__(Plan)
        other.__dict__.update(self.__dict__, **changes)
        return other

    def find_visibility(self, clear: Any) -> float:
        """Return the factor of the visibility cap for an undegraded image, once its facts are known."""
        return self._find_visibility(make_working(clear, self._window()))

    def _find_visibility(self, image: Image) -> float:
        """Return the factor for a working image."""
        steps = [step for step in self.general if step.operation in visibility.CAPPED and "heavy" in step.values]
        if not steps:
            return 1.0
        return visibility.cap(image, functools.partial(self._chain, steps, severity="heavy", clear=image))

    def at_slice(self, z: int, slices: int) -> Plan:
        """Return the plan of slice ``z`` of a volume of ``slices``: smooth fields follow z, noise is fresh."""
        return self._copy(place=(z, slices))

    def at_channel(self, channel: int) -> Plan:
        """Return the plan of one channel where channels are images of their own: the same, with other noise."""
        return self if channel == (self.channel or 0) else self._copy(channel=channel)

    def _window(self) -> Window | None:
        declared = (self.observed or {}).get("window")
        return None if declared is None else Window(float(declared[0]), float(declared[1]))

    def make_scene(self, step: PlanStep, clear: Image) -> Scene:
        """Return what an operation of this plan may know besides the pixels.

        Raises:
            UsageError: the plan was made for another version of the operation.
        """
        entry = operation(step.operation)
        if entry.version != step.version:
            raise UsageError(
                f"the plan was made for {step.operation} version {step.version}, installed is version "
                f"{entry.version}; install the dmseg that made it, or plan anew"
            )
        parts: tuple[str | int, ...] = (self.seed, self.key, step.operation)
        z = None
        if self.place is not None:
            number, slices = self.place
            z = 2 * number / max(slices - 1, 1) - 1
            parts += (f"slice {number}",) if step.operation in FRESH else ()
        if self.channel and step.operation in FRESH:
            parts += (f"channel {self.channel}",)
        return Scene(self.observed or {}, parts, clear, z)

    def _chain(self, steps: Sequence[PlanStep], image: Image, factor: float, severity: str, clear: Image) -> Image:
        """Apply steps in order to a working image."""
        for step in steps:
            values = visibility.weaker(step.operation, step.numbers(severity), factor)
            image = operation(step.operation)(image, self.make_scene(step, clear), values)
        return image

    def apply(self, image: Any, level: str) -> Image:
        """Return the image at a level: same shape and type. Pure: the same bytes for any worker, order and batch.

        Args:
            image: Clear, as it was observed; uint8, uint16, float32 in [0, 1] or int16 with a window.
            level: one of :data:`dmseg.types.LEVELS`; ``clear`` returns the image itself.

        Raises:
            UsageError: unknown level, unusable image, an operation of another version.
        """
        level = check_level(level)
        return self.apply_levels(image, (level,))[level]

    def apply_levels(self, image: Any, levels: Sequence[str] = LEVELS) -> dict[str, Image]:
        """Return level -> image for several levels; LQ-3 is made once for itself and for LQ-3+."""
        levels = [check_level(level) for level in levels]
        plan = self if self.observed is not None else self.look(image)
        facts = plan.observed
        base = facts.image if isinstance(facts, Facts) and plan is not self else make_working(image, plan._window())
        results: dict[str, Image] = {}
        heavy: Image | None = None
        for level in levels:
            if level == "clear":
                results[level] = image
                continue
            domain_first = level == "lq3plus" and plan.order == "acquisition"
            if level in ("lq3", "lq3plus") and heavy is not None and not domain_first:
                made = heavy
            else:
                first = plan._chain(plan.domain, base, 1.0, plan.domain_severity, base) if domain_first else base
                made = plan._chain(plan.general, first, plan.visibility or 1.0, _SEVERITY[level], base)
                heavy = made if _SEVERITY[level] == "heavy" and not domain_first else heavy
            if level == "lq3plus" and not domain_first:
                made = plan._chain(plan.domain, made, 1.0, plan.domain_severity, base)
            results[level] = plan._to_given_type(image, base, made)
        return results

    def _to_given_type(self, image: Image, base: Image, made: Image) -> Image:
        """Return the result in the type of the image given (int16: the change times the window width)."""
        window = self._window()
        if image.dtype.kind == "i" and window is not None:
            return imaging.add_change(image, base, made, window)
        return made.astype(image.dtype, copy=made is base or made is image)

    def steps(self, level: str) -> list[tuple[PlanStep, str]]:
        """Return the operations that act at a level, in order, each with its severity."""
        level = check_level(level)
        if level == "clear":
            return []
        steps = [(step, _SEVERITY[level]) for step in self.general]
        if level != "lq3plus":
            return steps
        added = [(step, self.domain_severity) for step in self.domain]
        return added + steps if self.order == "acquisition" else steps + added

    def inert(self) -> dict[str, str]:
        """Return operation -> why it cannot change this image (constant, black, white); empty for real images."""
        if self.observed is None:
            return {}
        reasons = {
            step.operation: operation(step.operation).inert(self.observed) for step in self.general + self.domain
        }
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def __repr__(self) -> str:
        names = [step.operation for step in (*self.general, *self.domain)]
        where = self.modality or "any modality"
        return f'Plan("{self.key}", {where}, seed {self.seed}, tables {self.tables["version"]}: {", ".join(names)})'

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.describe('lq3plus'))}</pre>"

    def digest(self, level: str) -> str:
        """Return the sha256 (64 hex digits) of what is sampled at a level; nothing that was observed enters it."""
        level = check_level(level)
        acting = [[step.operation, step.version, step.values[severity]] for step, severity in self.steps(level)]
        order = [] if self.order == "paper" or level != "lq3plus" else [self.order]
        return canonical.digest([FORMAT, self.tables, self.key, self.seed, level, acting, *order])

    def to_json(self, level: str | None = None) -> str:
        """Return the plan as canonical JSON; with ``level``, only what acts there (it replays that level alone)."""
        level = None if level is None else check_level(level)
        acting = None if level is None else {(step.operation, severity) for step, severity in self.steps(level)}

        def format_steps(steps: Sequence[PlanStep]) -> list[dict[str, Any]]:
            rows = []
            for step in steps:
                kept = {s: v for s, v in step.values.items() if acting is None or (step.operation, s) in acting}
                if kept:
                    rows.append({"operation": step.operation, "version": step.version, "values": kept})
            return rows

        record: dict[str, Any] = {
            "format": FORMAT,
            "key": self.key,
            "seed": self.seed,
            "modality": self.modality,
            "tables": self.tables,
            "sampled": {
                "general": format_steps(self.general),
                "domain": format_steps(self.domain),
                "domain_severity": self.domain_severity,
            },
            "observed": None if self.observed is None else dict(self.observed),
            "visibility": self.visibility,
            "inert": self.inert(),
        }
        effective = self._effective_text(acting)
        if effective:
            record["effective"] = effective
        if level is not None:
            record["level"] = level
        if self.order != "paper":
            record["order"] = self.order
        if self.window is not None:
            record["window"] = [self.window.center, self.window.width]
        if self.geometry is not None:
            record["geometry"] = self.geometry
        return canonical.canonical_json(record)

    def _effective_text(self, acting: set[tuple[str, str]] | None) -> dict[str, dict[str, dict[str, str]]]:
        """Return operation -> severity -> the effective parameters that differ from the drawn ones, as strings."""
        found: dict[str, dict[str, dict[str, str]]] = {}
        for step in self.general if self.observed is not None else ():
            for severity in step.values:
                if acting is not None and (step.operation, severity) not in acting:
                    continue
                drawn, values = step.numbers(severity), self.effective(step, severity)
                changed = {name: canonical.significant(float(v)) for name, v in values.items() if v != drawn[name]}
                if changed:
                    found.setdefault(step.operation, {})[severity] = changed
        return found

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan that :meth:`to_json` wrote.

        Raises:
            DataError: not a plan, or one of an unknown format.
        """
        try:
            record = json.loads(text)
            if record["format"] != FORMAT:
                raise DataError(f"plan of format {record['format']!r}; this dmseg reads format {FORMAT}")
            sampled = record["sampled"]
            window = record.get("window")
            return Plan(
                key=record["key"],
                seed=record["seed"],
                modality=record["modality"],
                general=tuple(PlanStep(**step) for step in sampled["general"]),
                domain=tuple(PlanStep(**step) for step in sampled["domain"]),
                domain_severity=sampled["domain_severity"],
                tables=record["tables"],
                observed=record["observed"],
                visibility=record["visibility"],
                window=None if window is None else Window(*window),
                geometry=record.get("geometry"),
                order=resolve_name("order", record.get("order", "paper"), ORDERS),
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"not a degradation plan: {error!r}; expected the text of Plan.to_json()") from None

    def effective(self, step: PlanStep, severity: str) -> Mapping[str, float]:
        """Return the parameters that act on this image: after the visibility cap, and with the shift that it gets."""
        factor = self.visibility if self.visibility is not None else 1.0
        values = visibility.weaker(step.operation, step.numbers(severity), factor)
        if step.operation == "brightness_contrast" and self.observed:
            shift = general.effective_shift(values["brightness"], float(self.observed["mean"]))
            values = {**values, "brightness": shift}
        return values

    def describe(self, level: str, title: str | None = None) -> str:
        """Return in words what is done at a level, one line per operation; ``title`` replaces the level's label."""
        level = check_level(level)
        said = ", order of acquisition" if self.order == "acquisition" and level == "lq3plus" else ""
        lines = [
            f'{title or LEVEL_LABELS[level]} of "{self.key}" (seed {self.seed}, tables {self.tables["version"]}{said})'
        ]
        inert = self.inert()
        factor = self.visibility if self.visibility is not None else 1.0
        for number, (step, severity) in enumerate(self.steps(level), 1):
            entry = operation(step.operation)
            values = self.effective(step, severity)
            said = ", ".join(f"{name} {float(value):g} {entry.parameters[name].unit}" for name, value in values.items())
            line = f"{number}. {step.operation} ({severity}): {said}"
            if step.operation == "brightness_contrast" and self.observed:
                share = visibility.estimate_clipped_share(self.observed, values["brightness"], values["contrast"])
                line += f"; clips about {share:.0%} of Clear's greys"
            if step.operation in visibility.CAPPED and factor < 1:
                line += f"; strength reduced to {factor:g} to keep the image visible"
            if step.operation in inert:
                line += f"; changes nothing here: {inert[step.operation]}"
            lines.append(line)
        if len(lines) == 1:
            lines.append("nothing: the image as it is")
        if self.observed and self.observed.get("window"):
            lines.append("grey window {:g}/{:g} (center/width)".format(*self.observed["window"]))
        return "\n".join(lines)


Given = float | tuple[float, float]
"""A parameter's number, or the two ends of the range that it is drawn from."""


def _draw_steps(
    names: Sequence[str],
    key: str,
    seed: int,
    modality: str | None,
    given: Mapping[str, Mapping[str, Given]] | None = None,
) -> tuple[PlanStep, ...]:
    steps = []
    for name in names:
        entry, own = operation(name), (given or {}).get(name) or {}
        values = tables.draw(name, entry.parameters, key=key, seed=seed, modality=modality, given=own)
        steps.append(PlanStep(entry.name, entry.version, values))
    return tuple(steps)


def plan_operations(
    key: str,
    ops: str | Sequence[str] | Mapping[str, Mapping[str, Given]],
    *,
    modality: str | None = None,
    image: Any = None,
    seed: int = 0,
    window: Window | None = None,
    geometry: Mapping[str, Any] | None = None,
) -> Plan:
    """Draw a plan of named operations at the three severities: LQ-1 is light, LQ-2 medium, LQ-3 heavy.

    Args:
        key, image, seed, window, geometry: as in :func:`plan`.
        ops: a name, several names in order, or name -> parameter -> number or (low, high) to draw from. Such a
            parameter is the same at all severities; those that are not given come from the table. Where an operation
            that the visibility cap weakens has one, the plan is not capped: what is asked for is what acts.
        modality: default: the first one that has the first domain operation named.

    Raises:
        UsageError: an unknown operation or parameter, a number outside the limits, none named.

    >>> drawn = plan_operations("case", {"gaussian_noise": {"sigma": (0.05, 0.1)}})
    >>> 0.05 <= drawn.general[0].numbers("light")["sigma"] <= 0.1
    True
    """
    names = [operation(name).name for name in ([ops] if isinstance(ops, str) else ops)]
    if not names:
        raise UsageError("no operation is named; give at least one")
    given: dict[str, Mapping[str, Given]] = {}
    if isinstance(ops, Mapping):
        given = dict(zip(names, ops.values(), strict=True))
    homes = (home_modality(name) for name in names)
    modality = check_modality(modality) if modality else next((home for home in homes if home is not None), None)
    drawn = Plan(
        key=key,
        seed=seed,
        modality=modality,
        general=_draw_steps(names, key, seed, modality, given),
        domain=(),
        domain_severity="heavy",
        tables={"version": tables.TABLES_VERSION, "digest": tables.tables_digest()},
        visibility=1.0 if any(given.get(name) for name in visibility.CAPPED) else None,
        window=window,
        geometry=None if geometry is None else dict(geometry),
    )
    return drawn if image is None else drawn.observe(image)


def _choose_general(key: str, seed: int) -> list[str]:
    """Return k of the general operations, k from 2, 3, 4, without replacement, in the order drawn."""
    stream = Stream("degradation", seed, key, "general")
    return stream.sample(GENERAL, stream.choice(_GENERAL_COUNTS))


def plan(
    key: str,
    *,
    modality: str | None = None,
    domain: Sequence[str] | None = None,
    image: Any = None,
    seed: int = 0,
    window: Window | None = None,
    geometry: Mapping[str, Any] | None = None,
    ops: Sequence[str] | None = None,
    domain_severity: str = "heavy",
    order: str = "paper",
) -> Plan:
    """Draw the plan of one image.

    Args:
        key: names the image (benchmarks use the image id); all randomness depends on key and seed alone.
        modality: one of :data:`dmseg.types.MODALITIES`; None: no domain operations.
        domain: operations added at LQ-3+, in order; None: the modality's list.
        image: the undegraded image, to be observed now; None: at :meth:`Plan.apply`.
        seed: another seed gives another benchmark.
        window: grey window in the scanner's units (CT: HU); None: the modality's.
        geometry: ultrasound scan geometry instead of the estimate.
        ops: exactly these operations, in this order, at every level, instead of drawing k general ones.
        domain_severity: ``light``, ``medium`` or ``heavy`` for the domain operations (the paper has heavy only).
        order: ``paper``: general operations before those of the domain, as in the benchmark; ``acquisition``: the
            domain's first, as they arise in the scanner, then the general ones. It differs at LQ-3+ alone.

    Returns:
        The plan; coupled levels: same operations, order and fields at LQ-1 to LQ-3, parameters strictly ordered.

    Raises:
        UsageError: unknown modality, operation or severity; an unusable image.

    >>> drawn = plan("example", modality="ct")
    >>> Plan.from_json(drawn.to_json()) == drawn
    True
    """
    modality = check_modality(modality) if modality is not None else None
    domain_severity = tables.check_severity(domain_severity)
    if ops is not None:
        chosen, added = list(ops), list(domain or ())
    else:
        chosen = _choose_general(key, seed)
        standard = tables.modality_tables()[modality].operations if modality else ()
        added = list(standard if domain is None else domain)

    drawn = Plan(
        key=key,
        seed=seed,
        modality=modality,
        general=_draw_steps(chosen, key, seed, modality),
        domain=_draw_steps(added, key, seed, modality),
        domain_severity=domain_severity,
        tables={"version": tables.TABLES_VERSION, "digest": tables.tables_digest()},
        window=window,
        geometry=None if geometry is None else dict(geometry),
        order=resolve_name("order", order, ORDERS),
    )
    return drawn if image is None else drawn.observe(image)
