"""Original layouts of photographs whose objects sentences name: RefCOCO, RefCOCO+ and RefCOCOg.

The sentences are made from what is drawn, by templates; each is true of one object of its image alone. Those of
RefCOCO+ never say where an object is, those of RefCOCOg are longer, as in the originals.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.encoding import jpeg
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.phantoms.layouts_photo import COCO_NAMES, CocoFile, outline
from dmseg.types import Structure

_ORDER = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def refcoco(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``refcoco``, split ``unc``: val, testA and testB in turn."""
    _write(folder, items, "refcoco", "unc", ("val", "testA", "testB"), name_by_place)


def refcoco_plus(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``refcoco+``, split ``unc``: val, testA and testB in turn."""
    _write(folder, items, "refcoco+", "unc", ("val", "testA", "testB"), name_by_size)


def refcocog(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``refcocog``, split ``umd``: val and test in turn."""
    _write(folder, items, "refcocog", "umd", ("val", "test"), name_at_length)


def _write(
    folder: PhantomFolder,
    items: Iterable[DrawnItem],
    dataset: str,
    split_by: str,
    parts: Sequence[str],
    name: Callable[[Structure, Drawing], tuple[str, ...]],
) -> None:
    """Write ``<dataset>/{instances.json,refs(<who>).p}`` and ``images/mscoco/images/train2014/*.jpg``.

    The smallest object of an image is annotated without a ref. One more image is of the train list. The file name of a
    ref has a suffix that the image's has not, as in the original.
    """
    file, refs = CocoFile(COCO_NAMES), list[dict[str, Any]]()
    for item in items:
        place = parts[item.number % len(parts)]
        _add(folder, file, refs, item, 300001 + item.number, place, name)
        if item.number == 0:
            _add(folder, file, refs, item, 300000, "train", name)
    folder.note(f"{dataset}/instances.json", file.to_text())
    content = pickle.dumps(refs, protocol=2, fix_imports=True)
    folder.put(f"{dataset}/refs({split_by}).p", content, f"{folder.name}/{folder.seed}")


def _add(
    folder: PhantomFolder,
    file: CocoFile,
    refs: list[dict[str, Any]],
    item: DrawnItem,
    number: int,
    part: str,
    name: Callable[[Structure, Drawing], tuple[str, ...]],
) -> None:
    drawing = item.content
    height, width = drawing.image.shape[:2]
    stem = f"COCO_train2014_{number:012d}"
    folder.put(f"images/mscoco/images/train2014/{stem}.jpg", jpeg(drawing.image), item.key)
    file.images.append({"id": number, "height": height, "width": width, "file_name": f"{stem}.jpg"})
    smallest = min(np.count_nonzero(one.mask) for one in drawing.structures)
    for structure in drawing.structures:
        annotation = file.add(number, structure.name, outline(structure.mask), structure.mask)
        if len(drawing.structures) > 1 and np.count_nonzero(structure.mask) == smallest:
            continue
        first = sum(len(ref["sent_ids"]) for ref in refs)
        sentences = [
            {"sent": text, "raw": text.capitalize(), "tokens": text.split(), "sent_id": first + place}
            for place, text in enumerate(name(structure, drawing))
        ]
        refs.append(
            {
                **{"ref_id": len(refs), "ann_id": annotation, "image_id": number, "split": part},
                "category_id": COCO_NAMES.index(structure.name) + 1,
                "file_name": f"{stem}_{annotation}.jpg",
                "sent_ids": [one["sent_id"] for one in sentences],
                "sentences": sentences,
            }
        )


def name_by_place(structure: Structure, drawing: Drawing) -> tuple[str, ...]:
    """Return sentences by the object's place among those of its kind, from the left.

    >>> mask = np.zeros((4, 4), bool); mask[1:3, 1:3] = True
    >>> ball = Structure("sports ball", mask)
    >>> name_by_place(ball, Drawing(mask.astype(np.uint8), (ball,)))
    ('the sports ball', 'sports ball')
    """
    alike = _sort_alike(structure, drawing, lambda one: _find_centre(one)[0])
    name = structure.name
    if len(alike) == 1:
        return f"the {name}", name
    place = alike.index(id(structure))
    from_left = f"{_ORDER[place]} {name} from the left"
    end = {0: f"leftmost {name}", len(alike) - 1: f"rightmost {name}"}.get(place)
    return (from_left,) if end is None else (end, from_left)


def name_by_size(structure: Structure, drawing: Drawing) -> tuple[str, ...]:
    """Return sentences by the object's size among those of its kind: none says where it is."""
    alike = _sort_alike(structure, drawing, lambda one: -float(np.count_nonzero(one.mask)))
    name = structure.name
    if len(alike) == 1:
        return f"the {name}", f"only {name}"
    place = alike.index(id(structure))
    if place == 0:
        return f"largest {name}", f"the big {name}"
    return (f"smallest {name}",) if place == len(alike) - 1 else (f"{_ORDER[place]} largest {name}",)


def name_at_length(structure: Structure, drawing: Drawing) -> tuple[str, ...]:
    """Return two longer sentences: by size, and by place."""
    by_size, by_place = (rule(structure, drawing)[0].removeprefix("the ") for rule in (name_by_size, name_by_place))
    return f"the {by_size} that can be seen in the image", f"the {by_place}, in this photograph of many things"


def _find_centre(structure: Structure) -> tuple[float, float]:
    rows, columns = np.nonzero(structure.mask)
    return float(columns.mean()), float(rows.mean())


def _sort_alike(structure: Structure, drawing: Drawing, key: Callable[[Structure], float]) -> list[int]:
    """Return the identities of the objects of the same name, in the order of a key."""
    alike = [one for one in drawing.structures if one.name == structure.name]
    return [id(one) for one in sorted(alike, key=lambda one: (key(one), int(np.argmax(one.mask))))]
