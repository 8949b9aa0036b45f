"""Files that others wrote, read without trusting them: regular files of sane size, strict JSON, TOML and Parquet.

Whatever is wrong with such a file is a :class:`~dmseg.errors.DataError` that names it. Nothing here waits for a pipe,
follows what is no file, recurses without end, or lets NaN, infinities, doubled keys or lone surrogates through.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dmseg.errors import DataError

MAX_TEXT_BYTES = 1 << 26
"""Largest JSON or TOML file that is read whole (64 MiB)."""
MAX_DEPTH = 40
"""Deepest nesting of lists and objects."""
MAX_WHOLE = 2**63 - 1
"""Largest whole number, with either sign: what a 64-bit column holds."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
    stat.S_ISDIR: "a folder",
}


def show_name(name: str | bytes | os.PathLike[Any]) -> str:
    """Return a file name as text that any terminal and file takes: bytes that are no UTF-8 as ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def require_regular(path: Path, *, links: bool = True) -> os.stat_result:
    """Return the status of a regular file, without opening it.

    Args:
        links: whether a symbolic link to a regular file will do.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: a pipe, device, socket, folder, or (``links=False``) a symbolic link.
    """
    try:
        status = path.stat() if links else path.lstat()
    except ValueError:  # a NUL in the name
        raise DataError(f"{show_name(path)!r}: not a name that a file can have") from None
    if stat.S_ISLNK(status.st_mode):
        raise DataError(f"{show_name(path)}: a symbolic link; give the file itself")
    for is_kind, name in _KINDS.items():
        if is_kind(status.st_mode):
            raise DataError(f"{show_name(path)}: {name}; give a regular file")
    return status


def read_regular(path: Path, *, limit: int = MAX_TEXT_BYTES, links: bool = True) -> bytes:
    """Return the bytes of a regular file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: no regular file, larger than the limit, or not readable.
    """
    size = require_regular(path, links=links).st_size
    if size > limit:
        raise DataError(f"{show_name(path)}: {size} bytes; at most {limit} are read from a file of this kind")
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise DataError(f"{show_name(path)}: cannot be read: {error.strerror or error}") from None
    if len(content) > limit:
        raise DataError(f"{show_name(path)}: grew beyond {limit} bytes while it was read")
    return content


def read_json(path: Path, *, limit: int = MAX_TEXT_BYTES, links: bool = True) -> Any:
    """Return the value of a JSON file; errors as :func:`read_regular` and :func:`parse_json`."""
    return parse_json(read_regular(path, limit=limit, links=links), show_name(path))


def parse_json(content: bytes | str, where: str) -> Any:
    """Return the value of a JSON text, read strictly.

    Raises:
        DataError: not UTF-8, not JSON, a key that occurs twice, NaN or an infinity (also by overflow, as 1e999), a
            whole number beyond 64 bit, a lone surrogate, or nesting deeper than 40; ``where`` names the text.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
        _check_value(value)
    except RecursionError:
        raise DataError(f"{where}: nested too deeply; at most {MAX_DEPTH} levels") from None
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise DataError(f"{where}: not readable JSON: {error}") from None
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: no regular file, not UTF-8, not TOML, NaN or an infinity, a whole number beyond 64 bit, or nesting
            deeper than 40.
    """
    content = read_regular(path)
    try:
        table = tomllib.loads(content.decode("utf-8-sig"), parse_float=_finite)
        _check_value(table)
    except RecursionError:
        raise DataError(f"{show_name(path)}: nested too deeply; at most {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise DataError(f"{show_name(path)}: not a readable TOML table: {error}") from None
    return table


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_WHOLE:
        raise ValueError(f"{text[:24]}{'...' if len(text) > 24 else ''} is beyond 64 bit")
    return int(text)


def _check_value(value: Any, depth: int = 0) -> None:
    """Check what the parsers let through: depth, whole numbers of TOML, surrogates written as escapes."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        if found := _SURROGATE.search(value):
            raise ValueError(f"a text holds half a character ({found.group()!r})")
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > MAX_WHOLE:
            raise ValueError("a whole number is beyond 64 bit")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_value(key, depth + 1)
            _check_value(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_value(item, depth + 1)
