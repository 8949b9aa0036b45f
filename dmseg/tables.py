"""Tables of numbers (TOML) read into frozen dataclasses; an unknown or missing key is an error that names the file."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from dmseg.errors import DataError, UsageError, suggestion
from dmseg.reading import read_toml, show_name

T = TypeVar("T")


def read_packaged_table(package: str, name: str) -> dict[str, Any]:
    """Return the parsed TOML file ``name`` that ships inside ``package`` (dotted)."""
    return tomllib.loads(resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def file_table(path: Path) -> dict[str, Any]:
    """Return the parsed TOML file at ``path``.

    Raises:
        DataError: the file is missing, or is not TOML; the message gives the place.
    """
    try:
        return read_toml(path)
    except FileNotFoundError:
        raise DataError(f"{show_name(path)}: no such file; give the path of a TOML table") from None


def record(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass ``cls`` from a table's keys, checking names and simple types; lists become tuples.

    Raises:
        DataError: a key is unknown (with a suggestion), missing, or of the wrong type; ``where`` names the table.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise DataError(f'{where}: unknown key "{key}"{suggestion(key, fields)}; allowed: {", ".join(fields)}')
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(values[name], hints[name], f"{where}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DataError(f'{where}: key "{name}" is missing')
    return cls(**arguments)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return ``value`` as the annotated type: nested dataclass, tuple, dict, optional, number, text."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert(value, next(option for option in options if option is not type(None)), where)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return record(typing.cast(type, hint), value, where)
    if origin is tuple and isinstance(value, list):
        inner = [options[0]] * len(value) if len(options) == 2 and options[1] is ... else list(options)
        if len(inner) != len(value):
            raise DataError(f"{where}: expected {len(inner)} values, got {len(value)}: {value!r}")
        return tuple(_convert(item, kind, where) for item, kind in zip(value, inner, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(item, options[1], f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (
        isinstance(hint, type) and isinstance(value, hint) and (hint is bool or type(value) is not bool)
    ):
        return value
    raise DataError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")


def check_number(
    name: str,
    value: float,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Raise UsageError for a number out of its limits; ``least`` and ``most`` are allowed, the others are not."""
    if least <= value <= most and (above == -math.inf or value > above) and (below == math.inf or value < below):
        return
    limits = (("at least", least), ("above", above), ("at most", most), ("below", below))
    said = " and ".join(f"{words} {limit:g}" for words, limit in limits if math.isfinite(limit))
    raise UsageError(f"{name} = {value:g}: must be {said}")
