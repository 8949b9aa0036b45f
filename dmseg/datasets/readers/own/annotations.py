"""One's own images with annotation files: COCO, LabelMe and Label Studio JSON, CVAT XML.

Each format is one function that lists (image, shapes); shapes become masks only when an image is read.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from dmseg.datasets import coco, shapes, tree
from dmseg.datasets.ids import unique_ids
from dmseg.datasets.readers.own.images import IMAGE_SUFFIXES, find_images, read_own_image
from dmseg.datasets.readers.own.label_studio import decode_brush
from dmseg.datasets.sources import NOTE, LeftOut, Reader, Scan, Source
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import check_size
from dmseg.naming import require_inside
from dmseg.reading import read_json
from dmseg.types import Mask, Sample, Structure

Shape = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Annotated:
    """An image as an annotation file names it: its path or name there, and a function that gives its shapes."""

    image: str
    file: Path
    shapes: Callable[[], Sequence[Shape]]
    notes: Sequence[str] = ()


class OwnAnnotationReader(Reader):
    """Images whose objects are polygons or runs in annotation files; each image is a source."""

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        """List the images that an annotation file names and that are there.

        Raises:
            DataError: an annotation file is broken or of another format.
        """
        entries = list(list_annotated(root, self.recipe.parameters))
        images, left_out = _ImageNames(root), []
        found: dict[Path, Annotated] = {}
        for entry in entries:
            image = images.find(entry)
            where = f"{entry.file.relative_to(root).as_posix()}#{entry.image}"
            if image is None:
                left_out.append(LeftOut(where, "no image of this name, or several"))
            elif image in found:
                left_out.append(LeftOut(where, "annotated twice; the first is taken"))
            else:
                found[image] = entry
            left_out += [LeftOut(where, note, NOTE) for note in entry.notes]
        left_out += [
            LeftOut(path.as_posix(), "not in the annotation files") for path in images.files if path not in found
        ]
        ids = unique_ids([(*_folder_names(image, found), image.stem) for image in found])
        sources = [
            Source(identity, identity, (image, entry.file.relative_to(root)), entry.image)
            for identity, (image, entry) in zip(ids, found.items(), strict=True)
        ]
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield notes on shapes without an area, then the one sample of the source."""
        image, annotations = source.files
        pixels, spacing, window = read_own_image(self, root / image)
        entry = next(
            (
                each
                for each in list_annotated(root, self.recipe.parameters, [root / annotations])
                if each.image == source.detail
            ),
            None,
        )
        if entry is None:
            raise ImageFileError(
                f"{root / annotations}: {source.detail} is no longer in it; run the same command again"
            )
        structures: list[Structure] = []
        names = {label: name for name, label in self.recipe.parameters.get("names", {}).items()}
        for shape in entry.shapes():
            label = str(shape.get("label", ""))
            try:
                mask = draw_shape(shape, pixels.shape[:2])
            except (DataError, ValueError, TypeError, KeyError, IndexError) as error:
                raise ImageFileError(f"{root / annotations}: a shape of {source.detail}: {error}") from None
            if mask is None:
                yield LeftOut(image.as_posix(), f'"{label}": a {shape.get("kind")} has no area', NOTE)
            elif label not in names:
                yield LeftOut(image.as_posix(), f'label "{label}" is not in the recipe ({int(mask.sum())} px)', NOTE)
            else:
                structures.append(Structure(names[label], mask))
        yield self.sample(
            source.id, source.case_id, pixels, structures, source=image.as_posix(), spacing=spacing, window=window
        )


def _folder_names(image: Path, found: Mapping[Path, Annotated]) -> tuple[str, ...]:
    """Return the folders that tell two images of one name apart, or nothing."""
    same = sum(other.stem.lower() == image.stem.lower() for other in found)
    return image.parent.parts if same > 1 else ()


class _ImageNames:
    """The images below a folder, to be found by the path or the name that an annotation file has for them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = [file.relative_to(root) for file in find_images(root)]
        self._paths = {file.as_posix(): file for file in self.files}
        self._names: dict[str, list[Path]] = {}
        for file in self.files:
            self._names.setdefault(file.name, []).append(file)

    def find(self, entry: Annotated) -> Path | None:
        """Return the image: by its path from the root or from the annotation file, else by its name if it is unique."""
        path = PurePosixPath(entry.image.replace("\\", "/"))
        beside = entry.file.parent.relative_to(self.root)
        for place in (path, PurePosixPath(beside.as_posix()) / path):
            if found := self._paths.get(place.as_posix()):
                return found
        # Label Studio puts eight digits before the names of uploads.
        for name in (path.name, re.sub(r"^[0-9a-f]{8}-", "", path.name)):
            if len(same := self._names.get(name, [])) == 1:
                return same[0]
        return None


def list_annotated(root: Path, rules: Mapping[str, Any], files: Sequence[Path] | None = None) -> Iterator[Annotated]:
    """Yield the annotated images of the recipe's files (``format`` and ``annotations``, paths or one ``*``)."""
    reader = _FORMATS.get(rules["format"])
    if reader is None:
        raise DataError(f'format = "{rules["format"]}": one of {", ".join(_FORMATS)}')
    for file in find_annotation_files(root, rules["annotations"]) if files is None else files:
        try:
            yield from reader(file)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"{file}: not a {rules['format']} file ({error!r})") from None


