"""Identifiers of images, masks and cases. They decide all randomness, so their rules never change within a schema.

Which of them may name a file is decided in :mod:`dmseg.naming`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_ID_LENGTH = 180
"""Longest image or case id: with a suffix it stays below the 255 bytes that file systems allow for a name."""

_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")


def clean_text(text: str) -> str:
    """Return composed Unicode ``text`` with every character outside ``[A-Za-z0-9._-]`` replaced by ``-``.

    >>> clean_text("benign (12)")
    'benign--12-'
    """
    return _FOREIGN.sub("-", unicodedata.normalize("NFC", text))


def _join(dataset: str, inner: str) -> str:
    identifier = f"{clean_text(dataset)}__{clean_text(inner)}"
    if len(identifier) <= MAX_ID_LENGTH:
        return identifier
    # A long name keeps its readable beginning; the digest of the whole original keeps it unique.
    tail = hashlib.sha256(inner.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{identifier[: MAX_ID_LENGTH - 17]}-{tail}"


def image_id(dataset: str, source_id: str) -> str:
    """Return ``<dataset>__<source id>``; over-long ids end in a digest of the original.

    >>> image_id("BUSI", "benign (12)")
    'BUSI__benign--12-'
    """
    return _join(dataset, source_id)


def case_id(dataset: str, patient: str) -> str:
    """Return ``<dataset>__<patient>``, made like :func:`image_id`."""
    return _join(dataset, patient)


def mask_id(image: str, structure: str, k: int) -> str:
    """Return ``<image_id>__<structure>__<k>`` for the ``k``-th object (from 0) of a structure in an image.

    >>> mask_id("BUSI__benign--12-", "lesion", 0)
    'BUSI__benign--12-__lesion__0'
    """
    return f"{image}__{clean_text(structure)}__{k}"
