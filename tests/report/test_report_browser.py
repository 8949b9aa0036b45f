"""The report in a real browser, network off: no request, no error, no sideways scrolling, in light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe import find_violations
from browser import count_pages, open_page
from synthetic_runs import SyntheticBenchmark, write_run

from dmseg.report import write_comparison, write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("report") / "r", failed=1)
    return write_report(run, SyntheticBenchmark())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def comparison(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison([report.parent, write_run(tmp_path_factory.mktemp("other") / "q", "beta")])


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
def test_page_opens_offline_without_errors(report: Path, scheme: str, width: int) -> None:
    with open_page(report, scheme=scheme, width=width) as (page, events):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("svg.figure").count() == 8
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
        assert page.evaluate("getComputedStyle(document.querySelector('.s0 .line')).stroke") == ("rgb(0, 114, 178)"), (
            "a model keeps its colour in the dark"
        )
    assert events == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(report: Path, comparison: Path, scheme: str) -> None:
    for path in (report, comparison):
        with open_page(path, scheme=scheme) as (page, _):
            assert find_violations(page) == [], path


def test_print_has_at_most_six_pages(report: Path) -> None:
    with open_page(report) as (page, _):
        assert count_pages(page) <= 6
