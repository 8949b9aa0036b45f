"""BBBC038 (2018 Data Science Bowl): one folder per image, one mask file per nucleus, or a table of runs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dmseg.datasets import shapes, tree
from dmseg.datasets.readers.pairs import PairReader
from dmseg.datasets.sources import LeftOut, Scan, Source, clean_id
from dmseg.errors import DataError, ImageFileError
from dmseg.types import Image, Structure

_STAGES = {
    "stage1_train": (),
    "stage1_test": ("stage1_solution.csv",),
    "stage2_test_final": ("stage2_solution_final.csv", "stage2_solution.csv"),
}


class NucleiReader(PairReader):
    """``stage1_train/<id>/{images,masks}/*.png``; the test stages with their solution tables where present."""

    def is_root(self, folder: Path) -> bool:
        return any(map(_has_images, _stage_folders(folder).values())) or _has_images(folder)

    def scan(self, root: Path) -> Scan:
        stages = _stage_folders(root)
        if not stages:
            return _with_files(root, root)
        scans = []
        for stage, folder in stages.items():
            table = next(
                filter(None, (tree.child(at, *_STAGES[stage]) for at in (root, folder) if _STAGES[stage])), None
            )
            scans.append(_with_table(root, folder, table) if table else _with_files(root, folder))
        return Scan(
            [source for scan in scans for source in scan.sources], [item for scan in scans for item in scan.left_out]
        )

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield one object per mask file, or per row of the solution table."""
        yield from super().structures(root, source, pixels)
        for runs in filter(None, source.detail.split(";")):
            try:
                mask = shapes.starts_lengths_mask(runs, pixels.shape[:2])
            except ValueError as error:
                raise ImageFileError(f"{root / source.files[0]}: its row of the solution table: {error}") from None
            yield Structure(self.recipe.structures[0], mask)


def _stage_folders(folder: Path) -> dict[str, Path]:
    found = {stage: tree.child(folder, stage) for stage in _STAGES}
    return {stage: inner for stage, inner in found.items() if inner is not None and inner.is_dir()}


def _has_images(folder: Path) -> bool:
    """Return whether a folder holds one folder per image; a few are enough to know."""
    return any(tree.descend(inner, "images") for inner in islice(tree.folders(folder), 5))


def _image_of(folder: Path) -> Path | None:
    images = tree.child(folder, "images")
    return next(iter(tree.files(images)), None) if images else None


def _with_files(root: Path, stage: Path) -> Scan:
    sources: list[Source] = []
    left_out: list[LeftOut] = []
    for folder in tree.folders(stage):
        image = _image_of(folder)
        if image is None:
            left_out.append(LeftOut(folder.relative_to(root).as_posix(), "image missing"))
            continue
        masks = tree.child(folder, "masks")
        files = tree.files(masks) if masks else []
        name = image.relative_to(root)
        if not files:
            left_out.append(LeftOut(name.as_posix(), "mask missing"))
            continue
        identity = clean_id(image.stem)
        sources.append(Source(identity, identity, (name, *(file.relative_to(root) for file in files))))
    return Scan(sources, left_out)


def _with_table(root: Path, stage: Path, table: Path) -> Scan:
    """List a test stage; images that the table ignores (or does not name) are left out."""
    runs: dict[str, list[str]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            if not {"ImageId", "EncodedPixels"} <= set(reader.fieldnames or ()):
                raise DataError(f"{table}: expected the columns ImageId, EncodedPixels; got {reader.fieldnames}")
            for row in reader:
                if (row.get("Usage") or "").strip().lower() != "ignored":
                    runs.setdefault(row["ImageId"], []).append(row["EncodedPixels"] or "")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a readable table ({error})") from None
    sources: list[Source] = []
    left_out: list[LeftOut] = []
    for folder in tree.folders(stage):
        image = _image_of(folder)
        if image is None:
            continue
        name, identity = image.relative_to(root), clean_id(image.stem)
        if image.stem in runs:
            sources.append(Source(identity, identity, (name,), ";".join(runs[image.stem])))
        else:
            left_out.append(LeftOut(name.as_posix(), "not annotated in the solution table"))
    return Scan(sources, left_out)
