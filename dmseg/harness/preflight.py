"""What must hold of a benchmark and of recorded prompts before hours are spent on them."""

from __future__ import annotations

import math

from dmseg.build import Benchmark
from dmseg.errors import DataError
from dmseg.harness.replay import Replay, Rows
from dmseg.harness.selection import Selection
from dmseg.manifests import LOCAL_EDITION, TABLES, diff, find_published, list_published, manifest_digest
from dmseg.protocol.replay import KINDS, strokes_from_rows
from dmseg.types import STROKES, Stroke

_SHOWN = 3


def require_digests(benchmark: Benchmark) -> None:
    """Check that a benchmark's tables are those that its digests name.

    Raises:
        DataError: a table was changed, or the edition it says it is has other rows; the message says what differs.
    """
    info = benchmark.info
    names = {name: [column.name for column in columns if column.identity] for name, columns in TABLES.items()}
    found_digest = manifest_digest(info, {name: benchmark.table(name, columns) for name, columns in names.items()})
    problems = []
    if found_digest != benchmark.digest:
        problems.append(f"manifest_digest is {benchmark.digest[:12]}..., the tables give {found_digest[:12]}...")
    name = f"{info['edition']}-{info['version']}"
    if info["edition"] != LOCAL_EDITION and name in list_published():
        published = find_published(name)
        if problems or published.digest != benchmark.digest:
            found = diff(published, benchmark.manifest)
            problems += [f"{one.file} {one.row}: {one.what[:200]}" for one in found[:_SHOWN]]
            if len(found) > _SHOWN:
                problems.append(f"and {len(found) - _SHOWN} more differences from the published {name}")
            problems = problems or [f"manifest_digest is not that of the published {name}"]
    if problems:
        shown = "; ".join(problems)
        raise DataError(
            f"{benchmark.path}: not the benchmark that it says it is: {shown}; build it again (dmseg verify)"
        )


def require_prompts(replay: Replay, selection: Selection, sizes: dict[str, tuple[int, int]], steps: int) -> None:
    """Check recorded prompts against the images that they are for.

    Args:
        sizes: image_id -> (height, width).
        steps: number of steps of the run; later rows would never be given.

    Raises:
        DataError: an object without prompts, or a prompt that is none: outside of its image, with another label than 0
            and 1, a box inside out, two clicks at one step, or a step beyond the last.
    """
    known = set()
    for image_id, image in selection.images.items():
        for target in image.targets:
            for level in selection.levels:
                known.add((target.mask_id, level))
                if (target.mask_id, level, 1) not in replay.rows:
                    raise DataError(
                        f"{replay.path} has no prompts of step 1 for mask {target.mask_id} at level {level}; "
                        "record them for all objects of the run, or choose fewer with --split, --levels and --limit"
                    )
                for step in range(1, steps + 1):
                    rows = replay.rows.get((target.mask_id, level, step), [])
                    _require_rows(rows, step, sizes[image_id], f"{replay.path}: {target.mask_id} {level} step {step}")
    beyond = sorted(place for place in replay.rows if place[:2] in known and not 1 <= place[2] <= steps)
    if beyond:
        raise DataError(f"{replay.path}: {' '.join(map(str, beyond[0]))}: the run has steps 1 to {steps}")


def _require_rows(rows: Rows, step: int, size: tuple[int, int], where: str) -> None:
    height, width = size
    strokes = {(row["kind"], row["index"]) for row in rows if row["kind"] in STROKES}
    boxes = sum(row["kind"] == "box" for row in rows)
    if step > 1 and (sum(row["kind"] not in STROKES for row in rows) + len(strokes) > 1 or boxes):
        raise DataError(f"{where}: {len(rows)} rows; a later step has one point or one stroke at most")
    if boxes > 1:
        raise DataError(f"{where}: two boxes; one at most")
    for row in rows:
        point = row["kind"] == "point"
        if row["kind"] not in KINDS:
            raise DataError(f"{where}: kind {ascii(row['kind'])[:40]}; one of {', '.join(sorted(KINDS))}")
        names = ("x", "y") if point else ("x0", "y0", "x1", "y1")
        values = [row[name] for name in names]
        if any(value is None or not math.isfinite(value) for value in values):
            raise DataError(f"{where}: {', '.join(names)} are {values}; give numbers")
        for value, side in zip(values, (width, height) * 2, strict=False):
            if not 0 <= value <= side - 1:
                raise DataError(f"{where}: {', '.join(names)} are {values}, outside of the image ({width} x {height})")
        if row["kind"] != "box" and row["label"] not in (0, 1):
            raise DataError(f"{where}: label {row['label']}; 1 foreground or 0 background")
        if row["kind"] == "box" and (row["x0"] > row["x1"] or row["y0"] > row["y1"]):
            raise DataError(f"{where}: the box {values} is inside out; x0 <= x1 and y0 <= y1")
    for stroke in _find_strokes(rows, where):
        if stroke.kind == "lasso" and len(stroke.path) < 3:
            raise DataError(f"{where}: a lasso of {len(stroke.path)} points; 3 at least")


def _find_strokes(rows: Rows, where: str) -> tuple[Stroke, ...]:
    try:
        return strokes_from_rows(rows)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def read_sizes(benchmark: Benchmark) -> dict[str, tuple[int, int]]:
    """Return image_id -> (height, width) of a benchmark's images."""
    images = benchmark.frame("images", ("image_id", "height", "width"))
    pairs = zip(images["height"], images["width"], strict=True)
    return {name: (int(h), int(w)) for name, (h, w) in zip(images["image_id"], pairs, strict=True)}
