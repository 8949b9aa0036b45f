"""Names of models and owners: which are allowed, and when two are the same name in other clothes."""

from __future__ import annotations

import unicodedata

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._+()/-]{0,79}"
"""What a model may be called: plain letters, digits and a few signs; nothing that only looks like another name."""
MODEL_NAME_RULE = "1 to 80 letters, digits, spaces or . _ + ( ) / -, the first a letter or a digit"


def name_key(name: str) -> str:
    """Return what two spellings of one name share: letters and digits, compatible forms and case folded.

    >>> name_key("SAM-Med 2D") == name_key("sam_med2d") == name_key("\uff33am.med\uff12d")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(character for character in folded if character.isalnum())
