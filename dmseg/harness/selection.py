"""Which images, objects and levels a run is about, and how they are cut into work units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dmseg import imaging
from dmseg.build import Benchmark, StoredLevel
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.harness.options import RunOptions
from dmseg.manifests import expand_expressions
from dmseg.types import ALL_LEVELS, LEVELS, Mask, check_level

_MASK_COLUMNS = ("mask_id", "image_id", "structure", "rle")
_TEXT_COLUMNS = ("expressions", "expressions_sha256")
_IMAGE_COLUMNS = ("image_id", "dataset", "modality", "split", "case_id", "spacing_y", "spacing_x")
_BATCH_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Target:
    """One object of one image, as the manifest has it; with a preset that gives sentences, one for each of them.

    Then ``mask_id`` is the id of the sentence's rows.
    """

    mask_id: str
    structure: str
    rle: str
    expression: str | None = None

    def reference(self) -> Mask:
        """Return the object's mask, bool (H, W)."""
        return imaging.decode_rle(self.rle)


@dataclass(frozen=True, slots=True)
class SelectedImage:
    """One image with the objects that are evaluated, in the order of their ids."""

    image_id: str
    dataset: str
    modality: str
    split: str
    case_id: str
    spacing: tuple[float, float] | None
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class BlockItem:
    """One image at one level: what a worker needs, without the benchmark's index."""

    image: SelectedImage
    pixels: StoredLevel
    plan_digest: str


@dataclass(frozen=True, slots=True)
class Block:
    """A work unit: its number in the run, and consecutive items."""

    number: int
    items: tuple[BlockItem, ...]

    @property
    def name(self) -> str:
        """Where its result is kept, in the run's ledger."""
        return block_name(self.number)


def block_name(number: int) -> str:
    """Return where the result of a work unit is kept, in the run's ledger."""
    return f"block-{number:07d}.json.gz"


