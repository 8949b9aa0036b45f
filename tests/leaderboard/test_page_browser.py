"""The page in a real browser, network off: sorting, filters, keyboard, deep links, no errors, accessible."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import find_violations
from browser import count_pages, open_page
from synthetic_board import MODELS, write_entries

from dmseg.leaderboard import build

pytestmark = pytest.mark.browser

TABLE = "table.board >> nth=0"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        write_entries(root, patch)
        build(root)
    yield root / "leaderboard.html"


def _column(page: Any, heading: str) -> list[str]:
    """Return the shown texts of one column, from top to bottom."""
    return list(
        page.evaluate(
            """heading => { const t = document.querySelector("table.board");
            const i = [...t.tHead.rows[0].cells].findIndex(c => c.textContent.trim() === heading);
            const rows = [...t.tBodies[0].rows].filter(r => !r.hidden);
            return rows.map(r => r.cells[i].firstChild.textContent.trim()); }""",
            heading,
        )
    )


def _head(page: Any, heading: str) -> Any:
    return page.locator(TABLE).locator("th button").get_by_text(heading, exact=True)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
def test_page_opens_offline_without_errors(board: Path, scheme: str, width: int) -> None:
    with open_page(board, scheme=scheme, width=width) as (page, events):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("table.board").count() == 2
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert events == []


def test_sorting_both_ways_by_mouse_and_keyboard(board: Path) -> None:
    with open_page(board) as (page, events):
        _head(page, "drop").click()
        up = [float(text) for text in _column(page, "drop")[:-1]]
        assert up == sorted(up) and _column(page, "model")[-1] == "partial"
        assert page.locator(TABLE).locator("th[aria-sort=ascending]").inner_text().strip().startswith("drop")
        _head(page, "drop").focus()
        page.keyboard.press("Enter")
        down = [float(text) for text in _column(page, "drop")[:-1]]
        assert down == up[::-1]
        _head(page, "model").click()
        assert _column(page, "model")[:-1] == sorted(MODELS)
    assert events == []


def test_missing_values_come_last_both_ways(board: Path) -> None:
    with open_page(board) as (page, _):
        page.evaluate("document.querySelector('table.board').tBodies[0].rows[1].cells[16].dataset.v = ''")
        blank = page.evaluate("document.querySelector('table.board').tBodies[0].rows[1].cells[1].textContent")
        for _ in range(2):
            _head(page, "M params").click()
            assert _column(page, "model")[-2] == blank


def test_filters_by_words_and_by_kind(board: Path) -> None:
    with open_page(board) as (page, _):
        page.get_by_label("Model, licence, date").fill("gamma")
        assert _column(page, "model") == ["gamma-large"]
        assert page.locator(".count").first.inner_text() == "1 of 7 entries shown"
        page.get_by_label("Model, licence, date").fill("")
        page.locator("#tier").select_option("unranked")
        assert _column(page, "model") == ["partial"]
        page.locator("#tier").select_option("audited")
        assert _column(page, "model") == ["alpha", "beta"]


def test_a_link_brings_back_sorting_and_filter(board: Path) -> None:
    with open_page(board) as (page, _):
        _head(page, "LQ-3+").click()
        page.get_by_label("Model, licence, date").fill("audited")
        fragment, models = page.evaluate("location.hash"), _column(page, "model")
        assert models and len(models) < 7
    with open_page(board, fragment=fragment) as (page, _):
        assert _column(page, "model") == models
        assert page.get_by_label("Model, licence, date").input_value() == "audited"


def test_curves_can_be_hidden_and_heat_map_follows_the_level(board: Path) -> None:
    with open_page(board) as (page, _):
        curve = page.locator("section >> nth=0").locator("g.series[data-series=beta]").first
        page.get_by_role("button", name="beta").first.click()
        assert not curve.is_visible()
        page.get_by_role("button", name="beta").first.click()
        assert curve.is_visible()
        shown = page.locator("tr[data-level]:visible")
        assert set(shown.evaluate_all("rows => rows.map(r => r.dataset.level)")) == {"lq3plus hardest"}
        page.get_by_label("Level in the heat maps").select_option("")
        assert shown.count() == 5 * len(MODELS) * 2


def test_columns_are_chosen_and_kept_in_the_link(board: Path) -> None:
    with open_page(board) as (page, events):
        table = page.locator(TABLE)
        assert not table.get_by_role("columnheader", name="LQ-2").is_visible()
        page.get_by_role("checkbox", name="LQ-2").check()
        assert table.get_by_role("columnheader", name="LQ-2").is_visible()
        fragment = page.evaluate("location.hash")
    with open_page(board, fragment=fragment) as (page, _):
        assert page.locator(TABLE).get_by_role("columnheader", name="LQ-2").is_visible()
        assert not page.locator(TABLE).get_by_role("columnheader", name="LQ-1").is_visible()
    assert events == []


def test_licences_are_found_and_models_stay_in_sight(board: Path) -> None:
    with open_page(board, width=400) as (page, _):
        page.get_by_label("Model, licence, date").fill("apache")
        assert len(_column(page, "model")) == 7
        page.get_by_label("Model, licence, date").fill("gpl")
        assert _column(page, "model") == []
        page.get_by_label("Model, licence, date").fill("")
        model = page.locator(TABLE).locator("tbody th").first
        before = model.bounding_box()["x"]
        page.evaluate("document.querySelector('.board').parentElement.scrollLeft = 300")
        assert 0 <= model.bounding_box()["x"] <= before


def test_tracks_are_tabs_that_a_link_opens_and_print_shows_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entries(tmp_path, monkeypatch, MODELS[:2], natural=MODELS[:2])
    build(tmp_path)
    path = tmp_path / "leaderboard.html"
    with open_page(path) as (page, events):
        panels = page.locator(".track")
        assert [panels.nth(i).is_visible() for i in range(2)] == [True, False]
        page.get_by_role("tab", name="Photographs").click()
        assert [panels.nth(i).is_visible() for i in range(2)] == [False, True]
        assert page.locator("#track-natural tr[data-level]:visible").count() == 2 * len(MODELS[:2])
        fragment = page.evaluate("location.hash")
        page.keyboard.press("ArrowLeft")
        assert panels.nth(0).is_visible() and not panels.nth(1).is_visible()
        page.evaluate("location.hash = 'paper-natural'")
        page.wait_for_function("document.getElementById('paper-natural').offsetParent !== null")
        page.emulate_media(media="print")
        assert all(panels.nth(i).is_visible() for i in range(2))
        page.emulate_media(media="screen")
        assert find_violations(page) == []
    with open_page(path, fragment=fragment, width=400, scheme="dark") as (page, more):
        assert page.locator(".track").nth(1).is_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert find_violations(page) == []
    assert events == [] and more == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(board: Path, scheme: str) -> None:
    with open_page(board, scheme=scheme) as (page, _):
        assert find_violations(page) == []


def test_print_has_at_most_six_pages(board: Path) -> None:
    with open_page(board) as (page, _):
        assert count_pages(page) <= 6


@pytest.mark.slow
def test_a_hundred_models_open_in_a_second_and_stay_below_a_megabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entries(tmp_path, monkeypatch, tuple(f"model-{i:03d}" for i in range(100)))
    build(tmp_path)
    path = tmp_path / "leaderboard.html"
    assert path.stat().st_size < 1_000_000
    with open_page(path) as (page, events):
        start = time.perf_counter()
        page.reload()
        assert time.perf_counter() - start < 1.0
        assert page.locator("table.board >> nth=0").locator("tbody tr").count() == 101
    assert events == []
