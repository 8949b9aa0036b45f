"""Which artefact, modality, size or structure hurts: heat maps and tables of paired drops from Clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from dmseg.build import Benchmark
from dmseg.figures import heat_table
from dmseg.results import Run
from dmseg.results.cases import CaseTable
from dmseg.results.grouping import (
    GroupDrop,
    Operations,
    find_degradations,
    find_hardest,
    list_operations,
    measure_drops,
)
from dmseg.types import LEVEL_LABELS

_MOST_GROUPS = 40


@dataclass(frozen=True, slots=True)
class GroupTable:
    """A folded table of drops: a line per group, a cell per level, hardest first."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[GroupDrop | None, ...]], ...]


def read_operations(run: Run, pixels: Benchmark | None) -> Operations | None:
    """Return the operations of each image, from the benchmark or a published manifest; None where neither is there."""
    columns = ("image_id", "level", "plan")
    if isinstance(pixels, Benchmark):
        degradations = pixels.table("degradations", columns)
    else:
        degradations = find_degradations(run.info["benchmark"]["manifest_digest"])
    return None if degradations is None else list_operations(degradations)


def draw_artefacts(
    table: CaseTable, facts: pd.DataFrame, operations: Operations | None
) -> tuple[list[GroupDrop], tuple[Markup, GroupTable] | None]:
    """Return the drops by operation, the heat map and the table of one split; None where there is nothing to show."""
    if operations is None or table.levels[0] != "clear" or len(table.levels) < 2:
        return [], None
    drops = measure_drops(table, "operation", facts, operations)
    if not drops:
        return [], None
    levels = table.levels[1:]
    values = {(drop.group, drop.level): drop.drop.value for drop in drops}
    groups = list(dict.fromkeys(drop.group for drop in drops))
    heat = heat_table(
        [group.replace("_", " ") for group in groups],
        [LEVEL_LABELS[level] for level in levels],
        [[values.get((group, level), math.nan) for level in levels] for group in groups],
        caption="Points of Dice lost from Clear by the masks whose image has the operation, mean over datasets",
        corner="operation",
        value_range=(0.0, max(5.0, *(value for value in values.values()))),
        digits=1,
    )
    return drops, (Markup(heat), _arrange("operation", drops, levels))


def describe_worst(drops: Sequence[GroupDrop]) -> list[str]:
    """Say which operation goes with the largest loss of those whose interval does not hold zero."""
    certain = [drop for drop in find_hardest(drops) if drop.drop.has_interval and drop.drop.low > 0]
    if not certain:
        return []
    worst = max(certain, key=lambda drop: (drop.drop.value, drop.group))
    name, level, one = worst.group.replace("_", " "), LEVEL_LABELS[worst.level], worst.drop
    lost = f"{one.value:.1f} [{one.low:.1f}, {one.high:.1f}] points of Dice at {level}"
    return [f"images with {name} lose most, {lost} ({one.n} masks, which have other operations, too)"]


def list_group_tables(table: CaseTable, facts: pd.DataFrame) -> list[GroupTable]:
    """Return the tables by modality, size, structure and first prompt; those of one group alone are left out."""
    if table.levels[0] != "clear" or len(table.levels) < 2:
        return []
    found = []
    for grouping in ("modality", "size", "prompt_kind", "structure"):
        drops = measure_drops(table, grouping, facts)
        if len({drop.group for drop in drops}) > 1:
            found.append(_arrange(grouping.replace("prompt_kind", "kind of the first prompt"), drops, table.levels[1:]))
    return found


def _arrange(title: str, drops: Sequence[GroupDrop], levels: Sequence[str]) -> GroupTable:
    cells = {(drop.group, drop.level): drop for drop in drops}
    hardest = tuple(levels[::-1])
    groups = list(dict.fromkeys(drop.group for drop in drops))
    rows = []
    for group in groups[:_MOST_GROUPS]:
        own = tuple(cells.get((group, level)) for level in hardest)
        rows.append((group.replace("_", " "), max(drop.drop.n for drop in own if drop is not None), own))
    more = (
        f" (the first {_MOST_GROUPS} of {len(groups)}: dmseg summary RUN --by has all)"
        if len(groups) > _MOST_GROUPS
        else ""
    )
    return GroupTable(f"By {title}{more}", tuple(LEVEL_LABELS[level] for level in hardest), tuple(rows))
