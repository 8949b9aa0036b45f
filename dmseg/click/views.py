"""What can be looked at: images of a benchmark or one file, at a level or with single degradations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmseg import imaging, simulators
from dmseg.build import Benchmark
from dmseg.errors import UsageError, unknown_name
from dmseg.manifests import mask_id
from dmseg.reading import show_name
from dmseg.simulators.files import Request, ShownFile, show_file
from dmseg.simulators.plan import SEVERITY_LEVELS
from dmseg.types import Image, Mask, Window, check_level, check_modality

KEPT_VIEWS = 24
"""Degraded images that stay in memory."""


@dataclass(frozen=True, slots=True)
class ShownView:
    """One image as it is shown: at a level, or with single operations at a severity (then ``level`` is ``clear``)."""

    image_id: str
    level: str = "clear"
    operations: tuple[str, ...] = ()
    severity: str = "heavy"


@dataclass(frozen=True)
class GalleryEntry:
    """One image: its facts, and how to get its pixels at a level and its objects.

    Attributes:
        masks: mask_id -> (structure, function that reads the object, bool (H, W)).
        window: grey window that an own file is seen through.
    """

    image_id: str
    dataset: str
    modality: str | None
    height: int
    width: int
    masks: Mapping[str, tuple[str, Callable[[], Mask]]]
    read_level: Callable[[str], Image]
    window: Window | None = None


class ImageGallery:
    """The images of one page.

    Args:
        title: what they are, for people.
        entries: the images, in order.
        synthetic: whether some of them are phantoms and no scans; the page says so.
    """

    def __init__(self, title: str, entries: Sequence[GalleryEntry], synthetic: bool) -> None:
        self.title, self.synthetic = title, synthetic
        self._entries = {entry.image_id: entry for entry in entries}
        self.pixels = functools.lru_cache(maxsize=KEPT_VIEWS)(self._pixels)

    @property
    def entries(self) -> tuple[GalleryEntry, ...]:
        """All images."""
        return tuple(self._entries.values())

    def entry(self, image_id: str) -> GalleryEntry:
        """Return one image.

        Raises:
            UsageError: there is none of this name.
        """
        if image_id not in self._entries:
            raise unknown_name("image", image_id, list(self._entries)[:5])
        return self._entries[image_id]

    def reference(self, image_id: str, mask_id: str) -> Mask:
        """Return an object of an image.

        Raises:
            UsageError: the image has no such object.
        """
        masks = self.entry(image_id).masks
        if mask_id not in masks:
            raise unknown_name("object of this image", mask_id, masks)
        return masks[mask_id][1]()

    def check(self, view: ShownView) -> GalleryEntry:
        """Return the image of a view.

        Raises:
            UsageError: an unknown image, level, operation or severity, or operations at a level.
        """
        entry = self.entry(view.image_id)
        level = check_level(view.level)
        if view.severity not in SEVERITY_LEVELS:
            raise unknown_name("severity", view.severity, SEVERITY_LEVELS)
        if view.operations and level != "clear":
            raise UsageError("single degradations act on Clear; set the level to clear, or leave them out")
        for name in view.operations:
            if name not in list_operations(entry.modality):
                raise unknown_name("operation", name, list_operations(entry.modality))
        return entry

    def _pixels(self, view: ShownView) -> Image:
        """Return uint8 (H, W, 3) RGB; ``pixels`` keeps the last ones."""
        entry = self.check(view)
        shown = entry.read_level(check_level(view.level))
        if view.operations:
            plan = simulators.plan(
                view.image_id, modality=entry.modality, ops=view.operations, image=shown, window=entry.window
            )
            shown = plan.apply(shown, SEVERITY_LEVELS[view.severity])
        return np.ascontiguousarray(np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown)


def list_operations(modality: str | None) -> list[str]:
    """Return the single degradations that an image can be given: the general ones and its modality's."""
    domain = simulators.modality_operations(modality) if modality else ()
    return [*simulators.GENERAL, *(name for name in domain if name not in simulators.GENERAL)]


