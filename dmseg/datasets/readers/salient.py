"""Photographs with one mask file each: ThinObject-5K, MSRA-10K, ECSSD, and WXSOD's photographs in bad weather."""

from __future__ import annotations

from pathlib import Path

from dmseg.datasets import tree
from dmseg.datasets.readers.pairs import PairReader, pair_by_stem
from dmseg.datasets.sources import NOTE, LeftOut, Scan, Source

_JPEG, _MASKS = (".jpg", ".jpeg"), (".png", ".jpg", ".jpeg")


class ThinObjectReader(PairReader):
    """ThinObject-5K, as its authors give it (``list/*.txt``) or as HQSeg-44K has it (``images_train``, ...).

    The lists hold the names of masks; the image is the same stem as ``.jpg``. The case begins with the list's name,
    from which the recipe has the split. What is in ``list/val.txt`` is left out: it is for choosing a model.
    """

    def is_root(self, folder: Path) -> bool:
        return all(self._original(folder)) or bool(self._find_repacked(folder))

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        found: list[tuple[Source, str | None]] = []
        images, masks, lists = self._original(root)
        if images and masks and lists:
            part_of = _read_lists(lists)
            pairs = pair_by_stem(root, tree.files(images, _JPEG), tree.by_stem(tree.files(masks, _MASKS)))
            found += [(source, part_of.get(source.files[1].stem.lower())) for source in pairs.sources]
            left_out += pairs.left_out
        else:
            for part, (images, masks) in self._find_repacked(root).items():
                pairs = pair_by_stem(root, tree.files(images, _JPEG), tree.by_stem(tree.files(masks, _MASKS)))
                found += [(source, part) for source in pairs.sources]
                left_out += pairs.left_out
        for source, listed in found:
            if listed is None or f"{listed}." not in self.recipe.parts:
                why = "in none of the lists" if listed is None else f"in the list {listed}, for choosing a model"
                left_out.append(LeftOut(source.files[0].as_posix(), why))
            else:
                sources.append(Source(source.id, f"{listed}.{source.case_id}", source.files))
        return Scan(sources, left_out)

    def _original(self, folder: Path) -> tuple[Path | None, Path | None, Path | None]:
        return tree.child(folder, "images"), tree.child(folder, "masks"), tree.child(folder, "list")

    def _find_repacked(self, folder: Path) -> dict[str, tuple[Path, Path]]:
        found = {}
        for part in ("train", "test"):
            images, masks = tree.child(folder, f"images_{part}"), tree.child(folder, f"masks_{part}")
            if images and masks:
                found[part] = (images, masks)
        return found


def _read_lists(folder: Path) -> dict[str, str]:
    """Return lower-case stem of a mask -> the list that it is in."""
    part_of: dict[str, str] = {}
    for part in ("train", "val", "test"):
        file = tree.child(folder, f"{part}.txt")
        for name in [] if file is None else file.read_text(encoding="utf-8").split("\n"):
            if name.strip():
                part_of[Path(name.strip()).stem.lower()] = part
    return part_of


class SalientReader(PairReader):
    """MSRA-10K and ECSSD: image and mask side by side as ``<stem>.jpg`` and ``<stem>.png``, or in two folders."""

    def is_root(self, folder: Path) -> bool:
        if all(self._folders(folder)):
            return True
        masks = {file.stem.lower() for file in tree.files(folder, (".png",))}
        return any(file.stem.lower() in masks for file in tree.files(folder, _JPEG))

    def scan(self, root: Path) -> Scan:
        images, masks = self._folders(root)
        if images and masks:
            return pair_by_stem(root, tree.files(images), tree.by_stem(tree.files(masks, _MASKS)))
        # In one folder the kind of file tells the mask from the image.
        return pair_by_stem(root, tree.files(root, _JPEG), tree.by_stem(tree.files(root, (".png",))))

    def _folders(self, folder: Path) -> tuple[Path | None, Path | None]:
        return tree.child(folder, "images"), tree.child(folder, "ground_truth_mask", "ground_truth", "masks")


class WeatherReader(PairReader):
    """WXSOD: ``test_real/{input,gt}``. The synthetic parts are made from other sets' images and are not read.

    The list of masks says ``.jpg``, the authors' script reads ``.png``: both are taken.
    """

    def is_root(self, folder: Path) -> bool:
        return bool(tree.descend(folder, "test_real", "input") and tree.descend(folder, "test_real", "gt"))

    def scan(self, root: Path) -> Scan:
        images, masks = tree.descend(root, "test_real", "input"), tree.descend(root, "test_real", "gt")
        if images is None or masks is None:
            return Scan([])
        found = pair_by_stem(root, tree.files(images), tree.by_stem(tree.files(masks, _MASKS)))
        made = [
            LeftOut(part, "not read: made from the images of DUTS, DUT-OMRON, ECSSD, HKU-IS and VT5000", NOTE)
            for part in ("train_sys", "test_sys")
            if tree.child(root, part)
        ]
        return Scan(found.sources, [*found.left_out, *made])
