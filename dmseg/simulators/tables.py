"""The numbers of all degradations (the ``*.toml`` beside this module), their version and digest.

What lives here: ranges and how one draw is mapped into them. What does not: the operations themselves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmseg import canonical
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table, record
from dmseg.types import MODALITIES, Window, check_modality, resolve_name

SEVERITIES: tuple[str, ...] = ("light", "medium", "heavy")
_SEVERITY_NAMES = {"1": "light", "2": "medium", "3": "heavy", "mild": "light", "moderate": "medium", "severe": "heavy"}
KINDS: tuple[str, ...] = ("general", "domain")
NEEDS: tuple[str, ...] = ("variation", "midtones", "signal", "headroom")

Range = tuple[float, float]


def _branches(value: Any, where: str) -> tuple[Range, ...]:
    """Return one range or a list of alternative ranges as a tuple of ranges."""
    ranges = value if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple)) else [value]
    try:
        return tuple((float(low), float(high)) for low, high in ranges)
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected [a, b] or [[a, b], [c, d]], got {value!r}") from None


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation: its unit, its range at each severity, and where the range comes from.

    Attributes:
        unit: what the number means.
        source: where the range was taken from.
        light, medium, heavy: ``[a, b]`` or alternatives ``[[a, b], ...]``; or
        any: one range that all severities share.
        limits: what the operation accepts, both ends included.
        integer: values are rounded to whole numbers.
        log: the draw is mapped geometrically.
        length: given in px at a 512-px short side; the operation gets px of the image.
        floor: px added times (1 - short side / 512) below 512 px, so that a length acts at every size.
        modality: ranges that replace the general ones for one modality.
        only: modalities that have this parameter at all; empty: every one.
    """

    unit: str
    source: str
    light: Any = None
    medium: Any = None
    heavy: Any = None
    any: Any = None
    limits: tuple[float, float] = (-math.inf, math.inf)
    integer: bool = False
    log: bool = False
    length: bool = False
    floor: float = 0.0
    modality: dict[str, dict[str, Any]] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.any is None) == any(getattr(self, severity) is None for severity in SEVERITIES):
            raise DataError(f'parameter "{self.unit}": give either any, or light, medium and heavy')

    def branches(self, severity: str, modality: str | None = None) -> tuple[Range, ...]:
        """Return the alternative ranges at ``severity`` (one, or one of which is drawn for all severities)."""
        return self._ranges[modality if modality in self.modality else None][severity]

    @functools.cached_property
    def _ranges(self) -> dict[str | None, dict[str, tuple[Range, ...]]]:
        """Ranges by modality (None: every other one) and severity."""
        general = {severity: getattr(self, severity) if self.any is None else self.any for severity in SEVERITIES}
        return {
            name: {
                severity: _branches(own.get(severity, own.get("any", general[severity])), f"range of {self.unit}")
                for severity in SEVERITIES
            }
            for name, own in ((None, {}), *self.modality.items())
        }

    def value(self, u: float, branch: int, severity: str, modality: str | None = None) -> float:
        """Map a draw ``u`` in [0, 1) into the range of a severity."""
        low, high = self.branches(severity, modality)[branch]
        value = low * (high / low) ** u if self.log else low + u * (high - low)
        return float(math.floor(value + 0.5)) if self.integer else value

    def between(self, u: float, given: Any, where: str) -> float:
        """Map a draw ``u`` in [0, 1) into a caller's range (low, high), or return the caller's number."""
        ends = given if isinstance(given, (tuple, list)) else (given, given)
        if len(ends) != 2:
            raise UsageError(f"{where}: {given!r} is neither a number nor (low, high)")
        low, high = (self.check(end, where) for end in ends)
        if low > high:
            raise UsageError(f"{where}: {given!r} ends below its start; give (low, high)")
        if self.integer:
            return math.floor(low + u * (high - low + 1))
        return low * (high / low) ** u if self.log and low > 0 else low + u * (high - low)

    def check(self, value: float, where: str) -> float:
        """Return ``value`` if it is finite and inside the limits, else raise :class:`UsageError`."""
        low, high = self.limits
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise UsageError(f"{where}: {value!r} is not in {low:g}..{high:g} ({self.unit})")
        if self.integer and value != int(value):
            raise UsageError(f"{where}: {value!r} is not a whole number ({self.unit})")
        return float(value)


@dataclass(frozen=True)
class OperationTable:
    """The table of one operation: kind, version, parameters, and what an image must have for it to act."""

    version: int
    kind: str
    parameters: dict[str, Parameter]
    needs: tuple[str, ...] = ()
    needs_in: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of operation", self.kind, KINDS)
        for need in (*self.needs, *(need for needs in self.needs_in.values() for need in needs)):
            if need not in NEEDS:
                raise unknown_name("need of an operation", need, NEEDS)


@dataclass(frozen=True)
class ModalityTable:
    """What one modality gets without a dataset, further operations that belong to it, and its default grey window."""

    operations: tuple[str, ...]
    extra: tuple[str, ...] = ()
    window: Window | None = None