def gallery_of_benchmark(benchmark: Benchmark, limit: int | None = None) -> ImageGallery:
    """Return the images of a benchmark that have objects to evaluate.

    Args:
        benchmark: an open benchmark.
        limit: at most so many images of each dataset, and of these the ones that an evaluation with this limit takes.
    """
    objects = benchmark.masks[benchmark.masks["evaluate"]].groupby("image_id", sort=False)
    rows = {image_id: group.to_dict("records") for image_id, group in objects}
    images = benchmark.images[benchmark.images["image_id"].isin(rows)]
    if limit is not None:
        evaluated_first = images.iloc[(images["split"] == "train").argsort(kind="stable")]
        images = evaluated_first.groupby("dataset", sort=False).head(limit).sort_index()
    entries = [_entry_of_benchmark(benchmark, row, rows[str(row["image_id"])]) for row in images.to_dict("records")]
    info = benchmark.info
    synthetic = bool({entry.dataset for entry in entries} & set(info.get("synthetic", ())))
    return ImageGallery(f"{info['edition']} {info['version']}", entries, synthetic)


def _entry_of_benchmark(
    benchmark: Benchmark, row: Mapping[Any, Any], masks: Sequence[Mapping[Any, Any]]
) -> GalleryEntry:
    image_id = str(row["image_id"])
    return GalleryEntry(
        image_id=image_id,
        dataset=str(row["dataset"]),
        modality=str(row["modality"]),
        height=int(row["height"]),
        width=int(row["width"]),
        masks={
            str(mask["mask_id"]): (str(mask["structure"]), functools.partial(benchmark.mask, str(mask["mask_id"])))
            for mask in masks
        },
        read_level=functools.partial(benchmark.image, image_id),
    )


def gallery_of_file(
    path: Path,
    modality: str | None,
    window: Window | None = None,
    reference: Path | None = None,
    slice_index: int | None = None,
) -> ImageGallery:
    """Return the gallery of one image file: shown in its window, degraded when asked.

    Args:
        path: an image file, or a stack such as NIfTI or TIFF pages, of which ``slice_index`` (from 0; default: the
            middle one) is shown; volumes are cut along their acquisition plane.
        reference: a mask of the same size, or of the same volume: the object, where values are above half of white
            (volumes: above 0).

    Raises:
        UsageError: an unknown modality, or a mask of another size.
        ImageFileError: a file that cannot be read.
    """
    modality = check_modality(modality) if modality is not None else None
    name = show_name(imaging.stem(path))
    shown = show_file(path, Request("clear", modality, window=window), slice_index)
    if shown.number is not None:
        name = f"{name}_z{shown.number:03d}"
    masks: dict[str, tuple[str, Callable[[], Mask]]] = {}
    if reference is not None:
        given = _read_object(reference, shown.number)
        if given.shape != shown.pixels.shape[:2]:
            raise UsageError(
                f"{reference}: {given.shape} px, but {path} has {shown.pixels.shape[:2]}; give its own mask"
            )
        masks[mask_id(name, "object", 0)] = ("object", lambda: given)
    return ImageGallery(path.name, [_entry_of_file(name, shown.modality, shown, masks)], synthetic=False)


def _read_object(path: Path, number: int | None) -> Mask:
    """Return the object of a mask file: of an image, or of the slice of this number of a volume."""
    if imaging.kind_of(path) in ("PNG", "JPEG", "TIFF", "DICOM", "BMP", "GIF"):
        return imaging.read_mask(path)
    stored = imaging.open_stored(path)
    found: Mask = stored.values[stored.choose_slice(number, path)] > 0
    return found


def _entry_of_file(
    name: str, modality: str | None, shown: ShownFile, masks: Mapping[str, tuple[str, Callable[[], Mask]]]
) -> GalleryEntry:
    """Return the entry of a file as it is looked at, degraded by the plan that its name draws."""

    @functools.cache
    def draw_plan() -> simulators.Plan:
        return simulators.plan(name, modality=modality, image=shown.pixels, window=shown.window)

    def read_level(level: str) -> Image:
        if level == "lq3plus" and modality is None:
            raise UsageError("LQ-3+ adds the artefacts of a modality: give --modality")
        made: Image = draw_plan().apply(shown.pixels, level)
        return made

    height, width = shown.pixels.shape[:2]
    return GalleryEntry(name, "own", modality, height, width, masks, read_level, shown.window)
