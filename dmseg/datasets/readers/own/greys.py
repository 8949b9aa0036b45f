"""From the values of one's own images to the 8 bit that is seen: CT in HU, then the recipe's window or percentiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets.readers.volumes import percentiles
from dmseg.datasets.recipes import Recipe
from dmseg.imaging import check_hounsfield, check_visible, parse_rescale
from dmseg.types import Window

_ADVICE = 'rescale = "{}" under [parameters] of the recipe'


def choose_window(recipe: Recipe, path: Path, values: NDArray[Any]) -> tuple[NDArray[Any], Window]:
    """Return the values (CT: in HU) of a whole image or volume, and the window in which they are seen.

    Raises:
        DataError: CT that is not in HU and for which the recipe names no conversion, or a window that shows nothing.
    """
    modality, rules = recipe.modality(), recipe.parameters
    window = recipe.windows.get(modality)
    if modality == "ct":
        name = rules.get("rescale", "")
        if name:
            values = parse_rescale(name, window).to_hu(values)
        else:
            check_hounsfield(values, str(path), advice=_ADVICE)
    if window is None:
        low, high = rules["percentiles"]
        return values, percentiles(path, values, (low, high))
    check_visible(values, window, str(path), advice=f"[windows.{modality}] of the recipe")
    return values, window


def has_whole_numbers(values: NDArray[Any]) -> bool:
    """Return whether all values are finite whole numbers."""
    return values.dtype.kind in "iub" or bool(np.isfinite(values).all() and (values == np.round(values)).all())
