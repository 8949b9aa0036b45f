"""Which names a model may have. When two are one name in other clothes: :func:`dmseg.naming.name_key`."""

from __future__ import annotations

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._+()/-]{0,79}"
"""What a model may be called: plain letters, digits and a few signs; nothing that only looks like another name."""
MODEL_NAME_RULE = "1 to 80 letters, digits, spaces or . _ + ( ) / -, the first a letter or a digit"
