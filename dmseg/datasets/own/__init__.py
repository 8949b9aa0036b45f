"""Guess a recipe for one's own folder of images and masks, to be read, corrected and built."""

from dmseg.datasets.own.guessing import Guess, guess

__all__ = ["Guess", "guess"]
