"""Photographs with a COCO file of objects: LVIS, COCO 2017 val, LIS and the SeaClear marine debris.

One object is one annotation. Left out, and counted in the build's report: groups (``iscrowd``) and outlines without a
pixel inside the image. Masks are those of pycocotools, bit for bit.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from dmseg.datasets import coco, tree
from dmseg.datasets.readers.pairs import PairReader
from dmseg.datasets.sources import NOTE, LeftOut, Scan, Source, clean_id
from dmseg.errors import DataError, ImageFileError
from dmseg.types import Sample, Structure

MISSING = "image missing"


class ObjectReader(PairReader):
    """Base: a subclass says which annotation files there are and where their images lie."""

    @abc.abstractmethod
    def list_annotation_files(self, root: Path) -> Sequence[tuple[str, Path]]:
        """Return (part, annotation file) pairs; a part that has a split of its own begins the ids of its cases."""

    @abc.abstractmethod
    def list_images(self, root: Path) -> Mapping[str, Path]:
        """Return the images on the disk by what :meth:`find_image` looks up."""

    def find_image(self, images: Mapping[str, Path], file_name: str) -> Path | None:
        """Return the image that the annotation file means; here by the last part of its name."""
        return images.get(PurePosixPath(file_name).name.lower())

    def case_of(self, part: str, file_name: str, image: Path) -> str:
        """Return the case of an image; here the image itself."""
        identity = clean_id(image.stem)
        return f"{part}.{identity}" if f"{part}." in self.recipe.parts else identity

    def id_of(self, file_name: str, image: Path) -> str:
        """Return the id of an image; here its stem."""
        return clean_id(image.stem)

    def scan(self, root: Path) -> Scan:
        images = self.list_images(root)
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for part, file in self.list_annotation_files(root):
            index = coco.read_index(file)
            for name, (number, height, width) in index.images.items():
                image = self.find_image(images, name)
                places = index.annotations.get(number)
                if image is None or places is None:
                    left_out.append(LeftOut(name, MISSING if image is None else "no annotation"))
                    continue
                names = {str(key): index.categories.get(key, "") for key in sorted(index.named.get(number, ()))}
                detail = {"size": [height, width], "at": places, "names": names}
                files = (image.relative_to(root), file.relative_to(root))
                case = self.case_of(part, name, files[0])
                sources.append(Source(self.id_of(name, files[0]), case, files, json.dumps(detail)))
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the one sample of the source, and notes on annotations that are no object."""
        name = source.files[0].as_posix()
        pixels, _ = self.image(root / source.files[0])
        structures, dropped = self._read_objects(root / source.files[1], source)
        for reason, count in dropped.items():
            yield LeftOut(name, f"{count} {reason}", NOTE)
        yield self.sample(source.id, source.case_id, pixels, structures, source=name)

    def _read_objects(self, path: Path, source: Source) -> tuple[list[Structure], dict[str, int]]:
        """Return the objects of a source, and how many annotations are none, by reason.

        Where the source's detail has ``refs`` (annotation id -> sentences), only those annotations are objects.
        """
        detail = json.loads(source.detail)
        height, width = detail["size"]
        found: list[Structure] = []
        dropped: dict[str, int] = {}
        refs = detail.get("refs")
        for annotation in coco.read_annotations(path, detail["at"]):
            if refs is not None and str(annotation.get("id")) not in refs:
                continue
            category = detail["names"].get(str(annotation.get("category_id")))
            if not category:
                unknown = annotation.get("category_id")
                raise ImageFileError(f"{path}: an annotation of {source.id} has the unknown category {unknown}")
            reason = ""
            if annotation.get("iscrowd"):
                reason = "annotations of a group (iscrowd) are no object"
            else:
                try:
                    mask = coco.object_mask(annotation, (height, width))
                except (DataError, ValueError, TypeError) as error:
                    raise ImageFileError(f"{path}: an annotation of {source.id}: {error}") from None
                if mask.any():
                    expressions = () if refs is None else tuple(refs[str(annotation["id"])])
                    name = clean_id(category.strip().replace(" ", "_")).lower()
                    found.append(Structure(name, mask, expressions))
                else:
                    reason = "annotations have no pixel inside the image"
            if reason:
                dropped[reason] = dropped.get(reason, 0) + 1
        return found, dropped


