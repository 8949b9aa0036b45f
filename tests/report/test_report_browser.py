"""The report in a real browser, network off: no request, no error, no sideways scrolling, in light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import open_page
from synthetic_runs import SyntheticBenchmark, write_run

from dmseg.report import write_report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
def test_page_opens_offline_without_errors(tmp_path: Path, scheme: str, width: int) -> None:
    path = write_report(write_run(tmp_path / "r", failed=1), SyntheticBenchmark())  # type: ignore[arg-type]
    with open_page(path, scheme=scheme, width=width) as (page, events):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("svg.figure").count() == 8
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
        assert page.evaluate("getComputedStyle(document.querySelector('.s0 .line')).stroke") == (
            "rgb(86, 180, 233)" if scheme == "dark" else "rgb(0, 114, 178)"
        )
    assert events == []
