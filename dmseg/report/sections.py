"""What stands in a report: the run's numbers, averaged and drawn, as the template takes them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow.compute as pc
from markupsafe import Markup

from dmseg.baselines import model_cards
from dmseg.build import Benchmark
from dmseg.figures import Series, curve_svg, heat_table, histogram_svg
from dmseg.reading import show_name
from dmseg.report.artefacts import describe_worst, draw_artefacts, list_group_tables, read_operations
from dmseg.report.pictures import Predictions, gallery
from dmseg.results import Run, run_digest
from dmseg.results.again import write_command
from dmseg.results.audit import AUDIT_FILE, SHOWN_FILE, read_audit
from dmseg.results.cases import CaseTable
from dmseg.results.grouping import Operations, read_mask_facts
from dmseg.results.notices import find_trained, list_notices, list_synthetic, mark_dataset
from dmseg.results.summary import TABLE_METRICS, SplitNumbers, SummaryRow, split_numbers
from dmseg.statistics import Estimate
from dmseg.types import LEVEL_LABELS
from dmseg.version import __version__

PANELS_CLASS = "panels"
HEADLINE = ("dice", "iou", "nsd_2", "hd95")
_SPLIT_TITLES = {"seen": "Seen datasets", "unseen": "Unseen datasets", "train": "Training split"}
_KIND_TITLES = {"points": "first prompt: points", "box": "first prompt: box"}
_FAILURES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ReportChart:
    """One inline picture with its caption."""

    caption: str
    svg: Markup


@dataclass(frozen=True)
class RunPage:
    """A run as its page needs it: everything that is read or averaged more than once."""

    run: Run
    pixels: Benchmark | None

    @cached_property
    def tables(self) -> dict[str, CaseTable]:
        """The rows by split."""
        return self.run.tables

    @cached_property
    def facts(self) -> pd.DataFrame:
        """What is known of each mask."""
        return read_mask_facts(self.run)

    @cached_property
    def operations(self) -> Operations | None:
        """The operations of each image, None where the benchmark is not at hand."""
        return read_operations(self.run, self.pixels)

    @cached_property
    def synthetic(self) -> frozenset[str]:
        """Names of the datasets that are phantoms."""
        return list_synthetic(self.run.info)

    @cached_property
    def trained(self) -> frozenset[str]:
        """Names of the datasets that the model saw in training."""
        datasets = {name for table in self.tables.values() for name in table.datasets}
        return frozenset(find_trained(self.run.info["model"].get("trained_on") or (), datasets, self.synthetic))


def make_environment() -> jinja2.Environment:
    """Return the templates of this package; every text is escaped, and a missing one is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("dmseg.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )


def render_report(run: Run, pixels: Benchmark | None, warnings: Sequence[str]) -> str:
    """Return the body of a run's page (see :func:`dmseg.report.write_report`)."""
    info, content = run.info, RunPage(run, pixels)
    tables = list(content.tables.values())
    datasets = sorted({name for table in tables for name in table.datasets})
    splits = [_split(table, content) for table in tables]
    return (
        make_environment()
        .get_template("report.html.j2")
        .render(
            model=info["model"],
            benchmark=info["benchmark"],
            protocol=info["protocol"],
            notices=list_notices(info, datasets),
            warnings=warnings,
            n_masks=len(run.list_masks()),
            n_images=content.facts["image_id"].nunique(),
            n_cases=len({case for table in tables for case in table.cases}),
            n_datasets=len(datasets),
            n_rows=sum(table.failed.size for table in tables),
            n_failed=sum(int(table.failed.sum()) for table in tables),
            failures=_failures(run),
            facts=_facts(info, content),
            local=info["benchmark"]["edition"] == "local",
            splits=splits,
            no_pictures=f"Pictures need the benchmark: dmseg report {shlex.quote(show_name(run.path))} --data BENCH",
            command=write_command(info),
            exact=not info["model"].get("weights_sha256"),
            digests=_digests(info, run.path),
            footer=f"Written by dmseg {__version__}. One file, no network.",
        )
    )


def _split(table: CaseTable, content: RunPage) -> dict[str, Any]:
    numbers = split_numbers(table)
    sizes = pd.Series(table.datasets).groupby(list(table.datasets)).size()
    single = [name for name in sizes.index if len({c for c, d in _owners(table) if d == name}) == 1]
    drops, artefacts = draw_artefacts(table, content.facts, content.operations)
    phantoms = " (phantom)" if set(table.datasets) <= content.synthetic else ""
    title = _SPLIT_TITLES[table.split] + phantoms
    return {
        "name": table.split,
        "title": title,
        "counts": f"{len(table.mask_ids)} masks, {len(set(table.cases))} cases, {len(sizes)} datasets",
        "single_cases": ", ".join(single),
        "numbers": numbers,
        "headline": [row for row in numbers.blocks[0].rows if row.metric in HEADLINE],
        "folded": list_folded(numbers),
        "says_noc": says_noc(numbers),
        "charts": _charts(numbers) + _draw_prompt_kinds(table, content),
        "heat": _draw_datasets(numbers, sizes, content),
        "trained": ", ".join(sorted(set(table.datasets) & content.trained)),
        "artefacts": artefacts,
        "groups": list_group_tables(table, content.facts),
        "gallery": None if content.pixels is None else gallery(*collect_sources(table, content.run, content.pixels)),
        "glance": "; ".join(_glance(numbers, content.synthetic) + describe_worst(drops)) + ".",
    }


def list_folded(numbers: SplitNumbers) -> list[tuple[str, tuple[SummaryRow, ...]]]:
    """Return what is folded below the headline table: the rest of its block, then the other blocks."""
    first = numbers.blocks[0]
    rest = tuple(row for row in first.rows if row.metric not in HEADLINE)
    return [(first.title, rest), *((block.title, block.rows) for block in numbers.blocks[1:])]


def says_noc(numbers: SplitNumbers) -> bool:
    """Tell whether NoC@90 says anything: some masks reach IoU 90 %, and not all of them at once."""
    steps = numbers.table.steps
    return steps > 1 and any(share < 100 for share in numbers.never) and any(noc.value > 1 for noc in numbers.noc)


def _glance(numbers: SplitNumbers, synthetic: frozenset[str]) -> list[str]:
    """Say in words what matters of a split."""
    dice = next(row for row in numbers.blocks[0].rows if row.metric == "dice").cells[-1]
    said = [f"final Dice {format_estimate(dice)} %, mean over levels and datasets"]
    if numbers.drop:
        hardest = LEVEL_LABELS[numbers.table.levels[-1]]
        said.append(f"from Clear to {hardest} it loses {format_estimate(numbers.drop[0])} points of Dice")
    finals = {name: float(np.mean(values)) for name, values in numbers.dataset_dice.items()}
    if len(finals) > 1:
        worst = min(finals, key=lambda name: (finals[name], name))
        said.append(f"weakest on {mark_dataset(worst, synthetic)}, Dice {finals[worst]:.1f} %")
    return said


def format_estimate(estimate: Estimate) -> str:
    """Return ``81.2 [79.0, 83.1]``, and ``81.2`` where one case per dataset leaves no interval."""
    shown = f"{estimate.value:.1f}"
    return f"{shown} [{estimate.low:.1f}, {estimate.high:.1f}]" if estimate.has_interval else shown


def _draw_datasets(numbers: SplitNumbers, sizes: pd.Series, content: RunPage) -> Markup:
    def label(name: str) -> str:
        seen = ", trained on" if name in content.trained else ""
        return f"{mark_dataset(name, content.synthetic)} ({sizes[name]}){seen}"

    heat = heat_table(
        [label(name) for name in numbers.dataset_dice],
        [LEVEL_LABELS[level] for level in numbers.table.levels],
        list(numbers.dataset_dice.values()),
        caption="Final Dice, %, mean over the masks of each dataset (number of masks)",
        corner="dataset",
        value_range=(0.0, 100.0),
        digits=1,
    )
    return Markup(heat)


def _owners(table: CaseTable) -> set[tuple[str, str]]:
    return set(zip(table.cases, table.datasets, strict=True))


def collect_sources(
    table: CaseTable, run: Run, pixels: Benchmark
) -> tuple[CaseTable, pd.DataFrame, dict[str, str], Predictions, Benchmark]:
    """Return what the pictures of a split are drawn from: numbers, prompts, image ids, kept predictions, pixels."""
    own = set(table.mask_ids)
    predictions = {
        (record.mask_id, record.level, record.step): record
        for name in (SHOWN_FILE, AUDIT_FILE)
        for record in read_audit(run.path / name)
        if record.mask_id in own
    }
    facts = read_mask_facts(run)
    images = dict(zip(map(str, facts.index), map(str, facts["image_id"]), strict=True))
    return table, run.prompts, images, predictions, pixels


def _charts(numbers: SplitNumbers) -> list[ReportChart]:
    table = numbers.table
    level_ticks = [(float(i), LEVEL_LABELS[level]) for i, level in enumerate(table.levels)]
    shares = [
        make_series(TABLE_METRICS[metric], range(len(table.levels)), numbers.by_level[metric])
        for metric in ("dice", "iou", "nsd_2")
    ]
    charts = [("Overlap and boundary agreement by level", "level", "%", shares, level_ticks)]
    if table.steps > 1:
        by_step = [
            make_series(LEVEL_LABELS[level], range(1, table.steps + 1), numbers.by_step[level])
            for level in table.levels
        ]
        charts.append(("Dice by interaction step", "step", "Dice, %", by_step, make_step_ticks(table)))
    distance = [make_series("HD95", range(len(table.levels)), numbers.by_level["hd95"])]
    charts.append(("Boundary distance by level (lower is better)", "level", "HD95, px", distance, level_ticks))
    drawn = [
        ReportChart(caption, Markup(curve_svg(lines, title=caption, x_label=x, y_label=y, x_ticks=ticks, digits=1)))
        for caption, x, y, lines, ticks in charts
    ]
    hardest = LEVEL_LABELS[table.levels[-1]]
    spread = histogram_svg(
        [100 * float(value) for value in table.values["dice"][:, -1, -1]],
        title=f"Final Dice of single masks at {hardest}",
        x_label=f"final Dice at {hardest}, %",
        value_range=(0.0, 100.0),
        height=280,
    )
    return [*drawn, ReportChart(f"Final Dice of single masks at {hardest}", Markup(spread))]


def _draw_prompt_kinds(table: CaseTable, content: RunPage) -> list[ReportChart]:
    """Draw Dice by step for masks that began with points and for those that began with a box, if there are both."""
    kinds = content.facts.loc[list(table.mask_ids), "prompt_kind"].to_numpy(dtype=str)
    names = sorted(set(kinds), reverse=True)
    if table.steps == 1 or len(names) < 2:
        return []
    per_step = 100 * table.values["dice"].mean(axis=1)
    lines = []
    for name in names:
        inside = np.where((kinds == name)[:, None], per_step, np.nan)
        label = f"{_KIND_TITLES.get(name, name)} ({int((kinds == name).sum())} masks{_say_new(content.run, name)})"
        lines.append(make_series(label, range(1, table.steps + 1), table.bootstrap.estimates(inside)))
    caption = "Dice by step and kind of the first prompt, mean over levels"
    ticks = make_step_ticks(table)
    svg = curve_svg(lines, title=caption, x_label="step", y_label="Dice, %", x_ticks=ticks, digits=1)
    return [ReportChart(caption, Markup(svg))]


def _say_new(run: Run, kind: str) -> str:
    """Say that a kind of prompt was not in the model's training, where its card knows that."""
    card = model_cards().get(str(run.info["model"]["name"]).rpartition("+")[2])
    return (
        ", not in its training"
        if card is not None and card.trained_prompts and kind not in card.trained_prompts
        else ""
    )


def make_step_ticks(table: CaseTable) -> list[tuple[float, str]]:
    """Return the ticks of an axis of interaction steps."""
    every = max(1, table.steps // 10)
    return [(float(step), str(step)) for step in range(1, table.steps + 1) if step == 1 or step % every == 0]


def make_series(name: str, x: range, estimates: Sequence[Estimate]) -> Series:
    """Return a curve with its band; where an interval says nothing there is no band."""
    low, high = ([getattr(e, end) if e.has_interval else np.nan for e in estimates] for end in ("low", "high"))
    return Series(name, x, [e.value for e in estimates], low, high)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rows that failed alike."""

    status: str
    error: str
    rows: int
    masks: int


def _failures(run: Run) -> list[FailureGroup]:
    """Return what failed, most rows first; beyond the first few messages one line counts the rest."""
    failed = run.select("steps", ["mask_id", "status", "error"], lambda batch: pc.not_equal(batch["status"], "ok"))
    failed = failed.fillna({"error": ""})
    kinds = [
        FailureGroup(str(status), str(error), len(group), group["mask_id"].nunique())
        for (status, error), group in failed.groupby(["status", "error"], sort=True)
    ]
    kinds.sort(key=lambda kind: -kind.rows)
    rest = kinds[_FAILURES_SHOWN:]
    if rest:
        others = FailureGroup(f"{len(rest)} other messages", "", sum(k.rows for k in rest), sum(k.masks for k in rest))
        return [*kinds[:_FAILURES_SHOWN], others]
    return kinds


def _facts(info: Mapping[str, Any], content: RunPage) -> list[tuple[str, str]]:
    model, metrics = info["model"], info["metrics"]
    params = model.get("params")
    trained_on = ", ".join(model.get("trained_on") or ())
    if not trained_on:
        trained_on = "nothing" if params == 0 else "not declared"
    facts = [
        (
            "Parameters",
            "not declared" if params is None else f"{params / 1e6:.1f} M" if params else "none (no weights)",
        ),
        ("Licence", model.get("license") or "not declared"),
        ("Trained on", trained_on),
        ("Of these datasets it saw", _name_trained(content)),
        ("Splits", ", ".join(info["benchmark"]["split"])),
        ("Seed", info["protocol"]["seed"]),
        ("Corrective click", info["protocol"].get("corrective") or "none"),
        ("Precision", info.get("precision") or "not declared"),
        ("Metric grid, boundary, HD95", f"{metrics['grid']}, {metrics['boundary']}, {metrics['hd95']}"),
    ]
    return [(name, str(value)) for name, value in facts]


def _name_trained(content: RunPage) -> str:
    if content.trained and content.trained <= content.synthetic:
        return f"{len(content.trained)}, by their generator (phantoms)"
    return ", ".join(sorted(content.trained)) or "none that it declares"


def _digests(info: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    rows = [
        ("benchmark", info["benchmark"]["manifest_digest"]),
        ("run (dmseg digest)", run_digest(path)),
        ("run key", info["run_key"]),
        ("weights", info["model"].get("weights_sha256") or "none"),
        ("protocol", info["protocol"]["id"]),
    ]
    return [(name, str(value)) for name, value in rows]
