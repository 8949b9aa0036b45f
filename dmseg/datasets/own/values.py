"""What the values of one's own masks mean, decided from all of them: one object, ids of objects, classes or colours.

The evidence, file by file: which values occur, whether they run from 1 without a gap, whether each is one connected
area, whether values between black and white fill areas or only edges. The decision says why, and the recipe keeps it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.datasets.readers.own.images import name_of_structure
from dmseg.errors import DmsegError
from dmseg.imaging import extension, grey_if_colourless, read_image, read_mask_values, read_volume
from dmseg.progress import progress
from dmseg.tables import read_packaged_table

_OWN = read_packaged_table("dmseg.datasets", "datasets.toml")["own"]
_WHITE = (255.0, 65535.0)
_IDS = ("instance", "inst", "cp", "nuclei", "cells", "nucleus", "cell")


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """What one mask file holds.

    Attributes:
        file: the mask.
        values: values above and below 0 that occur, sorted.
        n_areas: connected areas of equal value (8-neighbours), 0 for volumes.
        n_white: pixels of the largest value.
        n_between: pixels between 0 and the largest value; ``n_flat`` of them have nine equal pixels around.
        wide: the type has more than 8 bits.
    """

    file: Path
    values: tuple[float, ...]
    n_areas: int = 0
    n_white: int = 0
    n_between: int = 0
    n_flat: int = 0
    wide: bool = False


@dataclass
class Meaning:
    """The decision: the recipe's lines, the names of the objects, and the same in words.

    Attributes:
        kind: ``binary``, ``instances``, ``labels`` or ``colours``.
        structures: names of the objects.
        lines: of ``[parameters]``; ``tables`` come after all plain lines.
        said: the decision and the values found.
        notes: what could not be read or is not certain.
    """

    kind: str
    structures: list[str]
    lines: list[str]
    said: str
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide(
    masks: Sequence[Path],
    *,
    volumes: bool = False,
    names: Mapping[float, str] | None = None,
    colours: Mapping[str, Sequence[int]] | None = None,
) -> Meaning:
    """Decide what the values of all masks mean.

    Args:
        masks: every mask file.
        volumes: they are label volumes.
        names: value -> name, where a file beside the masks says so (dataset.json).
        colours: name -> RGB, where a file says so (labelmap.txt); black is no object.
    """
    facts: list[ValueFacts] = []
    drawn: Counter[tuple[int, ...]] = Counter()
    cores: Counter[tuple[int, ...]] = Counter()
    broken: list[str] = []
    lossy = any(extension(file) in (".jpg", ".jpeg") for file in masks)
    for file in progress(masks, len(masks), "masks", "files"):
        try:
            if volumes:
                facts.append(_facts(file, read_volume(file).values, flat=False))
                continue
            pixels = grey_if_colourless(read_image(file).pixels)
            if pixels.ndim == 3 and not lossy:
                _count_colours(pixels, drawn, cores)
            else:
                facts.append(_facts(file, read_mask_values(file), flat=True))
        except DmsegError as error:
            broken.append(str(error))
    if drawn:
        meaning = _mean_colours(drawn, cores, colours)
    elif names:
        meaning = _mean_labels(facts, names)
    else:
        meaning = _mean_values(facts, lossy, volumes)
    meaning.notes += [f"not read: {text}" for text in broken]
    return meaning


def _facts(file: Path, values: NDArray[Any], *, flat: bool) -> ValueFacts:
    found = np.unique(values[np.isfinite(values)] if values.dtype.kind == "f" else values)
    present = tuple(float(value) for value in found if value != 0)
    wide = values.dtype.itemsize > 1
    if not flat or not present:
        return ValueFacts(file, present, wide=wide)
    largest = present[-1]
    between = (values > 0) & (values < largest)
    n_flat = 0
    if between.any():
        same = ndimage.maximum_filter(values, 3) == ndimage.minimum_filter(values, 3)
        n_flat = int((same & between).sum())
    n_areas = 0
    if len(present) > 1 and all(value.is_integer() for value in present):
        from skimage.measure import label

        n_areas = int(label(values.astype(np.int64), background=0, connectivity=2).max())  # type: ignore[no-untyped-call]
    return ValueFacts(file, present, n_areas, int((values == largest).sum()), int(between.sum()), n_flat, wide)


def _mean_values(facts: Sequence[ValueFacts], lossy: bool, volumes: bool) -> Meaning:
    found = sorted({value for each in facts for value in each.values})
    said = _values_text(found, len(facts))
    several = [each for each in facts if len(each.values) > 1]
    if not found:
        return _binary(0, found, f"{said}: all masks are empty")
    if lossy:
        return _binary(127, (), f"{said}: JPEG files; one object a file, grey above 127")
    if any(not value.is_integer() for value in found) or _is_soft(facts, found):
        middle: float | str = (
            "half" if len({_top(each) for each in facts if each.values}) > 1 else _top_value(found) / 2
        )
        middle = int(middle) if isinstance(middle, float) and middle > 1 else middle
        return _binary(middle, (), f"{said}: soft edges; one object a file, what is above half")
    if not several:
        mixed = len(found) > 1
        if not mixed or set(found) <= {1.0, *_WHITE}:
            how = "each file has 0 and one other value" if mixed else "0 and one other value"
            above: float | str = "half" if mixed else int(found[0]) // 2 if found[0] in _WHITE else 0
            return _binary(above, found, f"{said}: {how}; one object a file")
    if not volumes and (why := _why_ids(facts, several, found)):
        return Meaning(
            "instances", ["object"], ['masks = "instances"  # every id is an object of its own'], f"{said}: {why}"
        )
    return _mean_labels(facts, {})


def _top(each: ValueFacts) -> float:
    return _top_value(each.values)


def _top_value(values: Sequence[float]) -> float:
    return next((top for top in (1.0, *_WHITE) if values[-1] <= top), values[-1])


def _is_soft(facts: Sequence[ValueFacts], found: Sequence[float]) -> bool:
    """Return whether values between black and white are edges only: seldom flat, and not many more than white."""
    between, flat = sum(each.n_between for each in facts), sum(each.n_flat for each in facts)
    white = sum(each.n_white for each in facts)
    return bool(
        found[-1] > _OWN["mask_above"]
        and 0 < between < _OWN["soft_most"] * white
        and flat <= _OWN["soft_flat"] * between
    )


def _why_ids(facts: Sequence[ValueFacts], several: Sequence[ValueFacts], found: Sequence[float]) -> str:
    """Return why the values are ids of objects, or an empty text where they are classes."""
    if not several or found[0] < 0:
        return ""
    single = sum(len(each.values) for each in several) / max(1, sum(each.n_areas for each in several))
    if single < _OWN["one_area"]:
        return ""
    filled = [len(each.values) / each.values[-1] for each in several]
    n_values = {len(each.values) for each in facts}
    running = min(filled) >= _OWN["running"] and (len(n_values) > 1 or len(facts) == 1)
    named = any(word in _words(each.file) for each in several for word in _IDS)
    most = max(len(each.values) for each in several)
    if len(found) > _OWN["most_labels"]:
        return f"more than {_OWN['most_labels']} values, each one area: ids of objects"
    if running and (most >= _OWN["least_ids"] or named or any(each.wide for each in several)):
        return "values run from 1, each is one area, and files have different numbers of them: ids of objects"
    return ""


def _words(file: Path) -> set[str]:
    text = "/".join(file.parts[-2:]).lower()
    return {
        word
        for part in text.replace(".", "_").replace("-", "_").replace(" ", "_").split("/")
        for word in part.split("_")
    }


def _binary(above: float | str, found: Iterable[float], said: str) -> Meaning:
    lines = [
        'masks = "binary"  # one object a mask file',
        f"mask_above = {json.dumps(above)}  # above this is the object",
    ]
    if known := [_number(value) for value in found]:
        lines.append(f"mask_values = {json.dumps(known)}  # what was found; other values are reported")
    return Meaning("binary", ["object"], lines, said)


def _mean_labels(facts: Sequence[ValueFacts], names: Mapping[float, str]) -> Meaning:
    """Return the meaning of classes: one structure per value that occurs or has a name."""
    found = sorted({value for each in facts for value in each.values} | (set(names) - {0.0}))
    labels = {value: name_of_structure(names.get(value, "")) or f"label_{_number(value)}" for value in found}
    ignored = [value for value, name in names.items() if name.lower() in ("ignore", "void")]
    tables = [
        "",
        "[parameters.labels]  # structure = value",
        *(f"{json.dumps(labels[v])} = {_number(v)}" for v in found if v not in ignored),
    ]
    lines = ['masks = "labels"  # every value is a structure; ids of objects would be "instances"']
    notes = []
    if ignored:
        lines.append(f"ignore = {json.dumps([_number(value) for value in ignored])}  # no object, by its name")
    if 255.0 in found and 255.0 not in names and len(found) > 1:
        notes.append("value 255 often marks pixels to be ignored; if so, write ignore = [255] and delete its label")
    said = f"{_values_text([v for v in found if any(v in f.values for f in facts)], len(facts))}: classes"
    return Meaning("labels", [labels[v] for v in found if v not in ignored], lines, said, tables, notes)


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _values_text(found: Sequence[float], n: int) -> str:
    if not found:
        return f"no value above 0 in {n} masks"
    if len(found) <= 12:
        return f"values 0, {', '.join(f'{value:g}' for value in found)} in {n} masks"
    return f"{len(found)} values from {found[0]:g} to {found[-1]:g} in {n} masks"


def _count_colours(pixels: NDArray[Any], drawn: Counter[tuple[int, ...]], cores: Counter[tuple[int, ...]]) -> None:
    """Count the pixels of each colour, and those with nine equal pixels around."""
    codes = pixels.astype(np.int64) @ np.array([65536, 256, 1])
    same = ndimage.maximum_filter(codes, 3) == ndimage.minimum_filter(codes, 3)
    for target, part in ((drawn, codes), (cores, codes[same])):
        values, counts = np.unique(part, return_counts=True)
        for value, n in zip(values.tolist(), counts.tolist(), strict=True):
            target[(value >> 16, value >> 8 & 255, value & 255)] += n


def _mean_colours(
    drawn: Counter[tuple[int, ...]], cores: Counter[tuple[int, ...]], named: Mapping[str, Sequence[int]] | None
) -> Meaning:
    """Return the meaning of drawings: black, else the most frequent colour, is no object."""
    background = (0, 0, 0) if (0, 0, 0) in drawn else drawn.most_common(1)[0][0]
    core, note = _OWN["colour_core"], []
    if named:
        colours = {
            name_of_structure(name): tuple(colour) for name, colour in named.items() if tuple(colour) != background
        }
        said = f"{len(drawn)} colours; {len(colours)} have names"
    else:
        chosen = sorted(colour for colour in drawn if colour != background)
        if len(chosen) > _OWN["most_labels"]:
            core = 3
            chosen = sorted(
                colour for colour, n in cores.items() if colour != background and n >= _OWN["colour_pixels"]
            )
            note = [
                f"{len(drawn)} colours, so edges are soft or files lossy: only those that fill areas are structures"
            ]
            chosen = chosen[: _OWN["most_labels"]]
        colours = {"colour_" + "".join(f"{part:02x}" for part in colour): colour for colour in chosen}
        said = f"{len(drawn)} colours; each of {len(colours)} is a structure"
    lines = [
        'masks = "colours"  # every colour is a structure',
        f"background = {json.dumps(list(background))}  # the colour that is no object",
        f"colour_within = {_OWN['colour_within']}  # a pixel within this RGB distance of a colour has it",
        f"colour_core = {core}  # least side of an area of a colour; 3 or more where edges are soft",
    ]
    tables = ["", "[parameters.colours]  # structure = RGB"]
    tables += [f"{json.dumps(name)} = {json.dumps(list(colour))}" for name, colour in colours.items()]
    return Meaning("colours", list(colours) or ["object"], lines, said, tables, note)
