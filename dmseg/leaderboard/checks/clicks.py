"""E302 and E306: every prompt of every row, against the references and against each other.

First prompts do not depend on predictions, so they are derived again and must be equal. Later clicks do: they must lie
where such a click can lie (its label is what the reference has there, and the prediction before had such an error), and
after an empty prediction, where the error is the reference itself, they too are derived again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dmseg.errors import DataError, DmsegError
from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.checks.reference import Reference
from dmseg.protocol import Click, Preset, candidate_prompts, next_click, preset, prompts_from_rows
from dmseg.results.columns import PROMPTS
from dmseg.types import Mask, Prompts

_GIVEN = ("kind", "x", "y", "label", "x0", "y0", "x1", "y1")
_POINT, _BOX = ("x", "y", "label"), ("x0", "y0", "x1", "y1")
_UNCHANGED = "send the run as dmseg evaluate wrote it, made without --prompts"
_KEYS = ["mask_id", "level", "step"]

Places = list[str]


def check_clicks(info: Mapping[str, Any], steps: pd.DataFrame, prompts: pd.DataFrame, findings: Findings) -> None:
    """E306: the tables of steps and prompts say the same, and clicks and carried rows follow from the rows before."""
    problems: dict[str, Places] = {}
    _compare_tables(steps, prompts, problems)
    _follow_sequences(steps, info["protocol"].get("corrective") is not None, problems)
    for what, places in problems.items():
        findings.add("E306", "prompts.parquet", f"{len(places)} {what}: {first_few(places)}", _UNCHANGED)


def _list_places(rows: pd.DataFrame) -> Places:
    return [f"{m} {lv} step {s}" for m, lv, s in rows[_KEYS].itertuples(index=False, name=None)]


def _compare_tables(steps: pd.DataFrame, prompts: pd.DataFrame, problems: dict[str, Places]) -> None:
    """Compare the prompts row by row with what steps.parquet says was given."""
    point = prompts["kind"] == "point"
    wrong = prompts[list(_POINT)].isna().any(axis=1) == point
    wrong |= prompts[list(_BOX)].isna().any(axis=1) != point
    wrong |= prompts[list(_POINT)].notna().any(axis=1) & ~point
    wrong |= ~point & (prompts["step"] != 1)
    _note(problems, "prompts are neither a whole point nor a whole box of step 1", prompts[wrong])
    seeds = prompts["seed"] != steps["seed"].iloc[0]
    _note(problems, "prompts have another seed than the rows", prompts[seeds])
    known = pd.MultiIndex.from_frame(steps[_KEYS])
    foreign = ~pd.MultiIndex.from_frame(prompts[_KEYS]).isin(known)
    _note(problems, "prompts belong to no row", prompts[foreign])
    later = prompts[point & (prompts["step"] > 1)]
    merged = steps[steps["step"] > 1][[*_KEYS, "new_x", "new_y", "new_label"]].merge(
        later[[*_KEYS, *_POINT]], on=_KEYS, how="left"
    )
    given, listed = (
        merged[list(names)].to_numpy(dtype=np.float64) for names in (("new_x", "new_y", "new_label"), _POINT)
    )
    same = ((given == listed) | (np.isnan(given) & np.isnan(listed))).all(axis=1)
    _note(problems, "clicks of steps.parquet are not those of prompts.parquet", merged[~same])
    first = steps[(steps["step"] == 1) & steps["new_x"].notna()]
    _note(problems, "rows of step 1 have a corrective click", first)
    counts = prompts[point].groupby([*_KEYS, "label"]).size().unstack("label", fill_value=0)
    counts = counts.reindex(columns=[0, 1], fill_value=0).reindex(known, fill_value=0)
    ordered = counts.sort_index().groupby(level=[0, 1]).cumsum().reindex(known)
    wrong = (ordered[1].to_numpy() != steps["points_pos"].to_numpy()) | (
        ordered[0].to_numpy() != steps["points_neg"].to_numpy()
    )
    _note(problems, "rows count other points than were given", steps[wrong])
    boxes = pd.MultiIndex.from_frame(prompts[~point][["mask_id", "level"]])
    has_box = pd.MultiIndex.from_frame(steps[["mask_id", "level"]]).isin(boxes)
    _note(problems, "rows have another prompt_kind than was given", steps[has_box != (steps["prompt_kind"] == "box")])
    order = prompts[point].sort_values([*_KEYS, "index"])
    numbering = order.groupby(["mask_id", "level"]).cumcount()
    _note(problems, "points are numbered otherwise than in the order given", order[numbering != order["index"]])


def _note(problems: dict[str, Places], what: str, rows: pd.DataFrame) -> None:
    if len(rows):
        problems.setdefault(what, []).extend(_list_places(rows))


def _follow_sequences(steps: pd.DataFrame, corrective: bool, problems: dict[str, Places]) -> None:
    """Follow each sequence from step to step: clicks answer errors, perfect and failed predictions end it."""
    rows = steps.sort_values(_KEYS, kind="stable")
    _note(problems, "rows are marked perfect wrongly", rows[(rows["step"] == 1) & rows["perfect"].astype(bool)])
    same = (rows["mask_id"] == rows["mask_id"].shift()) & (rows["level"] == rows["level"].shift())
    before, rows = rows.shift()[same], rows[same]
    failed = (before["status"] != "ok").to_numpy(dtype=bool)
    perfect_before = ~failed & (before["iou"] == 1).to_numpy(dtype=bool)
    click = rows["new_x"].notna().to_numpy(dtype=bool)
    ok = (rows["status"] == "ok").to_numpy(dtype=bool)
    _note(problems, "rows go on after a failure", rows[failed & (ok | click)])
    _note(problems, "clicks follow a perfect prediction", rows[perfect_before & click])
    if corrective:
        _note(problems, "rows lack the click that their error asks for", rows[~failed & ~perfect_before & ~click])
    flagged = rows["perfect"].to_numpy(dtype=bool)
    _note(problems, "rows are marked perfect wrongly", rows[flagged != (perfect_before & ok)])
    kept = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95", "pred_area", "pred_digest"]
    changed = (rows[kept].to_numpy(dtype=object) != before[kept].to_numpy(dtype=object)).any(axis=1)
    _note(problems, "rows without a click differ from the row before", rows[~click & ok & ~failed & changed])
    iou, found, area = (before[name].to_numpy(dtype=np.float64) for name in ("iou", "pred_area", "gt_area"))
    hits = np.rint(iou * (area + np.nan_to_num(found)) / (1 + iou))
    label = rows["new_label"].to_numpy(dtype=np.float64)
    impossible = click & ~failed & (((label == 1) & (area - hits <= 0)) | ((label == 0) & (found - hits <= 0)))
    _note(problems, "clicks correct an error that the prediction before did not have", rows[impossible])


def check_prompts(
    info: Mapping[str, Any], steps: pd.DataFrame, prompts: pd.DataFrame, reference: Reference, findings: Findings
) -> None:
    """E302, E306: first prompts are the protocol's; later clicks have the label that the reference has there."""
    rules, seed = preset(info["protocol"]["preset"]), info["protocol"]["seed"]
    given = _by_sequence(prompts)
    levels: dict[str, list[str]] = {}
    for mask_id, level in steps[["mask_id", "level"]].drop_duplicates().itertuples(index=False, name=None):
        levels.setdefault(mask_id, []).append(level)
    later = steps[steps["new_x"].notna() & (steps["step"] > 1)]
    clicks = dict(iter(later.groupby("mask_id")))
    blank = _after_empty(steps)
    wrong: dict[str, Places] = {}
    for mask_id in sorted(levels.keys() & reference.masks.keys()):
        mask = reference.mask(mask_id)
        if mask is None:
            continue
        text = reference.masks[mask_id].get("expression")
        allowed = [_rows(prompt) for prompt in candidate_prompts(rules, mask, mask_id, seed, text)]
        for level in sorted(levels[mask_id]):
            rows = given.get((mask_id, level), [])
            if sorted(_plain(row) for row in rows if row["step"] == 1) not in allowed:
                wrong.setdefault("first", []).append(f"{mask_id} {level}")
            elif (place := _wrong_after_empty(rules, mask, mask_id, level, seed, rows, blank)) is not None:
                wrong.setdefault("empty", []).append(place)
        if mask_id in clicks:
            wrong.setdefault("label", []).extend(_find_misplaced(clicks[mask_id], mask))
    texts = {
        "first": ("E302", f"sequences begin with other prompts than preset {rules.id}, seed {seed}"),
        "empty": ("E306", "clicks after an empty prediction are not the protocol's"),
        "label": ("E306", "clicks lie outside of the image or have another label than the reference has there"),
    }
    for key, (code, what) in texts.items():
        if wrong.get(key):
            findings.add(code, "prompts.parquet", f"{len(wrong[key])} {what}: {first_few(wrong[key])}", _UNCHANGED)