@dataclass(frozen=True)
class VisibilityTable:
    """Numbers of the visibility cap."""

    clipped: float
    gain: float
    correlation: float
    steps: int
    sample_side: int


@functools.cache
def visibility_table() -> VisibilityTable:
    """Return the numbers of the visibility cap."""
    return record(VisibilityTable, read_packaged_table("dmseg.simulators", "visibility.toml"), "visibility.toml")


@dataclass(frozen=True)
class SpectrumTable:
    """X-ray spectrum and attenuation; energies in keV, coefficients in cm2/g."""

    energy_kev: tuple[float, ...]
    photons: tuple[float, ...]
    water: tuple[float, ...]
    bone: tuple[float, ...]
    reference_kev: float
    bone_from_hu: float
    bone_full_hu: float
    clipped_hu: float
    air_hu: float
    calibration_mm: float


@functools.cache
def spectrum_table() -> SpectrumTable:
    """Return the X-ray spectrum."""
    return record(SpectrumTable, read_packaged_table("dmseg.simulators", "spectrum.toml"), "spectrum.toml")


@functools.cache
def _levels() -> dict[str, Any]:
    return read_packaged_table("dmseg.simulators", "levels.toml")


@functools.cache
def operation_tables() -> dict[str, OperationTable]:
    """Return the table of every built-in operation, in the order of ``levels.toml``."""
    return {
        name: record(OperationTable, values, f"levels.toml [{name}]")
        for name, values in _levels().items()
        if name != "version"
    }


@functools.cache
def modality_tables() -> dict[str, ModalityTable]:
    """Return the table of every modality."""
    values = read_packaged_table("dmseg.simulators", "modalities.toml")
    return {name: record(ModalityTable, values[name], f"modalities.toml [{name}]") for name in MODALITIES}


def check_severity(severity: str | int) -> str:
    """Return ``light``, ``medium`` or ``heavy`` for 1, 2 or 3, or for its name as people type it.

    Raises:
        UsageError: it is none of them.

    >>> check_severity(2), check_severity("Heavy")
    ('medium', 'heavy')
    """
    typed = isinstance(severity, (str, int, np.integer)) and not isinstance(severity, bool)
    if not typed or (str(severity).strip().lstrip("+-").isdigit() and str(severity).strip() not in _SEVERITY_NAMES):
        raise UsageError(f"severity {severity!r}; give 1, 2 or 3, or {', '.join(SEVERITIES)}")
    return resolve_name("severity", str(severity), SEVERITIES, _SEVERITY_NAMES)


def default_window(modality: str | None) -> Window | None:
    """Return the grey window that a modality's images have when none is declared, or None."""
    return modality_tables()[check_modality(modality)].window if modality else None


_OTHERS = ("modalities", "visibility", "spectrum")

TABLES_VERSION: str = _levels()["version"]


@functools.cache
def tables_digest() -> str:
    """Return the sha256 (64 hex digits) over all tables."""
    return canonical.digest([_levels(), *(read_packaged_table("dmseg.simulators", f"{name}.toml") for name in _OTHERS)])


def draw(
    name: str,
    parameters: Mapping[str, Parameter],
    *,
    key: str,
    seed: int,
    modality: str | None,
    given: Mapping[str, float | tuple[float, float]] | None = None,
) -> dict[str, dict[str, str]]:
    """Draw one number per parameter and map it into every severity's range.

    Args:
        name: of the operation.
        parameters: of the operation.
        key, seed: what the draws depend on.
        modality: its ranges and parameters.
        given: parameter -> number, or (low, high) instead of the table's ranges.

    Returns:
        severity -> parameter -> value as a decimal string of 6 significant digits.

    Raises:
        UsageError: an operation that is of other modalities only; a given parameter that the operation has not, or not
            for this modality; numbers beyond its limits.
    """
    own = {
        label: parameter for label, parameter in parameters.items() if not parameter.only or modality in parameter.only
    }
    if parameters and not own:
        known = sorted({modality for parameter in parameters.values() for modality in parameter.only})
        raise UsageError(f"{name} is an operation of {', '.join(known)}, not of {modality or 'no modality'}")
    for label in given or ():
        if label not in parameters:
            raise unknown_name(f"parameter of {name}", label, parameters)
        if label not in own:
            raise UsageError(f"{name} has no {label} for {modality}; it has: {', '.join(own)}")
    values: dict[str, dict[str, str]] = {severity: {} for severity in SEVERITIES}
    for label, parameter in own.items():
        stream = Stream("degradation", seed, key, name, label)
        u = stream.uniform()
        branch = stream.integer(0, len(parameter.branches("heavy", modality)) - 1)
        if given is not None and label in given:
            text = canonical.significant(parameter.between(u, given[label], f"{name}: {label}"))
            for severity in SEVERITIES:
                values[severity][label] = text
            continue
        for severity in SEVERITIES:
            value = parameter.value(u, branch, severity, modality)
            values[severity][label] = canonical.significant(value)
    return values
