"""The leaderboard as one self-contained HTML page: a view of the record, made again from it at any time."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from dmseg.figures import Series, curve_svg, heat_table, interval_svg, marker_icon, page
from dmseg.leaderboard.columns import LEADERBOARD
from dmseg.leaderboard.printed import PrintedTable, arrange_medical, arrange_natural
from dmseg.leaderboard.record import Contest, LeaderboardRecord, contest_of
from dmseg.leaderboard.rows import Row
from dmseg.leaderboard.tables import csv_bytes
from dmseg.manifests import LOCAL_EDITION, find_published, list_published
from dmseg.results.again import write_command
from dmseg.results.notices import PHANTOM_MARK, Notice, list_synthetic, mark_dataset
from dmseg.simulators import GENERAL
from dmseg.types import ALL_LEVELS, LEVEL_LABELS, LEVELS, MEDICAL, TRACK_LEVELS

CURVES = 12
"""So many models get curves: the best of each contest. More cannot be told apart."""
_EXAMPLES = {"medical": "levels.png", "natural": "levels_natural.png"}
_SYNTHETIC = (
    "Where a heading says “phantom”, the images are drawn by a program in the layouts of the datasets named: the "
    "numbers show how models compare on drawings, not how they do on patients."
)


@dataclass(frozen=True, slots=True)
class TableHead:
    """One column of the main table: heading, meaning, direction of the first click, whether it is shown when asked."""

    label: str
    meaning: str
    first: str = "descending"
    optional: bool = False


_MIDDLE = ("lq1", "lq2", "lq3")

HEADS: tuple[TableHead, ...] = (
    TableHead("rank", "ranks that the cases support", "ascending"),
    TableHead("model", "name of the model", "ascending"),
    TableHead("status", "self-reported, audited or re-run; partial; trained on these datasets", "ascending"),
    TableHead("Dice", "score with its 95 % interval"),
    *(TableHead(LEVEL_LABELS[level], f"Dice at {LEVEL_LABELS[level]}", optional=level in _MIDDLE) for level in LEVELS),
    TableHead("drop", "Dice points lost from Clear to the hardest level", "ascending"),
    TableHead("IoU", "intersection over union", optional=True),
    TableHead("NSD", "normalised surface Dice at 2 px"),
    TableHead("PA", "pixel accuracy", optional=True),
    TableHead("HD95", "95th percentile Hausdorff distance, px", "ascending"),
    TableHead("NoC@90", "interactions until IoU 90 %, the last step where never", "ascending", optional=True),
    TableHead("mean of steps", "Dice, mean over all interactions", optional=True),
    TableHead("M params", "parameters, millions", "ascending"),
    TableHead("licence", "licence of code and weights", "ascending", optional=True),
    TableHead("links", "code and paper", "ascending"),
    TableHead("date", "day the entry was added", optional=True),
)


@dataclass(frozen=True, slots=True)
class PageTrack:
    """One tab of the page: the contests of a track, and what the paper printed of it."""

    id: str
    title: str
    contests: list[dict[str, Any]]
    paper: list[PrintedTable]
    examples: str | None


@dataclass(frozen=True, slots=True)
class LeaderboardChart:
    """One inline picture with its caption."""

    caption: str
    svg: Markup


def leaderboard_page(record: LeaderboardRecord) -> str:
    """Return the page of a record; the same record gives the same text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmseg.leaderboard", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    tracks = _list_tracks(record)
    contests = [contest for track in tracks for contest in track.contests]
    body = environment.get_template("page.html.j2").render(
        tracks=tracks,
        heads=HEADS,
        level_labels={level: LEVEL_LABELS[level] for level in LEVELS},
        n_models=len({row["model"] for row in record.rows}),
        date=max((row["date"] for row in record.rows), default=None),
        digest=hashlib.sha256(csv_bytes(LEADERBOARD, record.rows)).hexdigest()[:16],
        notices=[Notice("Synthetic images", _SYNTHETIC)] if any(contest["synthetic"] for contest in contests) else [],
        commands={entry.digest: write_command(entry.info) for entry in record.entries},
    )
    files = resources.files("dmseg.leaderboard")
    style, script = (files.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return page("DM-Seg leaderboard", body, style=style, script=script)


def _list_tracks(record: LeaderboardRecord) -> list[PageTrack]:
    """Return the tab of medical images, and that of photographs where there are entries."""
    contests: dict[bool, list[Contest]] = {True: [], False: []}
    for contest in sorted({contest_of(row) for row in record.rows}):
        contests[_find_track(contest, record) == MEDICAL].append(contest)
    medical, natural = ([_contest(contest, record) for contest in contests[kind]] for kind in (True, False))
    paper = arrange_medical(record.paper), arrange_natural(record.paper_natural)
    tracks = [PageTrack("medical", "Medical images", medical, paper[0], _read_examples("medical"))]
    if natural:
        tracks.append(PageTrack("natural", "Photographs", natural, paper[1], _read_examples("natural")))
    return tracks


def _find_track(contest: Contest, record: LeaderboardRecord) -> str:
    """Return the track of a contest's benchmark: as its manifest says, or the runs on it."""
    edition, version, *_ = contest
    if f"{edition}-{version}" in list_published():
        return str(find_published(f"{edition}-{version}").info.get("track") or MEDICAL)
    found = [entry.info["benchmark"] for entry in record.entries if entry.info["benchmark"]["version"] == version]
    return str(next((benchmark.get("track") for benchmark in found), None) or MEDICAL)


def _contest(contest: Contest, record: LeaderboardRecord) -> dict[str, Any]:
    edition, version, preset, split = contest
    track = _find_track(contest, record)
    levels = [level for level in LEVELS if level in TRACK_LEVELS[track]]
    rows = [row for row in record.rows if contest_of(row) == contest]
    drawn = [row for row in rows if row["rank_low"] is not None or (edition == LOCAL_EDITION and row["coverage"] >= 1)]
    drawn = drawn[:CURVES]
    standing = record.standings.get(contest)
    models = [row["model"] for row in drawn]
    long = record.long_rows(contest, models)
    synthetic = _list_synthetic(contest, record)
    shown = record.long_rows(contest, [row["model"] for row in rows[:1]])  # of any entry, ranked or not
    mark = PHANTOM_MARK if {row["dataset"] for row in shown} & synthetic else ""
    return {
        "synthetic": synthetic,
        "id": "c-" + re.sub(r"[^a-z0-9]+", "-", "-".join(contest).lower()),
        "title": f"{split.capitalize()} datasets{mark} · preset {preset} · {edition} {version}",
        "rows": rows,
        "levels": levels,
        "heads": _choose_heads(levels),
        "sentence": standing.sentence()
        if standing
        else "No complete run on this benchmark is audited or re-run, so none is ranked.",
        "legend": [
            {"name": row["model"], "icon": Markup(marker_icon(i))} for i, row in enumerate(drawn) if len(drawn) > 1
        ],
        "charts": _charts(rows, drawn, long, levels),
        "heat": _heat(drawn, long, synthetic),
        "artefacts": _draw_artefacts(models, record.artefact_rows(contest, models)),
    }


def _choose_heads(levels: Sequence[str]) -> list[TableHead]:
    """Return the columns of a contest: of the levels that its track has, the hardest one shown, and the drop to it."""
    missing = {LEVEL_LABELS[level] for level in LEVELS if level not in levels}
    if len(levels) == 1:
        missing.add("drop")
    hardest = LEVEL_LABELS[levels[-1]]
    changes: dict[str, dict[str, Any]] = {
        "drop": {"meaning": f"Dice points lost from Clear to {hardest}"},
        hardest: {"optional": False},
    }
    return [dataclasses.replace(head, **changes.get(head.label, {})) for head in HEADS if head.label not in missing]


def _list_synthetic(contest: Contest, record: LeaderboardRecord) -> frozenset[str]:
    """Return which datasets of a contest's benchmark are phantoms: as its manifest says, or the runs on it."""
    edition, version, *_ = contest
    if f"{edition}-{version}" in list_published():
        named = find_published(f"{edition}-{version}").info.get("synthetic") or ()
        return frozenset(map(str, named))
    benchmarks = [entry.info for entry in record.entries if entry.info["benchmark"]["version"] == version]
    return frozenset(name for info in benchmarks for name in list_synthetic(info))


def _draw_artefacts(models: Sequence[str], rows: Sequence[Row]) -> Markup | None:
    """Return model x operation: Dice points lost, general operations at LQ-3, others at LQ-3+."""
    chosen = [row for row in rows if row["level"] == ("lq3" if row["operation"] in GENERAL else "lq3plus")]
    if not chosen:
        return None
    lost = {(row["operation"], row["model"]): 100 * row["drop"] for row in chosen}
    places = dict.fromkeys((row["operation"], row["level"], row["masks"]) for row in chosen)
    groups = {name: (level, masks) for name, level, masks in places}
    table = heat_table(
        [f"{name.replace('_', ' ')}, {LEVEL_LABELS[level]} ({masks})" for name, (level, masks) in groups.items()],
        models,
        [[lost.get((name, model), math.nan) for model in models] for name in groups],
        caption="Points of Dice lost from Clear by the masks whose image has the operation (number of masks)",
        corner="operation and level",
        value_range=(0.0, max(5.0, *lost.values())),
        digits=1,
    )
    return Markup(table)


def _charts(
    rows: Sequence[Row], drawn: Sequence[Row], long: Sequence[Row], levels: Sequence[str]
) -> list[LeaderboardChart]:
    ranked = [row for row in rows if row["rank_low"] is not None]
    charts = []
    if drawn and len(levels) > 1:
        by_level = [
            Series(row["model"], range(len(levels)), [_percent(row[f"dice_{lv}"]) for lv in levels]) for row in drawn
        ]
        ticks = [(float(i), LEVEL_LABELS[level]) for i, level in enumerate(levels)]
        charts.append(_curves("Dice by degradation level", "level", by_level, ticks))
    by_step = _step_series(drawn, long)
    last = max((len(line.x) for line in by_step), default=1)
    if last > 1:
        ticks = [(float(step), str(step)) for step in range(1, last + 1)]
        charts.append(_curves("Dice by interaction step, mean over levels", "step", by_step, ticks))
    if any(row["drop"] is not None for row in drawn):
        hardest = levels[-1]
        spans = [
            (row["model"], *(100 * row[f"dice_{level}"] for level in (hardest, hardest, "clear")))
            for row in drawn
            if row["drop"] is not None
        ]
        caption = f"Robustness: Dice from {LEVEL_LABELS[hardest]} (dot) up to Clear (end of the bar)"
        charts.append(_intervals(caption, "Dice, %", spans, 1))
    if ranked:
        scores = [(r["model"], *(100 * r[name] for name in ("score_low", "score", "score_high"))) for r in ranked]
        charts.append(_intervals("Score with its 95 % interval", "Dice, %", scores, 1))
        ranks = [(r["model"], r["rank_low"], min(i, r["rank_high"]), r["rank_high"]) for i, r in enumerate(ranked, 1)]
        charts.append(_intervals("Rank stability: the ranks that the cases support", "rank", ranks, 0, len(ranked)))
    return charts


def _curves(caption: str, x: str, lines: Sequence[Series], ticks: Sequence[tuple[float, str]]) -> LeaderboardChart:
    svg = curve_svg(lines, title=caption, x_label=x, y_label="Dice, %", x_ticks=ticks, digits=1, legend=False)
    return LeaderboardChart(caption, Markup(svg))


def _intervals(
    caption: str, x: str, rows: Sequence[tuple[str, float, float, float]], digits: int, ranks: int | None = None
) -> LeaderboardChart:
    if ranks is None:
        return LeaderboardChart(caption, Markup(interval_svg(rows, title=caption, x_label=x, digits=digits, width=520)))
    every = max(1, math.ceil(ranks / 10))
    ticks = [(float(place), str(place)) for place in range(1, ranks + 1) if place == 1 or place % every == 0]
    return LeaderboardChart(
        caption,
        Markup(
            interval_svg(
                rows, title=caption, x_label=x, x_range=(0.5, ranks + 0.5), x_ticks=ticks, digits=digits, width=520
            )
        ),
    )


def _step_series(drawn: Sequence[Row], long: Sequence[Row]) -> list[Series]:
    """Return Dice per step, mean over levels, then over datasets, from the long table."""
    cells: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in long:
        if row["metric"] == "dice":
            cells.setdefault((row["model"], row["step"]), {}).setdefault(row["dataset"], []).append(row["value"])
    lines = []
    for row in drawn:
        steps = sorted(step for model, step in cells if model == row["model"])
        values = [
            100 * float(np.mean([np.mean(values) for values in cells[row["model"], step].values()])) for step in steps
        ]
        lines.append(Series(row["model"], steps, values))
    return lines


def _heat(drawn: Sequence[Row], long: Sequence[Row], synthetic: Collection[str]) -> Markup | None:
    """Return model x level rows over dataset columns, shaded by final Dice."""
    finals: dict[tuple[str, str, str], tuple[int, float]] = {}
    for row in long:
        key = (row["model"], row["level"], row["dataset"])
        if row["metric"] == "dice" and row["step"] >= finals.get(key, (0, 0.0))[0]:
            finals[key] = (row["step"], 100 * row["value"])
    datasets = sorted({dataset for _, _, dataset in finals})
    if not datasets:
        return None
    levels = [level for level in ALL_LEVELS if any(level == found for _, found, _ in finals)]
    hardest = max((level for level in levels if level in LEVELS), key=LEVELS.index, default="")
    places = [(row["model"], level) for row in drawn for level in levels]
    table = heat_table(
        [f"{model}, {LEVEL_LABELS[level]}" for model, level in places],
        [mark_dataset(dataset, synthetic) for dataset in datasets],
        [[finals.get((model, level, dataset), (0, math.nan))[1] for dataset in datasets] for model, level in places],
        caption=f"Best {len(drawn)} entries; the level is chosen at the top of the page",
        corner="model and level",
        value_range=(0.0, 100.0),
        digits=1,
        # What the page shows until a level is chosen: the hardest one, and those that have no order.
        row_data=[
            ("level", level if level in LEVELS and level != hardest else f"{level} hardest") for _, level in places
        ],
    )
    return Markup(table)


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def _read_examples(track: str) -> str | None:
    path = resources.files("dmseg.leaderboard").joinpath(_EXAMPLES[track])
    if not path.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