def _by_sequence(prompts: pd.DataFrame) -> dict[tuple[str, str], list[dict[Any, Any]]]:
    rows: dict[tuple[str, str], list[dict[Any, Any]]] = {}
    ordered = prompts.sort_values(["step", "index"], kind="stable")
    for row in ordered[[column.name for column in PROMPTS]].to_dict("records"):
        rows.setdefault((row["mask_id"], row["level"]), []).append(row)
    return rows


def _after_empty(steps: pd.DataFrame) -> dict[tuple[str, str, int], Click | None]:
    """Return (mask, level, step) -> click of every step that follows an empty prediction."""
    empty = steps[(steps["status"] == "ok") & (steps["pred_area"] == 0)]
    wanted = {(m, lv, s + 1) for m, lv, s in empty[_KEYS].itertuples(index=False, name=None)}
    if not wanted:
        return {}
    chosen = steps[steps["mask_id"].isin(set(empty["mask_id"])) & steps["new_x"].notna()]
    columns = [*_KEYS, "new_x", "new_y", "new_label"]
    rows = chosen[columns].itertuples(index=False, name=None)
    return {(m, lv, s): Click(int(x), int(y), int(v)) for m, lv, s, x, y, v in rows if (m, lv, s) in wanted}


def _wrong_after_empty(
    rules: Preset,
    mask: Mask,
    mask_id: str,
    level: str,
    seed: int,
    rows: Sequence[Mapping[str, Any]],
    blank: Mapping[tuple[str, str, int], Click | None],
) -> str | None:
    """Return the first place where a click after an empty prediction is not the one that the protocol gives."""
    if rules.corrective is None:
        return None
    for step in range(2, rules.steps + 1):
        found = blank.get((mask_id, level, step))
        if found is None:
            continue
        try:
            before = prompts_from_rows(rows, step - 1)
            expected = next_click(
                mask, np.zeros_like(mask), corrective=rules.corrective, prompts=before, mask_id=mask_id, seed=seed
            )
        except (DataError, DmsegError):
            return f"{mask_id} {level} step {step}"
        if expected != found:
            return f"{mask_id} {level} step {step}"
    return None


def _find_misplaced(rows: pd.DataFrame, mask: Mask) -> Places:
    x, y, label = (rows[name].to_numpy(dtype=np.int64) for name in ("new_x", "new_y", "new_label"))
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    there = np.full(len(rows), -1)
    there[inside] = mask[y[inside], x[inside]]
    return _list_places(rows[there != label])


def _plain(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    values = [None if row[name] is None or row[name] != row[name] else row[name] for name in _GIVEN]
    return tuple(v if isinstance(v, str) else -1.0 if v is None else float(v) for v in values)


def _rows(prompts: Prompts) -> Sequence[tuple[Any, ...]]:
    """Return prompts as sorted plain rows, -1 where a column does not apply."""
    rows: list[tuple[Any, ...]] = [
        ("point", float(x), float(y), float(label), -1.0, -1.0, -1.0, -1.0)
        for (x, y), label in zip(prompts.points, prompts.labels, strict=True)
    ]
    if prompts.box is not None:
        rows.append(("box", -1.0, -1.0, -1.0, *(float(v) for v in prompts.box)))
    return sorted(rows)
