"""Adapters for environments of their own, and beside each the packages of its environment (``NAME.txt``)."""
