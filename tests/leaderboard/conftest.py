"""A small published edition, and honest runs on it by models that ship."""

from published_edition import publish_edition, tiny_edition

__all__ = ["publish_edition", "tiny_edition"]
