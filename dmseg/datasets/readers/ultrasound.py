"""Ultrasound datasets: BUSI, NerveUS, MuscleUS, MMOTU and abdominalUS (DDTI has a module of its own)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dmseg.datasets import shapes, tree
from dmseg.datasets.readers.pairs import PairReader, pair_by_stem, without_suffix
from dmseg.datasets.sources import LeftOut, Scan, Source, clean_id
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import read_image
from dmseg.types import Image, Structure

_MASK_STEM = re.compile(r"(?P<image>.+)_mask(_\d+)?", re.IGNORECASE)


class BusiReader(PairReader):
    """BUSI: ``<class>/<class> (N).png``, one lesion in ``..._mask.png``, further ones in ``..._mask_1.png`` and on."""

    lesion_folders = ("benign", "malignant")

    def is_root(self, folder: Path) -> bool:
        return any(tree.child(folder, name) for name in self.lesion_folders)

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for folder in filter(None, (tree.child(root, name) for name in self.lesion_folders)):
            images, masks = _with_masks(tree.files(folder))
            for stem, image in images.items():
                name = image.relative_to(root)
                if stem not in masks:
                    left_out.append(LeftOut(name.as_posix(), "mask missing"))
                    continue
                files = (name, *(mask.relative_to(root) for mask in masks.pop(stem)))
                sources.append(Source(clean_id(image.stem), clean_id(image.stem), files))
            unused = [mask for group in masks.values() for mask in group]
            left_out += [LeftOut(mask.relative_to(root).as_posix(), "mask without an image") for mask in unused]
        if normal := tree.child(root, "normal"):
            images, _ = _with_masks(tree.files(normal))
            left_out += [LeftOut(image.relative_to(root).as_posix(), "normal: no lesion") for image in images.values()]
        return Scan(sources, left_out)


def _with_masks(files: list[Path]) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Return lower-case stem -> image, and lower-case stem -> its mask files in natural order."""
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = {}
    for file in files:
        if found := _MASK_STEM.fullmatch(file.stem):
            masks.setdefault(found["image"].lower(), []).append(file)
        else:
            images[file.stem.lower()] = file
    return images, masks


