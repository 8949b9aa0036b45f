"""Ids of one's own images and patients: readable, unique whatever the names, equal on every machine.

Names that are only of ``[A-Za-z0-9._-]`` stay as they are. All others are written in Latin letters (anyascii), and a
digest of the original follows, so that two names never become one. Names that differ in case alone get it too: on many
disks they would be one file.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from anyascii import anyascii

from dmseg.canonical import digest
from dmseg.datasets.sources import clean_id

_DIGITS = 8


def plain_id(text: str) -> str:
    """Return a text as an id; one with other characters is transliterated and ends in a digest of the original.

    >>> plain_id("scan-7.a"), plain_id("Zoë")
    ('scan-7.a', 'Zoe-f871740d')
    """
    composed = unicodedata.normalize("NFC", text)
    plain = transliterate(composed).strip("-")
    return composed if plain == composed else _with_digest(plain, composed)


def transliterate(text: str) -> str:
    """Return a text in Latin letters, digits and ``._-``; two texts can become one.

    >>> transliterate("Ärzte №1")
    'Arzte-No1'
    """
    return clean_id(anyascii(unicodedata.normalize("NFC", text)))


def _with_digest(plain: str, original: object) -> str:
    return f"{plain}-{digest(original)[:_DIGITS]}" if plain else f"id-{digest(original)[:_DIGITS]}"


def unique_ids(names: Iterable[Sequence[str]]) -> list[str]:
    """Return one id for each tuple of names (folders, patient, image), all different even without regard to case."""
    listed = [tuple(part for part in parts if part) for parts in names]
    ids = ["_".join(map(plain_id, _without_repeats(parts))) for parts in listed]
    times = Counter(name.lower() for name in ids)
    return [
        name if times[name.lower()] == 1 else _with_digest(name, list(parts))
        for name, parts in zip(ids, listed, strict=True)
    ]


def _without_repeats(parts: Sequence[str]) -> Sequence[str]:
    """Leave out a name with which the last one begins: ``sub-01``, ``sub-01_T1w``."""
    return [part for part in parts[:-1] if not parts[-1].startswith(part)] + list(parts[-1:])
