"""The leaderboard as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmseg.errors import UsageError, unknown_name
from dmseg.leaderboard.columns import LEADERBOARD, LONG
from dmseg.leaderboard.entries import PUBLISHED_FILE, PUBLISHED_LONG_FILE, default_root
from dmseg.leaderboard.record import LEADERBOARD_FILE, LONG_FILE, contest_of
from dmseg.leaderboard.rows import Row
from dmseg.leaderboard.tables import read_csv
from dmseg.types import LEVEL_LABELS, LEVELS, check_level

METRICS: dict[str, tuple[str, str]] = {
    "dice": ("dice_final", "Dice"),
    "iou": ("iou_final", "IoU"),
    "nsd": ("nsd2_final", "NSD 2px"),
    "pa": ("pixel_accuracy_final", "PA"),
    "hd95": ("hd95_mean", "HD95"),
    "drop": ("drop", "drop"),
    "noc90": ("noc90", "NoC@90"),
}
"""Name on the command line -> (column, heading). Lower is better for hd95, drop and noc90."""
_LONG_NAMES = {"dice": "dice", "iou": "iou", "nsd": "nsd_2", "pa": "pixel_accuracy", "hd95": "hd95"}
"""Name on the command line -> name in leaderboard_long.csv, of the metrics that exist at each level."""
_LOWER = ("hd95", "drop", "noc90")
_PIXELS_OR_CLICKS = ("hd95", "noc90")


def show(root: Path | None = None, *, level: str | None = None, by: str = "dice", split: str | None = None) -> str:
    """Return the record as a text table, one block per benchmark, preset and split.

    Args:
        level: sort by and show the metric at one level instead of over all levels.
        by: metric to sort by, one of :data:`METRICS`.
        split: only this split.

    Raises:
        UsageError: an unknown level or metric, or a level together with a metric that exists only over all levels.
    """
    if by not in METRICS:
        raise unknown_name("metric", by, METRICS)
    if level is not None:
        level = check_level(level)
        if by not in _LONG_NAMES:
            raise UsageError(f"--by {by} has no value at a single level; with --level give: {', '.join(_LONG_NAMES)}")
    root = root or default_root()
    path = root / LEADERBOARD_FILE
    path = path if path.is_file() else root / PUBLISHED_FILE
    rows = read_csv(path, LEADERBOARD) if path.is_file() else []
    rows = [row for row in rows if split is None or row["split"] == split]
    if not rows:
        return f"{root}: no entries yet; add one with: dmseg leaderboard add RUN"
    column = METRICS[by][0]
    if level is not None:
        at_level = _at_level(root, level, _LONG_NAMES[by])
        column = f"{by} at {level}"
        rows = [row | {column: at_level.get((*contest_of(row), row["model"]))} for row in rows]
    blocks = []
    for contest in sorted({contest_of(row) for row in rows}):
        own = [row for row in rows if contest_of(row) == contest]
        own.sort(key=lambda row: _order(row, column, by in _LOWER))
        edition, version, preset, name = contest
        heading = METRICS[by][1] if level is None else f"{METRICS[by][1]} {LEVEL_LABELS[level]}"
        blocks.append(f"{edition} {version}, preset {preset}, {name}\n" + _table(own, by, column, heading))
    return "\n\n".join(blocks)


def _order(row: Row, column: str, lower: bool) -> tuple[Any, ...]:
    value = row[column]
    return row["rank_low"] is None, value is None, 0 if value is None else value if lower else -value, row["model"]


def _at_level(root: Path, level: str, metric: str) -> dict[tuple[str, ...], float]:
    """Return (contest, model) -> mean over datasets of a metric at one level, after the last step."""
    path = root / LONG_FILE
    rows = read_csv(path if path.is_file() else root / PUBLISHED_LONG_FILE, LONG)
    final: dict[tuple[str, ...], dict[str, tuple[int, float]]] = {}
    for row in rows:
        if row["level"] == level and row["metric"] == metric:
            values = final.setdefault((*contest_of(row), row["model"]), {})
            values[row["dataset"]] = max(values.get(row["dataset"], (0, 0.0)), (row["step"], row["value"]))
    return {key: sum(value for _, value in values.values()) / len(values) for key, values in final.items()}


def _table(rows: Sequence[Row], by: str, column: str, heading: str) -> str:
    labels = [LEVEL_LABELS[name] for name in LEVELS]
    head = ["rank", "model", "Dice", "95 % interval", *labels, "drop", "NSD 2px", "HD95", "tier"]
    if heading not in head:
        head.insert(3, heading)
    lines = [head]
    for row in rows:
        cells = [
            _rank(row),
            row["model"],
            _percent(row["score"]),
            _interval(row),
            *(_percent(row[f"dice_{name}"]) for name in LEVELS),
            _percent(row["drop"]),
            _percent(row["nsd2_final"]),
            f"{row['hd95_mean']:.1f}",
            _tier(row),
        ]
        if len(head) > len(cells):
            value = row[column]
            cells.insert(3, "-" if value is None else f"{value:.2f}" if by in _PIXELS_OR_CLICKS else _percent(value))
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    left = {1, len(head) - 1}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _interval(row: Row) -> str:
    """Return the interval of the score; a dash where one case per dataset leaves it without width."""
    if row["score_low"] == row["score_high"]:
        return "-"
    return f"{_percent(row['score_low'])} - {_percent(row['score_high'])}"


def _rank(row: Row) -> str:
    if row["rank_low"] is None:
        return "partial" if row["coverage"] < 1 else "-"
    return str(row["rank_low"]) if row["rank_low"] == row["rank_high"] else f"{row['rank_low']}-{row['rank_high']}"


def _tier(row: Row) -> str:
    return (
        row["tier"] if row["masks_drawn"] is None else f"{row['tier']} ({row['masks_shown']} of {row['masks_drawn']})"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