class NerveReader(PairReader):
    """NerveUS: ``train/<subject>_<image>.tif`` with ``..._mask.tif``, or with a row of ``train_masks.csv``."""

    def is_root(self, folder: Path) -> bool:
        train = tree.child(folder, "train")
        return train is not None and train.is_dir() and any(tree.files(train, (".tif", ".tiff")))

    def scan(self, root: Path) -> Scan:
        train = tree.child(root, "train")
        files = tree.files(train) if train else []
        images = [file for file in files if not file.stem.lower().endswith("_mask")]
        scan = pair_by_stem(
            root, images, without_suffix(files, "_mask"), {file.stem: _subject(file) for file in images}
        )
        table = tree.child(root, "train_masks.csv")
        return _complete_masks(scan, table, root) if table else scan

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield the nerve, from the mask file or, where there is none, from the runs of the table."""
        if not source.detail:
            yield from super().structures(root, source, pixels)
            return
        try:
            mask = shapes.starts_lengths_mask(source.detail, pixels.shape[:2])
        except ValueError as error:
            raise ImageFileError(f"{root / source.files[0]}: its row in train_masks.csv: {error}") from None
        yield Structure(self.recipe.structures[0], mask)


def _subject(image: Path) -> str:
    return image.stem.split("_")[0]


def _complete_masks(scan: Scan, table: Path, root: Path) -> Scan:
    """Give images without a mask file the runs of the table; a row without runs is an empty mask."""
    try:
        with table.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            if not {"subject", "img", "pixels"} <= set(reader.fieldnames or ()):
                raise DataError(f"{table}: expected the columns subject, img, pixels; got {reader.fieldnames}")
            runs = {f"{row['subject']}_{row['img']}": row["pixels"] or "" for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a readable table ({error})") from None
    sources, left_out = list(scan.sources), []
    for item in scan.left_out:
        image = Path(item.source)
        pixels = runs.get(image.stem)
        if item.reason != "mask missing" or pixels is None:
            left_out.append(item)
        elif not pixels.strip():
            left_out.append(LeftOut(item.source, "no object: every mask is empty"))
        else:
            sources.append(Source(clean_id(image.stem), clean_id(_subject(image)), (image,), pixels))
    return Scan(sources, left_out)


class MuscleReader(PairReader):
    """MuscleUS: ``{BB,GM,TA}/.../<image>.png``; masks have the same stem below a folder whose name contains "mask".

    Stems repeat between muscles, so the id is muscle, inner folders (without those that only say image or mask), stem.
    """

    def is_root(self, folder: Path) -> bool:
        return any(self._muscles(folder))

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for muscle in self._muscles(root):
            files = [(file, file.relative_to(muscle)) for file in tree.files_below(muscle)]
            masks = {_place(name): file for file, name in files if _is_mask(name)}
            for file, name in files:
                if _is_mask(name):
                    continue
                relative = file.relative_to(root)
                if _place(name) not in masks:
                    left_out.append(LeftOut(relative.as_posix(), "mask missing"))
                    continue
                mask = masks[_place(name)].relative_to(root)
                identity = clean_id("_".join([muscle.name.upper(), *_inner(name), file.stem]))
                sources.append(Source(identity, identity, (relative, mask)))
        return Scan(sources, left_out)

    def _muscles(self, folder: Path) -> list[Path]:
        found = (tree.child(folder, name) for name in self.recipe.parameters["muscles"])
        return [muscle for muscle in found if muscle is not None and muscle.is_dir()]


def _is_mask(name: Path) -> bool:
    return any("mask" in part.lower() for part in name.parts[:-1])


def _inner(name: Path) -> list[str]:
    """Return the folders of a path that tell images apart: not those that say what kind of file is in them."""
    return [part for part in name.parts[:-1] if not re.search(r"image|mask", part, re.IGNORECASE)]


def _place(name: Path) -> tuple[str, ...]:
    return (*(part.lower() for part in _inner(name)), name.stem.lower())


class MmotuReader(PairReader):
    """MMOTU: ``images/N.JPG``; ``annotations/N_binary.PNG`` with the values 0 and 1 (they look black)."""

    def is_root(self, folder: Path) -> bool:
        two = tree.child(folder, "images"), tree.child(folder, "annotations")
        return all(two) and "3d" not in folder.name.lower()

    def scan(self, root: Path) -> Scan:
        images, annotations = tree.child(root, "images"), tree.child(root, "annotations")
        if images is None or annotations is None:
            return Scan([])
        files = tree.files(annotations)
        twice, once = without_suffix(files, "_binary_binary"), without_suffix(files, "_binary")
        coloured = {file.stem.lower(): file for file in files if not file.stem.lower().endswith("_binary")}
        once = {stem: file for stem, file in once.items() if not stem.endswith("_binary")}
        return pair_by_stem(root, tree.files(images), {**coloured, **twice, **once})


class AbdominalReader(PairReader):
    """abdominalUS: ``{AUS,RUS}/{images,annotations}/{train,test}/``; colour-coded organs with soft edges."""

    parts = ("AUS", "RUS")
    stages = ("train", "test")

    def is_root(self, folder: Path) -> bool:
        return any(tree.descend(folder, part, "images") for part in self.parts)

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for part in self.parts:
            for stage in self.stages:
                images = tree.descend(root, part, "images", stage)
                annotations = tree.descend(root, part, "annotations", stage)
                found = pair_by_stem(
                    root,
                    tree.files(images) if images else [],
                    tree.by_stem(tree.files(annotations)) if annotations else {},
                )
                left_out += found.left_out
                for source in found.sources:
                    identity = f"{part}_{stage}_{source.id}"
                    sources.append(Source(identity, identity, source.files))
        return Scan(sources, left_out)

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield one object per organ colour that occurs."""
        annotation = read_image(root / source.files[1]).pixels
        if annotation.ndim == 2:
            annotation = np.repeat(annotation[..., None], 3, axis=2)
        rules = self.recipe.parameters
        palette = rules["palette"]
        colours = np.array(list(palette.values()))
        classes = shapes.nearest_colour(annotation, colours, rules["pure_within"], rules["core_pixels"])
        for index, name in enumerate(palette):
            if name != "background" and (mask := classes == index).any():
                yield Structure(name, mask)
