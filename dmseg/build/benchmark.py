"""A built benchmark, opened: its tables as data frames, its images and masks as arrays. Reading only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image as Pillow

from dmseg import imaging
from dmseg.build import published
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.tracks import AnyPlan, read_plan, track_of
from dmseg.build.unit import list_stored_levels
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.figures import contact_sheet
from dmseg.manifests import (
    HEADER_FILE,
    TABLES,
    Manifest,
    check_tables,
    find_published,
    list_published,
    object_of,
    read_header,
    read_manifest,
    read_table,
)
from dmseg.types import LEVEL_LABELS, Image, Mask, resolve_name


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """Where the pixels of an image at a level are: small enough to be sent to workers, which need no index then.

    Attributes:
        path: the stored file.
        level: level id.
        plan: JSON of the plan that makes the level from the file; None where the file is the level.
        row: where the file is a table of a published benchmark, the image's row.
    """

    path: Path
    level: str
    plan: str | None = None
    row: int | None = None

    def read(self) -> Image:
        """Return the pixels: uint8 (H, W) or (H, W, 3) RGB.

        Raises:
            ImageFileError: the stored file is missing or damaged.
        """
        if self.row is not None:
            return published.read_row(self.path, self.row)
        pixels: Image = np.asarray(imaging.read_image(self.path).pixels)
        if self.plan is None:
            return pixels
        degraded: Image = read_plan(self.plan).apply(pixels, self.level)
        return degraded


class Benchmark:
    """A benchmark folder. Opening it reads its header alone; tables are read when they are asked for, each once.

    Attributes:
        path: the folder.
        info: content of benchmark.json.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: Mapping[str, Any] = read_header(path)
        check_tables(path)

    def __repr__(self) -> str:
        counts = self.info.get("counts") or {}
        drawn = ", synthetic images" if self.info.get("synthetic") else ""
        return (
            f"Benchmark({self.info['edition']} {self.info['version']}: {counts.get('images', '?')} images, "
            f"{counts.get('masks', '?')} objects, {len(self.levels)} levels{drawn}; {self.path})"
        )

    def _repr_html_(self) -> str:
        counts = self.images.groupby(["split", "dataset", "modality"]).size().rename("images").reset_index()
        return f"<p><b>{escape(repr(self))}</b></p>{counts.to_html(index=False, border=0)}"

    def show(self, image_id: str, levels: Sequence[str] = (), *, outlines: bool = True) -> Pillow.Image:
        """Return one image at its levels side by side, as a picture that a notebook shows.

        Args:
            image_id: of :attr:`images`.
            levels: which; default: all.
            outlines: whether its objects are outlined.

        Raises:
            UsageError: no such image or level in this benchmark.
        """
        shown = tuple(levels) or self.levels
        pixels = [self.image(image_id, level) for level in shown]
        row = self.images.loc[self.images["image_id"] == image_id].iloc[0]
        own = self.masks.loc[self.masks["image_id"] == image_id, "mask_id"] if outlines else ()
        banner = "Synthetic image (phantom)" if row["dataset"] in (self.info.get("synthetic") or ()) else ""
        sheet = contact_sheet(
            [pixels],
            [f"{image_id}\n{row['modality']}"],
            [LEVEL_LABELS[level] for level in shown],
            contours=[[self.mask(mask_id) for mask_id in own]],
            banner=banner,
        )
        return Pillow.fromarray(sheet)

    def __reduce__(self) -> tuple[type[Benchmark], tuple[Path]]:
        return Benchmark, (self.path,)

    @cached_property
    def manifest(self) -> Manifest:
        """benchmark.json and the Arrow tables, whole; large, where there are many images."""
        return read_manifest(self.path)

    @property
    def digest(self) -> str:
        """``manifest_digest``: the name of exactly this benchmark (64 hex digits)."""
        return str(self.info["manifest_digest"])

    @property
    def track(self) -> str:
        """One of :data:`dmseg.types.TRACKS`."""
        return track_of(self.info)

    @property
    def levels(self) -> tuple[str, ...]:
        """Level ids that this benchmark has, from clear on."""
        return tuple(self.info["levels"])

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image, sorted by image_id; columns as in ``dmseg.manifests.IMAGES``."""
        return self.frame("images")

    @cached_property
    def masks(self) -> pd.DataFrame:
        """One row per object, sorted by mask_id; columns as in ``dmseg.manifests.MASKS``."""
        return self.frame("masks")

    @cached_property
    def degradations(self) -> pd.DataFrame:
        """One row per image and level; columns as in ``dmseg.manifests.DEGRADATIONS``."""
        return self.frame("degradations")

    def frame(self, name: str, columns: Sequence[str] = ()) -> pd.DataFrame:
        """Return some columns of a table, or all of them; read anew, so keep what is needed."""
        frame: pd.DataFrame = self.table(name, columns).to_pandas()
        return frame

    def table(self, name: str, columns: Sequence[str] = ()) -> pa.Table:
        """Return some columns of a table as Arrow, or all of them; read anew."""
        return read_table(self.path, name, columns or [column.name for column in TABLES[name]])

    def image(self, image_id: str, level: str) -> Image:
        """Return the pixels of an image at a level: uint8 (H, W) or (H, W, 3) RGB.

        Raises:
            UsageError: no such image or level in this benchmark.
            ImageFileError: the stored file is missing or damaged.
        """
        return self.find_stored_image(image_id, level).read()

    def find_stored_image(self, image_id: str, level: str) -> StoredLevel:
        """Return where the pixels of an image at a level are; errors as :meth:`image`."""
        level = self._check_level(level)
        dataset = self._dataset_of.get(image_id)
        if dataset is None:
            raise unknown_name("image", image_id, self._near(image_id, self._dataset_of))
        if self.info.get("storage") == published.STORAGE:
            return self._find_published(image_id, level, dataset)
        folder = BenchmarkFolder(self.path)
        if level in list_stored_levels(self.levels, self.info.get("storage", "png")):
            return StoredLevel(folder.locate(dataset, level, image_id), level)
        return StoredLevel(folder.locate(dataset, "clear", image_id), level, self._plan_text(image_id, level))

    def _find_published(self, image_id: str, level: str, dataset: str) -> StoredLevel:
        place = self._place_of_row.get((image_id, level))
        if place is None:
            raise DataError(
                f"{self.path}: the pixels of {dataset} are not in this published folder: its licence does not allow "
                f"sharing them, or the file is missing; with the raw data: dmseg build --manifest {self.path} --raw RAW"
            )
        return StoredLevel(place[0], level, row=place[1])

    def _check_level(self, name: str) -> str:
        return resolve_name("level of this benchmark", name, self.levels)

    def plan(self, image_id: str, level: str) -> AnyPlan:
        """Return how an image was degraded to a level of this benchmark."""
        return read_plan(self._plan_text(image_id, self._check_level(level)))

    def _plan_text(self, image_id: str, level: str) -> str:
        texts, row_of = self._plans
        if (image_id, level) not in row_of:
            raise unknown_name("image", image_id, self._near(image_id, self._dataset_of))
        return str(texts[row_of[image_id, level]].as_py())

    def mask(self, mask_id: str) -> Mask:
        """Return one object, bool (H, W), on the grid of its image; also by the id of a row about one of its sentences.

        Raises:
            UsageError: no such mask.
            DataError: the manifest came without masks (``share_masks = false``).
        """
        texts, row_of = self._outlines
        mask_id = object_of(mask_id)
        if mask_id not in row_of:
            raise unknown_name("mask", mask_id, self._near(mask_id, row_of))
        rle = texts[row_of[mask_id]].as_py()
        if rle is None:
            raise DataError(
                f"{self.path}: the mask {mask_id} is not in this manifest: its dataset's licence does not allow "
                "sharing it; build the benchmark from the raw data: dmseg build --manifest ... --raw ..."
            )
        return imaging.decode_rle(rle)

    @staticmethod
    def _near(given: str, known: Mapping[str, Any]) -> list[str]:
        """Return a few known names that begin like the given one, for the message."""
        alike = [name for name in known if name.split("__", 1)[0] == given.split("__", 1)[0]] or list(known)
        return alike[:5]

    @cached_property
    def _dataset_of(self) -> dict[str, str]:
        images = self.table("images", ("image_id", "dataset"))
        return dict(zip(images["image_id"].to_pylist(), images["dataset"].to_pylist(), strict=True))

    @cached_property
    def _place_of_row(self) -> dict[tuple[str, str], tuple[Path, int]]:
        return published.list_rows(self.path)

    # Texts stay in Arrow, which holds them in a third of the room that Python strings take.
    @cached_property
    def _outlines(self) -> tuple[pa.ChunkedArray, dict[str, int]]:
        masks = self.table("masks", ("mask_id", "rle"))
        return masks["rle"], {name: row for row, name in enumerate(masks["mask_id"].to_pylist())}

    @cached_property
    def _plans(self) -> tuple[pa.ChunkedArray, dict[tuple[str, str], int]]:
        rows = self.table("degradations", ("image_id", "level", "plan"))
        keys = zip(rows["image_id"].to_pylist(), rows["level"].to_pylist(), strict=True)
        return rows["plan"], {key: row for row, key in enumerate(keys)}


def open_benchmark(path: Path | str) -> Benchmark:
    """Open a benchmark folder.

    Raises:
        DataError: no finished benchmark there, an unknown schema version, or missing columns.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give a folder that `dmseg build` wrote (it holds {HEADER_FILE})")
    return Benchmark(path)


def require_track(benchmark: Benchmark, track: str) -> None:
    """Raise :class:`~dmseg.errors.UsageError` where a benchmark is of another track."""
    if benchmark.track != track:
        raise UsageError(f"{benchmark.path}: is a benchmark of the track {benchmark.track}, not {track}")


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
