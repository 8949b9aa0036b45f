"""Shapes of records that come from JSON files: types, ranges, lengths. Every problem is found, and named by its field.

>>> shape = Record({"name": Text(longest=10), "steps": Number(1, 100), "note": Optional(Text())})
>>> find_problems({"name": "a", "steps": 0}, shape)
['steps is 0; a whole number from 1 to 100']
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dmseg.errors import DataError

_SHOWN = 60
SHA256 = r"[0-9a-f]{64}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text on one line of at most ``longest`` characters; wholly of a ``pattern``, or one of the ``choices``."""

    longest: int = 200
    shortest: int = 0
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    means: str = ""

    def __str__(self) -> str:
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        return self.means or (f"a text of {self.shortest} to {self.longest} characters on one line")

    def holds(self, value: Any) -> bool:
        """Tell whether a value is such a text."""
        if not isinstance(value, str) or not self.shortest <= len(value) <= self.longest:
            return False
        if self.choices and value not in self.choices:
            return False
        # isprintable is false for control characters, line ends, lone surrogates and marks that turn text around
        return value.replace("\u00a0", " ").isprintable() and (
            self.pattern is None or re.fullmatch(self.pattern, value) is not None
        )


@dataclass(frozen=True, slots=True)
class Number:
    """A number from ``low`` to ``high``; ``whole`` ones only unless said otherwise."""

    low: float
    high: float
    whole: bool = True

    def __str__(self) -> str:
        return f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}"

    def holds(self, value: Any) -> bool:
        """Tell whether a value is such a number."""
        kinds = (int,) if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Either:
    """A value of one of several simple shapes."""

    shapes: tuple[Any, ...]

    def __str__(self) -> str:
        return " or ".join(str(shape) for shape in self.shapes)

    def holds(self, value: Any) -> bool:
        """Tell whether a value has one of the shapes."""
        return any(shape.holds(value) for shape in self.shapes)


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be null or absent."""

    shape: Any


@dataclass(frozen=True, slots=True)
class Items:
    """A list of ``shortest`` to ``longest`` values of one shape, each once where ``distinct``."""

    shape: Any
    longest: int
    shortest: int = 0
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Entries:
    """An object of at most ``longest`` free names and values of one shape."""

    shape: Any
    longest: int
    name: Text = field(default_factory=Text)


@dataclass(frozen=True, slots=True)
class Loose:
    """Any JSON value of at most ``values`` numbers and short texts in all, nested at most ``depth`` deep."""

    values: int = 1000
    depth: int = 6
    longest: int = 2000


@dataclass(frozen=True, slots=True)
class Record:
    """An object with these fields; others are refused, or let through where ``others`` is a shape."""

    fields: Mapping[str, Any]
    others: Any = None


def find_problems(value: Any, shape: Any, where: str = "") -> list[str]:
    """Return one text per field that has not its shape: ``model.params is -1; a whole number from 0 to 1e+13``."""
    return list(_problems(value, shape, where))


def require_shape(value: Any, shape: Any, where: str) -> None:
    """Raise a :class:`~dmseg.errors.DataError` that begins with ``where`` and names every field that is wrong."""
    found = find_problems(value, shape)
    if found:
        rest = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise DataError(f"{where}: {'; '.join(found[:5])}{rest}")


def _problems(value: Any, shape: Any, where: str) -> Iterator[str]:
    if isinstance(shape, Optional):
        if value is not None:
            yield from _problems(value, shape.shape, where)
    elif isinstance(shape, Record):
        yield from _record_problems(value, shape, where)
    elif isinstance(shape, Items):
        yield from _list_problems(value, shape, where)
    elif isinstance(shape, Entries):
        if not isinstance(value, Mapping) or len(value) > shape.longest:
            yield f"{where or 'it'} is {_show(value)}; an object of at most {shape.longest} entries"
            return
        for name, item in value.items():
            yield from _problems(name, shape.name, f"a name in {where}")
            yield from _problems(item, shape.shape, f"{where}.{_short(name)}")
    elif isinstance(shape, Loose):
        if _count(value, shape, 0) > shape.values:
            yield f"{where} is {_show(value)}; at most {shape.values} short values, {shape.depth} levels deep"
    elif not shape.holds(value):
        yield f"{where or 'it'} is {_show(value)}; {shape}"


def _record_problems(value: Any, shape: Record, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where or 'it'} is {_show(value)}; an object"
        return
    prefix = f"{where}." if where else ""
    for name, inner in shape.fields.items():
        if name in value:
            yield from _problems(value[name], inner, f"{prefix}{name}")
        elif not isinstance(inner, Optional):
            yield f"{prefix}{name} is missing"
    for name, item in value.items():
        if name not in shape.fields:
            if shape.others is None:
                yield f"{prefix}{_short(name)} is unknown; allowed: {', '.join(shape.fields)}"
            else:
                yield from _problems(item, shape.others, f"{prefix}{_short(name)}")


def _list_problems(value: Any, shape: Items, where: str) -> Iterator[str]:
    if not isinstance(value, list) or not shape.shortest <= len(value) <= shape.longest:
        yield f"{where} is {_show(value)}; a list of {shape.shortest} to {shape.longest} values"
        return
    for place, item in enumerate(value):
        yield from _problems(item, shape.shape, f"{where}[{place}]")
    if shape.distinct and len({repr(item) for item in value}) < len(value):
        yield f"{where} is {_show(value)}; each value once"


def _count(value: Any, shape: Loose, depth: int) -> int:
    """Return how many values there are; more than allowed where one of them is too long or too deep."""
    if depth > shape.depth or (isinstance(value, str) and len(value) > shape.longest):
        return shape.values + 1
    inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    total = 1
    for item in inner:
        total += _count(item, shape, depth + 1)
        if total > shape.values:
            break
    return total


def _short(value: object) -> str:
    return str(value)[:_SHOWN].encode("ascii", "backslashreplace").decode()


def _show(value: Any) -> str:
    """Return a value for a message: short, on one line, any terminal can show it."""
    if isinstance(value, Mapping):
        return f"an object of {len(value)} entries"
    if isinstance(value, list):
        return f"a list of {len(value)} values" if len(value) > 5 else _short(repr(value))
    return _short(repr(value) if isinstance(value, str) else str(value).lower() if value is None else repr(value))