@dataclass(frozen=True)
class Selection:
    """What a run is about.

    Attributes:
        benchmark: where the images are.
        images: image_id -> image, in manifest order.
        levels: level ids, in benchmark order.
        plan_digests: image_id -> digests of its plans, in the order of the levels.
    """

    benchmark: Benchmark
    images: Mapping[str, SelectedImage]
    levels: tuple[str, ...]
    plan_digests: Mapping[str, tuple[str, ...]]

    @property
    def n_masks(self) -> int:
        """Number of objects."""
        return sum(len(image.targets) for image in self.images.values())

    def blocks(self, batch_images: int) -> BlockList:
        """Return the work units: ``batch_images`` consecutive items: by image, within it by level."""
        return BlockList(self, batch_images, range(-(-len(self.images) * len(self.levels) // batch_images)))


@dataclass(frozen=True)
class BlockList(Collection[Block]):
    """The work units of a run, or some of them by number, made when they are asked for: there are many."""

    selection: Selection
    size: int
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, block: object) -> bool:
        return isinstance(block, Block) and block.number in self.numbers

    def __iter__(self) -> Iterator[Block]:
        images, levels = list(self.selection.images.values()), self.selection.levels
        for number in self.numbers:
            places = range(number * self.size, min((number + 1) * self.size, len(images) * len(levels)))
            yield Block(number, tuple(self._item(images[k // len(levels)], k % len(levels)) for k in places))

    def _item(self, image: SelectedImage, place: int) -> BlockItem:
        selection = self.selection
        pixels = selection.benchmark.find_stored_image(image.image_id, selection.levels[place])
        return BlockItem(image, pixels, selection.plan_digests[image.image_id][place])


def levels_of(benchmark: Benchmark, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the levels to run in benchmark order; asking for all five means all that the benchmark has.

    Raises:
        UsageError: a level that the benchmark does not have.
    """
    wanted = tuple(check_level(level, allowed=ALL_LEVELS) for level in wanted)
    if set(wanted) == set(LEVELS):
        return benchmark.levels
    for level in wanted:
        if level not in benchmark.levels:
            raise unknown_name(f"level of the benchmark {benchmark.path}", level, benchmark.levels)
    return tuple(level for level in benchmark.levels if level in wanted)


def select(benchmark: Benchmark, options: RunOptions) -> Selection:
    """Choose the images of the splits asked for that have objects in the evaluation subset.

    With a limit, the first so many of each dataset by image id. With a preset that gives sentences, each sentence of an
    object is a target; objects without one are none.

    Raises:
        UsageError: nothing is left; the message says what the benchmark has.
        DataError: masks are missing from the manifest, so that nothing can be scored.
    """
    text = options.rules.gives_text
    masks = benchmark.table("masks", (*_MASK_COLUMNS, "evaluate", *(_TEXT_COLUMNS if text else ())))
    evaluated = masks.filter(masks["evaluate"]).sort_by("mask_id")
    if text:
        evaluated = evaluated.filter(pc.is_valid(evaluated["expressions_sha256"]))
        if not evaluated.num_rows:
            raise UsageError(
                f'{benchmark.path} has no sentences, which is all that preset "{options.preset}" gives; build one of '
                "the track natural-text (dmseg datasets), or choose another --preset"
            )
    with_objects = set(evaluated["image_id"].to_pylist())
    images = benchmark.table("images", _IMAGE_COLUMNS).sort_by("image_id")
    rows = [row for row in _iterate(images) if row["image_id"] in with_objects]
    taken: Counter[str] = Counter()
    chosen: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["split"] in options.splits and (options.limit is None or taken[row["dataset"]] < options.limit):
            taken[row["dataset"]] += 1
            chosen[row["image_id"]] = row
    if not chosen:
        raise UsageError(_explain_empty(benchmark, Counter(row["split"] for row in rows), options.splits))
    targets: dict[str, list[Target]] = {name: [] for name in chosen}
    without = set()
    for row in _iterate(evaluated.drop_columns(["evaluate"])):
        if row["image_id"] not in chosen:
            continue
        if row["rle"] is None:
            without.add(row["mask_id"].split("__", 1)[0])
        for one in expand_expressions(row) if text else (row,):
            found = Target(one["mask_id"], one["structure"], one["rle"], one.get("expression"))
            targets[row["image_id"]].append(found)
    if without:
        raise DataError(
            f"{benchmark.path}: masks of {', '.join(sorted(without))} are not in this manifest; "
            "build the benchmark from raw data"
        )
    selected = {name: _select_image(row, targets[name]) for name, row in chosen.items()}
    return Selection(benchmark, selected, options.levels, _read_plan_digests(benchmark, selected, options.levels))


def _iterate(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, few of them held at a time."""
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from batch.to_pylist()


def _read_plan_digests(
    benchmark: Benchmark, chosen: Mapping[str, SelectedImage], levels: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return image_id -> digests of its plans at these levels, in their order."""
    found: dict[str, dict[str, str]] = {name: {} for name in chosen}
    for row in _iterate(benchmark.table("degradations", ("image_id", "level", "plan_digest"))):
        if row["image_id"] in found:
            found[row["image_id"]][row["level"]] = row["plan_digest"]
    return {name: tuple(texts[level] for level in levels) for name, texts in found.items()}


def _select_image(row: Mapping[str, Any], targets: list[Target]) -> SelectedImage:
    known = all(row[name] is not None and math.isfinite(row[name]) for name in ("spacing_y", "spacing_x"))
    names = {name: row[name] for name in ("image_id", "dataset", "modality", "split", "case_id")}
    return SelectedImage(
        **names, spacing=(row["spacing_y"], row["spacing_x"]) if known else None, targets=tuple(targets)
    )


def _explain_empty(benchmark: Benchmark, counts: Counter[str], splits: tuple[str, ...]) -> str:
    present = ", ".join(f"{split} ({counts[split]})" for split in sorted(counts)) or "none"
    return (
        f"{benchmark.path} has no images to evaluate in split {', '.join(splits)}; "
        f"images with objects to evaluate by split: {present}; choose with --split"
    )
