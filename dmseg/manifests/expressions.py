"""Sentences that name objects (referring expressions): how a manifest holds them, and the ids of their rows in a run.

An object has its sentences in one column. A run under a preset that gives sentences has one row for each of them, whose
``mask_id`` is the object's with ``__e<k>`` after it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dmseg.canonical import canonical_json
from dmseg.errors import DataError
from dmseg.reading import parse_json

LONGEST_EXPRESSION = 1000
"""Characters of one sentence; those of RefCOCOg have up to 150 or so."""
_ROW = re.compile(r"^(.+__\d+)__e\d+$")


def expression_id(mask_id: str, k: int) -> str:
    """Return the id of the rows about the ``k``-th sentence (from 0) of an object.

    >>> expression_id("RefCOCO__581857__person__0", 2)
    'RefCOCO__581857__person__0__e2'
    """
    return f"{mask_id}__e{k}"


def object_of(row_id: str) -> str:
    """Return the id of the object that the rows of an id are about.

    >>> object_of("RefCOCO__581857__person__0__e2"), object_of("BUSI__b1__lesion__0")
    ('RefCOCO__581857__person__0', 'BUSI__b1__lesion__0')
    """
    found = _ROW.match(row_id)
    return found.group(1) if found else row_id


def pack_expressions(texts: Sequence[str]) -> dict[str, str]:
    """Return the columns ``expressions`` and ``expressions_sha256`` of an object with these sentences."""
    text = canonical_json(list(texts))
    return {"expressions": text, "expressions_sha256": hashlib.sha256(text.encode()).hexdigest()}


def expand_expressions(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row of the masks' table once for each sentence, as ``expression``, under the id of that sentence's rows.

    Args:
        row: with ``mask_id``, ``expressions`` and ``expressions_sha256``, and whatever else.

    Raises:
        DataError: the sentences are not those that the digest names, or are withheld.
    """
    mask_id, text = row["mask_id"], row["expressions"]
    if row["expressions_sha256"] is None:
        return
    if text is None:
        raise DataError(
            f"the sentences about {mask_id} are not in this manifest: its dataset's licence does not allow sharing "
            "them; build the benchmark from the raw data: dmseg build --manifest ... --raw ..."
        )
    if hashlib.sha256(text.encode()).hexdigest() != row["expressions_sha256"]:
        raise DataError(f"the sentences about {mask_id} are not those that its digest names; build the benchmark again")
    texts = parse_json(text.encode(), f"expressions of {mask_id}")
    if not isinstance(texts, list) or not all(
        isinstance(one, str) and 0 < len(one) <= LONGEST_EXPRESSION for one in texts
    ):
        raise DataError(f"expressions of {mask_id}: expected a list of texts of 1 to {LONGEST_EXPRESSION} characters")
    for k, expression in enumerate(texts):
        yield {**row, "mask_id": expression_id(mask_id, k), "expression": expression}
