"""``verify``: does a benchmark folder hold what its manifest says, and do the plans give these pixels again?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmseg import imaging
from dmseg.build.benchmark import Benchmark, StoredLevel
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.stored import measures
from dmseg.build.tracks import read_plan
from dmseg.build.unit import list_stored_levels
from dmseg.errors import DmsegError
from dmseg.jobs import Backend, run
from dmseg.manifests import manifest_digest, mask_sha256, pixel_sha256, plan_digest, thumbprint
from dmseg.progress import progress
from dmseg.rng import key_words
from dmseg.types import SPLITS, Image, Mask

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as the manifest says: where, and what."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class _Check:
    """All that is known of one image: its row, the rows of its masks and levels, and where the pixels are."""

    image: Row
    masks: Sequence[Row]
    levels: Sequence[Row]
    pixels: Mapping[str, StoredLevel]


def verify(
    bench: Benchmark, *, sample: float = 1.0, jobs: int = 1, engine: str = "loky", scheduler: str | None = None
) -> list[Problem]:
    """Check a benchmark folder against its manifest.

    Always: digests, counts, ids, one file per image and level and none besides. For the sampled images: pixel hashes,
    thumbprints, masks (inside the image, as hashed, area and box), and that the plans give the stored pixels again
    (within 1 grey: Fourier operations may differ by that between library versions).

    Args:
        bench: the opened benchmark.
        sample: share of the images whose pixels are checked, by keyed choice; 1 checks all.
        jobs, engine, scheduler: where images are checked, see :class:`dmseg.jobs.Backend`.

    Returns:
        The problems found, in manifest order; empty when all is well.
    """
    problems = [*_digests(bench), *_rows(bench), *_files(bench)]
    work = _plan_checks(bench, sample)
    with run(_image_problems, work, Backend(engine, jobs, scheduler), ordered=True) as results:
        for found in progress(results, len(work), "verify", "images"):
            problems += found
    return problems


def _plan_checks(bench: Benchmark, sample: float) -> list[_Check]:
    images = [row for row in bench.manifest.images.to_pylist() if _draw_sample(row["image_id"], sample)]
    masks: dict[str, list[Row]] = {row["image_id"]: [] for row in images}
    levels: dict[str, list[Row]] = {row["image_id"]: [] for row in images}
    chosen = pa.array(list(masks), pa.string())
    for table, groups in ((bench.manifest.masks, masks), (bench.manifest.degradations, levels)):
        for row in table.filter(pc.is_in(table["image_id"], chosen)).to_pylist():
            groups[row["image_id"]].append(row)
    return [
        _Check(
            row,
            masks[row["image_id"]],
            levels[row["image_id"]],
            {
                level["level"]: bench.find_stored_image(row["image_id"], level["level"])
                for level in levels[row["image_id"]]
                if level["level"] in bench.levels
            },
        )
        for row in images
    ]


def _draw_sample(image_id: str, sample: float) -> bool:
    return key_words("verify", image_id)[0] < sample * 2**64


def _digests(bench: Benchmark) -> Iterator[Problem]:
    tables = bench.manifest.tables
    for name, value in (
        ("manifest_digest", manifest_digest(bench.info, tables)),
        ("plan_digest", plan_digest(bench.info, tables)),
    ):
        if bench.info[name] != value:
            yield Problem("benchmark.json", f"{name} is {bench.info[name]}, the tables give {value}")
    for name in ("images", "masks"):
        if bench.info["counts"][name] != tables[name].num_rows:
            counted = f"{bench.info['counts'][name]} {name}, the table has {tables[name].num_rows}"
            yield Problem("benchmark.json", f"counts say {counted}")


def _rows(bench: Benchmark) -> Iterator[Problem]:
    """Ids are unique, every row belongs to an image, every image has an object and all levels, splits are known."""
    images, masks, degradations = bench.manifest.images, bench.manifest.masks, bench.manifest.degradations
    known = set(images["image_id"].to_pylist())
    for table, column in ((images, "image_id"), (masks, "mask_id")):
        for identifier, n in Counter(table[column].to_pylist()).items():
            if n > 1:
                yield Problem(identifier, f"{column} is there {n} times")
    for name, table in (("masks", masks), ("degradations", degradations)):
        for identifier in sorted(set(table["image_id"].to_pylist()) - known):
            yield Problem(identifier, f"{name}.parquet speaks of an image that images.parquet does not have")
    for identifier in sorted(known - set(masks["image_id"].to_pylist())):
        yield Problem(identifier, "has no object")
    pairs = Counter(zip(degradations["image_id"].to_pylist(), degradations["level"].to_pylist(), strict=True))
    for identifier in sorted(known):
        wrong = [level for level in bench.levels if pairs[identifier, level] != 1]
        if wrong:
            yield Problem(identifier, f"degradations.parquet has not exactly one row for {', '.join(wrong)}")
    splits = zip(images["image_id"].to_pylist(), images["split"].to_pylist(), strict=True)
    yield from (Problem(image, f'split "{split}" is unknown') for image, split in splits if split not in SPLITS)


def _files(bench: Benchmark) -> Iterator[Problem]:
    folder = BenchmarkFolder(bench.path)
    images = zip(
        bench.manifest.images["dataset"].to_pylist(), bench.manifest.images["image_id"].to_pylist(), strict=True
    )
    levels = list_stored_levels(bench.levels, bench.info.get("storage", "png"))
    wanted = {folder.locate(dataset, level, image) for dataset, image in images for level in levels}
    there = set((bench.path / "images").glob("*/*/*"))
    for path in sorted(wanted - there):
        yield Problem(path.relative_to(bench.path).as_posix(), "file is missing")
    for path in sorted(there - wanted):
        yield Problem(path.relative_to(bench.path).as_posix(), "file is of no image of this benchmark")


def _image_problems(check: _Check) -> list[Problem]:
    """Return what is wrong with the pixels and masks of one image."""
    cv2.setNumThreads(1)
    image, levels = check.image, check.levels
    found = [problem for row in check.masks for problem in _mask_problems(image, row)]
    images: dict[str, Image] = {}
    for row in levels:
        where = f"{image['image_id']} {row['level']}"
        try:
            pixels = check.pixels[row["level"]].read()
        except KeyError:
            found.append(Problem(where, "level is none of this benchmark"))
            continue
        except DmsegError as error:
            found.append(Problem(where, str(error)))
            continue
        if pixels.shape[:2] != (image["height"], image["width"]):
            found.append(Problem(where, f"is {pixels.shape[1]} x {pixels.shape[0]}, not as images.parquet says"))
            continue
        images[row["level"]] = pixels
        found += _pixel_problems(where, pixels, row)
    if "clear" in images:
        found += _replay_problems(images, levels)
    return found


def _pixel_problems(where: str, image: Image, row: Row) -> Iterator[Problem]:
    difference = np.abs(thumbprint(image).astype(int).ravel() - np.frombuffer(row["thumbprint"], np.uint8))
    if difference.max() > 1:
        yield Problem(where, f"thumbprint differs by {difference.max()} grey: these are other pixels")
    elif row["pixel_sha256"] is not None and pixel_sha256(image) != row["pixel_sha256"]:
        yield Problem(where, "pixel_sha256 differs: the file is not the one that was built")


def _replay_problems(images: dict[str, Image], levels: Sequence[Row]) -> Iterator[Problem]:
    for row in levels:
        where = f"{row['image_id']} {row['level']}"
        if row["level"] not in images:
            continue
        try:
            plan = read_plan(row["plan"])
            again = plan.apply(images["clear"], row["level"])
        except DmsegError as error:
            yield Problem(where, f"the plan does not replay: {error}")
            continue
        if plan.digest(row["level"]) != row["plan_digest"]:
            yield Problem(where, "plan_digest is not that of the plan")
        largest = int(np.abs(again.astype(int) - images[row["level"]]).max())
        if largest > 1:
            yield Problem(where, f"the plan gives pixels that differ by up to {largest} grey from the stored ones")


def _mask_problems(image: Row, row: Row) -> Iterator[Problem]:
    if row["rle"] is None:
        return
    try:
        mask: Mask = imaging.decode_rle(row["rle"])
    except (DmsegError, ValueError) as error:
        yield Problem(row["mask_id"], str(error))
        return
    if mask.shape != (image["height"], image["width"]):
        yield Problem(
            row["mask_id"], f"is {mask.shape[1]} x {mask.shape[0]}, its image {image['width']} x {image['height']}"
        )
        return
    if mask_sha256(mask) != row["mask_sha256"]:
        yield Problem(row["mask_id"], "mask_sha256 differs: this is another mask")
    measured = measures(mask)
    wrong = [f"{name} {row[name]} is {value}" for name, value in measured.items() if row[name] != value]
    if wrong:
        yield Problem(row["mask_id"], f"masks.parquet is wrong: {', '.join(wrong)}")
