"""Training runs that take a second or two."""

from __future__ import annotations

from dmseg.training.config import TrainConfig, load_config

SMALL = (
    "batches=4",
    "save_every=1",
    "splits=['seen', 'unseen', 'train']",
    "prompt_kinds=1",
    "interactions=2",
    "validation.images=0",
)
SIDE = "stages=[{until=1.0, side=64, batch=2}]"


PLAIN = ("augment=false", "appearance=none", "degradation=fixed")
"""What kept features ask for: images as they are stored."""


def small(preset: str, *changes: str) -> TrainConfig:
    """A preset, cut down to seconds: two images of 64 pixels a batch, without kept features."""
    return load_config(preset, (*SMALL, "batch=2", SIDE, *changes))
