"""What the values of a mask mean: one object, one per id, one per label or one per colour. One rule for all readers.

``masks`` of the recipe's parameters says which:

* ``binary``: everything above ``mask_above`` is one object; ``"half"`` is half of the file's own range (1, 255, 65535).
* ``instances``: every id above 0 is an object of its own.
* ``labels``: ``[parameters.labels]`` names the values; a value of ``ignore`` is no object.
* ``colours``: ``[parameters.colours]`` names RGB colours; ``background`` is none.

A value that the recipe does not know is told as a note, with its pixels, never dropped or merged in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets.shapes import nearest_colour
from dmseg.datasets.sources import NOTE, LeftOut
from dmseg.errors import DataError, unknown_name
from dmseg.types import Mask, Structure

MASKS = ("binary", "instances", "labels", "colours")
_RANGES = (1, 255, 65535)


def kind_of_masks(rules: Mapping[str, Any]) -> str:
    """Return the recipe's ``masks``, or what its other parameters say where it has none.

    Raises:
        UsageError: an unknown kind.
    """
    implied = "colours" if rules.get("colours") else "labels" if rules.get("labels") else "binary"
    kind = rules.get("masks", implied)
    if kind not in MASKS:
        raise unknown_name("masks of the recipe", str(kind), MASKS)
    return str(kind)


def half_of_range(values: NDArray[Any]) -> float:
    """Return half of the smallest usual range (1, 255, 65535) that holds the values."""
    largest = float(values.max(initial=0))
    return next((top for top in _RANGES if largest <= top), largest) / 2


def split_values(
    values: NDArray[Any], rules: Mapping[str, Any], name: str, where: str
) -> Iterator[Structure | LeftOut]:
    """Yield the objects in the values of a mask, and a note for what the recipe does not know.

    Args:
        values: (H, W) of any real type.
        rules: the recipe's parameters.
        name: name of the object where values have none.
        where: the mask file, for notes.
    """
    kind = kind_of_masks(rules)
    if kind == "binary":
        yield from _binary(values, rules, name, where)
    elif kind == "instances":
        negative = int((values < 0).sum())
        for value in np.unique(values[values > 0]):
            yield Structure(name, values == value)
        if negative:
            yield LeftOut(where, f"{negative} px below 0 are no object", NOTE)
    else:
        known: set[float] = {0.0, *map(float, rules.get("ignore", ()))}
        for label, value in rules["labels"].items():
            of_label = [value] if isinstance(value, int | float) else value
            known |= set(map(float, of_label))
            yield Structure(label, np.isin(values, of_label))
        yield from _unknown(values, known, where)


def _binary(values: NDArray[Any], rules: Mapping[str, Any], name: str, where: str) -> Iterator[Structure | LeftOut]:
    above = rules.get("mask_above", 0)
    if isinstance(above, str) and above != "half":
        raise DataError(f'mask_above = "{above}": give a number, or "half"')
    yield Structure(name, values > (half_of_range(values) if above == "half" else above))
    if found := rules.get("mask_values"):
        yield from _unknown(values, {0.0, *map(float, found), *map(float, rules.get("ignore", ()))}, where)


def _unknown(values: NDArray[Any], known: set[float], where: str) -> Iterator[LeftOut]:
    found, counts = np.unique(values, return_counts=True)
    others = [(value, n) for value, n in zip(found.tolist(), counts.tolist(), strict=True) if float(value) not in known]
    if others:
        shown = ", ".join(f"{value:g} ({n} px)" for value, n in others[:8]) + (" ..." if len(others) > 8 else "")
        yield LeftOut(where, f"{len(others)} values that the recipe does not know: {shown}", NOTE)


def split_colours(drawing: NDArray[np.uint8], rules: Mapping[str, Any], where: str) -> Iterator[Structure | LeftOut]:
    """Yield the area of each colour; a pixel of none of them (a soft edge) counts as the nearest that is of one.

    Args:
        drawing: (H, W) or (H, W, 3) uint8.
        rules: the recipe's parameters.
        where: the mask file, for notes.
    """
    colours = rules["colours"]
    palette = np.array([rules["background"], *colours.values()])
    pixels = drawing if drawing.ndim == 3 else drawing[..., None].repeat(3, axis=2)
    index = nearest_colour(pixels, palette, rules["colour_within"], rules["colour_core"])
    for k, name in enumerate(colours, start=1):
        yield Structure(name, index == k)
    flat = pixels.reshape(-1, 3)
    found, counts = np.unique(flat, axis=0, return_counts=True)
    far = np.linalg.norm(found[:, None].astype(float) - palette[None], axis=2).min(axis=1) > rules["colour_within"]
    area = int(counts[far].sum())
    if area > rules.get("colour_unknown", 0.01) * len(flat):
        commonest = found[far][np.argmax(counts[far])].tolist()
        yield LeftOut(where, f"{area} px have a colour that the recipe does not know, most of them {commonest}", NOTE)


def split_by_objects(structures: Iterator[Structure | LeftOut], ids: NDArray[Any]) -> Iterator[Structure | LeftOut]:
    """Yield each structure once per object: ``ids`` (H, W) tells the objects apart."""
    for item in structures:
        if isinstance(item, LeftOut) or not item.mask.any():
            yield item
            continue
        for value in np.unique(ids[item.mask]):
            part: Mask = item.mask & (ids == value)
            yield Structure(item.name, part)