class LvisReader(ObjectReader):
    """LVIS v1: ``lvis_v1_{train,val}.json`` over COCO's ``train2017`` and ``val2017``.

    The images of its val list lie in both folders, and its entries have no ``file_name`` but a ``coco_url``.
    """

    def is_root(self, folder: Path) -> bool:
        return bool(self.list_annotation_files(folder)) and tree.child(folder, "train2017", "val2017") is not None

    def list_annotation_files(self, root: Path) -> Sequence[tuple[str, Path]]:
        places = [folder for folder in (root, tree.child(root, "annotations")) if folder is not None]
        found = {part: [tree.child(place, f"lvis_v1_{part}.json") for place in places] for part in ("train", "val")}
        return [(part, file) for part, files in found.items() for file in files if file is not None]

    def list_images(self, root: Path) -> Mapping[str, Path]:
        images: dict[str, Path] = {}
        for name in ("train2017", "val2017"):
            folder = tree.child(root, name)
            if folder is None:
                raise DataError(f"{root}: the images of LVIS lie in train2017 and val2017 of COCO; {name} is not there")
            images |= {file.name.lower(): file for file in tree.files(folder)}
        return images


class CocoValReader(ObjectReader):
    """COCO 2017: ``annotations/instances_val2017.json`` and ``val2017``; nothing else of COCO is read."""

    def is_root(self, folder: Path) -> bool:
        return bool(self.list_annotation_files(folder)) and tree.child(folder, "val2017") is not None

    def list_annotation_files(self, root: Path) -> Sequence[tuple[str, Path]]:
        file = tree.descend(root, "annotations", "instances_val2017.json") or tree.child(root, "instances_val2017.json")
        return [] if file is None else [("val", file)]

    def list_images(self, root: Path) -> Mapping[str, Path]:
        folder = tree.child(root, "val2017")
        return {} if folder is None else {file.name.lower(): file for file in tree.files(folder)}


class LisReader(ObjectReader):
    """LIS: the dark photographs, ``RGB-dark/JPEGImages``, with the ``+1`` annotation files.

    The files without ``+1`` list the same scenes in normal light, whose numbers are odd. ``file_name`` begins with
    ``./JPEGImages/`` and may end in ``.png`` where the file is a ``.JPG``: images are found by their number.
    """

    def is_root(self, folder: Path) -> bool:
        return bool(self.list_annotation_files(folder)) and tree.descend(folder, "RGB-dark", "JPEGImages") is not None

    def list_annotation_files(self, root: Path) -> Sequence[tuple[str, Path]]:
        folder = tree.child(root, "annotations")
        if folder is None:
            return []
        for parts in (("traintest",), ("train", "test")):
            for kind in ("JPG", "png"):
                files = [tree.child(folder, f"lis_coco_{kind}_{part}+1.json") for part in parts]
                if all(files):
                    return [("all", file) for file in files if file is not None]
        return []

    def list_images(self, root: Path) -> Mapping[str, Path]:
        folder = tree.descend(root, "RGB-dark", "JPEGImages")
        return {} if folder is None else {file.stem.lower(): file for file in tree.files(folder)}

    def find_image(self, images: Mapping[str, Path], file_name: str) -> Path | None:
        return images.get(PurePosixPath(file_name).stem.lower())


class SeaClearReader(ObjectReader):
    """SeaClear: ``dataset.json`` and the images by ``<site>/<camera>``, or all in one folder.

    Frames of one dive are near-duplicates, so a case is a site and a camera.
    """

    def is_root(self, folder: Path) -> bool:
        return bool(self.list_annotation_files(folder)) and any(tree.files_below(folder))

    def list_annotation_files(self, root: Path) -> Sequence[tuple[str, Path]]:
        file = tree.child(root, "dataset.json")
        return [] if file is None else [("all", file)]

    def list_images(self, root: Path) -> Mapping[str, Path]:
        """Return the images by site/camera/file, and by file where one name is only once on the disk."""
        places: dict[str, Path] = {}
        names: dict[str, list[Path]] = {}
        for file in tree.files_below(root):
            places["/".join(file.relative_to(root).parts[-3:]).lower()] = file
            names.setdefault(file.name.lower(), []).append(file)
        return {name: files[0] for name, files in names.items() if len(files) == 1} | places

    def find_image(self, images: Mapping[str, Path], file_name: str) -> Path | None:
        place = PurePosixPath(file_name)
        return images.get("/".join(place.parts[-3:]).lower()) or images.get(place.name.lower())

    def scan(self, root: Path) -> Scan:
        found = super().scan(root)
        if len({source.case_id for source in found.sources}) != 1:
            return found
        note = LeftOut(
            "dataset.json", "no folders of site and camera: all images are one case, without intervals", NOTE
        )
        return Scan(found.sources, [*found.left_out, note])

    def case_of(self, part: str, file_name: str, image: Path) -> str:
        return clean_id("-".join(_list_folders(file_name, image)) or "unknown-site")

    def id_of(self, file_name: str, image: Path) -> str:
        return clean_id("-".join([*_list_folders(file_name, image), image.stem]))


def _list_folders(file_name: str, image: Path) -> Sequence[str]:
    """Return site and camera, from the annotation file's own path or else from the image's; empty where neither has."""
    for place in (PurePosixPath(file_name), image):
        if len(place.parts) >= 3:
            return place.parts[-3:-1]
    return ()
