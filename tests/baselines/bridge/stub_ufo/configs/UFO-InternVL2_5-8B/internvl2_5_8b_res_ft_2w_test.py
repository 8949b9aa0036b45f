"""A stub of the authors' configuration."""
