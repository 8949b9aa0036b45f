"""One canonical text for numbers and records, and the digests made of it.

Digests name benchmarks, plans and runs, so the encoding is fixed: UTF-8 JSON with sorted keys and no spaces, floats in
their shortest form that reads back exactly, integers as integers, missing as null; NaN and infinity are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def significant(value: float, digits: int = 6) -> str:
    """Return ``value`` as a decimal string of ``digits`` significant digits, the form of sampled plan values.

    >>> significant(0.1234567), significant(12.0), significant(-0.0)
    ('0.123457', '12', '0')
    """
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {value!r}")
    text = f"{value:.{digits}g}"
    return "0" if float(text) == 0 else text


# Told by their exact types, before the dearer questions that follow: this is most of what records hold.
_PLAIN = frozenset({str, int, bool, type(None)})
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Return ``value`` with numpy scalars, arrays and tuples turned into plain Python, ready for JSON."""
    kind = type(value)
    if kind in _PLAIN or (kind is float and math.isfinite(value)):
        return value
    if kind is dict or isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a canonical value must be finite, got {value!r}; missing is null")
    return value


def canonical_json(value: Any) -> str:
    """Return the canonical text of a JSON-able value.

    >>> canonical_json({"b": 1.0, "a": (np.int64(2), None)})
    '{"a":[2,null],"b":1.0}'
    """
    return _ENCODER.encode(plain(value))


def digest(value: Any) -> str:
    """Return the sha256 (64 hex digits) of the canonical text of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_rows(rows: Iterable[Any]) -> str:
    """Return the sha256 (64 hex digits) over rows in the order given, one canonical line each."""
    state = hashlib.sha256()
    for row in rows:
        state.update(canonical_json(row).encode())
        state.update(b"\n")
    return state.hexdigest()
