"""A small published edition, and honest runs on it by models that ship."""

from published_edition import published, tiny_edition

__all__ = ["published", "tiny_edition"]
