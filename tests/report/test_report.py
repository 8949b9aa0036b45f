"""The report shows the run's own numbers, counts failures, and is one page with pictures that needs no network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import DIGEST, SyntheticBenchmark, SyntheticSource, declare, write_run
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.build import open_benchmark
from dmseg.errors import DataError, UsageError
from dmseg.figures.raster import PREDICTION
from dmseg.imaging import read_image
from dmseg.report import find_benchmark, pictures, write_report, write_worst_cases
from dmseg.report.pictures import prompts_until
from dmseg.results import open_run
from dmseg.results.audit import AUDIT_FILE, SHOWN_FILE, read_audit
from dmseg.results.cases import case_tables
from dmseg.results.shown import choose_cases
from dmseg.results.summary import split_numbers
from dmseg.types import LEVEL_LABELS, LEVELS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "alpha", failed=2)


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return write_report(run, SyntheticBenchmark()).read_text(encoding="utf-8")  # type: ignore[arg-type]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def _tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(html)
    return parser.seen


def test_table_agrees_with_plain_means(run: Path) -> None:
    steps = pd.read_parquet(run / "steps.parquet")
    numbers = split_numbers(case_tables(steps)["seen"])
    final = steps[(steps["split"] == "seen") & (steps["step"] == 5)]
    dice = next(row for row in numbers.blocks[0].rows if row.label == "Dice")
    for level, cell in zip(LEVELS[::-1], dice.cells, strict=False):
        at_level = final[final["level"] == level]
        assert cell.value == pytest.approx(100 * at_level.groupby("dataset")["dice"].mean().mean())
        assert cell.low <= cell.value <= cell.high
    plain = next(row for row in numbers.blocks[1].rows if row.label == "HD95, px")
    assert plain.cells[-1].value == pytest.approx(final["hd95"].mean())
    assert [len(row.cells) for block in numbers.blocks for row in block.rows] == [6] * 15


def test_drop_is_the_paired_difference_from_clear(run: Path) -> None:
    numbers = split_numbers(case_tables(pd.read_parquet(run / "steps.parquet"))["unseen"])
    dice = next(row for row in numbers.blocks[0].rows if row.label == "Dice").cells
    for i, drop in enumerate(numbers.drop):
        assert drop.value == pytest.approx(dice[4].value - dice[i].value)
    assert len(numbers.drop) == 4


def test_a_run_of_one_step_and_one_level_has_no_step_blocks(run: Path) -> None:
    steps = pd.read_parquet(run / "steps.parquet")
    only = steps[(steps["step"] == 1) & (steps["level"] == "lq2")]
    numbers = split_numbers(case_tables(only)["seen"])
    assert len(numbers.blocks) == 2 and numbers.drop == () and numbers.columns == ("LQ-2", "Average")


def test_page_counts_failures(html: str) -> None:
    assert "6 of 600 rows failed" in html and "ValueError: NaN in the logits" in html


def test_page_shows_every_split_dataset_level_and_digest(html: str) -> None:
    for text in (
        "Seen datasets",
        "Unseen datasets",
        "Contents",
        "busi (6)",
        "kvasir (10)",
        "flare (8)",
        "LQ-3+",
        DIGEST,
    ):
        assert text in html
    assert "dmseg evaluate --model FILE.py:CLASS --data BENCH" in html


def test_page_is_self_contained(html: str) -> None:
    for tag, attributes in _tags(html):
        assert tag not in ("script", "iframe", "object", "form"), tag
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), attributes
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html


def test_every_picture_has_a_text(html: str) -> None:
    images = [attributes for tag, attributes in _tags(html) if tag == "img"]
    assert len(images) == 2 * (3 * 5 + 5)
    assert all("Dice" in (image["alt"] or "") for image in images)


def test_pictures_show_best_median_and_worst(run: Path, html: str) -> None:
    steps = pd.read_parquet(run / "steps.parquet")
    final = steps[(steps["split"] == "seen") & (steps["step"] == 5) & (steps["level"] == "lq3plus")]
    ranked = final.sort_values(["dice", "mask_id"], ascending=[False, True])["mask_id"].tolist()
    assert f"Best: {ranked[0]}" in html and f"Worst: {ranked[-1]}" in html and f"Median: {ranked[8]}" in html


def test_given_texts_are_escaped(tmp_path: Path) -> None:
    evil = write_run(tmp_path / "r", model="<script>alert(1)</script>")
    html = write_report(evil).read_text(encoding="utf-8")
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_without_benchmark_the_page_says_how_to_get_pictures(run: Path, tmp_path: Path) -> None:
    html = write_report(run, None, tmp_path / "x.html").read_text(encoding="utf-8")
    assert "--data BENCH" in html and "<img" not in html


def test_another_benchmark_is_refused_and_nothing_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the benchmark of this run"):
        write_report(run, SyntheticBenchmark("ef" * 32), tmp_path / "x.html")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run\.json"):
        write_report(tmp_path)


def test_same_run_same_bytes(run: Path, tmp_path: Path) -> None:
    pages = [write_report(run, None, tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_benchmark_is_found_in_the_cache(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path))
    assert find_benchmark(run) is None


def test_prompts_until_a_step_are_those_given_so_far() -> None:
    point = {"kind": "point", "x": 1.0, "y": 2.0, "label": 1, "x0": None, "y0": None, "x1": None, "y1": None}
    box = {"kind": "box", "x": None, "y": None, "label": None, "x0": 1.0, "y0": 2.0, "x1": 8.0, "y1": 9.0}
    rows = pd.DataFrame(
        [
            {"step": 2, "index": 0, **point},
            {"step": 1, "index": 0, **box},
            {"step": 3, "index": 1, **point, "x": 7.0, "label": 0},
        ]
    )
    early, late = prompts_until(rows, 1), prompts_until(rows, 3)
    assert early.points.shape == (0, 2) and early.box is not None and early.box.tolist() == [1, 2, 8, 9]
    assert late.points.tolist() == [[1, 2], [7, 2]] and late.labels.tolist() == [1, 0]
    assert late.points.dtype == np.float32


def test_a_page_with_pictures_is_not_replaced_by_one_without(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r")
    page = write_report(run, SyntheticBenchmark())  # type: ignore[arg-type]
    before = page.read_bytes()
    with pytest.raises(UsageError, match="has pictures"):
        write_report(run)
    assert page.read_bytes() == before
    assert write_report(run, None, tmp_path / "poor.html").is_file()


def test_the_page_says_what_is_synthetic_partial_and_warned_of(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", synthetic=["busi", "kvasir"])
    declare(run, "benchmark", limit=3)
    declare(run, "model", trained_on=["phantoms"])
    html = write_report(run, warnings=["W401 too good <b>"]).read_text(encoding="utf-8")
    assert "The images of busi, kvasir are phantoms" in html and "Partial run" in html
    assert "Seen datasets (phantom)" in html and "Unseen datasets (phantom)" not in html
    assert "busi (phantom) (6), trained on" in html and "W401 too good &lt;b&gt;" in html
    assert "--limit 3" in html


def test_intervals_without_width_are_dashes_and_clicks_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    sources = {"busi": SyntheticSource("ultrasound", "seen", 1)}
    html = write_report(write_run(tmp_path / "r", quality=0.3, sources=sources)).read_text(encoding="utf-8")
    assert '<span class="ci">–</span>' in html and "NoC@90" not in html and "no mask reaches it" in html


def test_long_lists_of_failures_are_cut(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r")
    steps = pd.read_parquet(run / "steps.parquet")
    worst = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5"]
    steps.loc[:11, worst] = 0.0
    steps.loc[:11, "status"] = "error"
    steps["error"] = [f"kind {i}" if i < 12 else None for i in range(len(steps))]
    steps.to_parquet(run / "steps.parquet", index=False)
    html = write_report(run).read_text(encoding="utf-8")
    assert "4 other messages" in html and len(re.findall(r"kind \d+", html)) == 8


def test_worst_cases_are_the_lowest_dice_at_the_hardest_level_hardest_last(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[Any, ...]] = []
    draw = pictures.contact_sheet
    monkeypatch.setattr(pictures, "contact_sheet", lambda *given, **more: sheets.append(given) or draw(*given, **more))
    out = write_worst_cases(run, SyntheticBenchmark(), tmp_path / "worst.png")  # type: ignore[arg-type]
    steps = pd.read_parquet(run / "steps.parquet")
    final = steps[(steps["step"] == 5) & (steps["level"] == "lq3plus")].sort_values(["dice", "mask_id"])
    for split, (panels, labels, columns) in zip(("seen", "unseen"), sheets, strict=True):
        worst = final[final["split"] == split].head(5)
        assert [label.split("\n")[0] for label in labels] == worst["mask_id"].tolist()
        assert [label.split(", ")[-1] for label in labels] == [f"{100 * dice:.1f}" for dice in worst["dice"]]
        assert columns == [LEVEL_LABELS[level] for level in LEVELS]
        orange = np.array(PREDICTION)
        assert all((panel == orange).all(axis=2).any() for row in panels for panel in row)
    assert read_image(out).pixels.shape[0] == sum(draw(*given, cell=240).shape[0] for given in sheets)
    with pytest.raises(DataError, match="the benchmark of this run"):
        write_worst_cases(run, SyntheticBenchmark("ef" * 32), tmp_path / "x.png")  # type: ignore[arg-type]
    assert not (tmp_path / "x.png").exists()


def test_panels_are_cut_to_the_object() -> None:
    mask = np.zeros((400, 600), dtype=bool)
    mask[100:140, 500:590] = True
    x0, y0, x1, y1 = pictures.choose_window(mask)
    assert (x1 - x0, y1 - y0) == (180, 180) and x1 == 600 and y0 == 30 and mask[y0:y1, x0:x1].sum() == mask.sum()
    mask[:, :] = True
    assert pictures.choose_window(mask) == (0, 0, 600, 400)
    assert pictures.choose_window(np.zeros((50, 40), dtype=bool)) == (0, 0, 40, 50)


def test_a_run_keeps_the_predictions_of_the_cases_that_its_page_shows(tmp_path: Path) -> None:
    bench = write_tiny_benchmark(tmp_path / "bench", levels=("clear", "lq3"))
    harness.evaluate("disk", bench, tmp_path / "run")
    run = open_run(tmp_path / "run")
    for table in case_tables(run.steps).values():
        shown = {(r.mask_id, r.level, r.step): r for n in (SHOWN_FILE, AUDIT_FILE) for r in read_audit(run.path / n)}
        chosen = choose_cases(table.mask_ids, table.values["dice"][:, -1, -1].tolist())
        for name, place in chosen.items():
            for level, step in (("clear", table.steps), ("lq3", 1), ("lq3", table.steps)):
                kept = shown[table.mask_ids[place], level, step].mask()
                at = (place, table.levels.index(level), step - 1)
                reference = open_benchmark(bench).mask(table.mask_ids[place])
                overlap = 2 * (kept & reference).sum() / (kept.sum() + reference.sum())
                assert overlap == pytest.approx(table.values["dice"][at]), name
    html = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "Best, median and worst" in html and "only the references" not in html
