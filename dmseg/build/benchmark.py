"""A built benchmark, opened: its tables as data frames, its images and masks as arrays. Reading only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dmseg import imaging, simulators
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.unit import list_stored_levels
from dmseg.errors import DataError, unknown_name
from dmseg.manifests import HEADER_FILE, Manifest, find_published, list_published, read_manifest
from dmseg.types import Image, Mask


class Benchmark:
    """A benchmark folder. Cheap to pickle: workers read the folder again.

    Attributes:
        path: the folder.
        manifest: benchmark.json and the Arrow tables.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)

    def __reduce__(self) -> tuple[type[Benchmark], tuple[Path]]:
        return Benchmark, (self.path,)

    @property
    def info(self) -> Mapping[str, Any]:
        """Content of benchmark.json."""
        return self.manifest.info

    @property
    def digest(self) -> str:
        """``manifest_digest``: the name of exactly this benchmark (64 hex digits)."""
        return self.manifest.digest

    @property
    def levels(self) -> tuple[str, ...]:
        """Level ids that this benchmark has, from clear on."""
        return tuple(self.info["levels"])

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image, sorted by image_id; columns as in ``dmseg.manifests.IMAGES``."""
        return _frame(self.manifest.images)

    @cached_property
    def masks(self) -> pd.DataFrame:
        """One row per object, sorted by mask_id; columns as in ``dmseg.manifests.MASKS``."""
        return _frame(self.manifest.masks)

    @cached_property
    def degradations(self) -> pd.DataFrame:
        """One row per image and level; columns as in ``dmseg.manifests.DEGRADATIONS``."""
        return _frame(self.manifest.degradations)

    def image(self, image_id: str, level: str) -> Image:
        """Return the pixels of an image at a level: uint8 (H, W) or (H, W, 3) RGB.

        Raises:
            UsageError: no such image or level in this benchmark.
            ImageFileError: the stored file is missing or damaged.
        """
        if level not in self.levels:
            raise unknown_name("level of this benchmark", level, self.levels)
        dataset = self._dataset_of.get(image_id)
        if dataset is None:
            raise unknown_name("image", image_id, self._near(image_id, self._dataset_of))
        if level in list_stored_levels(self.levels, self.info.get("storage", "png")):
            return self._read_level(dataset, level, image_id)
        degraded: Image = self.plan(image_id, level).apply(self._read_level(dataset, "clear", image_id), level)
        return degraded

    def plan(self, image_id: str, level: str) -> simulators.Plan:
        """Return how an image was degraded to a level of this benchmark."""
        if (image_id, level) not in self._plans:
            raise unknown_name("image", image_id, self._near(image_id, self._dataset_of))
        return simulators.Plan.from_json(self._plans[image_id, level])

    def mask(self, mask_id: str) -> Mask:
        """Return one object, bool (H, W), on the grid of its image.

        Raises:
            UsageError: no such mask.
            DataError: the manifest came without masks (``share_masks = false``).
        """
        if mask_id not in self._rle_of:
            raise unknown_name("mask", mask_id, self._near(mask_id, self._rle_of))
        rle = self._rle_of[mask_id]
        if rle is None:
            raise DataError(
                f"{self.path}: the mask {mask_id} is not in this manifest: its dataset's licence does not allow "
                "sharing it; build the benchmark from the raw data: dmseg build --manifest ... --raw ..."
            )
        return imaging.decode_rle(json.loads(rle))

    def _read_level(self, dataset: str, level: str, image_id: str) -> Image:
        loaded = imaging.read_image(BenchmarkFolder(self.path).picture(dataset, level, image_id))
        return np.asarray(loaded.pixels)

    @staticmethod
    def _near(given: str, known: Mapping[str, Any]) -> list[str]:
        """Return a few known names that begin like the given one, for the message."""
        alike = [name for name in known if name.split("__", 1)[0] == given.split("__", 1)[0]] or list(known)
        return alike[:5]

    @cached_property
    def _dataset_of(self) -> dict[str, str]:
        images = self.manifest.images
        return dict(zip(images["image_id"].to_pylist(), images["dataset"].to_pylist(), strict=True))

    @cached_property
    def _rle_of(self) -> dict[str, str | None]:
        masks = self.manifest.masks
        return dict(zip(masks["mask_id"].to_pylist(), masks["rle"].to_pylist(), strict=True))

    @cached_property
    def _plans(self) -> dict[tuple[str, str], str]:
        rows = self.manifest.degradations
        keys = zip(rows["image_id"].to_pylist(), rows["level"].to_pylist(), strict=True)
        return dict(zip(keys, rows["plan"].to_pylist(), strict=True))


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def open_benchmark(path: Path | str) -> Benchmark:
    """Open a benchmark folder.

    Raises:
        DataError: no finished benchmark there, an unknown schema version, or missing columns.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give a folder that `dmseg build` wrote (it holds {HEADER_FILE})")
    return Benchmark(path)


def find_manifest(name: str) -> Manifest:
    """Return a manifest by the name of a published one, or by the path of a folder or zip.

    Raises:
        DataError: neither a published name nor a manifest; the message lists the published ones.
    """
    if name in list_published():
        return find_published(name)
    if not Path(name).exists():
        known = ", ".join(list_published()) or "none"
        raise DataError(f"{name}: no such folder or zip, and no published manifest of that name ({known})")
    return read_manifest(Path(name))