def find_annotation_files(root: Path, given: Sequence[str]) -> list[Path]:
    """Return the annotation files of a recipe; a name such as ``*.json`` means all below the folder."""
    found: list[Path] = []
    for name in given:
        if name.startswith("*"):
            found += tree.files_below(root, (name[1:],))
        else:
            found.append(root / require_inside(name, "annotations"))
    return found


def draw_shape(shape: Shape, size: tuple[int, int]) -> Mask | None:
    """Return the bool (H, W) mask of a shape, or None for one that has no area (a box, a point, a line).

    Raises:
        ValueError, TypeError, KeyError, DataError: a shape that is damaged or of another size.
    """
    kind = shape["kind"]
    if kind == "coco":
        return coco.segmentation_mask(shape["segmentation"], size)
    if kind == "polygon":
        return shapes.polygon_mask([(float(x), float(y)) for x, y in shape["points"]], size)
    if kind == "circle":
        (x, y), (edge_x, edge_y) = shape["points"]
        rows, columns = np.ogrid[: size[0], : size[1]]
        return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= (edge_x - x) ** 2 + (edge_y - y) ** 2)
    if kind == "bitmap":
        return _place(shape["bitmap"], shape["corner"], size)
    if kind == "brush":
        mask: Mask = decode_brush(shape["rle"], size)
        return mask
    return None


def _place(bitmap: Mask, corner: Sequence[float], size: tuple[int, int]) -> Mask:
    """Return a mask with a small bitmap at its corner (x, y)."""
    x, y = (round(float(part)) for part in corner)
    mask = np.zeros(size, np.bool_)
    if x < 0 or y < 0 or y + bitmap.shape[0] > size[0] or x + bitmap.shape[1] > size[1]:
        raise ValueError("a mask that leaves the image")
    mask[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
    return mask


def _read_coco(file: Path) -> Iterator[Annotated]:
    index = coco.read_index(file)
    for name, (identity, _, _) in index.images.items():
        places = index.annotations.get(identity, [])

        def list_shapes(places: list[tuple[int, int]] = places) -> list[Shape]:
            return [
                {
                    "kind": "coco" if entry.get("segmentation") else "box",
                    "label": index.categories.get(int(entry["category_id"]), str(entry["category_id"])),
                    "segmentation": entry.get("segmentation"),
                }
                for entry in coco.read_annotations(file, places)
            ]

        yield Annotated(name, file, list_shapes)


def _read_labelme(file: Path) -> Iterator[Annotated]:
    content = read_json(file)
    if not isinstance(content, Mapping) or "shapes" not in content:
        return
    found = []
    for shape in content["shapes"]:
        kind = str(shape.get("shape_type") or "polygon")
        entry: dict[str, Any] = {"kind": kind, "label": shape["label"], "points": shape["points"]}
        if kind == "mask":
            entry |= {"kind": "bitmap", "bitmap": _bitmap(shape["mask"]), "corner": shape["points"][0]}
        found.append(entry)
    yield Annotated(str(content["imagePath"]), file, lambda: found)


def _bitmap(text: str) -> Mask:
    """Return the mask of a PNG in base64."""
    try:
        with PillowImage.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            check_size(Path("mask"), image.height, image.width)
            return np.asarray(image.convert("L")) > 0
    except (binascii.Error, OSError, SyntaxError) as error:
        raise ValueError(f"a mask that is no PNG in base64 ({error})") from None


def _read_label_studio(file: Path) -> Iterator[Annotated]:
    for task in read_json(file):
        done = [each for each in task.get("annotations") or () if not each.get("was_cancelled")]
        image = next((str(value) for value in task["data"].values() if _is_image(str(value))), "")
        if not image:
            raise ValueError("a task without an image in data")
        results = done[0].get("result") or () if done else ()
        found = [shape for result in results for shape in _studio_shapes(result)]
        others = f"{len(done) - 1} annotations by others; the first is taken" if len(done) > 1 else ""
        yield Annotated(image.split("?d=")[-1], file, lambda found=found: found, [others] if others else [])  # type: ignore[misc]


def _is_image(text: str) -> bool:
    return text.lower().endswith(IMAGE_SUFFIXES)


def _studio_shapes(result: Mapping[str, Any]) -> Iterator[Shape]:
    """Yield the shapes of one result; points are percents of the image's sides."""
    kind, value = result.get("type", ""), result.get("value") or {}
    label = str((value.get(kind) or [""])[0])
    if kind == "polygonlabels":
        width, height = float(result["original_width"]), float(result["original_height"])
        points = [(x * width / 100, y * height / 100) for x, y in value["points"]]
        yield {"kind": "polygon", "label": label, "points": points}
    elif kind == "brushlabels":
        yield {"kind": "brush", "label": label, "rle": value["rle"]}
    elif label:
        yield {"kind": kind.removesuffix("labels") or "shape", "label": label}


_FORMATS: dict[str, Callable[[Path], Iterator[Annotated]]] = {
    "coco": _read_coco,
    "labelme": _read_labelme,
    "label_studio": _read_label_studio,
}
FORMATS = tuple(_FORMATS)
